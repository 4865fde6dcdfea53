"""A folder of weights with a manifest that says what they are, and proves that they still are.

    models/default/
      manifest.json        name, version, hashes, inputs, provenance, calibration
      camera_encoder.onnx  ...

Only files named in the manifest can be opened, and only once their hashes agree.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "models" / "default"
# Formats that hold data only: a pickle can run code when it is loaded.
SAFE_SUFFIXES = (".onnx", ".safetensors", ".json")


class ModelError(RuntimeError):
    """A model folder that cannot be used: names the file and what is wrong with it."""


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says.

    Attributes:
        name: the model's name.
        version: of these weights.
        files: file name to its SHA-256, in hexadecimal.
        inputs: what the networks expect: grid, image size, channel names.
        provenance: how they were made: seed, commit, command, figures.
        calibration: temperatures and scales fitted on validation scenes.
    """

    name: str
    version: str
    files: Mapping[str, str]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFolder:
    """A folder whose files all agree with its manifest.

    Attributes:
        root: the folder.
        manifest: its content list.
    """

    root: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path = "") -> ModelFolder:
        """Reads the manifest and verifies every file in it.

        Args:
            path: the folder; empty takes the weights that ship.

        Raises:
            ModelError: no manifest, a bad one, or a file that is missing or altered.
        """
        root = Path(path) if str(path) else DEFAULT_FOLDER
        manifest = read_manifest(root)
        for name, expected in manifest.files.items():
            actual = sha256(root, name)
            if actual != expected:
                raise ModelError(
                    f"{root / name} is truncated or was altered: its SHA-256 is {actual}, "
                    f"{MANIFEST} says {expected}; restore the file or export the model again"
                )
        return cls(root, manifest)

    def path(self, name: str) -> Path:
        """The path of a verified file.

        Raises:
            ModelError: the manifest does not name it.
        """
        if name not in self.manifest.files:
            raise ModelError(
                f"{self.root}: {MANIFEST} names no {name!r}; it names "
                f"{', '.join(self.manifest.files) or 'nothing'}"
            )
        return self.root / name


def write_manifest(
    folder: str | Path,
    *,
    name: str,
    version: str,
    files: Iterable[str],
    inputs: Mapping[str, Any],
    provenance: Mapping[str, Any],
    calibration: Mapping[str, Any],
) -> Manifest:
    """Hashes the files of a folder and writes its manifest, whole or not at all.

    Args:
        folder: where the files lie, and the manifest goes.
        name: of the model.
        version: of these weights.
        files: their names, without folders.
        inputs: what the networks expect.
        provenance: seed, commit, command, figures.
        calibration: fitted on validation scenes.

    Raises:
        ModelError: a file is missing, or of a kind that may not be loaded.
    """
    root = Path(folder)
    manifest = Manifest(
        name, version, {file: sha256(root, file) for file in sorted(files)},
        inputs, provenance, calibration,
    )  # fmt: skip
    text = json.dumps(asdict(manifest), indent=2, allow_nan=False) + "\n"
    partial = root / f"{MANIFEST}.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(root / MANIFEST)
    return manifest


def read_manifest(root: Path) -> Manifest:
    """The manifest of a folder, its fields checked and its files not yet.

    Raises:
        ModelError: not there, no JSON, or fields missing, unknown or of the wrong type.
    """
    path = root / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); name a folder that `mm-fusion export` "
            "wrote, or leave perception.model empty for the weights that ship"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    kinds: dict[str, type] = {
        "name": str, "version": str, "files": dict,
        "inputs": dict, "provenance": dict, "calibration": dict,
    }  # fmt: skip
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected an object, got {type(content).__name__}")
    if unknown := sorted(content.keys() - kinds.keys()):
        raise ModelError(f"{path}: unknown fields {unknown}; known: {', '.join(kinds)}")
    for name, kind in kinds.items():
        if name not in content:
            raise ModelError(f"{path}: field {name!r} is missing")
        if not isinstance(content[name], kind):
            raise ModelError(
                f"{path}: {name} is {type(content[name]).__name__}; expected {kind.__name__}"
            )
    for name, digest in content["files"].items():
        if not isinstance(digest, str):
            raise ModelError(f"{path}: files[{name!r}] is no SHA-256 in hexadecimal")
    return Manifest(**content)


def sha256(root: Path, name: str) -> str:
    """The SHA-256 of one file of a folder, in hexadecimal.

    Raises:
        ModelError: a name that leaves the folder, a kind that may not be loaded, or no such file.
    """
    if name != Path(name).name or name in ("", ".", "..", MANIFEST) or "\\" in name:
        raise ModelError(f"{root}: {name!r} is no plain file name; files lie in the folder itself")
    if Path(name).suffix not in SAFE_SUFFIXES:
        raise ModelError(f"{root / name}: kind not loaded; allowed: {', '.join(SAFE_SUFFIXES)}")
    path = root / name
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); export again") from error
