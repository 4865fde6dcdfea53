"""What grid and images say of an object becomes one answer."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.outputs import CLASSES, COLOURS, FusedObject
from mm_fusion_ros.perception.decode import Calibration, Detection, Look
from mm_fusion_ros.perception.second_look import (
    class_evidence,
    colour_evidence,
    evidence,
    look_shares,
    settled,
)

PLAIN = Calibration()


def detection(**logits: float) -> Detection:
    """Classes with these logits on the grid, the others all but impossible."""
    raw = np.full(len(CLASSES), -9.0, np.float32)
    for name, logit in logits.items():
        raw[CLASSES.index(name)] = logit
    item = FusedObject(
        -1, "box", 0.5, "unknown", 0.0, np.array([9.0, 0.0, 0.5]), np.ones(3), 0.0, np.zeros(3),
        np.eye(3),
    )  # fmt: skip
    return Detection(item, raw, np.zeros(len(COLOURS), np.float32), (0, 0))


def look(name: str, colour: str, sure: float = 0.9, none: float = 0.0) -> Look:
    classes = np.full(len(CLASSES) + 1, (1.0 - none) * (1.0 - sure) / (len(CLASSES) - 1))
    classes[CLASSES.index(name)] = (1.0 - none) * sure
    classes[-1] = max(none, 1e-6)
    colours = np.full(len(COLOURS), 0.1 / (len(COLOURS) - 1))
    colours[COLOURS.index(colour)] = 0.9
    return Look(np.log(classes).astype(np.float32), np.log(colours).astype(np.float32))


def with_looks(item: Detection, **looks: Look) -> Detection:
    from dataclasses import replace

    return replace(item, looks=looks)


def test_what_the_lidar_cannot_tell_apart_the_image_does() -> None:
    unsure = detection(box=-0.5, barrel=-0.4, ball=-0.6)
    assert settled(unsure, PLAIN).object.class_probability < 0.5
    seen = settled(with_looks(unsure, front=look("box", "red")), PLAIN).object
    assert (seen.class_name, seen.colour) == ("box", "red")
    # Each of the three is given 1 / 2.7 or so; together there surely is something, and of that
    # 0.9 against 2 times 0.1 / 7 says box.
    assert seen.class_probability > 0.9


def test_an_image_that_does_not_see_the_object_has_no_say() -> None:
    unsure = detection(box=-0.5, barrel=-0.4)
    hidden = with_looks(unsure, front=look("car", "blue", none=0.9999))
    assert settled(hidden, PLAIN).object.class_probability == pytest.approx(
        settled(unsure, PLAIN).object.class_probability, abs=2e-3
    )
    assert settled(hidden, PLAIN).object.colour == "unknown"
    assert look_shares(hidden, PLAIN)["front"] < 0.01


def test_an_image_cannot_make_something_of_nothing() -> None:
    nothing = with_looks(detection(box=-4.0), front=look("box", "red", sure=0.99))
    assert settled(nothing, PLAIN).object.class_probability < 0.05


def test_what_is_often_said_counts_for_less() -> None:
    said = np.log([0.5, 0.5])
    # Half of the time each is said anyway: no evidence. One that is rare speaks for itself.
    assert evidence(said, 0.0, [0.5, 0.5]) == pytest.approx([0.0, 0.0])
    often, rare = evidence(said, 0.0, [0.9, 0.1])
    assert rare - often == pytest.approx(np.log(9.0))


def test_two_images_speak_louder_than_one_and_a_third_that_is_blind_changes_nothing() -> None:
    one = {"a": look("box", "red", sure=0.6)}
    two = one | {"b": look("box", "red", sure=0.6)}
    blind = two | {"c": look("cone", "blue", none=1.0 - 1e-6)}
    box, red = CLASSES.index("box"), COLOURS.index("red")
    for of in (class_evidence, colour_evidence):
        index = box if of is class_evidence else red
        single, double, more = (of(looks, PLAIN) for looks in (one, two, blind))
        assert double[index] == pytest.approx(2.0 * single[index])
        assert more == pytest.approx(double, abs=1e-3)


def test_without_weight_the_images_are_not_heard() -> None:
    deaf = Calibration(look_weight=0.0, colour_weights=(1.0, 0.0))
    item = with_looks(detection(car=2.0), front=look("box", "red"))
    assert settled(item, deaf).object.class_name == "car"
    assert settled(item, deaf).object.colour == "unknown"


def test_shares_go_to_who_is_sure() -> None:
    sure_grid = with_looks(detection(car=4.0), front=look("car", "red", sure=0.3))
    sure_image = with_looks(detection(car=0.0, truck=0.0), front=look("car", "red", sure=0.97))
    assert look_shares(sure_grid, PLAIN)["front"] < 0.2
    assert look_shares(sure_image, PLAIN)["front"] > 0.7
    assert look_shares(detection(car=1.0), PLAIN) == {}
