"""Strategies side by side, on networks of random weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.evaluation import compare
from mm_fusion_ros.evaluation.bootstrap import Estimate
from mm_fusion_ros.evaluation.compare import Comparison, Contender, verdicts, wanted
from mm_fusion_ros.evaluation.protocol import CompareRule, load_protocol

PROTOCOL = load_protocol()


def estimate(value: float) -> Estimate:
    return Estimate(value, np.full(4, value), 5)


def contender(name: str, ahead: float, relative: float, fuse_ms: float) -> Contender:
    both = {key: estimate(ahead) for key in compare.FIGURES}
    struck = {
        each: {key: estimate(relative) for key in compare.FIGURES} for each in wanted(PROTOCOL)[1:]
    }
    under = {each: {k: estimate(0.5 * relative) for k in compare.FIGURES} for each in struck}
    return Contender(name, ("1",), both, (ahead,), both, under, struck, fuse_ms, 2.0 * fuse_ms)


def test_the_protocol_names_conditions_that_there_are() -> None:
    assert [each.name for each in wanted(PROTOCOL)] == ["clean", *PROTOCOL.compare.faults]
    assert len(PROTOCOL.compare.faults) == 6
    other = replace(PROTOCOL, compare=CompareRule(faults=("camera.fog:9",)))
    with pytest.raises(ValueError, match=r"camera\.fog:9"):
        wanted(other)


def test_the_first_is_held_against_the_best_of_the_others() -> None:
    first = contender("gated", 0.0, 0.9, 12.0)
    good, cheap = contender("tensor", 0.02, 0.95, 30.0), contender("concat", -0.1, 0.5, 10.0)
    result = Comparison(5, [first, good, cheap])
    lines = verdicts(result, PROTOCOL)
    assert "tensor" in lines[0] and lines[0].endswith("NOT reached")  # 0.02 ahead of 0.01
    assert all("tensor" in line and "NOT" in line for line in lines[1:7])
    assert result.dearer == pytest.approx(1.2) and lines[7].endswith(": reached")
    assert result.dearer_as_run == pytest.approx(0.6)
    alone = Comparison(5, [first, contender("late", -0.2, 0.2, float("nan"))])
    lines = verdicts(alone, PROTOCOL)
    assert len(lines) == 7 and all(line.endswith(": reached") for line in lines)


def test_models_are_compared_on_the_same_scenes(untrained_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
    late = tmp_path / "late"
    shutil.copytree(untrained_model, late)
    manifest = json.loads((late / "manifest.json").read_text())
    manifest |= {"name": "mm_fusion late", "inputs": {**manifest["inputs"], "fusion": "late"}}
    del manifest["files"]["fusion.onnx"]
    (late / "manifest.json").write_text(json.dumps(manifest))
    few = replace(
        PROTOCOL, image_size=(384, 288), min_probability=0.001,
        compare=CompareRule(faults=("camera.black", "lidar.absent")),
    )  # fmt: skip
    models = [str(untrained_model), str(late)]
    # In processes of their own, where the clean condition is an equal one, not the same.
    options = {"count": 2, "split": "validation", "processes": 2}
    result = compare.compare(models, few, tmp_path / "out", **options)  # type: ignore[arg-type]
    gated, other = result.contenders
    assert (gated.name, other.name) == ("untrained", "late")
    assert gated.ahead["primary"].value == 0.0
    assert gated.fuse_ms > 0.0 and np.isnan(other.fuse_ms)
    assert [c.name for c in other.relative] == ["camera.black", "lidar.absent"]
    json.dumps(compare.plain_comparison(result, few), allow_nan=False)
    assert "late" in compare.text(result, few, "title")
    assert "<script" not in compare.page(result, few, title="t", facts={})
    # The same weights again: a strategy's figures are means over its models.
    twice = compare.compare([*models, str(late)], few, tmp_path / "out", **options)  # type: ignore[arg-type]
    again = twice.contenders[1]
    assert again.versions == other.versions * 2 and len(set(again.by_model)) == 1
    assert again.clean["secondary"].interval == other.clean["secondary"].interval


def test_each_group_is_judged_by_its_own_figure() -> None:
    first = contender("gated", 0.0, 0.9, 12.0)
    figures = {"camera": "secondary", "lidar": "primary"}
    assert {c.group: compare.figure_of(c, PROTOCOL) for c in first.relative} == figures
    weaker = {
        c: f | {"secondary": estimate(0.3)} if c.group == "camera" else f
        for c, f in first.relative.items()
    }
    mixed = replace(first, relative=weaker)
    assert mixed.kept("camera", PROTOCOL).value == pytest.approx(0.3)
    assert mixed.kept("lidar", PROTOCOL).value == pytest.approx(0.9)
    assert mixed.kept("all", PROTOCOL).value == pytest.approx(0.6)  # three of each
