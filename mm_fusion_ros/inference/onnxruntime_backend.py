"""ONNX Runtime on the CPU: the backend that every machine has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from mm_fusion_ros.inference.backend import Array, Backend, BackendError, TensorSpec
from mm_fusion_ros.inference.external_data import OnnxFormatError, external_tensors

DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}


class OnnxRuntimeBackend(Backend):
    """Runs an ONNX file; the same input gives the same bits on one machine."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)

    def _activate_impl(self) -> tuple[Mapping[str, TensorSpec], Mapping[str, TensorSpec]]:
        # The bytes that were checked are the bytes that run: the file is read once.
        content = self.model_path.read_bytes()
        try:
            external = external_tensors(content)
        except OnnxFormatError as error:
            raise BackendError(f"{self.model_path}: {error}; export it again") from error
        if external:
            raise BackendError(
                f"{self.model_path} keeps the data of {len(external)} tensors ({external[0]!r}, "
                "...) in other files, which is refused; export it as a single file"
            )
        try:
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                content, sess_options=self._options(), providers=list(self.providers)
            )
        # The runtime's exceptions share no base class of their own.
        except Exception as error:
            raise BackendError(f"{self.model_path}: ONNX Runtime refuses it: {error}") from error
        return (
            {node.name: self._spec(node) for node in self._session.get_inputs()},
            {node.name: self._spec(node) for node in self._session.get_outputs()},
        )

    def _infer_impl(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        assert self._session is not None
        names = list(self._outputs)
        try:
            results = self._session.run(names, dict(feeds))
        except Exception as error:
            raise BackendError(f"{self.name}: ONNX Runtime failed: {error}") from error
        return dict(zip(names, results, strict=True))

    def _deactivate_impl(self) -> None:
        self._session = None

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        # Threads that spin between runs take the cores from the sensors' callbacks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        return options

    def _spec(self, node: Any) -> TensorSpec:
        if node.type not in DTYPES:
            raise BackendError(
                f"{self.name}: {node.name!r} is a {node.type}; supported are {', '.join(DTYPES)}"
            )
        return TensorSpec(tuple(node.shape), DTYPES[node.type])
