"""The page stands alone, says what was answered and why, and cannot be broken by what it shows."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic_bag as made
from fake_fusion import FakeFusion

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.replay.bag import BagSource
from mm_fusion_ros.replay.report import REASON_COLOURS, report
from mm_fusion_ros.replay.runner import ReplayResult, replay
from mm_fusion_ros.scheduling import Stopwatch

VOID = {"meta", "img", "br", "hr", "line", "rect", "circle", "polyline", "polygon"}


class Checker(HTMLParser):
    """Collects what a page refers to, and whether its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        assert tag

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def replayed(tmp_path: Path, messages: list[made.Message], **options: object) -> ReplayResult:
    clock = iter(range(0, 10**12, 10**6))
    stopwatch = Stopwatch(lambda: next(clock))
    with stopwatch.measure("fuse"):
        pass
    with BagSource(made.write(tmp_path / "bag", messages)) as bag:
        config = bag.config(FusionConfig(), commanded=bool(options.get("command")))
        return replay(
            bag, config, FakeFusion(config), tmp_path, lambda: next(clock),
            latencies=stopwatch.summary, **options,  # type: ignore[arg-type]
        )  # fmt: skip


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    return checker


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    page = report(replayed(tmp_path, made.robot(1.0), command="stop"))
    checker = checked(page)
    assert checker.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in checker.sources)
    assert not re.search(r"https?://|url\(|@import|<script|<link", page)


def test_the_page_says_what_came_and_what_was_answered(tmp_path: Path) -> None:
    page = report(replayed(tmp_path, made.robot(2.0), command="stop"), ["Mind the gap."])
    said = " ".join(checked(page).text)
    for word in (
        "/lidar/points", "PointCloud2", "GO go to", "HOLD no command", "Mind the gap.", "median",
        "GPS fixes as received", "fuse", "car", "no ground truth", "Position sigma",
    ):  # fmt: skip
        assert word in said, word


def test_the_page_says_which_sensors_were_not_there(tmp_path: Path) -> None:
    page = report(replayed(tmp_path, made.drive(1.0)))
    assert "This replay had no camera, no lidar." in page
    assert "Example frames" not in page


def test_drops_are_listed_by_reason_with_an_example(tmp_path: Path) -> None:
    messages = [*made.drive(1.0)]
    messages.append((made.START_NS + 5, "/odom", made.odometry(made.START_NS, float("nan"))))
    page = report(replayed(tmp_path, messages))
    assert "nan 1" in page
    assert "not finite" in page


def test_what_the_page_shows_cannot_break_it(tmp_path: Path) -> None:
    hostile = '<script>alert("x")</script> & </p>'
    result = replayed(tmp_path, made.drive(1.0), command=hostile)
    page = report(
        dataclasses.replace(result, path=Path("<b>"), rejections={"<i>": "<u>"}), [hostile], hostile
    )
    checked(page)
    assert "<script" not in page
    assert "<u>" not in page


def test_the_page_is_light_and_dark(tmp_path: Path) -> None:
    assert "prefers-color-scheme: dark" in report(replayed(tmp_path, made.drive(0.5)))


def test_a_replay_without_a_single_tick_still_makes_a_page(tmp_path: Path) -> None:
    with BagSource(made.write(tmp_path / "bag", made.drive(0.5))) as bag:
        config = bag.config(FusionConfig())

        class Silent(FakeFusion):
            def next_deadline_ns(self) -> int | None:
                return None

        result = replay(bag, config, Silent(config), tmp_path, lambda: 0)
    page = report(result)
    checked(page)
    assert "No tick." in page


def test_a_long_replay_keeps_the_page_small(tmp_path: Path) -> None:
    result = replayed(tmp_path, made.drive(1.0))
    generator = np.random.default_rng(0)
    count = 40_000
    sources = {
        name: dataclasses.replace(
            source,
            trust=generator.random(count),
            share=generator.random(count),
            age_s=np.zeros(count),
            reasons=(Reason.OK,) * count,
        )
        for name, source in result.trace.sources.items()
    }
    trace = dataclasses.replace(
        result.trace,
        elapsed_s=np.linspace(0.0, 0.9, count),
        pose=generator.random((count, 4)),
        loop=np.zeros(count, np.int64),
        sources=sources,
        go=np.zeros(count, np.bool_),
        target_probability=np.full(count, np.nan),
        target_state=("HOLD no_command",) * count,
        target_place=np.full((count, 2), np.nan),
    )
    assert len(report(dataclasses.replace(result, trace=trace))) < 1_000_000


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_colour(reason: Reason) -> None:
    assert REASON_COLOURS[reason].startswith("var(--")
