"""How fast the gate reacts: figures by hand, and a small drive through the whole path."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.evaluation.protocol import ReactionRule, load_protocol
from mm_fusion_ros.evaluation.reactions import (
    Traces,
    conditions,
    frames_until,
    read,
    run_sequences,
    score,
    text,
)
from mm_fusion_ros.evaluation.reactions_page import page, plain_reactions
from mm_fusion_ros.evaluation.scoring import CAMERA, LIDAR

PROTOCOL = load_protocol()
FEW = replace(
    PROTOCOL,
    faults={"camera": {"absent": 1, "black": 1, "frozen": 1}, "lidar": {"drop": 5}},
    reactions=replace(PROTOCOL.reactions, frames=12, onset=4, end=8, severity=5),
    image_size=(384, 288),
)
INFINITE = float("inf")


def test_frames_are_counted_from_the_first_and_it_counts() -> None:
    trust = [1.0, 1.0, 0.8, 0.4, 0.1, 1.0]
    half = [0.5] * 6
    assert frames_until(trust, half, 2, up=False) == 2.0
    assert frames_until(trust, half, 4, up=False) == 1.0
    assert frames_until(trust, [0.9] * 6, 3, up=True) == 3.0
    assert frames_until(trust, [0.01] * 6, 0, up=False) == INFINITE


def test_every_kind_strikes_once_and_what_does_not_come_is_not_asked() -> None:
    names = [each.name for each in conditions(FEW)]
    assert names == ["camera.black", "camera.frozen", "lidar.drop:5"]
    assert all(c.group != "both" for c in conditions(PROTOCOL))


def drive(seed: int, delay: int, back: int, alarm: bool = False) -> Traces:
    """A camera that is noticed to be black after `delay` frames and believed after `back`."""
    rule = FEW.reactions
    clean = [1.0] * rule.frames
    if alarm:
        clean[2] = 0.2
    black = list(clean)
    black[rule.onset + delay - 1 : rule.end + back - 1] = [0.0] * (
        rule.end + back - rule.onset - delay
    )
    never = [1.0] * rule.frames
    return Traces(
        seed,
        {CAMERA: clean, LIDAR: never},
        {"camera.black": black, "camera.frozen": black, "lidar.drop:5": never},
        {CAMERA: [0.4] * rule.frames, LIDAR: [0.6] * rule.frames},
        {"camera.black": [0.1 * seed] * rule.frames, "camera.frozen": black, "lidar.drop:5": black},
    )


def test_figures_are_those_of_the_slow_tenth() -> None:
    traces = [drive(seed, delay=1, back=2) for seed in range(9)] + [drive(9, delay=4, back=2)]
    result = score(traces, FEW)
    by_name = {each.condition.name: each for each in result.faults}
    black, never = by_name["camera.black"], by_name["lidar.drop:5"]
    # Nine of ten within a frame: the quantile of 0.9 lies beyond them.
    assert black.notice == 4.0 and black.recover == 2.0
    assert black.noticed.value == pytest.approx(0.9) and black.recovered.value == 1.0
    assert never.notice == INFINITE and never.noticed.value == 0.0
    # What was never lost is back at once.
    assert never.recover == 1.0
    assert result.faults[0] is never
    assert black.share == pytest.approx([0.45] * FEW.reactions.frames)  # 0, 0.1 to 0.9
    assert never.clean_share == pytest.approx([0.6] * FEW.reactions.frames)
    assert result.false_alarms[CAMERA].value == 0.0


def test_false_alarms_are_the_part_of_the_clean_frames() -> None:
    traces = [drive(0, 1, 1), drive(1, 1, 1, alarm=True)]
    alarms = score(traces, FEW).false_alarms
    assert alarms[CAMERA].value == pytest.approx(1 / 24) and alarms[LIDAR].value == 0.0


def test_the_bars_hold_for_what_costs_enough() -> None:
    costs = {"camera.black": 0.9, "camera.frozen": 0.2, "lidar.drop:5": None}
    result = score([drive(0, 1, 1)], FEW, costs)
    assert [each.condition.name for each in result.asked] == ["camera.black"]
    assert "1 of 1 faults" in text(result, FEW, "title")
    assert len(score([drive(0, 1, 1)], FEW).asked) == 3


def test_the_rule_must_make_sense() -> None:
    with pytest.raises(ValueError, match="onset"):
        ReactionRule(onset=20, end=10)


def test_a_drive_is_watched_from_the_samples_on(untrained_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
    options = {"count": 1, "split": "validation", "processes": 1}
    (trace,) = run_sequences(str(untrained_model), FEW, tmp_path, **options)  # type: ignore[arg-type]
    rule = FEW.reactions
    healthy = np.array(trace.clean[CAMERA])
    assert len(healthy) == rule.frames and healthy.min() > 0.5
    for name in ("camera.black", "camera.frozen", "lidar.drop:5"):
        trust = np.array(trace.struck[name])
        kind = name.split(".")[0]
        assert trust[: rule.onset] == pytest.approx(trace.clean[kind][: rule.onset])
        assert trust[rule.onset : rule.end].min() < 0.5
    # The frame before is the first that a frozen camera repeats: the third equal one is noticed.
    assert trace.struck["camera.frozen"][rule.onset + 1] == 0.0
    assert trace.struck["camera.black"][rule.onset] == 0.0
    assert trace.struck["camera.black"][rule.end] > 0.5

    # While nobody believes the camera, all is the lidar's; before, it is as without the fault.
    share = trace.struck_share["camera.black"]
    assert len(share) == rule.frames and share[rule.onset] == 0.0
    assert share[: rule.onset] == trace.clean_share[CAMERA][: rule.onset]
    both = np.array(trace.clean_share[CAMERA]) + np.array(trace.clean_share[LIDAR])
    assert both == pytest.approx(np.ones(rule.frames))

    # It is read again, and not made again.
    seed = PROTOCOL.seeds["validation"][0]
    assert read(tmp_path / "sequences", seed) == trace or vars(
        read(tmp_path / "sequences", seed)
    ) == vars(trace)
    result = score([trace], FEW)
    json.dumps(plain_reactions(result), allow_nan=False)
    html = page(result, FEW, title="t", facts={"model": "m"})
    assert "camera.frozen" in html and "<script" not in html
    with pytest.raises(ValueError, match="another model"):
        run_sequences(str(untrained_model), replace(FEW, digest="x"), tmp_path, **options)  # type: ignore[arg-type]
