from __future__ import annotations

import colorsys

import numpy as np
import pytest

pytest.importorskip("open3d", reason="the ray caster is missing")

from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.sim import shapes
from mm_fusion_ros.sim.demo_world import demo_world
from mm_fusion_ros.sim.mesh import PACE_S, PartBuilder, instantiate, pace
from mm_fusion_ros.sim.palette import REGIONS, draw_colour
from mm_fusion_ros.sim.primitives import Primitive, unit_mesh
from mm_fusion_ros.sim.world import World, WorldOptions, generate


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [generate(seed) for seed in range(40, 60)]


def test_a_world_has_5_to_30_objects_within_40_m(worlds: list[World]) -> None:
    for world in worlds:
        assert 5 <= len(world.objects) <= 30
        start = world.starts[0][:2]
        for thing in world.objects:
            # The centre of the box may lie a little off the point that was put.
            assert np.hypot(*(thing.centre[:2] - start)) < 40.0


def test_the_robot_starts_where_nothing_stands(worlds: list[World]) -> None:
    for world in worlds:
        start = world.starts[0][:2]
        for thing in world.objects:
            reach = np.hypot(*(thing.centre[:2] - start)) - np.hypot(*thing.size[:2]) / 2
            assert reach > 0.4


def test_all_classes_and_colours_occur(worlds: list[World]) -> None:
    things = [thing for world in worlds for thing in world.objects]
    assert {thing.class_name for thing in things} == set(CLASSES)
    assert {thing.colour for thing in things} == set(COLOURS)


def test_both_kinds_of_place_and_all_lights_occur(worlds: list[World]) -> None:
    assert {world.kind for world in worlds} == {"yard", "street"}
    assert {world.lighting.name for world in worlds} == {"sun", "shade", "dusk"}


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'cellar'.*'yard'"):
        generate(1, WorldOptions(kind="cellar"))
    with pytest.raises(ValueError, match="'noon'.*'sun'"):
        generate(1, WorldOptions(lighting="noon"))
    with pytest.raises(ValueError, match="0 < min <= max"):
        generate(1, WorldOptions(min_objects=9, max_objects=3))


def test_cars_have_the_size_of_cars(worlds: list[World]) -> None:
    cars = [t.size for w in worlds for t in w.objects if t.class_name == "car"]
    length, width, height = np.array(cars).T
    assert length.min() > 3.4
    assert length.max() < 5.4
    assert width.min() > 1.55
    assert width.max() < 2.15
    assert height.min() > 1.3
    assert height.max() < 2.1


@pytest.mark.parametrize("class_name", CLASSES)
def test_an_object_stands_on_the_ground_and_keeps_to_its_footprint(class_name: str) -> None:
    for seed in range(8):
        builder = PartBuilder()
        frame = builder.frame(0.0, 0.0, 0.0, object_id=1)
        rng = np.random.default_rng(seed)
        shapes.BUILDERS[class_name](builder, frame, rng, draw_colour("red", rng))
        mesh = instantiate(*builder.tables())
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        assert -0.12 < low[2] < 0.12
        nominal = shapes.FOOTPRINT[class_name]
        assert high[0] - low[0] < nominal[0] * 1.45
        assert high[1] - low[1] < nominal[1] * 1.45


@pytest.mark.parametrize("kind", list(Primitive))
def test_unit_shapes_are_closed_and_face_outwards(kind: Primitive) -> None:
    unit = unit_mesh(kind)
    corners = unit.vertices[unit.triangles].astype(np.float64)
    # The divergence theorem: outward triangles sum up to the enclosed volume.
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    exact = {"BOX": 1.0, "SPHERE": np.pi / 6, "BLOB": np.pi / 6}.get(kind.name, np.pi / 4)
    assert 0.85 * exact < volume <= 1.0001 * exact
    # Closed: each edge is met once in each direction.
    edges = np.concatenate([unit.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    assert {tuple(e) for e in edges} == {tuple(e) for e in edges[:, ::-1]}


def test_named_colours_stay_apart() -> None:
    rng = np.random.default_rng(0)
    for name in REGIONS:
        for _ in range(50):
            value = np.array(draw_colour(name, rng)) - 0.006
            red, green, blue = value ** (1 / 2.2)
            hue, saturation, bright = colorsys.rgb_to_hsv(red, green, blue)
            found = [
                other
                for other, (h0, h1, s0, s1, v0, v1) in REGIONS.items()
                if (h0 - 1 <= hue * 360 <= h1 + 1 or h0 - 1 <= hue * 360 - 360 <= h1 + 1)
                and s0 - 0.01 <= saturation <= s1 + 0.01
                and v0 - 0.01 <= bright <= v1 + 0.01
            ]
            assert found == [name]


def test_reflectivity_does_not_know_the_colour(worlds: list[World]) -> None:
    # The paint of an object is drawn as beta(1.6, 2.6): mean 0.38, sigma 0.21. Two means of n
    # objects differ by more than 4 * 0.21 * sqrt(2 / n) once in 16,000 times.
    paint: dict[str, list[float]] = {name: [] for name in COLOURS}
    for index, name in enumerate(COLOURS):
        rng = np.random.default_rng(index)
        for _ in range(150):
            builder = PartBuilder()
            shapes.box(builder, builder.frame(0, 0, 0), rng, draw_colour(name, rng))
            paint[name].append(float(builder.tables()[0].reflectivity[0]))
    means = [np.mean(values) for values in paint.values()]
    assert max(means) - min(means) < 4 * 0.21 * np.sqrt(2 / 150)


def test_what_moves_walks_out_and_back() -> None:
    assert pace(0.0) == (0.0, 1)
    assert pace(PACE_S / 2) == (PACE_S / 2, 1)
    # Half a minute past the turning point it has come back as far.
    walked, direction = pace(PACE_S * 1.25)
    assert walked == pytest.approx(PACE_S * 0.75)
    assert direction == -1
    assert pace(2 * PACE_S) == (0.0, 1)


@pytest.mark.parametrize("time_s", [2.0, PACE_S + 2.0])
def test_the_box_of_a_moving_object_moves_with_its_triangles(time_s: float) -> None:
    world = demo_world()
    walker = next(thing for thing in world.objects if thing.moves)
    mesh = instantiate(world.parts, world.frames, time_s)
    own = mesh.vertices[mesh.triangles[mesh.object_id[mesh.part] == walker.object_id]]
    offset = own.reshape(-1, 3) - walker.centre_at(time_s)
    yaw = walker.yaw_at(time_s)
    along = offset[:, 0] * np.cos(yaw) + offset[:, 1] * np.sin(yaw)
    across = -offset[:, 0] * np.sin(yaw) + offset[:, 1] * np.cos(yaw)
    for values, size in ((along, 0), (across, 1), (offset[:, 2], 2)):
        assert values.max() == pytest.approx(walker.size[size] / 2, abs=2e-3)
        assert values.min() == pytest.approx(-walker.size[size] / 2, abs=2e-3)


def test_the_demonstration_yard_has_what_people_ask_for() -> None:
    names = {(thing.colour, thing.class_name) for thing in demo_world().objects}
    assert {("red", "box"), ("blue", "ball"), ("green", "pedestrian")} <= names
