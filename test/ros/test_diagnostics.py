"""Levels, causes and the report, with no clock and no ROS running."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from mm_fusion_ros.outputs import ActionTarget, FusedOutput, Intent, Reason, Reliability
from mm_fusion_ros.ros.answers import values_of
from mm_fusion_ros.ros.diagnostics import CauseLog, Health, next_level
from mm_fusion_ros.samples import Modality

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def answer(trust: float, reason: Reason = Reason.OK, by_deadline: bool = False) -> FusedOutput:
    sources = {"lidar": Reliability("lidar", Modality.LIDAR, trust, 1.0, reason)}
    target = ActionTarget(go=False, intent=Intent.NONE)
    return FusedOutput(0, (), sources, None, target, None, by_deadline)


def statuses(health: Health, seconds: float = 1.0, **more: object) -> dict[str, DiagnosticStatus]:
    given = {"arrivals": {"lidar": 10}, "counters": {}, "stages": {}} | more
    report = health.report(0, seconds, **given)  # type: ignore[arg-type]
    return {status.name: status for status in report.status}


def test_a_trust_that_wavers_about_a_threshold_does_not_flicker() -> None:
    level, seen = OK, []
    for trust in [0.52, 0.49, 0.55, 0.48, 0.59, 0.61, 0.55]:
        level = next_level(level, trust)
        seen.append(level)
    # Down at 0.49 (< 0.5); 0.55 and 0.59 are not yet 0.6; up at 0.61; 0.55 is still above 0.5.
    assert seen == [OK, WARN, WARN, WARN, WARN, OK, OK]


def test_an_error_ends_only_well_above_where_it_began() -> None:
    assert next_level(OK, 0.04) == ERROR
    assert next_level(ERROR, 0.10) == ERROR
    assert next_level(ERROR, 0.20) == WARN
    assert next_level(ERROR, 0.90) == OK


def test_a_cause_is_logged_once_a_minute_however_many_messages_it_costs() -> None:
    lines: list[str] = []
    log = CauseLog(lines.append)
    for message in range(1000):
        log.note("camera", "frame", "frame_id is empty", message * 0.033)
    assert lines == ["camera: frame: frame_id is empty"]
    log.note("camera", "encoding", "yuv9", 33.0)
    assert len(lines) == 2
    # The last was at 33 s; more than 60 s of quiet later it is news again.
    log.note("camera", "frame", "frame_id is empty", 94.0)
    assert len(lines) == 3


def test_counters_that_grow_are_causes_and_those_of_the_design_are_not() -> None:
    lines: list[str] = []
    log = CauseLog(lines.append)
    log.follow({"camera": {"passed_over": 20, "future": 0}}, 0.0)
    assert lines == []
    log.follow({"camera": {"passed_over": 40, "future": 3}}, 1.0)
    assert len(lines) == 1 and lines[0].startswith("camera: future")


def test_the_report_gives_rates_latency_percentiles_and_drops() -> None:
    health = Health("fusion", "robot")
    for latency_ms in range(1, 101):
        health.observe(answer(0.9), latency_ms * 1_000_000)
    report = statuses(
        health,
        seconds=10.0,
        counters={"lidar": {"stamp": 4}},
        stages={"encode": {"median_ms": 4.0}},
    )
    fusion = values_of(report["fusion: fusion"])
    # 100 answers in 10 s; of 1..100 ms the middle is 50.5 and the 99th percentile 99.01.
    assert (fusion["rate_hz"], fusion["latency.median_ms"]) == ("10.00", "50.50")
    assert fusion["latency.p99_ms"] == "99.01"
    assert fusion["stage.encode.median_ms"] == "4.00"
    lidar = report["fusion: lidar"]
    assert values_of(lidar)["count.stamp"] == "4" and values_of(lidar)["rate_hz"] == "1.00"
    assert lidar.level == OK


def test_a_doubted_source_warns_and_then_recovers_with_its_reason_told() -> None:
    health = Health("fusion", "robot")
    health.observe(answer(0.3, Reason.SPARSE), None)
    lidar = statuses(health)["fusion: lidar"]
    assert (lidar.level, lidar.message) == (WARN, "sparse")
    health.observe(answer(0.55), None)
    lidar = statuses(health)["fusion: lidar"]
    assert (lidar.level, lidar.message) == (WARN, "recovering")
    health.observe(answer(0.7), None)
    assert statuses(health)["fusion: lidar"].level == OK


def test_ticks_by_deadline_only_warn_that_the_anchor_is_silent() -> None:
    health = Health("fusion", "robot")
    health.observe(answer(0.0, Reason.MISSING, by_deadline=True), None)
    fusion = statuses(health)["fusion: fusion"]
    assert fusion.level == WARN and "anchor is silent" in fusion.message


def test_an_alarm_is_an_error_and_a_source_never_heard_is_listed() -> None:
    health = Health("fusion", "robot")
    report = statuses(health, alarm="no answer", arrivals={"gps": 0})
    assert report["fusion: fusion"].level == ERROR
    assert report["fusion: gps"].level == DiagnosticStatus.STALE
