"""Weights are opened only when the manifest's hashes agree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from mm_fusion_ros.inference.model_folder import (
    DEFAULT_FOLDER,
    MANIFEST,
    ModelError,
    ModelFolder,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "encoder.onnx").write_bytes(b"encoder")
    (tmp_path / "heads.onnx").write_bytes(b"heads")
    write_manifest(
        tmp_path, name="small", version="1", files=["heads.onnx", "encoder.onnx"],
        inputs={"grid_m": 40.0}, provenance={"seed": 3}, calibration={"temperature": 1.5},
    )  # fmt: skip
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    """Changes fields of the manifest; None removes one."""
    path = folder / MANIFEST
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_what_was_written_is_read_back(folder: Path) -> None:
    opened = ModelFolder.open(folder)
    assert opened.manifest.name == "small"
    assert opened.manifest.version == "1"
    assert opened.manifest.inputs == {"grid_m": 40.0}
    assert opened.manifest.provenance == {"seed": 3}
    assert opened.manifest.calibration == {"temperature": 1.5}
    assert opened.manifest.files["heads.onnx"] == hashlib.sha256(b"heads").hexdigest()
    assert opened.path("encoder.onnx").read_bytes() == b"encoder"
    assert sorted(p.name for p in folder.iterdir()) == [
        "encoder.onnx", "heads.onnx", MANIFEST,
    ]  # fmt: skip


def test_an_altered_or_truncated_file_is_named(folder: Path) -> None:
    (folder / "heads.onnx").write_bytes(b"head")
    with pytest.raises(ModelError, match=r"heads\.onnx is truncated or was altered"):
        ModelFolder.open(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "heads.onnx").unlink()
    with pytest.raises(ModelError, match=r"heads\.onnx cannot be read"):
        ModelFolder.open(folder)


def test_a_file_that_the_manifest_does_not_name_is_not_given_out(folder: Path) -> None:
    (folder / "extra.onnx").write_bytes(b"extra")
    with pytest.raises(ModelError, match=r"names no 'extra\.onnx'"):
        ModelFolder.open(folder).path("extra.onnx")


def test_an_empty_path_means_the_weights_that_ship() -> None:
    try:
        opened = ModelFolder.open("")
    except ModelError as error:
        assert str(DEFAULT_FOLDER / MANIFEST) in str(error)  # noqa: PT017
    else:
        assert opened.root == DEFAULT_FOLDER


@pytest.mark.parametrize(
    "name", ["../heads.onnx", "/etc/hosts.onnx", "a/b.onnx", "..", "a\\b.onnx"]
)
def test_names_that_leave_the_folder_are_refused(folder: Path, name: str) -> None:
    edit(folder, files={name: "0" * 64})
    with pytest.raises(ModelError, match="no plain file name"):
        ModelFolder.open(folder)


@pytest.mark.parametrize("name", ["weights.pt", "weights.pkl", "weights.npy", "weights"])
def test_pickles_and_unknown_kinds_are_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    with pytest.raises(ModelError, match="kind not loaded"):
        write_manifest(
            folder, name="n", version="1", files=[name], inputs={}, provenance={}, calibration={}
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": None}, "field 'version' is missing"),
        ({"version": 2}, "version is int; expected str"),
        ({"files": {"heads.onnx": 5}}, "no SHA-256"),
        ({"licence": "x"}, r"unknown fields \['licence'\]"),
    ],
)
def test_a_bad_manifest_says_which_field(folder: Path, changes: dict[str, Any], said: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelError, match=said):
        ModelFolder.open(folder)


def test_no_manifest_no_json_and_no_object_are_told_apart(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]")
    with pytest.raises(ModelError, match="expected an object, got list"):
        ModelFolder.open(folder)
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ModelError, match="is no JSON"):
        ModelFolder.open(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        ModelFolder.open(folder)
