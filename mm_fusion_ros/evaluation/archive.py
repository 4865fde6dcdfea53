"""Answers of one scene under many conditions, as one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.evaluation.records import Findings, Truths, column

SEPARATOR = "|"


@dataclass(frozen=True, eq=False)
class FaultedRecord:
    """One scene's truth, and the answer of each subset of sensors under each condition.

    Attributes:
        found: condition's name to subset to answer; where a subset's sensors are not struck, it
            has no entry, and its clean answer stands.
        trust: condition's name to the mean trust in the sensors that it strikes; "clean|camera"
            and "clean|lidar" of the clean scene.
    """

    seed: int
    truths: Truths
    found: Mapping[str, Mapping[str, Findings]]
    trust: Mapping[str, float] = field(default_factory=dict)


def path_of(folder: Path, seed: int) -> Path:
    """Where the record of a seed is kept."""
    return folder / f"{seed:06d}.npz"


def json_path(folder: Path, seed: int) -> Path:
    """Where a record of plain values of a seed is kept."""
    return folder / f"{seed:06d}.json"


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Writes a record of plain values; a file is either whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(path)


def write(record: FaultedRecord, folder: Path) -> None:
    """Writes a record; a file is either whole or absent."""
    keys, tables = [], []
    for condition, by_subset in record.found.items():
        for subset, found in by_subset.items():
            keys.append(condition + SEPARATOR + subset)
            tables.append(found)
    arrays: dict[str, NDArray[np.generic]] = {
        "keys": np.array(keys), "count": np.array([len(found.kind) for found in tables], np.int64),
    }  # fmt: skip
    arrays["trust_keys"] = np.array(list(record.trust), dtype=np.str_)
    arrays["trust"] = np.array(list(record.trust.values()), np.float64)
    for entry in fields(Findings):
        joined = [getattr(found, entry.name) for found in tables]
        arrays[f"found_{entry.name}"] = _small(
            np.concatenate(joined) if joined else column(entry.name, [])
        )
    for entry in fields(Truths):
        arrays[f"truth_{entry.name}"] = getattr(record.truths, entry.name)
    path = path_of(folder, record.seed)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def _small(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Half the bytes: single precision, and classes in one."""
    if values.dtype == np.float64:
        return values.astype(np.float32)
    return values.astype(np.int8) if values.dtype == np.int64 else values


def read(folder: Path, seed: int) -> FaultedRecord:
    """Reads what `write` wrote."""
    with np.load(path_of(folder, seed), allow_pickle=False) as data:
        stops = np.cumsum(data["count"])
        whole = {entry.name: data[f"found_{entry.name}"] for entry in fields(Findings)}
        truths = Truths(**{entry.name: data[f"truth_{entry.name}"] for entry in fields(Truths)})
        keys = [str(key) for key in data["keys"]]
        names = [str(name) for name in data["trust_keys"]]
        trust = dict(zip(names, data["trust"].tolist(), strict=True))
    found: dict[str, dict[str, Findings]] = {}
    for key, start, stop in zip(keys, [0, *stops[:-1]], stops, strict=True):
        condition, _, subset = key.partition(SEPARATOR)
        rows: Any = {name: _wide(values[start:stop]) for name, values in whole.items()}
        found.setdefault(condition, {})[subset] = Findings(**rows)
    return FaultedRecord(seed, truths, found, trust)


def _wide(values: NDArray[np.generic]) -> NDArray[np.generic]:
    if values.dtype == np.float32:
        return values.astype(np.float64)
    return values.astype(np.int64) if values.dtype == np.int8 else values
