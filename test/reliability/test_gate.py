"""Shares sum to one over what was used; what was not used has none, and says why."""

from __future__ import annotations

import time

import pytest

from mm_fusion_ros.config import ReliabilityConfig, SourceConfig
from mm_fusion_ros.outputs import Reason, Reliability
from mm_fusion_ros.reliability.gate import Gate, seeing_shares
from mm_fusion_ros.samples import Modality

MS = 1_000_000
T0 = 1_700_000_000_000 * MS
SOURCES = (
    SourceConfig("front", "camera", rate_hz=30.0),
    SourceConfig("rear", "camera", rate_hz=30.0),
    SourceConfig("top", "lidar", rate_hz=10.0),
    SourceConfig("gps", "gps", rate_hz=5.0, timeout_ms=3000.0),
    SourceConfig("odom", "odometry", rate_hz=30.0),
    SourceConfig("imu", "imu", rate_hz=100.0),
    SourceConfig("command", "command", rate_hz=0.1, timeout_ms=60_000.0),
)
GPS_FINE = (0.9, Reason.OK, {"sigma_m": 1.5, "nis": 0.8})


def gate(*heard: str) -> Gate:
    result = Gate(SOURCES, ReliabilityConfig())
    for name in heard:
        result.observe(name, T0, {"checksum": 1.0}, moving=True)
    return result


def judged(
    by: Gate,
    used: tuple[str, ...] = (),
    shares: dict[str, float] | None = None,
    variances: dict[str, float] | None = None,
    pose: tuple[float, float] = (0.7, 0.3),
    gps: tuple[float, Reason, dict[str, float]] = GPS_FINE,
    now: int = T0,
) -> dict[str, Reliability]:
    return by.judge(
        now,
        used_age_ns=dict.fromkeys(used, 10 * MS),
        object_shares=shares or {},
        aleatoric_m2=variances or {},
        pose_shares=pose,
        gps=gps,
    )


def test_every_configured_source_has_an_entry_under_its_name() -> None:
    result = judged(gate())
    assert list(result) == [source.name for source in SOURCES]
    for name, entry in result.items():
        assert entry.source == name
        assert (entry.trust, entry.reason, entry.age_ns) == (0.0, Reason.MISSING, None)
        assert entry.share == (None if name == "command" else 0.0)


def test_the_detectors_shares_are_passed_on() -> None:
    result = judged(gate("front", "top"), ("front", "top"), {"front": 0.25, "top": 0.75})
    assert result["front"].share == 0.25
    assert result["top"].share == 0.75
    assert result["rear"].share == 0.0
    assert result["front"].age_ns == 10 * MS


def test_a_sensor_that_gave_this_tick_nothing_has_no_share_and_no_trust() -> None:
    # The detector's answer names it, as from an earlier tick: the rest is divided anew.
    result = judged(gate("front", "top"), ("top",), {"front": 0.5, "top": 0.5})
    assert (result["front"].share, result["front"].trust) == (0.0, 0.0)
    assert result["front"].reason is Reason.MISSING
    assert result["top"].share == 1.0


def test_a_sensor_that_died_is_stale_rather_than_missing() -> None:
    result = judged(gate("front", "top"), now=T0 + 600 * MS)
    assert (result["front"].trust, result["front"].reason) == (0.0, Reason.STALE)
    assert result["front"].quality["silent_s"] == pytest.approx(0.6)


def test_without_the_detectors_word_shares_go_by_trust_over_variance() -> None:
    result = judged(gate("front", "top"), ("front", "top"), variances={"front": 0.36, "top": 0.04})
    # 1 / 0.36 against 1 / 0.04: one to nine.
    assert result["front"].share == pytest.approx(0.1)
    assert result["top"].share == pytest.approx(0.9)
    assert result["top"].aleatoric_m2 == 0.04


def test_shares_without_any_trust_are_even_and_still_sum_to_one() -> None:
    shares = seeing_shares(["a", "b"], {}, {"a": 0.0, "b": 0.0}, {})
    assert shares == {"a": 0.5, "b": 0.5}
    assert seeing_shares([], {"a": 1.0}, {}, {}) == {}


def test_pose_shares_sum_to_one_and_go_to_those_that_were_heard() -> None:
    result = judged(gate("gps", "odom", "imu"))
    assert result["odom"].share == pytest.approx(0.7)
    assert result["gps"].share == pytest.approx(0.3)
    assert result["imu"].share == 0.0
    unheard = judged(gate("odom"), pose=(1.0, 0.0))
    assert unheard["odom"].share == 1.0
    assert unheard["gps"].share == 0.0


def test_gps_is_judged_by_the_filter_and_shows_its_figures() -> None:
    result = judged(gate("gps"), gps=(0.2, Reason.JUMP, {"sigma_m": 4.0}))
    assert (result["gps"].trust, result["gps"].reason) == (0.2, Reason.JUMP)
    assert result["gps"].aleatoric_m2 == 16.0
    # A receiver that fell silent is stale, whatever the filter thought of it.
    silent = judged(gate("gps"), now=T0 + 3000 * MS)
    assert (silent["gps"].trust, silent["gps"].reason) == (0.0, Reason.STALE)


def test_a_command_has_trust_and_no_share() -> None:
    result = judged(gate("command"))
    assert (result["command"].trust, result["command"].share) == (1.0, None)
    assert result["command"].modality is Modality.COMMAND


def test_figures_that_serve_the_monitor_alone_are_not_shown() -> None:
    assert "checksum" not in judged(gate("front"))["front"].quality


def test_a_refused_message_of_an_unknown_source_is_nobodys() -> None:
    by = gate()
    by.reject("stranger")
    assert "stranger" not in judged(by)


def test_judging_is_deterministic_and_cheap() -> None:
    by = gate(*(source.name for source in SOURCES))
    used = ("front", "rear", "top")
    assert judged(by, used) == judged(by, used)
    begin = time.process_time()
    for _ in range(20):
        judged(by, used)
    # Under 0.2 ms on two cores; the bound only catches a change of kind.
    assert (time.process_time() - begin) / 20 < 0.02
