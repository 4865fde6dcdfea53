"""Small ONNX files, made where they are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def affine_model() -> onnx.ModelProto:
    """A model of y = 2 x + z for x, z of shape (batch, 3)."""
    two = numpy_helper.from_array(np.full((1, 3), 2.0, dtype=np.float32), "two")
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["doubled"]),
            helper.make_node("Add", ["doubled", "z"], ["y"]),
        ],
        "affine",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [two],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def affine(tmp_path: Path, affine_model: onnx.ModelProto) -> Path:
    """A file holding y = 2 x + z."""
    path = tmp_path / "affine.onnx"
    path.write_bytes(affine_model.SerializeToString())
    return path
