"""Fused outputs as text that is the same, byte for byte, for the same answer."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.outputs import FusedObject, FusedOutput, ObstacleGrid, PoseEstimate, Reliability

# Micrometres and microradians: beyond any sensor, and short of where printing could differ.
DECIMALS = 6


def output_line(output: FusedOutput) -> str:
    """One line of JSON, keys sorted and floats rounded; a number that is not finite is null."""
    content = {
        "stamp_ns": output.stamp_ns,
        "by_deadline": output.by_deadline,
        "objects": [described_object(item) for item in output.objects],
        "reliability": {
            name: described_reliability(entry) for name, entry in output.reliability.items()
        },
        "pose": None if output.pose is None else described_pose(output.pose),
        "target": {
            "go": output.target.go,
            "intent": output.target.intent.value,
            "text": output.target.text,
            "map_from_target": numbers(output.target.map_from_target),
            "probability": number(output.target.probability),
            "expires_ns": output.target.expires_ns,
            "reason": None if output.target.reason is None else output.target.reason.value,
            "track_id": output.target.track_id,
        },
        "obstacles": None if output.obstacles is None else described_grid(output.obstacles),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def number(value: float | None) -> float | None:
    """A rounded float; None where there is none or it is not finite. Minus zero becomes zero."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), DECIMALS) + 0.0


def numbers(values: NDArray[np.floating] | None) -> Any:
    """An array as nested lists of rounded floats."""
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if np.isfinite(array).all():
        return (array.round(DECIMALS) + 0.0).tolist()
    flat = [number(value) for value in array.ravel().tolist()]
    if array.ndim == 1:
        return flat
    width = array.shape[1]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def described_object(item: FusedObject) -> dict[str, Any]:
    """An object's fields."""
    return {
        "track_id": item.track_id,
        "class": item.class_name,
        "class_probability": number(item.class_probability),
        "colour": item.colour,
        "colour_probability": number(item.colour_probability),
        "centre": numbers(item.centre),
        "size": numbers(item.size),
        "yaw": number(item.yaw),
        "velocity": numbers(item.velocity),
        "position_covariance": numbers(item.position_covariance),
        "support": {name: number(share) for name, share in item.support.items()},
    }


def described_reliability(entry: Reliability) -> dict[str, Any]:
    """A source's fields."""
    return {
        "modality": entry.modality.value,
        "trust": number(entry.trust),
        "share": number(entry.share),
        "reason": entry.reason.value,
        "age_ns": entry.age_ns,
        "aleatoric_m2": number(entry.aleatoric_m2),
        "epistemic": number(entry.epistemic),
        "quality": {name: number(value) for name, value in entry.quality.items()},
    }


def described_pose(pose: PoseEstimate) -> dict[str, Any]:
    """A pose's fields."""
    return {
        "stamp_ns": pose.stamp_ns,
        "map_from_base": numbers(pose.map_from_base),
        "map_from_odom": numbers(pose.map_from_odom),
        "covariance": numbers(pose.covariance),
        "twist": numbers(pose.twist),
    }


def described_grid(grid: ObstacleGrid) -> dict[str, Any]:
    """A grid's place, its counts and the hash of its cells, which are too many to write out."""
    return {
        "resolution_m": number(grid.resolution_m),
        "origin_xy": numbers(grid.origin_xy),
        "shape": list(grid.cells.shape),
        "occupied": int((grid.cells > 50).sum()),
        "free": int((grid.cells == 0).sum()),
        "sha256": hashlib.sha256(np.ascontiguousarray(grid.cells).tobytes()).hexdigest(),
    }
