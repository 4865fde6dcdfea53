"""Charts keep what matters when they are thinned, and are well-formed."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from mm_fusion_ros.replay.chart import BINS, Plot, runs, thinned, ticks, upper_end
from mm_fusion_ros.replay.map_plot import MapPlot, without_jumps


def test_states_become_stretches_that_last_until_the_next() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3])
    assert runs(times, ["ok", "ok", "stale", "ok"], 0.4) == [
        (0.0, 0.2, "ok"), (0.2, 0.3, "stale"), (0.3, 0.4, "ok"),
    ]  # fmt: skip


def test_a_spike_of_one_sample_survives_thinning() -> None:
    values = np.zeros(50_000)
    values[31_337] = 1.0
    values[40_001] = -1.0
    kept = thinned(values)
    assert {31_337, 40_001} <= set(kept.tolist())
    assert len(kept) <= 2 * BINS + 2
    assert (np.diff(kept) > 0).all()


def test_short_curves_are_not_thinned() -> None:
    assert len(thinned(np.zeros(100))) == 100


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 10.0) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert ticks(-0.3, 0.3, 6) == pytest.approx([-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3])
    assert ticks(5.0, 5.0) == [5.0]
    assert "-0.0" not in [str(value) for value in ticks(-1.0, 1.0)]


def test_the_upper_end_is_round_and_above_all_values() -> None:
    assert upper_end(np.array([0.7, 1.7, np.nan]), 0.1) == 2.0
    assert upper_end(np.array([np.nan]), 0.1) == pytest.approx(0.1)


def test_a_gap_in_the_values_is_a_gap_in_the_line() -> None:
    plot = Plot((0.0, 3.0))
    plot.line(np.arange(5.0), np.array([0.1, 0.2, np.nan, 0.3, 0.4]), "red")
    assert plot.svg("gap").count("<polyline") == 2


def test_a_chart_is_well_formed_and_places_values() -> None:
    plot = Plot((0.0, 10.0), (0.0, 2.0), height=100.0)
    plot.line(np.array([0.0, 10.0]), np.array([0.0, 2.0]), "blue")
    plot.area(np.array([0.0, 10.0]), np.array([1.0, 1.0]), "blue")
    plot.strip(np.array([0.0, 5.0]), ["a<b", "ok"], {"a<b": "red", "ok": "green"})
    root = ET.fromstring(plot.svg('a "name" & more'))
    assert root.attrib["aria-label"] == 'a "name" & more'
    # The frame is 6 from the top: the value 2 is at 6, the value 0 is 100 below.
    assert plot.y(2.0) == pytest.approx(6.0)
    assert plot.y(0.0) == pytest.approx(106.0)


def test_metres_east_and_north_are_equally_long_on_the_map() -> None:
    plot = MapPlot(np.array([[0.0, 0.0], [40.0, 5.0]]))
    origin, east, north = plot.at(0.0, 0.0), plot.at(1.0, 0.0), plot.at(0.0, 1.0)
    assert east[0] - origin[0] == pytest.approx(origin[1] - north[1])
    assert north[1] < origin[1]


@pytest.mark.parametrize("places", [[[0.0, 0.0]], [[0.0, 0.0], [0.0, 500.0]], [[1e6, -1e6]]])
def test_every_place_is_on_the_map(places: list[list[float]]) -> None:
    plot = MapPlot(np.array(places))
    root = ET.fromstring(plot.svg())
    _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
    for x, y in places:
        u, v = plot.at(x, y)
        assert 0.0 <= u <= width
        assert 0.0 <= v <= height


def test_the_way_has_a_gap_where_the_pose_jumped() -> None:
    way = np.array([[8.0, 0.0], [8.1, 0.0], [0.0, 0.0], [0.1, 0.0]])
    parted = without_jumps(way)
    assert np.isnan(parted[2]).all()
    assert np.array_equal(np.delete(parted, 2, axis=0), way)
