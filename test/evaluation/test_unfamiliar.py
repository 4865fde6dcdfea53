"""Whether what was never trained on is noticed: the areas, and the part as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.evaluation import unfamiliar
from mm_fusion_ros.evaluation.archive import json_path
from mm_fusion_ros.evaluation.metrics import area
from mm_fusion_ros.evaluation.protocol import load_protocol
from mm_fusion_ros.evaluation.unfamiliar import QUESTIONS, Record, doubts, score
from mm_fusion_ros.outputs import FusedObject
from mm_fusion_ros.perception.detector import NOTHING, Detections

PROTOCOL = load_protocol()


def thing(x: float, probability: float) -> FusedObject:
    return FusedObject(
        track_id=-1, class_name="car", class_probability=probability, colour="unknown",
        colour_probability=0.0, centre=np.array([x, 0.0, 0.5]), size=np.ones(3), yaw=0.0,
        velocity=np.zeros(3), position_covariance=np.eye(3), support={},
    )  # fmt: skip


def test_the_area_counts_pairs_in_the_right_order_and_halves_ties() -> None:
    usual, strange = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0])
    # Of six pairs 1 < 2, 2 = 2, 1 2 3 < 4: 4.5 of 6.
    assert area(usual, strange) == pytest.approx(4.5 / 6)
    # The 2 and the 4 counted as often as weighed: (1.5 * 3 + 3 * 1) of 3 * 4.
    assert area(usual, strange, None, np.array([3, 1])) == pytest.approx(7.5 / 12)
    assert area(usual, strange, np.array([0, 0, 2]), None) == pytest.approx(0.5)
    assert np.isnan(area(usual, np.zeros(0)))


def test_doubt_is_what_no_answer_near_a_place_takes_away() -> None:
    said = Detections((thing(5.0, 0.9), thing(6.0, 0.4), thing(20.0, 0.7)), {}, {})
    places = np.array([[5.5, 0.0, 0.0], [20.5, 0.0, 0.0], [40.0, 0.0, 0.0]])
    assert doubts(said, places) == pytest.approx([0.1, 0.3, 1.0])
    assert doubts(NOTHING, places) == [1.0] * 3


def test_each_question_is_answered_by_its_own_sensor() -> None:
    def record(seed: int) -> Record:
        samples = {"camera|usual": [0.0, 0.1], "camera|texture": [1.0, 2.0],
                   "lidar|usual": [0.5], "lidar|pattern": [0.5]}  # fmt: skip
        places = {"lidar|usual": [0.5, 0.6], "lidar|thing": [0.1], "both|usual": [0.2, 0.8],
                  "both|thing": [0.5]}  # fmt: skip
        return Record(seed, samples, places)

    result = score([record(seed) for seed in range(4)], PROTOCOL)
    values = {question: estimate.value for question, estimate in result.items()}
    assert list(values) == list(QUESTIONS)
    assert list(values.values()) == pytest.approx([1.0, 0.5, 0.0, 0.5])
    said = unfamiliar.text(result, PROTOCOL, "title")
    assert said.count("NOT reached") == 3
    plain = unfamiliar.plain_unfamiliar(result, PROTOCOL)
    assert plain["auroc"]["camera, other surfaces"]["value"] == 1.0


@pytest.mark.parametrize("processes", [1])
def test_it_runs_and_goes_on_where_it_stopped(
    untrained_model: Path, tmp_path: Path, processes: int
) -> None:
    def run(count: int) -> list[Record]:
        return unfamiliar.run_unfamiliar(
            str(untrained_model), PROTOCOL, tmp_path, count=count, split="validation",
            processes=processes,
        )  # fmt: skip

    (first,) = run(1)
    assert {key.split("|")[1] for key in first.samples} == {
        "usual", "texture", "pattern", "thing",
    }  # fmt: skip
    made = json_path(tmp_path / unfamiliar.SEEDS, first.seed).stat().st_mtime_ns
    records = run(2)
    assert records[0].samples == first.samples
    assert json_path(tmp_path / unfamiliar.SEEDS, first.seed).stat().st_mtime_ns == made
    assert len(records[1].places["both|thing"]) == len(records[1].places["lidar|thing"]) > 0
