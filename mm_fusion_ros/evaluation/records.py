"""Truth and answer of one scene as plain arrays: what every figure is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.geometry import apply, inverse, project
from mm_fusion_ros.outputs import CLASSES, COLOURS, FusedObject
from mm_fusion_ros.samples import CameraFrame, Float

Index = NDArray[np.int64]
Flags = NDArray[np.bool_]
Table = TypeVar("Table", "Truths", "Findings")
UNKNOWN = -1
# Nothing nearer to a camera than this is in its view [m].
NEAR_M = 0.1


class TrueObject(Protocol):
    """What is needed of a label; the simulator's have more."""

    @property
    def class_name(self) -> str:
        """One of `CLASSES`."""

    @property
    def colour(self) -> str:
        """One of `COLOURS`, or another name, which no answer can match."""

    @property
    def centre(self) -> Float:
        """(3,) float64, box centre in base_link [m]."""

    @property
    def size(self) -> Float:
        """(3,) float64, length, width, height [m]."""

    @property
    def yaw(self) -> float:
        """Heading in base_link [rad]."""

    @property
    def counts(self) -> bool:
        """Whether the clean sample shows enough of it to be asked for."""


@dataclass(frozen=True, eq=False)
class Truths:
    """The labels of one scene.

    Attributes:
        kind: (L,) int64, index in `CLASSES`.
        colour: (L,) int64, index in `COLOURS`; -1 for any other.
        centre: (L, 3) float64, base_link [m].
        size: (L, 3) float64, length, width, height [m].
        yaw: (L,) float64 [rad].
        counts: (L,) bool, decided on the clean sample.
        in_view: (L,) bool, the centre lies in a camera's image.
    """

    kind: Index
    colour: Index
    centre: Float
    size: Float
    yaw: Float
    counts: Flags
    in_view: Flags


@dataclass(frozen=True, eq=False)
class Findings:
    """The answer of one scene.

    Attributes:
        kind: (D,) int64, index in `CLASSES`.
        probability: (D,) float64, of the class.
        colour: (D,) int64, index in `COLOURS`; -1 for unknown.
        colour_probability: (D,) float64; 0 for unknown.
        centre: (D, 3) float64, base_link [m].
        size: (D, 3) float64, length, width, height [m].
        yaw: (D,) float64 [rad].
        covariance: (D, 2, 2) float64, of the centre in the ground plane [m^2].
        in_view: (D,) bool, the centre lies in a camera's image.
    """

    kind: Index
    probability: Float
    colour: Index
    colour_probability: Float
    centre: Float
    size: Float
    yaw: Float
    covariance: Float
    in_view: Flags


# Shape of one row of each field, for tables with no rows.
ROW_SHAPE: dict[str, tuple[int, ...]] = {"centre": (3,), "size": (3,), "covariance": (2, 2)}
ROW_DTYPE: dict[str, type] = {
    "kind": np.int64, "colour": np.int64, "counts": np.bool_, "in_view": np.bool_,
}  # fmt: skip


def truths_of(labels: Iterable[TrueObject], cameras: Sequence[CameraFrame]) -> Truths:
    """Labels as arrays.

    Args:
        labels: true objects in base_link at the scene's instant.
        cameras: all cameras of the clean scene, which define what is in view.
    """
    rows = list(labels)
    centre = column("centre", [label.centre for label in rows])
    return Truths(
        kind=column("kind", [CLASSES.index(label.class_name) for label in rows]),
        colour=column("colour", [colour_index(label.colour) for label in rows]),
        centre=centre,
        size=column("size", [label.size for label in rows]),
        yaw=column("yaw", [label.yaw for label in rows]),
        counts=column("counts", [label.counts for label in rows]),
        in_view=in_any_view(centre, cameras),
    )


def findings_of(objects: Iterable[FusedObject], cameras: Sequence[CameraFrame]) -> Findings:
    """Fused objects as arrays.

    Args:
        objects: the answer, in base_link at the scene's instant.
        cameras: the same cameras as for `truths_of`, also when the answer used none.
    """
    rows = list(objects)
    centre = column("centre", [found.centre for found in rows])
    return Findings(
        kind=column("kind", [CLASSES.index(found.class_name) for found in rows]),
        probability=column("probability", [found.class_probability for found in rows]),
        colour=column("colour", [colour_index(found.colour) for found in rows]),
        colour_probability=column("colour_probability", [f.colour_probability for f in rows]),
        centre=centre,
        size=column("size", [found.size for found in rows]),
        yaw=column("yaw", [found.yaw for found in rows]),
        covariance=column("covariance", [f.position_covariance[:2, :2] for f in rows]),
        in_view=in_any_view(centre, cameras),
    )


def in_any_view(centres: Float, cameras: Sequence[CameraFrame]) -> Flags:
    """Which points fall inside an image. One rule for labels and answers, so one region.

    Args:
        centres: (N, 3) float64, base_link [m].
        cameras: rectified frames.
    """
    seen = np.zeros(len(centres), dtype=np.bool_)
    for camera in cameras:
        height, width = camera.image.shape[:2]
        in_camera = apply(inverse(camera.base_from_camera), centres)
        pixels, depth = project(in_camera, camera.intrinsics)
        # Pixel centres lie at integers, so the image reaches half a pixel beyond the outer ones.
        inside = (pixels >= -0.5) & (pixels < np.array([width, height]) - 0.5)
        seen |= inside.all(axis=1) & (depth > NEAR_M)
    return seen


def to_plain(table: Truths | Findings) -> dict[str, Any]:
    """The table as lists, for JSON."""
    return {entry.name: getattr(table, entry.name).tolist() for entry in fields(table)}


def from_plain(kind: type[Table], content: dict[str, Any]) -> Table:
    """The table of `to_plain`, bit for bit."""
    return kind(**{entry.name: column(entry.name, content[entry.name]) for entry in fields(kind)})


def column(name: str, values: Sequence[Any]) -> NDArray[Any]:
    """One field of a table as an array, with its shape also when there are no rows."""
    dtype = ROW_DTYPE.get(name, np.float64)
    return np.array(values, dtype=dtype).reshape(len(values), *ROW_SHAPE.get(name, ()))


def colour_index(name: str) -> int:
    """Index in `COLOURS`; -1 for any other name."""
    return COLOURS.index(name) if name in COLOURS else UNKNOWN
