"""The exam under faults: its cells, its records, its figures."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mm_fusion_ros.evaluation import archive, robustness
from mm_fusion_ros.evaluation.archive import FaultedRecord
from mm_fusion_ros.evaluation.bootstrap import Estimate
from mm_fusion_ros.evaluation.conditions import (
    CLEAN,
    CLEAN_NAME,
    Condition,
    conditions_of,
    limited,
    moved,
)
from mm_fusion_ros.evaluation.faulted import SCENES, check_fingerprint, run_faulted
from mm_fusion_ros.evaluation.pictures import (
    examples_under_faults,
    f1,
    worst_under_faults,
)
from mm_fusion_ros.evaluation.protocol import FloorRule, MotionRule, load_protocol
from mm_fusion_ros.evaluation.records import Findings, Truths
from mm_fusion_ros.evaluation.robustness_page import page, plain_robustness
from mm_fusion_ros.evaluation.scoring import BOTH, CAMERA, LIDAR, SceneRecord
from mm_fusion_ros.evaluation.watching import watched
from mm_fusion_ros.faults.injection import kinds
from mm_fusion_ros.samples import CameraFrame, LidarScan, Modality

PROTOCOL = load_protocol()
MOTION = MotionRule(1.0, 0.3, 2.0)
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])


def frame(value: int, stamp_ns: int = 10**9) -> CameraFrame:
    image = np.full((48, 64, 3), value, np.uint8)
    return CameraFrame(stamp_ns, "optical", "front", image, K, np.eye(4))


def scan() -> LidarScan:
    rng = np.random.default_rng(0)
    return LidarScan(
        10**9, "lidar", "lidar", rng.normal(size=(500, 4)).astype(np.float32), np.eye(4)
    )


def truths(*places: float, kind: int = 0) -> Truths:
    n = len(places)
    centre = np.array([[x, 0.0, 0.5] for x in places]).reshape(n, 3)
    return Truths(
        np.full(n, kind), np.zeros(n, np.int64), centre, np.ones((n, 3)), np.zeros(n),
        np.ones(n, bool), np.ones(n, bool),
    )  # fmt: skip


def findings(*places: float, kind: int = 0, probability: float = 0.9) -> Findings:
    n = len(places)
    centre = np.array([[x, 0.0, 0.5] for x in places]).reshape(n, 3)
    return Findings(
        np.full(n, kind), np.full(n, probability), np.zeros(n, np.int64), np.ones(n), centre,
        np.ones((n, 3)), np.zeros(n), np.tile(np.eye(2), (n, 1, 1)), np.ones(n, bool),
    )  # fmt: skip


def test_the_protocol_names_every_fault_of_camera_and_lidar_that_one_sample_can_have() -> None:
    conditions = conditions_of(PROTOCOL)
    assert conditions[0] is CLEAN
    names = [condition.name for condition in conditions]
    assert len(set(names)) == len(names)
    for group, modality in (("camera", Modality.CAMERA), ("lidar", Modality.LIDAR)):
        asked = {c.kind for c in conditions if c.group == group}
        # What is about a stream of samples, or is another way of saying absent, is no cell.
        others = {"loss", "duplicate", "reorder", "future", "time_offset", "empty", "invalid"}
        assert asked == kinds(modality).keys() - others
    held_out = {c.kind for c in conditions if c.kind and kinds(c.modality)[c.kind].held_out}
    assert held_out == {
        "defocus", "lens_dirt", "rain", "ghost_points", "motion_distortion", "time_offset",
    }  # fmt: skip


def test_the_same_seed_strikes_alike_and_another_source_otherwise() -> None:
    noise = Condition("camera", "noise", 3)
    never = pytest.fail
    first, again = (noise.strike(frame(100), 7, MOTION, never) for _ in range(2))
    other = noise.strike(replace(frame(100), source="rear"), 7, MOTION, never)
    assert first is not None and again is not None and other is not None
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)


def test_what_is_absent_gives_nothing_and_what_is_frozen_gives_what_was() -> None:
    assert Condition("lidar", "absent").strike(scan(), 1, MOTION, pytest.fail) is None
    asked = []

    def earlier(seconds: float) -> CameraFrame:
        asked.append(seconds)
        return frame(50, 10**9 - round(seconds * 1e9))

    frozen = Condition("camera", "frozen").strike(frame(200), 1, MOTION, earlier)
    late = Condition("both", "time_offset", 4).strike(frame(200), 1, MOTION, earlier)
    assert frozen is not None and late is not None
    assert (frozen.image == 50).all() and (late.image == 50).all()
    assert frozen.stamp_ns == late.stamp_ns == 10**9
    # The protocol's age, and the fourth level of the offset: 200 ms.
    assert asked == [2.0, 0.2]


def test_the_robot_was_behind_and_turned_the_other_way() -> None:
    now_from_then = moved(2.0, MotionRule(1.0, 0.0, 2.0))
    assert now_from_then[:3, 3] == pytest.approx([-2.0, 0.0, 0.0])
    curved = moved(2.0, MOTION)
    # 2 s at 0.3 rad/s: it pointed 0.6 rad to the right of now, behind and to the left.
    assert np.arctan2(curved[1, 0], curved[0, 0]) == pytest.approx(-0.6)
    assert curved[0, 3] < 0.0 and np.hypot(*curved[:2, 3]) == pytest.approx(1.97, abs=0.01)


def test_a_lidar_is_asked_only_where_it_still_looks() -> None:
    ahead_and_behind = truths(10.0, -10.0)
    found = {LIDAR: findings(10.0, -10.0)}
    narrow = Condition("lidar", "field_of_view", 3)
    asked, answered = limited(ahead_and_behind, found, narrow, 2.0)
    assert asked.counts.tolist() == [True, False]
    assert len(answered[LIDAR].kind) == 1
    whole, same = limited(ahead_and_behind, found, Condition("lidar", "fog", 3), 2.0)
    assert whole.counts.all() and len(same[LIDAR].kind) == 2


def test_an_answer_just_beyond_the_sector_still_belongs_to_the_object_within() -> None:
    within, beyond = np.radians(29.5), np.radians(30.5)
    asked, found = truths(0.0), findings(0.0, 0.0)
    asked.centre[0, :2] = 20.0 * np.cos(within), 20.0 * np.sin(within)
    found.centre[0, :2] = 20.0 * np.cos(beyond), 20.0 * np.sin(beyond)
    found.centre[1, :2] = 30.0 * np.cos(beyond), 30.0 * np.sin(beyond)
    narrow = Condition("lidar", "field_of_view", 5)  # 60 degrees
    _, answered = limited(asked, {LIDAR: found}, narrow, 2.0)
    assert np.array_equal(answered[LIDAR].centre, found.centre[:1])


def record(seed: int = 200_000) -> FaultedRecord:
    return FaultedRecord(
        seed, truths(10.0, 20.0),
        {
            CLEAN_NAME: {
                BOTH: findings(10.0, 20.0), CAMERA: findings(10.0), LIDAR: findings(10.0, 20.0),
            },
            "camera.fog:3": {BOTH: findings(10.0), CAMERA: findings()},
        },
        {"clean|camera": 1.0, "clean|lidar": 0.9, "camera.fog:3": 0.25},
    )  # fmt: skip


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    written = record()
    archive.write(written, tmp_path)
    read = archive.read(tmp_path, written.seed)
    assert {c: set(s) for c, s in read.found.items()} == {
        c: set(s) for c, s in written.found.items()
    }
    for condition, subsets in written.found.items():
        for subset, found in subsets.items():
            for name, values in vars(found).items():
                back = getattr(read.found[condition][subset], name)
                assert back == pytest.approx(values, abs=1e-6)
                assert back.dtype == values.dtype
    assert np.array_equal(read.truths.centre, written.truths.centre)
    assert read.trust == written.trust


def test_what_is_lost_under_a_fault_shows_and_the_sensor_that_was_not_struck_is_the_floor() -> None:
    records = [record(seed) for seed in range(6)]
    cell = robustness.score_cell(records, PROTOCOL, Condition("camera", "fog", 3))
    # One of two objects is still found; the lidar alone, which the fog spares, finds both.
    assert cell.best("secondary") == LIDAR
    assert cell.precision["secondary"][LIDAR].value == pytest.approx(1.0)
    assert 0.3 < cell.relative("secondary").value < 0.6
    above = cell.above_floor("secondary", FloorRule())
    assert above.value == pytest.approx(cell.precision["secondary"][BOTH].value - 0.98)
    rule = replace(PROTOCOL.robustness, missing={})
    rule = replace(rule, mean_relative={"camera": rule.mean_relative["camera"]})
    protocol = replace(PROTOCOL, robustness=rule)
    result = robustness.summed_up([cell], protocol, len(records))
    assert result.fallen["secondary"] == [cell]
    bar = next(bar for bar in result.bars if "camera" in bar.name)
    assert not bar.reached and "NOT reached" in robustness.text(result, protocol, "title")
    assert cell.detected == 1.0 and [c.condition.name for c in result.noticed] == ["camera.fog:3"]
    html = page(result, protocol, title="a < b", facts={"model": "m"})
    assert "a &lt; b" in html and "camera: fog" in html and "class=fallen" in html
    assert plain_robustness(result, protocol)["below_floor"]["secondary"] == ["camera.fog:3"]


def test_what_is_claimed_under_a_fault_is_held_against_what_is_so() -> None:
    records = [record(seed) for seed in range(6)]
    cell = robustness.score_cell(records, PROTOCOL, Condition("camera", "fog", 3))
    # 0.9 is said, and all that is said is right, where it is said to be: too much of both.
    assert cell.error.value == pytest.approx(0.1)
    assert cell.coverage.value == pytest.approx(1.0)
    rule = replace(PROTOCOL.robustness, missing={}, mean_relative={})
    protocol = replace(PROTOCOL, robustness=rule)
    result = robustness.summed_up([cell], protocol, len(records))
    claimed = robustness.claims(result, protocol)
    assert list(claimed.values()) == [[cell], [cell]]
    assert "<td>camera.fog:3</td><td>0.100" in page(result, protocol, title="t", facts={})
    plain = plain_robustness(result, protocol)["calibration"]["camera.fog:3"]
    assert plain["ece"]["value"] == pytest.approx(0.1)
    honest = replace(cell, error=Estimate(0.05, np.full(4, 0.05), 6))
    result = robustness.summed_up([honest], protocol, len(records))
    assert result.miscalibrated(rule.calibration) == []


def test_the_scene_that_lost_most_stands_for_its_cell() -> None:
    places = (10.0, 20.0, 30.0)
    fine = {BOTH: findings(*places), CAMERA: findings(), LIDAR: findings(*places)}

    def of(seed: int, *seen: float) -> FaultedRecord:
        struck = {BOTH: findings(*seen), CAMERA: findings()}
        return FaultedRecord(seed, truths(*places), {CLEAN_NAME: fine, "camera.fog:3": struck}, {})

    records = [of(1, 10.0, 20.0), of(2, 10.0), of(3, *places)]
    cell = robustness.score_cell(records, PROTOCOL, Condition("camera", "fog", 3))
    ((condition, chosen),) = worst_under_faults([cell], records, PROTOCOL, 5)
    assert condition.name == "camera.fog:3" and chosen.seed == 2
    assert f1(chosen, PROTOCOL) == pytest.approx(0.5)  # 1 of 3, and nothing wrong
    assert f1(chosen, PROTOCOL, LIDAR) == 1.0


def test_examples_show_what_the_struck_sensors_showed() -> None:
    pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
    small = replace(PROTOCOL, image_size=(384, 288))
    seed = PROTOCOL.seeds["validation"][0]
    answers = {name: findings(10.0) for name in (BOTH, CAMERA, LIDAR)}
    asked = SceneRecord(seed, truths(10.0, 20.0, 30.0), answers, {})
    conditions = [Condition("camera", "black"), Condition("camera", "absent"), CLEAN]
    drawn = examples_under_faults([(each, asked) for each in conditions], small)
    black, absent, clean = (
        cv2.imdecode(np.frombuffer(base64.b64decode(each.jpeg), np.uint8), cv2.IMREAD_COLOR)
        for each in drawn
    )
    # The view from above stands at the right; where no image came there is nothing beside it.
    assert black.shape == clean.shape and absent.shape[1] < clean.shape[1]
    top = slice(0, 60), slice(0, 300)
    assert black[top].mean() < 0.5 * clean[top].mean()
    assert drawn[0].caption.startswith("camera.black, scene") and "lidar alone" in drawn[0].caption


def test_a_small_specialist_is_taken_whole() -> None:
    def estimate(value: float) -> Estimate:
        return Estimate(value, np.full(4, value), 5)

    def cell(best: float) -> robustness.Cell:
        figures = {"primary": {BOTH: estimate(0.5), CAMERA: estimate(best), LIDAR: estimate(0.0)}}
        return robustness.Cell(Condition("camera", "black"), figures, figures)

    rule = FloorRule(factor=0.5, small=0.1, least=-0.01)
    assert cell(0.05).above_floor("primary", rule).value == pytest.approx(0.45)
    assert cell(0.4).above_floor("primary", rule).value == pytest.approx(0.3)


def test_trust_follows_what_the_monitors_see_a_few_frames_after_the_fault() -> None:
    good = {"brightness": 0.5, "contrast": 0.2, "sharpness": 0.01, "checksum": 5.0}
    names = {"front": "camera", "rear": "camera"}

    def trust(struck: dict[str, object], frozen: bool = False) -> list[float]:
        clean = dict.fromkeys(names, good)
        gate, now_ns = watched(clean, struck, names, frozen)  # type: ignore[arg-type]
        return [gate.trust(name, now_ns) for name in names]

    assert trust({}) == [1.0, 1.0]
    assert trust({"front": {**good, "brightness": 0.0}}) == [0.0, 1.0]
    # The same figures again are no fault, but the same content is.
    assert trust({"front": good}) == [1.0, 1.0]
    assert trust({"front": good}, frozen=True) == [0.0, 1.0]
    assert trust({"front": None})[0] < 1.0


def test_detection_is_the_part_of_pairs_in_which_the_struck_scene_is_trusted_less() -> None:
    def one(clean: float, struck: float) -> FaultedRecord:
        return replace(record(), trust={"clean|camera": clean, "camera.fog:3": struck})

    fog = Condition("camera", "fog", 3)
    # Clean 1.0, 0.5; struck 0.2, 0.5: of four pairs three are lower and one is equal.
    assert robustness.detection([one(1.0, 0.2), one(0.5, 0.5)], fog) == pytest.approx(0.875)
    assert np.isnan(robustness.detection([replace(record(), trust={})], fog))


def test_records_of_another_model_are_not_continued(tmp_path: Path) -> None:
    check_fingerprint(tmp_path / "fingerprint.json", {"model": "a"})
    check_fingerprint(tmp_path / "fingerprint.json", {"model": "a"})
    with pytest.raises(ValueError, match="another model"):
        check_fingerprint(tmp_path / "fingerprint.json", {"model": "b"})


@pytest.fixture
def small_exam(untrained_model: Path, tmp_path: Path) -> Path:
    """A folder of records of one scene under a few conditions, by a network of random weights."""
    pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
    run_faulted(str(untrained_model), FEW, tmp_path, count=1, split="validation", processes=1)
    return tmp_path


FEW = replace(
    PROTOCOL,
    faults={
        "camera": {"absent": 1, "black": 1},
        "lidar": {"absent": 1},
        "both": {"time_offset": 1},
    },
    image_size=(384, 288),
    min_probability=0.001,
)


def test_a_scene_is_examined_under_every_condition(small_exam: Path) -> None:
    seed = PROTOCOL.seeds["validation"][0]
    found = archive.read(small_exam / SCENES, seed).found
    assert list(found) == [c.name for c in conditions_of(FEW)]
    assert set(found["lidar.absent"]) == {BOTH, LIDAR}
    assert set(found["camera.black"]) == set(found["both.time_offset:1"]) == {BOTH, CAMERA}
    # Without a sensor the other's clean answer stands, and the sensor itself says nothing.
    for gone, left in ((CAMERA, LIDAR), (LIDAR, CAMERA)):
        missing, clean = found[f"{gone}.absent"], found[CLEAN_NAME]
        assert not len(missing[gone].kind)
        assert missing[BOTH].centre == pytest.approx(clean[left].centre, abs=1e-5)
    trust = archive.read(small_exam / SCENES, seed).trust
    assert trust["clean|camera"] > 0.5 and trust["clean|lidar"] > 0.5
    assert trust["camera.black"] < 0.1
    # A black image is something else than none; but it is noticed, and left out of the fusion.
    assert found["camera.black"][BOTH].centre == pytest.approx(
        found[CLEAN_NAME][LIDAR].centre, abs=1e-5
    )
    assert not np.array_equal(found["camera.black"][CAMERA].kind, found[CLEAN_NAME][CAMERA].kind)


def test_an_interrupted_exam_goes_on_and_a_changed_one_is_refused(
    small_exam: Path, untrained_model: Path
) -> None:
    seed = PROTOCOL.seeds["validation"][0]
    path = archive.path_of(small_exam / SCENES, seed)
    before = path.stat().st_mtime_ns
    options = {"count": 1, "split": "validation", "processes": 1}
    run_faulted(str(untrained_model), FEW, small_exam, **options)  # type: ignore[arg-type]
    assert path.stat().st_mtime_ns == before
    other = replace(FEW, digest="another")
    with pytest.raises(ValueError, match="another model"):
        run_faulted(str(untrained_model), other, small_exam, **options)  # type: ignore[arg-type]
