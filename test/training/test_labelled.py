"""One's own labelled bag becomes scenes, and is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_fusion_ros import cli
from mm_fusion_ros.config import CameraConfig
from mm_fusion_ros.outputs import CLASSES
from mm_fusion_ros.perception.grid import STRIDE
from mm_fusion_ros.samples import CameraFrame
from mm_fusion_ros.sensors.camera import CameraIntake, PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan
from mm_fusion_ros.training import cache
from mm_fusion_ros.training.labelled import LabelError, Labelled, filling, read_labels, scene_of

OPTICAL = np.array([[0, 0, 1, 0.0], [-1, 0, 0, 0.0], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
K = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])
IMAGE = PreparedImage(np.zeros((288, 384, 3), np.uint8), K, (0, 0, 384, 288), OPTICAL)
CAR: dict[str, Any] = {
    "class": "car", "colour": "red", "centre": [8.0, 1.0, 0.7], "size": [4.0, 1.8, 1.4], "yaw": 0.3,
}  # fmt: skip


def written(path: Path, *instants: object) -> Path:
    path.write_text("\n".join(json.dumps(each) for each in instants), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A simulated drive of two seconds and its labels."""
    folder = tmp_path_factory.mktemp("drive")
    bag, labels = folder / "bag", folder / "labels.jsonl"
    arguments = ["sim", "--out", str(bag), "--seconds", "1.2", "--labels", str(labels)]
    assert cli.main([*arguments, "--beams", "16", "--columns", "360"]) == 0
    return bag, labels


def test_a_labelled_bag_gives_a_scene_for_each_sweep(
    recorded: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, labels = recorded
    assert cli.main(["scenes", str(bag), str(labels), "--cache", str(tmp_path)]) == 0
    instants = read_labels(labels)
    assert len(instants) >= 10
    assert f"{len(instants)} scenes of {len(instants)} labels" in capsys.readouterr().out
    scene = cache.load(cache.path_of(tmp_path, 0))
    assert np.array_equal(scene.boxes, instants[0].boxes)
    assert scene.images.shape == (1, 480, 640, 3) and len(scene.points) > 500
    assert scene.seen.any() and not scene.seen.all()
    assert (scene.lidar_points >= 5).any()
    for row in np.unique(scene.under[scene.under >= 0]):
        # Each lies before the camera, which looks along x.
        assert scene.boxes[row, 0] > 0.0


def test_boxes_tell_what_is_seen_nearly_as_the_simulator_knows_it() -> None:
    right = asked = 0
    counted = []
    for seed in cache.VALIDATION_SEEDS[:8]:
        told = cache.generate(seed)
        placed = zip(told.images, told.intrinsics, told.base_from_camera, strict=True)
        images = [
            CameraIntake(CameraConfig()).accept(CameraFrame(1, "", "front", *each))[0]
            for each in placed
        ]
        labels = Labelled(1, told.class_index, told.colour_index, told.boxes)
        made = scene_of(images, PreparedScan(told.points, 0), told.base_from_lidar, labels)
        right += int((made.seen == told.seen)[made.seen | told.seen].sum())
        asked += int((made.seen | told.seen).sum())
        counted.append((made.lidar_points >= 5) == (told.lidar_points >= 5))
    # Boxes are larger than what they hold.
    assert asked > 20 and right > 0.75 * asked
    assert np.concatenate(counted).mean() > 0.97


def test_scenes_are_added_after_those_that_are_there_and_trained_on(
    recorded: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, labels = recorded
    own, out = tmp_path / "own", tmp_path / "run"
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(labels.read_text().splitlines()[:2]), encoding="utf-8")
    for _ in range(2):
        assert cli.main(["scenes", str(bag), str(few), "--cache", str(own)]) == 0
    assert cache.first_free(own) == 4
    assert "--scenes 4 --validation 0 --start default" in capsys.readouterr().out
    steps = "image=1,lidar=1,regions=1,camera=1,fusion=1"
    arguments = ["--cache", str(own), "--scenes", "4", "--validation", "0", "--out", str(out)]
    assert cli.main(["train", *arguments, "--batch", "2", "--workers", "0", "--steps", steps]) == 0
    assert (out / "checkpoint.pt").exists()
    assert "0 scenes generated, 4 were there" in capsys.readouterr().out


def test_labels_that_no_sweep_belongs_to_are_counted_and_said(
    recorded: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, _ = recorded
    labels = written(tmp_path / "l.jsonl", {"stamp_ns": 5, "objects": [CAR]})
    assert cli.main(["scenes", str(bag), str(labels), "--cache", str(tmp_path / "own")]) == 1
    assert "1 left out: no sweep within 50 ms of its stamp" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"class": "zebra"}, "class 'zebra' is not one of"),
        ({"colour": "teal"}, "colour 'teal' is not one of"),
        ({"centre": [1.0, 2.0]}, "expected 3 numbers"),
        ({"size": [1.0, 0.0, 1.0]}, "sizes above 0"),
        ({"yaw": float("nan")}, "expected finite numbers"),
        ({"yaw": "north"}, "north"),
    ],
)
def test_wrong_labels_are_refused_by_line(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    good = {"stamp_ns": 1, "objects": [CAR]}
    bad = {"stamp_ns": 2, "objects": [CAR | change]}
    with pytest.raises(LabelError, match="line 2") as error:
        read_labels(written(tmp_path / "l.jsonl", good, bad))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"stamp_ns": 1}', "field 'objects' is missing"),
        ('{"stamp_ns": "soon", "objects": []}', "stamp_ns 'soon'"),
        ("[]", "expected an object"),
        ("{", "line 1"),
        ("", "holds no labels"),
        ('{"stamp_ns": 1, "objects": []}\n{"stamp_ns": 1, "objects": []}', "was there before"),
    ],
)
def test_what_is_no_label_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LabelError, match=said.replace("'", ".")):
        read_labels(path)
    with pytest.raises(LabelError, match="cannot be read"):
        read_labels(tmp_path / "none.jsonl")


def test_a_colour_may_be_unknown(tmp_path: Path) -> None:
    bare = {name: value for name, value in CAR.items() if name != "colour"}
    objects = [bare, CAR | {"colour": "unknown"}]
    (instant,) = read_labels(written(tmp_path / "l", {"stamp_ns": 1, "objects": objects}))
    assert instant.colour_index.tolist() == [-1, -1]
    assert instant.class_index.tolist() == [CLASSES.index("car")] * 2


def labelled(*boxes: tuple[float, ...]) -> Labelled:
    count = len(boxes)
    return Labelled(
        1, np.zeros(count, np.int64), np.zeros(count, np.int64), np.array(boxes, np.float32)
    )


def test_what_stands_before_an_object_hides_it() -> None:
    near, far = (5.0, 0.0, 1.0, 1.0, 2.0, 2.0, 0.0), (15.0, 0.0, 1.0, 1.0, 2.0, 2.0, 0.0)
    empty = PreparedScan(np.zeros((0, 4), np.float32), 0)
    alone = scene_of([IMAGE], empty, np.eye(4), labelled(far))
    both = scene_of([IMAGE], empty, np.eye(4), labelled(far, near))
    assert alone.seen[:, 0].tolist() == [True]
    assert both.seen[:, 0].tolist() == [False, True]
    # The middle of the image looks along x at a height of 1.2 m: the near one's front at 4.5 m.
    assert both.under[0, 144 // STRIDE, 192 // STRIDE] == 1
    # A wall that nobody labelled, as the lidar sees it, hides as well.
    y, z = np.meshgrid(np.linspace(-4, 4, 400), np.linspace(-0.5, 4, 300))
    wall = np.column_stack([np.full(y.size, 3.0), y.ravel(), z.ravel(), np.ones(y.size)])
    hidden = scene_of([IMAGE], PreparedScan(wall.astype(np.float32), 0), np.eye(4), labelled(near))
    assert not hidden.seen.any()


def test_points_are_counted_in_turned_boxes() -> None:
    box = (8.0, 1.0, 0.7, 4.0, 1.8, 1.4, np.pi / 2)
    inside, outside = (8.0, 2.8, 0.7, 0.5), (9.5, 1.0, 0.7, 0.5)
    points = np.array([inside, inside, outside], np.float32)
    scene = scene_of([IMAGE], PreparedScan(points, 0), np.eye(4), labelled(box))
    assert scene.lidar_points.tolist() == [2]


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (300, 400), (640, 480)])
def test_a_frame_is_cut_to_the_networks_shape_and_keeps_its_geometry(
    width: int, height: int
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    intrinsics = np.array([[500.0, 0, width / 2 + 3], [0, 500.0, height / 2 - 2], [0, 0, 1.0]])
    cut = filling(CameraFrame(1, "", "camera", image, intrinsics, OPTICAL))
    high, wide = cut.image.shape[:2]
    assert abs(wide * 3 - high * 4) < 4 and (wide == width or high == height)
    u, v = 10, 20
    x, y = (intrinsics - cut.intrinsics)[:2, 2]
    assert np.array_equal(cut.image[v, u], image[v + int(y), u + int(x)])


def test_new_scenes_come_after_the_highest_even_where_others_are_missing(tmp_path: Path) -> None:
    assert cache.first_free(tmp_path) == 0
    for seed in (0, 5, 100_007):  # the last is one of validation
        path = cache.path_of(tmp_path, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert cache.first_free(tmp_path) == 6


def test_a_topic_without_a_name_is_refused(
    recorded: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bag, labels = recorded
    with pytest.raises(SystemExit):
        cli.main(["scenes", str(bag), str(labels), "--topic", "camera"])
    assert "expected NAME=/topic" in capsys.readouterr().err
