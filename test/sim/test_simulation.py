from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("open3d", reason="the ray caster is missing")

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import ObstacleGrid
from mm_fusion_ros.samples import CameraFrame, Command, GpsFix, LidarScan, OdometrySample, Sample
from mm_fusion_ros.sim.command import find_named, stand_off
from mm_fusion_ros.sim.demo_world import demo_world
from mm_fusion_ros.sim.simulation import Simulation, SimulationOptions, demo_rig

START = 1_700_000_000_000_000_000


def small(seed: int = 1, camera_hz: int = 0, lidar_hz: int = 4) -> Simulation:
    """A simulation that is quick to run."""
    return Simulation(
        demo_world(), demo_rig((96, 72), beams=16, columns=360), seed=seed,
        options=SimulationOptions(camera_hz=camera_hz, lidar_hz=lidar_hz, plan_hz=4),
    )  # fmt: skip


def content(sample: Sample) -> bytes:
    if isinstance(sample, CameraFrame):
        return sample.image.tobytes()
    if isinstance(sample, LidarScan):
        return sample.points.tobytes()
    if isinstance(sample, GpsFix):
        return np.array([sample.latitude_deg, sample.longitude_deg]).tobytes()
    if isinstance(sample, OdometrySample):
        return sample.odom_from_base.tobytes()
    return repr(sample).encode()


def test_the_same_seed_gives_the_same_drive_byte_for_byte() -> None:
    drives = []
    for _ in range(2):
        simulation = small(camera_hz=5)
        simulation.set_target(geometry.planar(3.0, 1.0, 0.0))
        drives.append([(s.stamp_ns, content(s)) for s in simulation.run(1.0)])
    assert drives[0] == drives[1]
    other = small(seed=2, camera_hz=5)
    other.set_target(geometry.planar(3.0, 1.0, 0.0))
    assert [(s.stamp_ns, content(s)) for s in other.run(1.0)] != drives[0]


def test_each_sensor_keeps_its_rate_in_integer_nanoseconds() -> None:
    samples = small(camera_hz=5, lidar_hz=5).run(1.0)
    stamps: dict[type, list[int]] = {}
    for sample in samples:
        assert isinstance(sample.stamp_ns, int)
        stamps.setdefault(type(sample), []).append(sample.stamp_ns - START)
    assert stamps[CameraFrame] == [k * 200_000_000 for k in range(6)]
    # A sweep's stamp is its end: the first is whole after a turn.
    assert stamps[LidarScan] == [k * 200_000_000 for k in range(1, 6)]
    assert stamps[GpsFix] == [k * 200_000_000 for k in range(6)]
    # 30 Hz does not divide a second: each stamp is rounded down by itself, none drifts.
    assert stamps[OdometrySample] == [k * 1_000_000_000 // 30 for k in range(31)]
    assert [s.stamp_ns for s in samples] == sorted(s.stamp_ns for s in samples)


def test_a_command_comes_out_once_as_a_sample() -> None:
    simulation = small()
    simulation.run(0.1)
    simulation.command("go to the red box")
    said = [s for s in simulation.run(0.5) if isinstance(s, Command)]
    assert [s.text for s in said] == ["go to the red box"]


def test_the_robot_drives_to_the_red_box_and_touches_nothing() -> None:
    simulation = small()
    simulation.run(0.3)
    box = find_named(simulation.world, "go to the red box")
    assert box is not None
    target = stand_off(box, simulation.state.map_from_base, simulation.time_s)
    simulation.set_target(target)
    for _ in range(30):
        simulation.run(0.5)
        away = simulation.distance_to_target()
        assert away is not None
        if away < 0.25 and abs(simulation.state.speed) < 0.01:
            break
    assert away < 0.25
    assert not simulation.collided
    # 1.5 m from the edge of the box, whose half diagonal it does not know: within 0.5 m.
    reach = np.hypot(simulation.state.x - box.centre[0], simulation.state.y - box.centre[1])
    assert reach - np.hypot(*box.size[:2]) / 2 == pytest.approx(1.5, abs=0.5)


def test_a_blindfolded_robot_collides_and_stops() -> None:
    simulation = small(lidar_hz=0)
    nothing = ObstacleGrid(np.zeros((160, 160), np.int8), 0.25, np.array([-20.0, -20.0]))
    simulation.set_obstacles(nothing)
    box = find_named(simulation.world, "red box")
    assert box is not None
    simulation.set_target(geometry.planar(float(box.centre[0]), float(box.centre[1]), 0.0))
    for _ in range(24):
        simulation.set_obstacles(nothing)
        simulation.run(0.5)
        if simulation.collided:
            break
    assert simulation.collided
    assert simulation.truth(labels=False).collided
    reach = np.hypot(simulation.state.x - box.centre[0], simulation.state.y - box.centre[1])
    assert reach > 0.5 * min(box.size[:2])


def test_a_target_in_a_shifted_map_is_taken_relative_to_the_robot() -> None:
    simulation = small()
    # The fusion believes its own map: the robot stands at (100, 50), turned by 90 degrees.
    believed = geometry.planar(100.0, 50.0, np.pi / 2)
    ahead = believed @ geometry.planar(3.0, 0.0, 0.0)
    simulation.set_target(ahead, believed)
    assert simulation.distance_to_target() == pytest.approx(3.0)
    simulation.set_target(None)
    assert simulation.distance_to_target() is None


def test_truth_says_where_things_are_seen_from_the_robot() -> None:
    simulation = small(camera_hz=5)
    simulation.run(0.4)
    labels = simulation.truth().labels
    box = next(x for x in labels if (x.colour, x.class_name) == ("red", "box"))
    # The robot still stands at the origin, so the map is base_link.
    assert np.allclose(box.centre[:2], [8.5, 2.6], atol=0.1)
    assert box.in_view
    assert box.counts


def test_odometry_follows_the_true_motion() -> None:
    simulation = small(lidar_hz=0)
    simulation.set_obstacles(
        ObstacleGrid(np.zeros((160, 160), np.int8), 0.25, np.array([-20.0, -20.0]))
    )
    simulation.set_target(geometry.planar(3.0, 0.0, 0.0))
    last = [s for s in simulation.run(3.0) if isinstance(s, OdometrySample)][-1]
    assert simulation.state.x > 1.0
    assert np.allclose(
        last.odom_from_base[:2, 3], [simulation.state.x, simulation.state.y], atol=0.2
    )


def test_a_moving_robot_sees_distorted_sweeps_that_its_motion_explains() -> None:
    from mm_fusion_ros.sim.raycast import Renderer

    world = demo_world()
    rig = demo_rig((96, 72), beams=16, columns=720)
    renderer = Renderer(world)
    mount = rig.lidar.base_from_lidar
    twist = np.array([0.0, 0, 0, 0, 0, 1.0])
    moved, late, _ = renderer.lidar(mount, rig.lidar, 0.0, np.random.default_rng(0), twist)
    # Turned back by what the robot has turned since, the building 30 m ahead is flat again.
    angle = late * 1e-9 * twist[5]
    x = np.cos(angle) * moved[:, 0] - np.sin(angle) * moved[:, 1]
    y = np.sin(angle) * moved[:, 0] + np.cos(angle) * moved[:, 1]
    wall = (np.abs(y) < 8) & (x > 24) & (moved[:, 2] > 1.5)
    assert wall.sum() > 20
    assert np.abs(x[wall] - 30.0).max() < 0.5
    # Half a turn late means 0.05 s: 1 rad/s shifts what is 30 m ahead by 1.5 m.
    assert np.abs(y[wall] - moved[wall, 1]).mean() == pytest.approx(1.5, abs=0.3)
