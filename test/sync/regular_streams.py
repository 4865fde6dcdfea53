"""A camera and a lidar with regular arrivals, and what is asked of the ticks they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mm_fusion_ros.config import SourceConfig, SyncConfig
from mm_fusion_ros.sync.synchronizer import DeadlineSynchronizer

Play = Callable[..., Any]
MS = 1_000_000
T0 = 1_700_000_000_000 * MS
PERIOD = 100 * MS
LIDAR = SourceConfig("lidar", "lidar", rate_hz=10.0, tolerance_ms=60.0)
CAMERA = SourceConfig("camera", "camera", rate_hz=30.0, tolerance_ms=60.0)
CONFIG = SyncConfig()  # anchor lidar, deadline 40 ms, horizon 1 s, future 100 ms, jump 1 s


def synchronizer(*sources: SourceConfig, config: SyncConfig = CONFIG) -> DeadlineSynchronizer[int]:
    return DeadlineSynchronizer(sources or (CAMERA, LIDAR), config)


def stream(
    source: str, period: float, count: int, start: int = T0, delay: int = 5 * MS
) -> list[tuple[int, str, int]]:
    """`count` regular arrivals as (now, source, stamp) [ns]."""
    stamps = [start + round(step * period) for step in range(count)]
    return [(stamp + delay, source, stamp) for stamp in stamps]


def stamps_of(played: Any) -> list[int]:
    return [tick.stamp_ns for _, tick in played]


def inclusions(played: Any, source: str) -> int:
    return sum(source in tick.entries for _, tick in played)
