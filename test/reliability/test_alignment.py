"""Whether depth jumps lie on the edges of the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mm_fusion_ros.config import CameraConfig, LidarConfig, ReliabilityConfig, SourceConfig
from mm_fusion_ros.faults.extrinsics import turned as knocked
from mm_fusion_ros.geometry import apply, from_euler, inverse, project
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.perception.agreement import turned_image
from mm_fusion_ros.reliability.alignment import (
    LEAST_JUMPS,
    REACH,
    Agreement,
    alignment,
    jumps,
    turned,
)
from mm_fusion_ros.reliability.gate import Gate
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.lidar import LidarIntake

MS = 1_000_000


def test_a_jump_is_its_nearer_point_whichever_way_the_beam_goes() -> None:
    angle = np.radians(np.arange(8) * 0.5)
    distance = np.array([10.0, 10.1, 5.0, 5.0, 5.1, 9.0, 9.0, 9.2])
    points = np.column_stack([distance * np.cos(angle), distance * np.sin(angle), np.zeros(8)])
    assert np.flatnonzero(jumps(points)).tolist() == [2, 4]
    # Far apart in angle they are no neighbours, as at the end of a ring.
    wide = np.column_stack([distance * np.cos(20 * angle), distance * np.sin(20 * angle), angle])
    assert not jumps(wide).any()
    assert jumps(points[:1]).tolist() == [False]


@pytest.fixture(scope="module")
def scenes() -> list:
    pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")
    from mm_fusion_ros.sim.drive import scene

    return [scene(seed, image_size=(384, 288)) for seed in range(100_000, 100_010)]


def figures(scenes: list, degrees: float) -> list[tuple[Agreement | None, np.ndarray, np.ndarray]]:
    """Of every camera, mounted off by so much; with where it is, and where it is said to be."""
    cameras, lidars = CameraIntake(CameraConfig()), LidarIntake(LidarConfig())
    rng = np.random.default_rng(0)
    result = []
    for sample in scenes:
        scan = lidars.accept(sample.lidar)[0]
        for frame in sample.cameras:
            image = cameras.accept(frame)[0]
            wrong = image.base_from_camera @ knocked(np.radians(degrees), rng)
            said = alignment(
                image.image, image.intrinsics, wrong, scan.points[:, :3], scan.viewpoint
            )
            result.append((said, image.base_from_camera, wrong))
    return result


def test_a_mounting_that_is_off_agrees_less(scenes: list) -> None:
    both = zip(figures(scenes, 0.0), figures(scenes, 5.0), strict=True)
    known = [(a.mounted, b.mounted) for (a, *_), (b, *_) in both if a and b]
    assert len(known) >= 8
    right, wrong = np.array(known).T
    assert np.median(right) > 2.0 > np.median(wrong)
    assert (right > wrong).mean() > 0.8


def test_too_few_jumps_tell_nothing_and_neither_does_an_image_without_edges() -> None:
    intrinsics = np.array([[190.0, 0.0, 191.5], [0.0, 190.0, 143.5], [0.0, 0.0, 1.0]])
    # A picket fence ahead: each second point is near, every 0.5 degrees.
    angle = np.radians(np.arange(-30.0, 30.0, 0.5))
    distance = np.where(np.arange(len(angle)) % 2, 5.0, 9.0)
    points = np.column_stack(
        [distance * np.sin(angle), np.zeros(len(angle)), distance * np.cos(angle)]
    )
    image = np.zeros((288, 384, 3), np.uint8)
    assert alignment(image, intrinsics, np.eye(4), points, np.zeros(3)) is None
    blocks = np.random.default_rng(0).integers(0, 255, (18, 24, 1), dtype=np.uint8)
    image[:] = np.kron(blocks, np.ones((16, 16, 1), np.uint8))
    assert alignment(image, intrinsics, np.eye(4), points, np.zeros(3)) is not None
    few = points[: 2 * LEAST_JUMPS - 2]
    assert 0 < jumps(few).sum() < LEAST_JUMPS
    assert alignment(image, intrinsics, np.eye(4), few, np.zeros(3)) is None


def test_what_was_long_ago_is_forgotten() -> None:
    watched = Drive()
    watched.go_on([3.5] * 5 + [0.2] * 5)
    assert watched.verdict("front")[1] is Reason.MISALIGNED
    # An open field in which nothing can be compared.
    for _ in range(60):
        watched.now_ns += 100 * MS
        for name in ("front", "top"):
            fresh = {"brightness": 0.5, "checksum": float(watched.now_ns)}
            watched.gate.observe(name, watched.now_ns, fresh, True)
    assert watched.verdict("front") == (1.0, Reason.OK)


def axis_off(right: np.ndarray, said: np.ndarray) -> float:
    """How far the optical axis of a camera is from where it is said to look [rad]."""
    return float(np.arccos(np.clip(right[:3, 2] @ said[:3, 2], -1.0, 1.0)))


def test_a_camera_that_was_knocked_is_turned_back(scenes: list) -> None:
    before, after = [], []
    for said, right, wrong in figures(scenes, 3.0):
        if said is not None:
            before.append(axis_off(right, wrong))
            after.append(axis_off(right, turned(wrong, said.best()[1])))
    assert len(before) >= 8
    assert np.median(after) < 0.5 * np.median(before)
    # Where they are as they are said to be, hardly any is touched.
    moved = [said.best()[1] for said, *_ in figures(scenes, 0.0) if said is not None]
    assert np.mean([np.hypot(*turn) > np.radians(1.0) for turn in moved]) < 0.1


def test_what_has_nothing_to_do_with_each_other_fits_nowhere(scenes: list) -> None:
    cameras, lidars = CameraIntake(CameraConfig()), LidarIntake(LidarConfig())
    fits = {True: [], False: []}
    for index, sample in enumerate(scenes):
        for own in (True, False):
            scan = lidars.accept(scenes[index if own else index - 1].lidar)[0]
            image = cameras.accept(sample.cameras[0])[0]
            said = alignment(
                image.image, image.intrinsics, image.base_from_camera, scan.points[:, :3],
                scan.viewpoint,
            )  # fmt: skip
            if said is not None:
                fits[own].append(said.best()[0])
    assert np.median(fits[True]) > np.median(fits[False]) + 0.5


def test_turning_moves_what_is_ahead_down_and_right() -> None:
    intrinsics = np.array([[200.0, 0.0, 192.0], [0.0, 200.0, 144.0], [0.0, 0.0, 1.0]])
    ahead = np.array([[0.0, 0.0, 10.0]])
    for turn in ((0.05, 0.0), (0.0, 0.05), (-0.03, 0.02)):
        pixel = project(apply(inverse(turned(np.eye(4), turn)), ahead), intrinsics)[0][0]
        assert pixel == pytest.approx([192.0 + 200.0 * turn[1], 144.0 + 200.0 * turn[0]], abs=0.1)


def test_a_turned_image_remembers_how_it_was_mounted(scenes: list) -> None:
    image = CameraIntake(CameraConfig()).accept(scenes[0].cameras[0])[0]
    assert turned_image(image, (0.0, 0.0)) is image
    again = turned_image(image, (0.02, -0.01))
    assert again.as_mounted is image.base_from_camera
    assert axis_off(image.base_from_camera, again.base_from_camera) == pytest.approx(
        np.hypot(0.02, 0.01), rel=1e-3
    )


def shifted_by(mounted: float, best: float, shift: tuple[int, int]) -> Agreement:
    """Agrees so well as it is mounted, and so well where jumps are shifted down and right."""
    shifted = np.full((2 * REACH[0] + 1, 2 * REACH[1] + 1), -1.0, np.float32)
    shifted[REACH[0] + shift[0], REACH[1] + shift[1]] = best
    return Agreement(mounted, shifted, (0.01, 0.02))


class Drive:
    """A camera and a lidar at 10 Hz under a gate."""

    def __init__(self) -> None:
        sources = [SourceConfig("front", "camera", rate_hz=10.0), SourceConfig("top", "lidar")]
        self.gate = Gate(sources, ReliabilityConfig())
        self.now_ns = 0

    def go_on(
        self, values: list[float], tilt: float = 0.0, brightness: float = 0.5,
        agreement: Callable[[float], Agreement] | None = None,
    ) -> None:  # fmt: skip
        """Frames in which the two agree so well."""
        for value in values:
            self.now_ns += 100 * MS
            fresh = {"checksum": float(self.now_ns)}
            self.gate.observe("front", self.now_ns, {"brightness": brightness, **fresh}, True)
            self.gate.observe("top", self.now_ns, {"tilt": tilt, **fresh}, True)
            if self.gate.is_comparable("front", "top", self.now_ns):
                self.gate.note_alignment("front", (agreement or Agreement)(value), self.now_ns)

    def verdict(self, name: str) -> tuple[float, Reason]:
        used = {"front": 0, "top": 0}
        verdicts = self.gate.judge(
            self.now_ns, used_age_ns=used, object_shares={}, aleatoric_m2={},
            pose_shares=(0.0, 0.0), gps=(0.0, Reason.MISSING, {}),
        )  # fmt: skip
        return verdicts[name].trust, verdicts[name].reason


def test_a_camera_that_was_knocked_is_misaligned_within_three_frames() -> None:
    watched = Drive()
    watched.go_on([3.5] * 10)
    assert watched.verdict("front") == (1.0, Reason.OK)
    watched.go_on([0.2] * 3)
    trust, reason = watched.verdict("front")
    assert trust < 0.5 and reason is Reason.MISALIGNED
    watched.go_on([3.5] * 3)
    assert watched.verdict("front") == (1.0, Reason.OK)


def test_one_that_fits_once_it_is_turned_is_turned_and_half_believed() -> None:
    watched = Drive()
    watched.go_on([3.5] * 10)
    assert watched.gate.turn("front", watched.now_ns) == (0.0, 0.0)
    watched.go_on([-0.5] * 9, agreement=lambda mounted: shifted_by(mounted, 3.5, (-2, 3)))
    assert watched.gate.turn("front", watched.now_ns) == pytest.approx((-0.02, 0.06))
    trust, reason = watched.verdict("front")
    assert trust == pytest.approx(0.5) and reason is Reason.MISALIGNED
    # Turned it stays, so that it does not flicker, while it would gain by it.
    watched.go_on([3.5] * 9, agreement=lambda mounted: shifted_by(mounted, 3.5, (-2, 3)))
    assert watched.gate.turn("front", watched.now_ns) == pytest.approx((-0.02, 0.06))
    assert watched.verdict("front") == (1.0, Reason.OK)
    # One that fits nowhere is left as it is.
    watched.go_on([-9.0] * 12)
    assert watched.verdict("front")[0] == pytest.approx(0.25)
    assert watched.gate.turn("front", watched.now_ns) == (0.0, 0.0)
    # One that agrees is not touched, however well it would fit elsewhere.
    watched = Drive()
    watched.go_on([3.5] * 9, agreement=lambda mounted: shifted_by(mounted, 5.0, (-2, 3)))
    assert watched.gate.turn("front", watched.now_ns) == (0.0, 0.0)
    assert watched.verdict("front") == (1.0, Reason.OK)


def test_where_two_disagree_both_are_doubted_and_the_camera_more() -> None:
    watched = Drive()
    watched.go_on([3.5] * 10)
    watched.go_on([0.2] * 3)
    agrees = watched.gate._monitors["front"].agrees(watched.now_ns)
    assert agrees is not None
    front, top = watched.verdict("front")[0], watched.verdict("top")[0]
    assert front == pytest.approx(agrees) and top == pytest.approx(0.5 + 0.5 * agrees)
    assert watched.gate.trust("top", watched.now_ns) == top
    assert watched.gate.apart(["front", "top"], watched.now_ns) == {"front"}
    # Where nothing agrees neither is left out: nobody knows which of them is right.
    watched.go_on([-9.0] * 9)
    assert watched.verdict("front")[0] == pytest.approx(0.25)
    assert watched.verdict("top")[0] == pytest.approx(0.5)
    assert watched.gate.believed(["front", "top"], watched.now_ns) == {"front", "top"}
    # They are compared on, and forgiven at once.
    watched.go_on([3.5] * 3)
    assert watched.verdict("top") == (1.0, Reason.OK)
    assert watched.gate.apart(["front", "top"], watched.now_ns) == set()
    # What nobody has said for long is forgotten: 5 s.
    watched.go_on([0.2] * 3)
    watched.go_on([0.2] * 51, brightness=0.01)
    assert watched.verdict("top") == (1.0, Reason.OK)


def test_one_that_never_agreed_is_not_taken_for_usual() -> None:
    watched = Drive()
    watched.go_on([0.1] * 5)
    trust, reason = watched.verdict("front")
    assert trust < 0.5 and reason is Reason.MISALIGNED


def test_a_dark_camera_or_a_leaning_lidar_is_not_a_misaligned_camera() -> None:
    watched = Drive()
    watched.go_on([3.5] * 5)
    watched.go_on([0.0] * 5, brightness=0.01)
    assert watched.verdict("front")[1] is Reason.DARK
    watched = Drive()
    watched.go_on([3.5] * 5)
    watched.go_on([0.0] * 9, tilt=0.08)
    assert watched.verdict("front") == (1.0, Reason.OK)
    trust, reason = watched.verdict("top")
    assert trust < 0.6 and reason is Reason.MISALIGNED


def test_a_camera_is_not_blamed_for_a_lidar_that_turns_out_to_be_frozen() -> None:
    watched = Drive()
    watched.go_on([3.5] * 10)
    for _ in range(3):
        watched.now_ns += 100 * MS
        fresh = {"brightness": 0.5, "checksum": float(watched.now_ns)}
        watched.gate.observe("front", watched.now_ns, fresh, True)
        watched.gate.observe("top", watched.now_ns, {"tilt": 0.0, "checksum": 1.0}, True)
        if watched.gate.is_comparable("front", "top", watched.now_ns):
            watched.gate.note_alignment("front", Agreement(0.0), watched.now_ns)
    assert watched.verdict("top")[1] is Reason.FROZEN
    assert watched.verdict("front") == (1.0, Reason.OK)


def test_a_lidar_that_was_knocked_is_noticed_at_once_and_a_bump_costs_little() -> None:
    watched = Drive()
    watched.go_on([3.5] * 10, tilt=0.008)
    assert watched.verdict("top") == (1.0, Reason.OK)
    watched.go_on([3.5], tilt=0.024)  # a bump: a degree
    assert watched.verdict("top")[0] > 0.8
    watched.go_on([3.5], tilt=0.055)
    trust, reason = watched.verdict("top")
    assert trust < 0.5 and reason is Reason.MISALIGNED
    # However far it leans, it is not left out: it still knows that something stands there.
    watched.go_on([3.5] * 30, tilt=0.12)
    assert watched.verdict("top")[0] > ReliabilityConfig().fuse_above
    watched.go_on([3.5] * 12, tilt=0.008)
    assert watched.verdict("top") == (1.0, Reason.OK)


@pytest.mark.parametrize(("roll", "pitch"), [(0.0, 0.0), (0.05, 0.0), (0.0, -0.04), (0.03, 0.03)])
def test_the_ground_tells_how_a_lidar_leans(scenes: list, roll: float, pitch: float) -> None:
    wrong = from_euler(np.zeros(3), roll, pitch, 0.0)
    errors = []
    for sample in scenes:
        scan = sample.lidar
        leaning = scan.base_from_lidar.copy()
        leaning[:3, :3] = leaning[:3, :3] @ wrong[:3, :3]
        quality = LidarIntake(LidarConfig()).accept(replace(scan, base_from_lidar=leaning))[1]
        if "tilt" in quality:
            errors.append(quality["tilt"] - np.hypot(roll, pitch))
    assert len(errors) >= 6
    assert abs(np.median(errors)) < 0.012
