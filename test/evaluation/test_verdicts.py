"""Every bar in one list, from each part of the exam."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros import cli
from mm_fusion_ros.evaluation import command, verdicts
from mm_fusion_ros.evaluation.bootstrap import Estimate
from mm_fusion_ros.evaluation.protocol import load_protocol
from mm_fusion_ros.evaluation.verdicts import Verdict, overview, text

PROTOCOL = load_protocol()


def estimate(value: float) -> Estimate:
    return Estimate(value, np.full(10, value), 3)


def test_what_is_asked_of_the_unfamiliar_and_of_the_red_cube() -> None:
    said = verdicts.of_unfamiliar({"one": estimate(0.9), "other": estimate(0.7)}, PROTOCOL)
    assert [each.reached for each in said] == [True, False]
    assert "0.900" in said[0].figure and said[0].bar == ">= 0.8"
    accuracy = {name: {"a": 0.5, "b": 0.3} for name in PROTOCOL.red_cube.without}
    accuracy["gated"] = {"a": 1.0, "b": 0.9}
    cube = verdicts.of_red_cube(accuracy, PROTOCOL)
    assert [each.reached for each in cube] == [True, True, False]
    accuracy["camera alone"]["a"] = 0.6
    assert not verdicts.of_red_cube(accuracy, PROTOCOL)[1].reached


def test_the_first_page_counts_and_links_and_has_what_is_missed_first() -> None:
    parts = {
        "clean": [Verdict("good", "0.9 [0.8, 1.0]", ">= 0.5", True),
                  Verdict("bad <b>", "0.1", ">= 0.5", False)],
        "under faults": [Verdict("fine", "1", ">= 0", True)],
    }  # fmt: skip
    html = overview(parts, {"clean": "clean/report.html"}, {"model": "m"}, "title")
    assert "2 of 3 bars are reached" in html and 'href="clean/report.html"' in html
    assert html.index("bad &lt;b&gt;") < html.index("good") and "bad <b>" not in html
    said = text([each for part in parts.values() for each in part])
    assert said.startswith("2 of 3 bars\nNOT reached")


def test_the_whole_exam_runs_and_every_part_leaves_its_bars(
    untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # Two parts of it: all of them take minutes, and differ in nothing that matters here.
    monkeypatch.setattr(command, "WHOLE", {"clean": "", "unfamiliar": "unfamiliar"})
    arguments = ["--model", str(untrained_model), "--split", "validation", "--n", "2"]
    assert (
        cli.main(["eval", "--whole", *arguments, "--processes", "1", "--out", str(tmp_path)]) == 0
    )
    printed = capsys.readouterr().out
    assert "NOT reached" in printed and "bars" in printed
    content = json.loads((tmp_path / command.RESULTS).read_text())
    names = [each["name"] for each in content[verdicts.KEY]]
    assert "ECE of the class probability" in names
    assert any(name.startswith("unfamiliar: ") for name in names)
    html = (tmp_path / command.PAGE).read_text()
    assert 'href="clean/report.html"' in html and "bars are reached" in html


def test_the_parts_under_faults_and_of_reactions_name_their_bars() -> None:
    from mm_fusion_ros.evaluation.reactions import Reactions
    from mm_fusion_ros.evaluation.robustness import Bar, Robustness

    robust = Robustness(
        3, [], [Bar("mRA", estimate(0.8), 0.75)], {}, {"primary": [], "secondary": []}
    )
    said = verdicts.of_robustness(robust, PROTOCOL)
    assert [each.name.split(",")[0] for each in said] == [
        "mRA",
        "floor",
        "floor",
        "ECE under fault",
        "90 % ellipse under fault",
    ]
    assert all(each.reached for each in said)
    reactions = Reactions(3, [], [], {"camera": estimate(0.02), "lidar": estimate(0.0)})
    alarms = verdicts.of_reactions(reactions, PROTOCOL)[2:]
    assert [each.reached for each in alarms] == [False, True]
