"""What grid and images say of objects becomes one answer."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception.decode import Calibration, Found
from mm_fusion_ros.perception.second_look import (
    NO_COLOUR,
    Judgement,
    Looks,
    class_evidence,
    colour_evidence,
    evidence,
    judge,
    moved_along_rays,
)

PLAIN = Calibration()
BOX, RED = CLASSES.index("box"), COLOURS.index("red")


def on_grid(**logits: float) -> np.ndarray:
    """One object; classes with these logits on the grid, the others all but impossible."""
    raw = np.full((1, len(CLASSES)), -9.0, np.float32)
    for name, logit in logits.items():
        raw[0, CLASSES.index(name)] = logit
    return raw


def look(name: str, colour: str, sure: float = 0.9, none: float = 0.0) -> Looks:
    classes = np.full((1, len(CLASSES) + 1), (1.0 - none) * (1.0 - sure) / (len(CLASSES) - 1))
    classes[0, CLASSES.index(name)] = (1.0 - none) * sure
    classes[0, -1] = none
    colours = np.full((1, len(COLOURS)), 0.1 / (len(COLOURS) - 1))
    colours[0, COLOURS.index(colour)] = 0.9
    return Looks(
        classes, colours, np.ones(1, bool), np.zeros(1, bool), np.array([[0.0, -2.0]]),
        np.zeros((1, 2)),
    )  # fmt: skip


def said(raw: np.ndarray, calibration: Calibration = PLAIN, **looks: Looks) -> Judgement:
    return judge(raw, looks, calibration)


def test_what_the_lidar_cannot_tell_apart_the_image_does() -> None:
    unsure = on_grid(box=-0.5, barrel=-0.4, ball=-0.6)
    assert said(unsure).probability[0] < 0.5
    seen = said(unsure, front=look("box", "red"))
    assert (seen.kind[0], seen.colour[0]) == (BOX, RED)
    # Each of the three is given 1 / 2.7 or so; together there surely is something, and of that
    # 0.9 against 2 times 0.1 / 7 says box.
    assert seen.probability[0] > 0.9


def test_an_image_that_does_not_see_the_object_has_no_say() -> None:
    unsure = on_grid(box=-0.5, barrel=-0.4)
    nearly = said(unsure, front=look("car", "blue", none=0.9999))
    assert nearly.probability == pytest.approx(said(unsure).probability, abs=2e-3)
    assert nearly.colour[0] == NO_COLOUR
    assert nearly.shares["front"][0] < 0.01
    blind = said(unsure, front=Looks.blind(1))
    assert blind.probability == said(unsure).probability
    assert blind.colour[0] == NO_COLOUR and blind.colour_probability[0] == 0.0
    assert blind.shares["front"][0] == 0.0


def test_an_image_cannot_make_something_of_nothing() -> None:
    assert said(on_grid(box=-4.0), front=look("box", "red", sure=0.99)).probability[0] < 0.05


def test_what_is_often_said_counts_for_less() -> None:
    half = np.array([[0.5, 0.5]])
    # Half of the time each is said anyway: no evidence. One that is rare speaks for itself.
    assert evidence(half, np.zeros(1), [0.5, 0.5])[0] == pytest.approx([0.0, 0.0])
    often, rare = evidence(half, np.zeros(1), [0.9, 0.1])[0]
    assert rare - often == pytest.approx(np.log(9.0))


def test_two_images_speak_louder_than_one_and_a_third_that_is_blind_changes_nothing() -> None:
    unsure = on_grid(box=-0.5, barrel=-0.4)
    one = said(unsure, a=look("box", "red", sure=0.6))
    two = said(unsure, a=look("box", "red", sure=0.6), b=look("box", "red", sure=0.6))
    three = said(
        unsure, a=look("box", "red", sure=0.6), b=look("box", "red", sure=0.6), c=Looks.blind(1)
    )
    assert two.probability[0] > one.probability[0]
    assert two.colour_probability[0] > one.colour_probability[0]
    assert three.probability == pytest.approx(two.probability)
    for of, index in ((class_evidence, BOX), (colour_evidence, RED)):
        assert of(look("box", "red"), PLAIN)[0, index] > 0.0
        assert of(Looks.blind(1), PLAIN)[0] == pytest.approx(0.0, abs=1e-12)


def test_without_weight_the_images_are_not_heard() -> None:
    deaf = Calibration(look_weight=0.0, colour_scale=0.0)
    heard = said(on_grid(car=2.0), deaf, front=look("box", "red"))
    assert CLASSES[heard.kind[0]] == "car"
    assert heard.colour[0] == NO_COLOUR


def test_each_object_is_judged_by_what_is_said_of_it() -> None:
    raw = np.concatenate([on_grid(car=1.0), on_grid(box=-0.5, ball=-0.4)])
    both = [look("car", "blue"), look("box", "red")]
    looks = Looks(
        *[
            np.concatenate([getattr(each, name) for each in both])
            for name in Looks.__dataclass_fields__
        ]
    )
    together = judge(raw, {"front": looks}, PLAIN)
    for row, each in enumerate(both):
        alone = said(raw[[row]], front=each)
        for name in ("kind", "probability", "colour", "colour_probability"):
            assert getattr(together, name)[row] == getattr(alone, name)[0], name
        assert together.shares["front"][row] == alone.shares["front"][0]


def test_an_image_that_surely_shows_an_object_speaks_for_its_being_there() -> None:
    heard = Calibration(exists_weights=(0.5, 0.0, 0.1))
    unsure = on_grid(box=-2.0)
    alone = said(unsure, heard).probability[0]
    seen = said(unsure, heard, front=look("box", "red", none=0.01)).probability[0]
    hidden = said(unsure, heard, front=look("box", "red", none=0.99)).probability[0]
    # log(0.99 / 0.01) = 4.6: half of it for, a tenth of it against.
    logit = np.log(alone / (1 - alone))
    assert np.log(seen / (1 - seen)) == pytest.approx(logit + 2.3, abs=0.35)
    assert np.log(hidden / (1 - hidden)) == pytest.approx(logit - 0.46, abs=0.1)
    assert said(unsure, heard, front=Looks.blind(1)).probability[0] == alone
    doubted = judge(unsure, {"front": look("box", "red", none=0.01)}, heard, {"front": 0.1})
    assert alone < doubted.probability[0] < seen


def test_a_doubted_image_still_names_colours_but_with_less_conviction() -> None:
    sure, half, hardly = (
        judge(on_grid(box=1.0), {"front": look("box", "red")}, PLAIN, {"front": trust})
        for trust in (1.0, 0.5, 0.02)
    )
    assert COLOURS[half.colour[0]] == "red"
    # Right with a probability of a half; else any of the colours.
    expected = 0.5 * sure.colour_probability[0] + 0.5 / len(COLOURS)
    assert half.colour_probability[0] == pytest.approx(expected)
    assert hardly.colour[0] == NO_COLOUR
    # Beside a better image, it counts by its part of that one's trust.
    both = judge(
        on_grid(box=1.0),
        {"front": look("box", "red"), "side": look("box", "blue")},
        PLAIN,
        {"front": 0.9, "side": 0.3},
    )
    assert COLOURS[both.colour[0]] == "red"


def test_of_two_on_one_ray_the_image_speaks_for_the_stronger() -> None:
    heard = Calibration(exists_weights=(0.5, 0.2, 0.1))
    raw = np.concatenate([on_grid(box=-1.0), on_grid(box=-2.0)])
    both = [look("box", "red", none=0.01)] * 2
    looks = Looks(
        *[
            np.concatenate([getattr(each, name) for each in both])
            for name in Looks.__dataclass_fields__
        ]
    )
    free = judge(raw, {"front": looks}, heard).probability
    looks.claimed[1] = True
    taken = judge(raw, {"front": looks}, heard).probability
    assert taken[0] == free[0]
    logit = np.log(taken / (1.0 - taken)) - np.log(free / (1.0 - free))
    # log(0.99 / 0.01) = 4.6, of which 0.2 are left instead of 0.5.
    assert logit[1] == pytest.approx(-0.3 * 4.595, abs=0.01)


def test_shares_go_to_who_is_sure() -> None:
    sure_grid = said(on_grid(car=4.0), front=look("car", "red", sure=0.3))
    sure_image = said(on_grid(car=0.0, truck=0.0), front=look("car", "red", sure=0.97))
    assert sure_grid.shares["front"][0] < 0.2
    assert sure_image.shares["front"][0] > 0.7
    assert said(on_grid(car=1.0)).shares == {}


def found(*places: float, sigma: float = 1.0) -> Found:
    n = len(places)
    return Found(
        np.zeros((n, 2), np.int64), np.repeat(on_grid(box=1.0), n, axis=0),
        np.array([[x, 0.0, 0.5] for x in places]).reshape(n, 3), np.ones((n, 3)), np.zeros(n),
        np.full((n, 3), 2.0 * np.log(sigma), np.float32),
    )  # fmt: skip


def seen_at(*depth: float, scale: float = -2.0, none: float = 0.0, eye: float = 2.0) -> Looks:
    each = [look("box", "red", none=none) for _ in depth]
    rows = {
        name: np.concatenate([getattr(one, name) for one in each])
        for name in Looks.__dataclass_fields__
    }
    looks = Looks(**rows)
    looks.depth[:] = [(value, scale) for value in depth]
    looks.eye[:] = (eye, 0.0)
    return looks


def test_an_image_moves_what_it_sees_along_its_ray_by_inverse_variance() -> None:
    grid = found(12.0)
    # 10 m from the eye; the image's sigma is sqrt(2) exp(-2) 10 = 1.91 m, the grid's 1 m.
    moved = moved_along_rays(grid, {"front": seen_at(np.log(1.2))}, 1.0)
    share = (1.0 / 1.91**2) / (1.0 + 1.0 / 1.91**2)
    assert moved.centre[0] == pytest.approx([2.0 + 10.0 * 1.2**share, 0.0, 0.5], abs=0.01)
    assert np.exp(moved.log_variance[0, 0]) == pytest.approx(1.0 - share, abs=0.01)
    assert moved.log_variance[0, 1:] == pytest.approx(grid.log_variance[0, 1:])
    # One that is sure takes all; one without weight, or that sees nothing there, takes nothing.
    sure = moved_along_rays(grid, {"front": seen_at(np.log(1.2), scale=-9.0)}, 1.0)
    assert sure.centre[0, 0] == pytest.approx(14.0, abs=0.01)
    for looks, weight in ((seen_at(np.log(1.2)), 0.0), (seen_at(np.log(1.2), none=1.0), 1.0)):
        still = moved_along_rays(grid, {"front": looks}, weight)
        assert still.centre == pytest.approx(grid.centre)
    blind = moved_along_rays(grid, {"front": Looks.blind(1)}, 1.0)
    assert blind.centre == pytest.approx(grid.centre)


def test_what_an_image_puts_in_one_place_is_one_object() -> None:
    grid = found(12.0, 14.0, 20.0)
    looks = {"front": seen_at(np.log(1.1), np.log(11.0 / 12.0), 0.0, scale=-9.0)}
    moved = moved_along_rays(grid, looks, 1.0)
    assert moved.centre[:, 0] == pytest.approx([13.0, 20.0], abs=0.01)
    apart = moved_along_rays(grid, looks, 1.0, merge=False)
    assert apart.centre[:, 0] == pytest.approx([13.0, 13.0, 20.0], abs=0.01)


def test_images_that_agree_move_it_once_in_any_order() -> None:
    grid = found(12.0)
    one = {"a": seen_at(np.log(1.2), scale=-3.0)}
    two = one | {"b": seen_at(np.log(1.2), scale=-3.0)}
    # 10 m from the eye and 1.2 times as far: 14 m, however many say so.
    single, double = (moved_along_rays(grid, looks, 1.0).centre[0, 0] for looks in (one, two))
    assert 13.0 < single < double < 14.0
    other = {"a": two["a"], "b": seen_at(np.log(0.9), scale=-2.0)}
    turned = dict(reversed(other.items()))
    first, second = (moved_along_rays(grid, looks, 1.0).centre[0, 0] for looks in (other, turned))
    assert first == pytest.approx(second, abs=0.02)


def test_what_is_out_of_view_not_believed_or_beyond_reason_moves_nothing_far() -> None:
    grid = found(12.0, 30.0)
    looks = seen_at(np.log(1.2), np.log(1.2), scale=-9.0)
    looks.in_view[1] = False
    moved = moved_along_rays(grid, {"front": looks}, 1.0)
    assert moved.centre[:, 0] == pytest.approx([14.0, 30.0], abs=0.01)
    doubted = moved_along_rays(grid, {"front": looks}, 1.0, {"front": 0.0})
    assert doubted.centre[:, 0] == pytest.approx([12.0, 30.0])
    wild = moved_along_rays(found(12.0), {"front": seen_at(5.0, scale=-9.0)}, 1.0)
    assert wild.centre[0, 0] == pytest.approx(2.0 + 10.0 * np.exp(0.5), abs=0.05)
    assert len(moved_along_rays(found(), {"front": Looks.blind(0)}, 1.0)) == 0


def test_every_class_and_colour_gets_its_probability_and_all_are_no_more_than_one() -> None:
    unsure = on_grid(box=0.2, barrel=-0.2)
    for gain in (0.5, 3.0):
        result = said(unsure, Calibration(final_scale=1.0, final_bias=gain))
        (classes,) = result.classes
        assert classes[BOX] == pytest.approx(result.probability[0]) and classes.argmax() == BOX
        assert classes.sum() <= 1.0 + 1e-9
        assert classes[CLASSES.index("barrel")] > 10.0 * classes[CLASSES.index("car")]
    # An image that cannot tell which of three it is does not make it certain that there is one.
    torn = look("box", "red", sure=0.4, none=0.1)
    torn.classes[0, [CLASSES.index("barrel"), CLASSES.index("ball")]] = 0.3, 0.2
    calibration = Calibration(final_scale=0.8, final_bias=0.3, exists_weights=(0.4, 0.1, 0.3))
    (classes,) = said(on_grid(box=-0.6, barrel=-0.8), calibration, front=torn).classes
    assert classes.max() < classes.sum() < 0.95
    # No image: nothing is known of the colour.
    assert result.colours[0] == pytest.approx(1.0 / len(COLOURS))
    seen = said(unsure, front=look("box", "red"))
    assert seen.colours[0].sum() == pytest.approx(1.0)
    assert seen.colours[0, RED] == pytest.approx(seen.colour_probability[0])
