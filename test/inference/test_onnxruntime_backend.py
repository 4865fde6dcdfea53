"""ONNX Runtime behind the common interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mm_fusion_ros.inference.backend import BackendError, TensorSpec
from mm_fusion_ros.inference.backends import BACKENDS
from mm_fusion_ros.inference.onnxruntime_backend import OnnxRuntimeBackend

FLOAT = np.dtype(np.float32)


def test_it_is_found_by_its_name() -> None:
    assert BACKENDS["onnxruntime"] is OnnxRuntimeBackend


def test_it_says_what_the_network_takes_and_gives(affine: Path) -> None:
    with OnnxRuntimeBackend(affine) as backend:
        spec = TensorSpec(("batch", 3), FLOAT)
        assert backend.inputs == {"x": spec, "z": spec}
        assert backend.outputs == {"y": spec}


def test_it_computes_what_the_file_says(affine: Path) -> None:
    x = np.array([[1, 2, 3]], dtype=np.float32)
    z = np.array([[10, 20, 30]], dtype=np.float32)
    with OnnxRuntimeBackend(affine) as backend:
        # y = 2 x + z
        np.testing.assert_array_equal(backend.infer({"x": x, "z": z})["y"], [[12, 24, 36]])


def test_two_sessions_give_the_same_bits(affine: Path) -> None:
    generator = np.random.default_rng(7)
    feeds = {name: generator.normal(size=(50, 3)).astype(np.float32) for name in ("x", "z")}
    answers = []
    for threads in (1, 1, 2):
        with OnnxRuntimeBackend(affine, threads=threads) as backend:
            answers.append(backend.infer(feeds)["y"].tobytes())
    assert answers[0] == answers[1] == answers[2]


def test_it_can_be_activated_again(affine: Path) -> None:
    backend = OnnxRuntimeBackend(affine)
    feeds = {name: np.ones((1, 3), dtype=np.float32) for name in ("x", "z")}
    for _ in range(2):
        with backend:
            assert backend.infer(feeds)["y"].sum() == 9.0  # 3 x (2 + 1)


def test_nan_from_the_network_is_refused(affine: Path) -> None:
    x = np.full((1, 3), np.nan, dtype=np.float32)
    with OnnxRuntimeBackend(affine) as backend, pytest.raises(BackendError, match="NaN"):
        backend.infer({"x": x, "z": np.zeros((1, 3), dtype=np.float32)})


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_a_truncated_file_is_refused_by_name(affine: Path, kept: int) -> None:
    content = affine.read_bytes()
    affine.write_bytes(content[:kept])
    with pytest.raises(BackendError, match=r"affine\.onnx"):
        OnnxRuntimeBackend(affine).activate()


def test_a_file_that_the_runtime_refuses_is_named(
    affine_model: onnx.ModelProto, affine: Path
) -> None:
    affine_model.graph.node[0].op_type = "NoSuchOperator"
    affine.write_bytes(affine_model.SerializeToString())
    with pytest.raises(BackendError, match=r"affine\.onnx: ONNX Runtime refuses it"):
        OnnxRuntimeBackend(affine).activate()


def test_data_outside_the_file_are_refused_before_the_runtime_sees_them(
    affine_model: onnx.ModelProto, affine: Path
) -> None:
    onnx.save_model(
        affine_model, str(affine), save_as_external_data=True, location="weights.bin",
        size_threshold=0, convert_attribute=True,
    )  # fmt: skip
    assert (affine.parent / "weights.bin").exists()
    with pytest.raises(BackendError, match=r"'two', .*which is refused"):
        OnnxRuntimeBackend(affine).activate()
