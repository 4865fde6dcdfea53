"""The table, the page and the JSON of an exam whose figures are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mm_fusion_ros.evaluation.charts import Line, unit_chart
from mm_fusion_ros.evaluation.pictures import Example, f1, worst
from mm_fusion_ros.evaluation.protocol import BootstrapRule, load_protocol
from mm_fusion_ros.evaluation.records import Findings, Truths
from mm_fusion_ros.evaluation.report import page
from mm_fusion_ros.evaluation.scoring import SceneRecord, score, stage_figures
from mm_fusion_ros.evaluation.table import plain_score, text_table

# Fewer replicates: the figures do not depend on them.
PROTOCOL = replace(load_protocol(), bootstrap=BootstrapRule(replicates=20, seed=1))
Make = Callable[..., Truths]
MakeFound = Callable[..., Findings]


@pytest.fixture
def records(truths: Make, findings: MakeFound) -> list[SceneRecord]:
    """Ten equal scenes: both find all with colour, lidar all without, camera half with colour."""
    places = [{"x": 5.0}, {"x": 10.0}, {"x": 15.0}, {"x": 20.0}]
    true = truths(*places)
    found = {
        "both": findings(*[{**place, "p": 0.9} for place in places]),
        "lidar": findings(
            *[{**place, "p": 0.9, "colour": "unknown", "q": 0.0} for place in places]
        ),
        "camera": findings(*[{**place, "p": 0.9} for place in places[:2]]),
    }
    return [SceneRecord(seed, true, found, {"detect": [float(seed)]}) for seed in range(10)]


def test_the_figures_are_those_that_were_put_in(records: list[SceneRecord]) -> None:
    result = score(records, PROTOCOL)
    assert result.scenes == 10
    assert result.asked == dict.fromkeys(PROTOCOL.figures, 40)
    primary = {name: subset.precision["primary"].overall for name, subset in result.subsets.items()}
    secondary = {n: subset.precision["secondary"].overall for n, subset in result.subsets.items()}
    assert primary["both"].value == pytest.approx(1.0)
    assert primary["lidar"].value == 0.0
    # Half found and nothing else: 40 of the 90 levels above 0.1.
    assert primary["camera"].value == pytest.approx(40 / 90)
    assert secondary["lidar"].value == pytest.approx(1.0)
    # Equal scenes: no replicate differs.
    assert primary["camera"].interval == pytest.approx((40 / 90, 40 / 90))


def test_a_bar_is_reached_by_the_gain_over_the_sensor_alone(records: list[SceneRecord]) -> None:
    bars = {bar.over: bar for bar in score(records, PROTOCOL).bars}
    assert bars["lidar"].gain.value == pytest.approx(1.0)
    assert bars["lidar"].least == 0.05
    assert bars["lidar"].reached
    swapped = [
        SceneRecord(r.seed, r.truths, {**r.found, "both": r.found["camera"]}, r.milliseconds)
        for r in records
    ]
    bars = {bar.over: bar for bar in score(swapped, PROTOCOL).bars}
    assert bars["camera"].gain.value == 0.0
    assert not bars["camera"].reached


def test_the_table_says_what_was_asked_and_what_is_in_the_mean(records: list[SceneRecord]) -> None:
    text = text_table(score(records, PROTOCOL), PROTOCOL, "title")
    assert text.startswith("title")
    assert "mAP_attr in view: both - lidar = +1.000 [+1.000, +1.000], bar +0.05: reached" in text
    assert "objects asked for: mAP_attr in view 40" in text
    assert "classes in the mean of mAP_attr in view: 1 (car)" in text


def test_json_holds_every_figure_and_no_nan(
    records: list[SceneRecord], truths: Make, findings: MakeFound
) -> None:
    content = plain_score(score(records, PROTOCOL), PROTOCOL)
    assert content["subsets"]["lidar"]["mAP"]["primary"]["value"] == 0.0
    assert content["bars"][0]["reached"] is True
    json.dumps(content, allow_nan=False)
    # A scene with nothing in it measures nothing: null, and no crash.
    empty = SceneRecord(0, truths(), {n: findings() for n in ("both", "lidar", "camera")}, {})
    content = plain_score(score([empty], PROTOCOL), PROTOCOL)
    assert content["subsets"]["both"]["mAP"]["primary"]["value"] is None
    json.dumps(content, allow_nan=False)


def test_stages_are_summed_up_by_median() -> None:
    values = {"detect": [1.0, 2.0, 6.0], "never": []}
    empty: dict[str, Findings] = {}
    record = SceneRecord(0, None, empty, values)  # type: ignore[arg-type]
    assert stage_figures([record]) == {
        "detect": {"median_ms": 2.0, "p99_ms": pytest.approx(5.92), "count": 3.0}
    }


def test_the_worst_scene_comes_first(truths: Make, findings: MakeFound) -> None:
    true = truths({"x": 5.0}, {"x": 10.0}, {"x": 15.0})

    def record(seed: int, *found: dict[str, float]) -> SceneRecord:
        return SceneRecord(seed, true, {"both": findings(*found)}, {})

    good = record(0, {"x": 5.0, "p": 0.9}, {"x": 10.0, "p": 0.9}, {"x": 15.0, "p": 0.9})
    # One of three found, one wrong answer; the improbable one is not judged: 2 / (3 + 1 + 1).
    bad = record(1, {"x": 5.0, "p": 0.9}, {"x": 30.0, "p": 0.8}, {"x": 35.0, "p": 0.2})
    little = SceneRecord(2, truths({"x": 5.0}), {"both": findings()}, {})
    assert f1(good, PROTOCOL) == 1.0
    assert f1(bad, PROTOCOL) == pytest.approx(0.4)
    assert [r.seed for r in worst([good, bad, little], PROTOCOL, 5)] == [1, 0]


def test_the_page_is_one_file_with_everything_escaped(records: list[SceneRecord]) -> None:
    html = page(
        score(records, PROTOCOL), PROTOCOL, title="<exam> & co", facts={"model": "a<b"},
        pictures=[Example(3, 'scene "3"', "QUJD")],
    )  # fmt: skip
    assert "&lt;exam&gt; &amp; co" in html
    assert "a&lt;b" in html
    assert "data:image/jpeg;base64,QUJD" in html
    assert 'alt="scene &quot;3&quot;"' in html
    for outside in ("http://", "https://", "<script", "<link"):
        assert outside not in html


def test_a_chart_draws_each_point_inside_its_frame() -> None:
    line = Line("line", "both", np.array([0.0, 1.0]), np.array([1.0, 0.0]), dots=True)
    svg = unit_chart("t", "x", "y", [line])
    # x runs from 44 to 340 - 12 = 328; y from 260 - 44 + 6 = 222 up by 204 to 18.
    assert 'points="44.0,18.0 328.0,222.0"' in svg
    assert svg.count("<circle") == 2
