"""Tensors that an ONNX file keeps outside itself are found wherever they hide."""

from __future__ import annotations

import contextlib

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mm_fusion_ros.inference.external_data import OnnxFormatError, external_tensors


def outside(name: str, location: str = "../../secret.bin") -> TensorProto:
    """A tensor that points to another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_a_model_that_is_whole_names_none(affine_model: onnx.ModelProto) -> None:
    assert external_tensors(affine_model.SerializeToString()) == []


def test_an_external_initializer_is_found(affine_model: onnx.ModelProto) -> None:
    affine_model.graph.initializer.append(outside("weights"))
    assert external_tensors(affine_model.SerializeToString()) == ["weights"]


def test_a_location_without_the_external_flag_is_found(affine_model: onnx.ModelProto) -> None:
    tensor = outside("sly")
    tensor.data_location = TensorProto.DEFAULT
    affine_model.graph.initializer.append(tensor)
    assert external_tensors(affine_model.SerializeToString()) == ["sly"]


def test_tensors_in_attributes_subgraphs_sparse_and_functions_are_found(
    affine_model: onnx.ModelProto,
) -> None:
    graph = affine_model.graph
    graph.node.append(helper.make_node("Constant", [], ["c"], value=outside("attribute")))
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["d"], value=outside("branch"))], "inner", [], []
    )
    graph.node.append(helper.make_node("If", ["x"], ["e"], then_branch=inner, else_branch=inner))
    sparse = graph.sparse_initializer.add()
    sparse.values.CopyFrom(outside("values"))
    sparse.indices.CopyFrom(outside("indices"))
    function = affine_model.functions.add(name="f")
    function.node.append(helper.make_node("Constant", [], ["g"], value=outside("function")))
    # "branch" is found twice, once for each branch.
    assert sorted(external_tensors(affine_model.SerializeToString())) == [
        "attribute", "branch", "branch", "function", "indices", "values",
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"not a model", b"\xff" * 40])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(OnnxFormatError):
        external_tensors(content)


def test_every_truncation_is_refused_or_leaves_no_whole_graph(
    affine_model: onnx.ModelProto,
) -> None:
    affine_model.graph.initializer.append(outside("weights"))
    content = affine_model.SerializeToString()
    for length in range(len(content)):
        try:
            found = external_tensors(content[:length])
        except OnnxFormatError:
            continue
        # Cut between two top-level fields, after the graph: still found.
        assert found == ["weights"]


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(content: bytes) -> None:
    with contextlib.suppress(OnnxFormatError):
        external_tensors(content)
