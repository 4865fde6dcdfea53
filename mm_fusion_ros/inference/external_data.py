"""Finds data that an ONNX file keeps outside itself, without the `onnx` package.

An ONNX file may point to further files by path. A path can climb out of the model's folder, and
a file beside it escapes the manifest's hash, so a model with either is refused before a runtime
sees it. Only the few protobuf fields that lead to tensors are walked; weights are skipped over.

Source of the field numbers: onnx.proto3 of the ONNX specification.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

TENSOR = "TensorProto"
# Message -> field number -> message within it: every way from a model to a tensor.
CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: TENSOR, 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: TENSOR, 6: "GraphProto", 10: TENSOR, 11: "GraphProto",
        22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: TENSOR, 2: TENSOR},
}  # fmt: skip
TENSOR_NAME, TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 8, 13, 14
MODEL_GRAPH = 7
MAX_DEPTH = 64


class OnnxFormatError(ValueError):
    """Bytes that are no ONNX model."""


def external_tensors(model: bytes) -> list[str]:
    """The names of all tensors whose data lie outside the file.

    Args:
        model: the content of an ONNX file.

    Raises:
        OnnxFormatError: truncated, or no ONNX model.
    """
    content = memoryview(model)
    if not any(number == MODEL_GRAPH for number, _, _ in fields(content)):
        raise OnnxFormatError("no graph inside: not an ONNX model, or truncated")
    return list(walk(content, "ModelProto", 0))


def walk(content: memoryview, message: str, depth: int) -> Iterator[str]:
    """Names of external tensors within one message of the given kind."""
    if depth > MAX_DEPTH:
        raise OnnxFormatError(f"graphs nested deeper than {MAX_DEPTH}")
    if message == TENSOR:
        name, external = "", False
        for number, kind, value in fields(content):
            if number == TENSOR_NAME and isinstance(value, memoryview):
                name = bytes(value).decode("utf-8", "replace")
            elif number == TENSOR_EXTERNAL_DATA:
                external = True
            elif number == TENSOR_DATA_LOCATION and kind == VARINT:
                external = external or value != 0
        if external:
            yield name or "(unnamed)"
        return
    children = CHILDREN[message]
    for number, _, value in fields(content):
        if number in children and isinstance(value, memoryview):
            yield from walk(value, children[number], depth + 1)


def fields(content: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """The fields of one protobuf message as (number, wire type, value).

    Raises:
        OnnxFormatError: truncated, or a wire type that does not exist.
    """
    position = 0
    while position < len(content):
        key, position = varint(content, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = varint(content, position)
            yield number, kind, value
            continue
        if kind == LENGTH:
            length, position = varint(content, position)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise OnnxFormatError(f"wire type {kind} at byte {position}: not an ONNX model")
        end = position + length
        if end > len(content):
            raise OnnxFormatError(f"truncated: {end - len(content)} bytes are missing")
        yield number, kind, content[position:end]
        position = end


def varint(content: memoryview, position: int) -> tuple[int, int]:
    """The base-128 number at a position, and the position after it.

    Raises:
        OnnxFormatError: it runs past the end or is longer than 10 bytes.
    """
    value = 0
    for index, byte in enumerate(content[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise OnnxFormatError(f"truncated number at byte {position}: not an ONNX model, or cut short")
