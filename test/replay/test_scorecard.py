"""What two replays of one recording say of a fault."""

from __future__ import annotations

import math

import pytest

from mm_fusion_ros.faults.injection import parse
from mm_fusion_ros.replay.scorecard import Found, Ledger, Line, kept, scorecard, scorecard_part
from mm_fusion_ros.samples import Modality

CAR = Found("car", 0.9, 10.0, 0.0)
BOX = Found("box", 0.6, 5.0, 2.0)
FAINT = Found("cone", 0.2, 3.0, 0.0)


def moved(item: Found, dx: float) -> Found:
    return Found(item.class_name, item.probability, item.x + dx, item.y)


def line(second: float, *objects: Found, trust: float = 1.0, go: bool = True) -> Line:
    return Line(second, objects, {"camera": trust, "lidar": 1.0}, go, (second, 0.0))


def ledger(lines: list[Line]) -> Ledger:
    kinds = {"camera": Modality.CAMERA, "lidar": Modality.LIDAR}
    stamped = {(0, round(each.elapsed_s * 1e9)): each for each in lines}
    return Ledger(stamped, {0: 0.0}, kinds)


def test_what_was_sure_is_found_again_or_not_and_nothing_may_be_made_up() -> None:
    clean = line(0.0, CAR, BOX, FAINT)
    assert kept([(clean, clean)]) == kept([(clean, line(0.0, CAR, BOX))])
    part = kept([(clean, line(0.0, moved(CAR, 0.4), moved(BOX, 1.2), Found("ball", 0.8, 1, 1)))])
    # The car is 0.4 m off, the box too far; the box elsewhere and the ball are new.
    assert (part.sure, part.again, part.new) == (2, 1, 2)
    assert part.shift_m == pytest.approx(0.4)
    # Another class in the same place is not the object.
    other = kept([(clean, line(0.0, Found("truck", 0.9, 10.0, 0.0)))])
    assert other.again == 0 and math.isnan(other.shift_m)


def test_one_object_is_not_found_twice() -> None:
    twice = line(0.0, CAR, moved(CAR, 0.5))
    assert kept([(twice, line(0.0, CAR))]).again == 1


def test_the_card_says_when_a_fault_was_noticed_and_when_it_was_over() -> None:
    fault = parse("camera.black@1s-2s")
    seconds = [0.1 * k for k in range(30)]
    clean = ledger([line(s, CAR) for s in seconds])
    struck = ledger(
        [line(s, CAR, trust=0.0 if 1.15 < s < 2.25 else 1.0, go=not 1.0 <= s < 2.0)
         for s in seconds]
    )  # fmt: skip
    card = scorecard(clean, struck, [fault])
    ((_, seen),) = card.noticed
    assert seen.source == "camera"
    assert seen.notice_s == pytest.approx(0.2, abs=0.01)
    assert seen.recovery_s == pytest.approx(0.3, abs=0.01)
    assert seen.clean == 1.0 and seen.struck == pytest.approx(0.2, abs=0.1)
    assert card.during.ticks == 10 and card.apart.ticks == 20
    assert card.go == (1.0, pytest.approx(20 / 30))
    assert card.drift_m == (0.0, 0.0) and card.silent == 0


def test_ticks_without_an_answer_are_told() -> None:
    clean = ledger([line(0.1 * k, CAR) for k in range(10)])
    struck = ledger([line(0.1 * k, CAR) for k in range(7)])
    card = scorecard(clean, struck, [parse("camera.fog")])
    assert card.silent == 3
    text = scorecard_part(card)
    assert "3 ticks of the clean replay" in text
    assert "never" in text  # the fog was not noticed
    assert "100 %" in text


def test_answers_by_deadline_are_held_against_the_nearest_clean_one() -> None:
    clean = ledger([line(0.1 * k, CAR) for k in range(10)])
    struck = ledger([line(0.1 * k + 0.013 * (k % 3), CAR) for k in range(10)])
    card = scorecard(clean, struck, [parse("lidar.absent")])
    assert card.silent == 0 and card.during.ticks == 10
    # One answer stands for one instant only.
    sparse = ledger([line(0.2 * k, CAR) for k in range(5)])
    assert scorecard(clean, sparse, [parse("lidar.absent")]).silent == 5


def test_what_was_never_noticed_is_never_back() -> None:
    clean = ledger([line(0.1 * k, CAR) for k in range(30)])
    ((_, seen),) = scorecard(clean, clean, [parse("camera.fog@1s-2s")]).noticed
    assert seen.notice_s is None and seen.recovery_s is None
    untrusted = ledger([line(0.1 * k, CAR, trust=0.0) for k in range(30)])
    ((_, seen),) = scorecard(untrusted, untrusted, [parse("camera.fog@1s-2s")]).noticed
    assert seen.notice_s is None


def test_nothing_in_common_is_said_without_a_figure() -> None:
    card = scorecard(ledger([]), ledger([]), [parse("lidar.drop")])
    assert card.during.ticks == 0 and card.drift_m is None
    assert "-" in scorecard_part(card)
