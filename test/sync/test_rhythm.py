"""The rhythm follows the sensor and is not fooled by its losses."""

from __future__ import annotations

import numpy as np
import pytest

from mm_fusion_ros.sync.rhythm import Rhythm

MS = 1_000_000
PERIOD_NS = 100 * MS


def heard(stamps_ms: list[float], delay_ms: float = 0.0, rate_hz: float = 10.0) -> Rhythm:
    rhythm = Rhythm(rate_hz)
    for stamp_ms in stamps_ms:
        rhythm.observe(round(stamp_ms * MS), round((stamp_ms + delay_ms) * MS))
    return rhythm


def test_before_any_sample_only_the_configured_period_is_known() -> None:
    rhythm = Rhythm(10.0)
    assert rhythm.period_ns == PERIOD_NS
    assert rhythm.phase_ns is None
    assert rhythm.delay_ns is None


@pytest.mark.parametrize("actual_ms", [40.0, 50.0, 97.0, 103.0, 200.0, 390.0])
def test_a_steady_rate_other_than_the_configured_one_is_learned(actual_ms: float) -> None:
    rhythm = heard([1000.0 + actual_ms * step for step in range(20)])
    assert rhythm.period_ns == pytest.approx(actual_ms * MS, rel=1e-6)


@pytest.mark.parametrize("loss", [0.2, 0.5, 0.8, 0.9])
def test_losses_do_not_pass_for_a_slower_sensor(loss: float) -> None:
    generator = np.random.default_rng(7)
    stamps_ms = [1000.0 + 100.0 * step for step in range(300) if generator.random() >= loss]
    rhythm = Rhythm(10.0)
    for stamp_ms in stamps_ms:
        rhythm.observe(round(stamp_ms * MS), round(stamp_ms * MS))
        assert rhythm.period_ns <= 1.01 * PERIOD_NS


def test_an_outage_changes_nothing() -> None:
    before = [100.0 * step for step in range(1, 15)]
    after = [60_033.0 + 100.0 * step for step in range(3)]
    rhythm = heard(before + after)
    assert rhythm.period_ns == PERIOD_NS
    assert rhythm.phase_ns == 60_233 * MS  # the phase is that of the new samples only


def test_one_early_stamp_does_not_move_the_phase() -> None:
    # Five positions on the grid: 0, 0, 0, 0 and +30 ms; the median is 0.
    rhythm = heard([1000.0, 1100.0, 1200.0, 1300.0, 1430.0])
    assert rhythm.phase_ns == 1400 * MS


def test_jittered_stamps_give_the_mean_period() -> None:
    generator = np.random.default_rng(3)
    rhythm = heard([1000.0 + 100.0 * step + generator.uniform(-10, 10) for step in range(40)])
    # The last 32 intervals telescope to the ends' jitter: at most 20 ms over 3200 ms.
    assert rhythm.period_ns == pytest.approx(PERIOD_NS, rel=20.0 / 3200.0)


def test_the_delay_is_the_usual_one_and_a_burst_counts_once() -> None:
    rhythm = Rhythm(10.0)
    for step in range(6):
        rhythm.observe((1000 + 100 * step) * MS, (1020 + 100 * step) * MS)
    # A blockage of 800 ms lets eight samples go at once.
    for step in range(6, 14):
        rhythm.observe((1000 + 100 * step) * MS, 2320 * MS + step)
    assert rhythm.delay_ns == 20 * MS


def test_a_lasting_delay_is_learned_within_five_samples() -> None:
    rhythm = Rhythm(10.0)
    for step in range(20):
        rhythm.observe((1000 + 100 * step) * MS, (1020 + 100 * step) * MS)
    for step in range(20, 25):
        rhythm.observe((1000 + 100 * step) * MS, (1090 + 100 * step) * MS)
    assert rhythm.delay_ns == 90 * MS  # five of nine


def test_double_samples_do_not_shorten_the_period() -> None:
    stamps_ms: list[float] = []
    for step in range(20):
        stamps_ms += [1000.0 + 100.0 * step, 1001.0 + 100.0 * step]
    assert heard(stamps_ms).period_ns == PERIOD_NS
