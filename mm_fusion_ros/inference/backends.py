"""Which runtimes there are, by the name that `perception.backend` takes."""

from __future__ import annotations

from mm_fusion_ros.inference.backend import Backend
from mm_fusion_ros.inference.onnxruntime_backend import OnnxRuntimeBackend

BACKENDS: dict[str, type[Backend]] = {"onnxruntime": OnnxRuntimeBackend}
