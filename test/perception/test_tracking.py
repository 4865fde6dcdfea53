"""Ids hold, velocities are over ground, and memory helps without inventing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mm_fusion_ros.config import TrackingConfig
from mm_fusion_ros.geometry import apply, inverse, planar
from mm_fusion_ros.outputs import CLASSES, FusedObject
from mm_fusion_ros.perception.tracking import Tracker
from mm_fusion_ros.samples import Float

STEP_NS = 100_000_000
T0 = 1_700_000_000_000_000_000
SIZES = {"car": (4.5, 1.8, 1.5), "pedestrian": (0.5, 0.5, 1.75), "box": (0.6, 0.6, 0.6)}


def detection(
    x: float,
    y: float,
    class_name: str = "box",
    *,
    probability: float = 0.9,
    colour: str = "red",
    colour_probability: float = 0.8,
    sigma: float = 0.1,
    yaw: float = 0.0,
) -> FusedObject:
    return FusedObject(
        track_id=-1,
        class_name=class_name,
        class_probability=probability,
        colour=colour,
        colour_probability=0.0 if colour == "unknown" else colour_probability,
        centre=np.array([x, y, 0.5]),
        size=np.array(SIZES[class_name]),
        yaw=yaw,
        velocity=np.zeros(3),
        position_covariance=np.eye(3) * sigma**2,
        support={"lidar": 1.0},
    )


def seen_from(odom_from_base: Float, x: float, y: float, class_name: str = "box") -> FusedObject:
    """An object at x, y of the odometry frame, as a robot at `odom_from_base` detects it."""
    here = apply(inverse(odom_from_base), np.array([[x, y, 0.5]]))[0]
    return detection(float(here[0]), float(here[1]), class_name)


def ids_at(objects: tuple[FusedObject, ...], odom_from_base: Float) -> dict[tuple[int, int], int]:
    """Rounded place in the odometry frame -> track id."""
    return {
        (round(p[0]), round(p[1])): each.track_id
        for each in objects
        for p in apply(odom_from_base, each.centre[None])
    }


def test_an_object_leaves_its_first_tick_as_it_came_but_for_the_id() -> None:
    first = detection(5.0, 1.0, "car", sigma=0.3, yaw=0.4)
    (out,) = Tracker(TrackingConfig()).update([first], planar(10.0, -3.0, 2.0), T0)
    assert out.track_id == 0
    assert (out.class_name, out.class_probability) == ("car", 0.9)
    assert (out.colour, out.colour_probability) == ("red", 0.8)
    np.testing.assert_allclose(out.centre, first.centre, atol=1e-12)
    np.testing.assert_allclose(out.position_covariance, first.position_covariance, atol=1e-12)
    np.testing.assert_allclose(out.velocity, 0.0)
    assert out.yaw == pytest.approx(0.4)
    assert out.support == {"lidar": 1.0}


def test_ids_hold_while_the_robot_turns_on_the_spot_at_90_degrees_a_second() -> None:
    tracker = Tracker(TrackingConfig())
    places = [(5, 0), (6, 3), (-4, 2), (0, -7), (8, 8), (6, 5)]
    first: dict[tuple[int, int], int] = {}
    for step in range(40):
        odom_from_base = planar(0.0, 0.0, step * 0.1 * np.pi / 2)
        objects = tracker.update(
            [seen_from(odom_from_base, x, y) for x, y in places],
            odom_from_base,
            T0 + step * STEP_NS,
        )
        first = first or ids_at(objects, odom_from_base)
        assert ids_at(objects, odom_from_base) == first
        assert all(np.linalg.norm(each.velocity) < 0.05 for each in objects)


def test_what_stands_still_has_no_velocity_while_the_robot_drives() -> None:
    tracker = Tracker(TrackingConfig())
    for step in range(30):
        odom_from_base = planar(step * 0.2, 0.05 * step, 0.03 * step)  # 2 m/s on a bend
        objects = tracker.update(
            [seen_from(odom_from_base, 15, 3, "pedestrian")], odom_from_base, T0 + step * STEP_NS
        )
        assert objects[0].track_id == 0
        assert np.linalg.norm(objects[0].velocity) < 0.05


def test_the_velocity_of_a_walking_pedestrian_is_right_within_a_fifth_after_ten_frames() -> None:
    # Walking at 1.4 m/s across the view, detected with sigma 0.07 m, seen by a turning robot.
    generator = np.random.default_rng(1)
    errors = []
    for _ in range(50):
        tracker = Tracker(TrackingConfig())
        velocity = np.zeros(3)
        odom_from_base = np.eye(4)
        for step in range(10):
            odom_from_base = planar(0.1 * step, 0.0, 0.05 * step)
            x, y = np.array([8.0, -2.0 + 1.4 * 0.1 * step]) + generator.normal(0, 0.07, 2)
            here = apply(inverse(odom_from_base), np.array([[x, y, 0.9]]))[0]
            seen = detection(float(here[0]), float(here[1]), "pedestrian", sigma=0.07)
            (out,) = tracker.update([seen], odom_from_base, T0 + step * STEP_NS)
            assert out.track_id == 0
            velocity = out.velocity
        truth = odom_from_base[:3, :3].T @ np.array([0.0, 1.4, 0.0])
        errors.append(float(np.linalg.norm(velocity[:2] - truth[:2])))
    assert np.sqrt(np.mean(np.square(errors))) < 0.2
    assert np.median(errors) < 0.2


def test_crossing_pedestrians_keep_their_ids() -> None:
    tracker = Tracker(TrackingConfig())
    # Head on, 0.6 m apart when they pass, at 1.4 m/s each.
    for step in range(60):
        along = -4.2 + 0.14 * step
        objects = tracker.update(
            [
                detection(10.0, along, "pedestrian", sigma=0.05),
                detection(10.6, -along, "pedestrian", sigma=0.05),
            ],
            np.eye(4),
            T0 + step * STEP_NS,
        )
        by_id = {each.track_id: each for each in objects}
        assert sorted(by_id) == [0, 1]
        assert by_id[0].centre[1] == pytest.approx(along, abs=0.2)


def test_a_car_and_the_person_beside_it_are_not_exchanged_when_one_is_hidden() -> None:
    tracker = Tracker(TrackingConfig())
    for step in range(10):
        tracker.update(
            [detection(10.0, 0.0, "car", sigma=0.3), detection(10.0, 1.4, "pedestrian")],
            np.eye(4),
            T0 + step * STEP_NS,
        )
    # The car goes undetected; the person must not become the car.
    (person,) = tracker.update([detection(10.0, 1.2, "pedestrian")], np.eye(4), T0 + 10 * STEP_NS)
    assert person.track_id == 1


def test_ids_are_never_used_again() -> None:
    tracker = Tracker(TrackingConfig(keep_s=0.25))
    used: set[int] = set()
    for step in range(30):
        # A new object each time, far from all the others; one reset on the way.
        if step == 15:
            tracker.reset()
        (out,) = tracker.update([detection(5.0 + 4.0 * step, 0.0)], np.eye(4), T0 + step * STEP_NS)
        assert out.track_id not in used
        used.add(out.track_id)


@pytest.mark.parametrize(("unseen_steps", "kept"), [(10, True), (11, False)])  # 1.0 s, 1.1 s
def test_a_track_is_kept_for_its_time_and_dropped_after_it(unseen_steps: int, kept: bool) -> None:
    tracker = Tracker(TrackingConfig(keep_s=1.0))
    tracker.update([detection(5.0, 0.0)], np.eye(4), T0)
    for step in range(1, unseen_steps + 1):
        assert tracker.update([], np.eye(4), T0 + step * STEP_NS) == ()
    assert (len(tracker.tracks()) == 1) is kept
    now = T0 + unseen_steps * STEP_NS
    (out,) = tracker.update([detection(5.0, 0.0)], np.eye(4), now)
    assert (out.track_id == 0) is kept


def test_an_object_that_is_not_detected_coasts_among_the_tracks_only() -> None:
    tracker = Tracker(TrackingConfig(keep_s=1.0))
    for step in range(20):
        tracker.update([detection(10.0, 0.1 * step, "pedestrian")], np.eye(4), T0 + step * STEP_NS)
    for step in range(20, 25):
        assert tracker.update([], np.eye(4), T0 + step * STEP_NS) == ()
    (coasted,) = tracker.tracks()
    # 1 m/s for 2.4 s; half of the keeping time has passed unseen.
    assert coasted.centre[1] == pytest.approx(2.4, abs=0.1)
    assert coasted.class_probability == pytest.approx(0.5 * 0.9, rel=0.01)


def test_a_colour_is_remembered_when_no_camera_sees_it_the_longer_the_longer_it_was_seen() -> None:
    def remembered(seen_steps: int, unseen_steps: int) -> FusedObject:
        tracker = Tracker(TrackingConfig())
        for step in range(seen_steps + unseen_steps):
            colour = "green" if step < seen_steps else "unknown"
            (out,) = tracker.update(
                [detection(5.0, 0.0, colour=colour)], np.eye(4), T0 + step * STEP_NS
            )
        return out

    long_since = [remembered(30, steps) for steps in (1, 100, 300)]
    assert [each.colour for each in long_since] == ["green"] * 3
    assert long_since[0].colour_probability == pytest.approx(0.8, abs=0.01)
    falling = [each.colour_probability for each in long_since]
    assert falling == sorted(falling, reverse=True)
    assert remembered(2, 100).colour_probability < long_since[1].colour_probability
    assert remembered(2, 600).colour_probability < 0.5


def test_an_object_of_unknown_colour_stays_so() -> None:
    (out,) = Tracker(TrackingConfig()).update(
        [detection(5.0, 0.0, colour="unknown")], np.eye(4), T0
    )
    assert (out.colour, out.colour_probability) == ("unknown", 0.0)


def test_one_wrong_class_does_not_turn_a_track() -> None:
    tracker = Tracker(TrackingConfig())
    for step in range(5):
        tracker.update([detection(8.0, 0.0, "box")], np.eye(4), T0 + step * STEP_NS)
    (out,) = tracker.update(
        [detection(8.0, 0.0, "pedestrian", probability=0.5)], np.eye(4), T0 + 5 * STEP_NS
    )
    assert out.track_id == 0
    assert out.class_name == "box" and 0.7 < out.class_probability < 0.9
    # The other class has its part: five sure words against one that is less so.
    assert 0.05 < out.probability_of_class("pedestrian") < 0.2
    assert out.probability == pytest.approx(sum(out.classes.values()))


def told(shares: dict[str, float], sources: str = "lidar") -> FusedObject:
    """A detection at rest of which every class has its probability, and who tells it."""
    best = max(shares, key=lambda name: shares[name])
    plain = detection(8.0, 0.0, "box", probability=shares[best])
    classes = {name: shares.get(name, 0.0) for name in CLASSES}
    support = {name: 1.0 / len(sources.split()) for name in sources.split()}
    return replace(plain, class_name=best, classes=classes, support=support)


def after(first: FusedObject, first_steps: int, then: FusedObject, then_steps: int) -> FusedObject:
    """The object at the end of so many ticks of the one, and then of the other."""
    tracker = Tracker(TrackingConfig())
    for step in range(first_steps + then_steps):
        seen = first if step < first_steps else then
        (out,) = tracker.update([seen], np.eye(4), T0 + step * STEP_NS)
    return out


def test_a_good_view_outlasts_a_vague_one_and_yields_to_a_better() -> None:
    by_both, by_lidar = told({"ball": 0.85, "box": 0.05}), told({"ball": 0.3, "box": 0.2})
    assert after(by_both, 30, by_lidar, 60).class_probability > 0.5
    far, near = told({"cone": 0.3, "barrel": 0.15}), told({"barrel": 0.9})
    assert after(far, 30, near, 10).class_name == "barrel"


def test_what_fewer_sensors_say_is_hardly_a_word_against_what_more_of_them_said() -> None:
    by_both, by_lidar = told({"ball": 0.7}, "camera lidar"), told({"ball": 0.1})
    remembered = after(by_both, 20, by_lidar, 100)
    assert remembered.class_name == "ball" and remembered.class_probability > 0.5
    assert after(told({"ball": 0.7}), 20, by_lidar, 100).class_probability < 0.4
    # A word for it counts, and so does one of others against it.
    assert after(by_both, 20, told({"box": 0.95}), 20).class_name == "box"
    assert after(by_both, 20, told({"box": 0.6}), 60).class_name == "box"
    assert after(by_both, 20, told({"ball": 0.1}, "left lidar"), 100).class_probability < 0.4


def test_one_word_for_it_does_not_take_the_memory_of_more_sensors_away() -> None:
    by_both = told({"ball": 0.7}, "camera lidar")
    tracker = Tracker(TrackingConfig())
    words = [by_both] * 20 + [told({"ball": 0.75})] + [told({"ball": 0.1})] * 80
    for step, word in enumerate(words):
        (out,) = tracker.update([word], np.eye(4), T0 + step * STEP_NS)
    assert out.class_probability > 0.5


def test_a_probability_that_is_none_is_no_detection() -> None:
    tracker = Tracker(TrackingConfig())
    assert tracker.update([replace(told({"box": 0.9}), class_probability=np.nan)], None, T0) == ()


def test_ten_looks_at_one_view_are_no_surer_than_one() -> None:
    tracker = Tracker(TrackingConfig())
    for step in range(10):
        (out,) = tracker.update([told({"box": 0.6, "ball": 0.3})], np.eye(4), T0 + step * STEP_NS)
    assert out.class_probability == pytest.approx(0.6)
    assert out.probability_of_class("ball") == pytest.approx(0.3)


def test_looking_longer_never_makes_surer_than_the_persistent_half() -> None:
    tracker = Tracker(TrackingConfig())
    objects: tuple[FusedObject, ...] = ()
    for step in range(200):
        objects = tracker.update([detection(8.0, 0.0, sigma=0.2)], np.eye(4), T0 + step * STEP_NS)
    variances = np.diag(objects[0].position_covariance)
    assert np.all(variances >= 0.5 * 0.2**2)
    assert np.all(variances <= 0.2**2)


def test_velocity_turns_with_the_robots_axes() -> None:
    tracker = Tracker(TrackingConfig())
    odom_from_base = planar(0.0, 0.0, np.pi / 2)  # base x is odom y
    objects: tuple[FusedObject, ...] = ()
    for step in range(30):
        objects = tracker.update(
            [seen_from(odom_from_base, 0.15 * step, 10.0, "pedestrian")],
            odom_from_base,
            T0 + step * STEP_NS,
        )
    # 1.5 m/s along odom x is along base -y.
    np.testing.assert_allclose(objects[0].velocity, [0.0, -1.5, 0.0], atol=0.05)


def test_odometry_that_comes_later_moves_the_tracks_into_its_frame() -> None:
    tracker = Tracker(TrackingConfig())
    here = detection(8.0, 1.0, yaw=0.3)
    for step in range(5):
        tracker.update([here], None, T0 + step * STEP_NS)
    place = planar(100.0, 50.0, 1.0)
    (out,) = tracker.update([here], place, T0 + 5 * STEP_NS)
    assert out.track_id == 0
    np.testing.assert_allclose(out.centre, here.centre, atol=1e-9)
    assert out.yaw == pytest.approx(0.3)
    assert np.linalg.norm(out.velocity) < 1e-6


def test_bad_figures_of_a_network_do_no_harm() -> None:
    tracker = Tracker(TrackingConfig())
    tracker.update([detection(5.0, 0.0)], np.eye(4), T0)
    lost = detection(np.nan, 0.0)
    vague = detection(5.0, 0.1)
    bad: list[Callable[[], Float]] = [
        lambda: np.full((3, 3), np.nan),
        lambda: np.zeros((3, 3)),
        lambda: -np.eye(3),
    ]
    for step, make in enumerate(bad, start=1):
        object.__setattr__(vague, "position_covariance", make())
        (out,) = tracker.update([lost, vague], np.eye(4), T0 + step * STEP_NS)
        assert out.track_id == 0
        assert np.isfinite(out.centre).all()
        assert np.all(np.linalg.eigvalsh(out.position_covariance) > 0.0)


def test_time_that_goes_back_begins_anew() -> None:
    tracker = Tracker(TrackingConfig())
    tracker.update([detection(5.0, 0.0)], np.eye(4), T0)
    (out,) = tracker.update([detection(5.0, 0.0)], np.eye(4), T0 - 60 * STEP_NS)
    assert out.track_id == 1


def test_sixty_objects_keep_their_ids_under_noise() -> None:
    generator = np.random.default_rng(4)
    tracker = Tracker(TrackingConfig())
    objects: tuple[FusedObject, ...] = ()
    grid = [(5.0 + 3.0 * (i % 8), -12.0 + 3.0 * (i // 8)) for i in range(60)]
    for step in range(20):
        objects = tracker.update(
            [
                detection(float(x), float(y), sigma=0.2)
                for x, y in np.array(grid) + generator.normal(0, 0.2, (60, 2))
            ],
            np.eye(4),
            T0 + step * STEP_NS,
        )
        assert len({each.track_id for each in objects}) == 60
        assert max(each.track_id for each in objects) <= 59 + step  # hardly any lost
    assert sum(each.track_id < 60 for each in objects) >= 58
