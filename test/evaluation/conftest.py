"""Scenes small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mm_fusion_ros.evaluation.matching import Region
from mm_fusion_ros.evaluation.records import Findings, Truths
from mm_fusion_ros.outputs import CLASSES, COLOURS

Row = dict[str, Any]


@pytest.fixture
def everywhere() -> Region:
    """The full circle."""
    return Region(in_view=False, max_range_m=40.0)


@pytest.fixture
def seen() -> Region:
    """Inside a camera's view."""
    return Region(in_view=True, max_range_m=40.0)


@pytest.fixture
def truths() -> Callable[..., Truths]:
    """Makes labels from rows of x, y, kind, colour, counts, in_view, size, yaw."""

    def make(*rows: Row) -> Truths:
        return Truths(
            kind=ints(rows, "kind", "car", CLASSES),
            colour=ints(rows, "colour", "red", COLOURS),
            centre=np.array([[r["x"], r.get("y", 0.0), 0.0] for r in rows]).reshape(-1, 3),
            size=np.array([r.get("size", (1, 1, 1)) for r in rows], dtype=float).reshape(-1, 3),
            yaw=np.array([r.get("yaw", 0.0) for r in rows], dtype=float),
            counts=np.array([r.get("counts", True) for r in rows], dtype=bool),
            in_view=np.array([r.get("in_view", True) for r in rows], dtype=bool),
        )

    return make


@pytest.fixture
def findings() -> Callable[..., Findings]:
    """Makes answers from rows of x, y, p, kind, colour, q, sigma, in_view, size, yaw."""

    def make(*rows: Row) -> Findings:
        sigma = np.array([r.get("sigma", 1.0) for r in rows], dtype=float)
        return Findings(
            kind=ints(rows, "kind", "car", CLASSES),
            probability=np.array([r["p"] for r in rows], dtype=float),
            colour=ints(rows, "colour", "red", COLOURS),
            colour_probability=np.array([r.get("q", 1.0) for r in rows], dtype=float),
            centre=np.array([[r["x"], r.get("y", 0.0), 0.0] for r in rows]).reshape(-1, 3),
            size=np.array([r.get("size", (1, 1, 1)) for r in rows], dtype=float).reshape(-1, 3),
            yaw=np.array([r.get("yaw", 0.0) for r in rows], dtype=float),
            covariance=np.eye(2) * (sigma**2)[:, None, None],
            in_view=np.array([r.get("in_view", True) for r in rows], dtype=bool),
        )

    return make


def ints(rows: Sequence[Row], name: str, default: str, names: Sequence[str]) -> Any:
    """One column of names as indices; -1 for a name that is not listed."""
    chosen = [row.get(name, default) for row in rows]
    return np.array([names.index(n) if n in names else -1 for n in chosen], dtype=np.int64)
