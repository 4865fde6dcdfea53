"""The live bench: its arithmetic, and one short run over real DDS."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm_fusion_ros.evaluation import bench_samples
from mm_fusion_ros.inference.model_folder import DEFAULT_FOLDER, MANIFEST
from mm_fusion_ros.ros.bench_node import WARM_UP_S, answered, measure

MS, SECOND = 1_000_000, 1_000_000_000


def test_only_clouds_after_the_warm_up_count() -> None:
    first = 100 * SECOND
    clouds = [first + k * SECOND for k in range(6)]  # at 0 to 5 s; warm-up is 3 s
    received = {stamp: stamp + 40 * MS for stamp in clouds}
    received[clouds[4]] = clouds[4] + 60 * MS
    del received[clouds[5]]
    assert WARM_UP_S == 3.0
    sent = {"sent": {"camera": [1, 2], "lidar": clouds, "odom": []}, "late_ns": [2 * MS]}
    figures = answered(sent, received)
    assert (figures["sweeps"], figures["answers"]) == (3, 2)
    assert figures["latency"]["median_ms"] == 50.0  # of 40 and 60
    assert figures["latency"]["max_ms"] == 60.0
    assert figures["sent"] == {"camera": 2, "lidar": 6, "odom": 0}
    assert figures["driver_late"]["median_ms"] == 2.0


@pytest.mark.skipif(not (DEFAULT_FOLDER / MANIFEST).exists(), reason="no weights are shipped yet")
def test_a_short_live_run_gives_figures(tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    bench_samples.save(bench_samples.render(places=2), samples)
    figures = measure(samples, tmp_path, 1.0, "", with_odometry=True)
    # Ten of the measured second; one more or less falls on its edges, and a busy machine sends
    # fewer.
    assert 1 <= figures["sweeps"] <= 11
    assert figures["answers"] > 0
    assert figures["latency"]["median_ms"] > 0.0
    assert 30.0 < figures["memory_mb"] <= figures["highest_memory_mb"]
    assert figures["start_s"] > 0.0
    assert figures["diagnostics"]["fusion: lidar"]["count.accepted"].isdigit()
