"""Trained weights as one small file that holds data only: what training can start from again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.inference.model_folder import ModelFolder

FILE = "weights.safetensors"
SHIPPED = "default"
"""Names the weights that ship."""
RECORD = "record"


def save(average: Mapping[str, Tensor], record: Mapping[str, Any], path: Path) -> None:
    """Writes averaged weights in half precision, which is a thousandth of each.

    Args:
        average: by name.
        record: how they were trained, see `train.record`.
        path: of the file.
    """
    halves = {name: value.detach().cpu().half().contiguous() for name, value in average.items()}
    save_file(halves, path, metadata={RECORD: json.dumps(record)})


def load(start: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Averaged weights, in full precision, and how they were trained.

    Args:
        start: `default` for those that ship, a model folder, such a file, or a checkpoint.

    Raises:
        ModelError: a model folder that was altered, or holds no weights to start from.
        ConfigError: a file that is none of these.
    """
    path = Path(start)
    if str(start) == SHIPPED and not path.exists():
        path = ModelFolder.open().path(FILE)
    elif path.is_dir():
        path = ModelFolder.open(path).path(FILE)
    if path.suffix == ".safetensors":
        return _halves(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        fields: dict[str, Any] = {"config": state["config"], "steps_done": state["done"]}
        fields |= {"start": state["start"]} if state.get("start") else {}
        return state["average"], fields
    except (OSError, RuntimeError, LookupError, TypeError, EOFError, ValueError,
            UnpicklingError) as error:  # fmt: skip
        raise ConfigError(f"{path} holds no checkpoint of this package: {error!r}") from error


def _halves(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as opened:
            record = json.loads((opened.metadata() or {}).get(RECORD, "{}"))
            # `safe_open` is no mapping: it has to be asked for its keys.
            names = list(opened.keys())
            return {name: opened.get_tensor(name).float() for name in names}, record
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigError(f"{path} holds no weights: {error}") from error
