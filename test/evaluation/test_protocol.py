"""The frozen protocol is whole, and training never meets the test scenes."""

from __future__ import annotations

import hashlib
from itertools import combinations
from pathlib import Path

import pytest

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.evaluation.protocol import load_protocol, shipped_protocol
from mm_fusion_ros.training import cache


def test_the_splits_have_no_seed_in_common() -> None:
    splits = load_protocol().seeds
    assert set(splits) == {"train", "validation", "test"}
    for first, second in combinations(splits.values(), 2):
        assert not set(first) & set(second)


def test_training_uses_the_protocols_train_and_validation_seeds_and_refuses_test_seeds(
    tmp_path: Path,
) -> None:
    seeds = load_protocol().seeds
    assert seeds["train"] == cache.TRAIN_SEEDS
    assert seeds["validation"] == cache.VALIDATION_SEEDS
    for seed in (seeds["test"][0], seeds["test"][-1]):
        with pytest.raises(ValueError, match="neither a training nor a validation seed"):
            cache.fill(tmp_path, [seed], 1)


def test_the_simulators_labels_count_by_the_protocols_rule() -> None:
    labels = pytest.importorskip("mm_fusion_ros.sim.labels", reason="the ray caster is missing")
    counts = load_protocol().counts
    assert counts.min_lidar_points == labels.MIN_LIDAR_POINTS
    assert counts.min_pixels == labels.MIN_PIXELS
    assert counts.min_visible == labels.MIN_VISIBLE
    assert labels.REFERENCE_PIXELS == 640 * 480


def test_the_figures_are_the_exams() -> None:
    protocol = load_protocol()
    primary, secondary = protocol.figures["primary"], protocol.figures["secondary"]
    assert primary.with_colour
    assert protocol.regions[primary.region].in_view
    assert not secondary.with_colour
    assert not protocol.regions[secondary.region].in_view
    assert protocol.precision.radii_m == (0.5, 1.0, 2.0)
    assert protocol.scenes == 500
    assert protocol.quick_scenes * 10 == protocol.scenes
    assert protocol.bars == {"lidar": 0.05, "camera": 0.15}


def test_the_digest_is_the_files() -> None:
    assert load_protocol().digest == hashlib.sha256(shipped_protocol().read_bytes()).hexdigest()


def test_more_scenes_than_a_split_has_and_unknown_splits_are_refused() -> None:
    protocol = load_protocol()
    assert list(protocol.chosen_seeds("test", 3)) == [200_000, 200_001, 200_002]
    with pytest.raises(ConfigError, match="allowed is 1 to 1000"):
        protocol.chosen_seeds("test", 1001)
    with pytest.raises(ConfigError, match="allowed is 1 to 1000"):
        protocol.chosen_seeds("test", 0)
    with pytest.raises(ConfigError, match="allowed are train, validation, test"):
        protocol.chosen_seeds("holdout", 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scenes: 500", "scene: 500", "scene"),
        ("region: in_view", "region: upstairs", r"\['upstairs'\] are used and not defined"),
        ("  secondary:", "  other:", r"\['secondary'\] are not defined"),
        ("name: exam_v5", "name: [", "ParserError"),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "exam.yaml"
    path.write_text(shipped_protocol().read_text().replace(old, new))
    with pytest.raises(ConfigError, match=said):
        load_protocol(path)


def test_a_missing_protocol_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        load_protocol(tmp_path / "none.yaml")
