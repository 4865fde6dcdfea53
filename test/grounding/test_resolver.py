from dataclasses import replace

import numpy as np
import pytest
from grounding_scene import thing

from mm_fusion_ros.config import GroundingConfig
from mm_fusion_ros.grounding.command import parse
from mm_fusion_ros.grounding.resolver import probability_of, resolve
from mm_fusion_ros.outputs import HoldReason

CONFIG = GroundingConfig()


def meant(text, objects):
    return resolve(parse(text), objects, None, CONFIG)


def test_class_and_colour_single_out_the_object():
    scene = [thing("box", "blue", (3, 0), track=1), thing("box", "red", (6, 1), track=2),
             thing("ball", "red", (4, -1), track=3)]  # fmt: skip
    found = meant("go to the red box", scene)
    assert found.reason is None
    assert found.object is scene[1]
    assert found.probability == pytest.approx(0.9 * 0.95)  # class times colour


def test_an_absent_object_is_absent():
    assert meant("go to the red box", []).reason is HoldReason.ABSENT
    assert meant("go to the red box", [thing("car", "red")]).reason is HoldReason.ABSENT
    # A box that is 95 % blue is red with 0.05 / 8 = 0.6 %: no candidate.
    assert meant("go to the red box", [thing("box", "blue")]).reason is HoldReason.ABSENT


def test_two_equally_good_objects_are_ambiguous():
    scene = [thing(track=1, place=(4, 1)), thing(track=2, place=(6, -1))]
    found = meant("go to the red box", scene)
    assert found.reason is HoldReason.AMBIGUOUS
    assert found.object is None


def test_an_object_that_is_hardly_there_is_unreliable():
    found = meant("go to the red box", [thing(probability=0.4)])
    assert found.reason is HoldReason.UNRELIABLE
    assert found.probability == pytest.approx(0.4 * 0.95)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("go to the nearest box", 0),  # 4.1 m against 8.2 m
        ("go to the farthest box", 1),
        ("go to the left box", 1),  # y = 2 is left of y = -1
        ("go to the box on the right", 0),
    ],
)
def test_a_relation_decides_between_equals(text, index):
    scene = [thing(track=1, place=(4, -1)), thing(track=2, place=(8, 2))]
    found = meant(text, scene)
    assert found.reason is None
    assert found.object is scene[index]


def test_a_relation_that_the_measurement_cannot_tell_is_ambiguous():
    # 10.0 m and 10.1 m with sigma 1 m each: P(nearer) = Phi(0.1 / sqrt 2) = 0.53.
    scene = [thing(track=1, place=(10, 0), sigma=1.0), thing(track=2, place=(0, 10.1), sigma=1.0)]
    assert meant("go to the nearest box", scene).reason is HoldReason.AMBIGUOUS


def test_the_side_that_a_command_names_is_believed():
    assert meant("go to the box on the left", [thing(place=(5, -3))]).reason is HoldReason.ABSENT
    assert meant("go to the box on the left", [thing(place=(5, 3))]).object is not None


def test_any_box_is_the_nearest_box():
    scene = [thing(track=1, place=(8, 0)), thing(track=2, place=(4, 0))]
    assert meant("go to a red box", scene).object is scene[1]


def test_a_vehicle_is_a_car_or_a_truck():
    truck = thing("truck", "white")
    assert meant("go to the vehicle", [truck, thing("ball", track=2)]).object is truck


def test_an_unknown_colour_lowers_the_probability_and_does_not_exclude():
    unknown = thing(colour="unknown", colour_probability=0.0)
    probability = probability_of(parse("go to the red box"), unknown, CONFIG)
    assert probability == pytest.approx(0.9 * CONFIG.unknown_colour)
    assert meant("go to the red box", [unknown]).reason is HoldReason.UNRELIABLE
    red = thing(track=2, place=(9, 0))
    assert meant("go to the red box", [unknown, red]).object is red


def test_numbers_that_are_none_never_become_a_target():
    broken = thing(place=(np.nan, 0.0))
    assert meant("go to the red box", [broken]).reason is HoldReason.ABSENT
    assert meant("go to the red box", [thing(probability=np.nan)]).reason is HoldReason.ABSENT


def test_the_class_that_is_named_counts_and_not_only_the_most_probable():
    split = replace(thing("barrel", probability=0.5), classes={"barrel": 0.5, "box": 0.45})
    sure = replace(thing("box", track=2, probability=0.6), classes={"box": 0.6})
    assert probability_of(parse("go to the red box"), split, CONFIG) == pytest.approx(0.95 * 0.45)
    assert meant("go to the red box", [split, sure]).reason is HoldReason.AMBIGUOUS
    assert meant("go to the red barrel", [split, sure]).object is None
    # What it is does not matter to who asks for anything red.
    assert probability_of(parse("go to the red thing"), split, CONFIG) == pytest.approx(0.95 * 0.95)
