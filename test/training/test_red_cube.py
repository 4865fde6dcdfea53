"""The controlled conjunction test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mm_fusion_ros.training.red_cube import (
    CANDIDATES,
    LEFT_OUT,
    Budget,
    World,
    conjunctions,
    means,
    named,
    part_a,
    run,
    table,
)

SMALL = Budget(steps=100, batch=32, test=400)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_neither_colours_nor_shapes_alone_tell_the_kind_of_scene() -> None:
    colours, shapes, kind = conjunctions(500, draw())
    assert (colours.sort(dim=1).values == torch.tensor([0, 1])).all()
    assert (shapes.sort(dim=1).values == torch.tensor([0, 1])).all()
    assert torch.equal(shapes[:, 0], kind)
    assert 0.4 < kind.float().mean() < 0.6


def test_what_is_named_is_there_once_and_pairs_left_out_are_never_trained_on() -> None:
    for unseen in (False, True):
        colours, shapes, pairs = named(500, unseen, draw())
        assert colours.shape == shapes.shape == (500, CANDIDATES)
        is_it = (colours == pairs[:, :1]) & (shapes == pairs[:, 1:])
        assert is_it[:, 0].all() and not is_it[:, 1:].any()
        # A decoy of its colour and one of its shape: neither word alone is enough.
        assert (colours[:, 1:] == pairs[:, :1]).any(dim=1).all()
        assert (shapes[:, 1:] == pairs[:, 1:]).any(dim=1).all()
        assert all((tuple(pair) in LEFT_OUT) == unseen for pair in pairs.tolist())


def test_the_camera_shows_no_shape_and_the_lidar_no_colour() -> None:
    world = World(0)
    colours, shapes, _ = conjunctions(4, draw())
    one = world.draw(colours, shapes, draw(1))
    other = world.draw(colours, 1 - shapes, draw(1))
    assert torch.equal(one.camera, other.camera) and not torch.equal(one.lidar, other.lidar)
    assert all(len(set(cells)) == 2 for cells in one.cells.tolist())


def test_a_sum_of_what_each_concludes_is_at_chance_where_interaction_is_not() -> None:
    torch.set_num_threads(1)
    assert abs(part_a("late (sum of logits)", SMALL, 0) - 0.5) < 0.1
    assert part_a("concat", SMALL, 0) > 0.9


def test_what_is_done_is_kept_and_not_done_again(tmp_path: Path) -> None:
    tiny = Budget(steps=2, batch=4, test=40)
    first = run(["concat", "lidar alone"], (0, 1), tiny, kept=tmp_path, processes=1)
    assert {
        name: {part: len(each) for part, each in row.items()} for name, row in first.items()
    } == {name: {"a": 2, "b": 2} for name in ("concat", "lidar alone")}
    (tmp_path / "concat-b-1.json").write_text('{"accuracy": 0.125}')
    again = run(["concat"], (0, 1), tiny, kept=tmp_path, processes=1)
    assert again["concat"] == {"a": first["concat"]["a"], "b": [first["concat"]["b"][0], 0.125]}
    with pytest.raises(ValueError, match="another"):
        run(["concat"], (0,), replace(tiny, steps=3), kept=tmp_path, processes=1)


def test_the_table_names_chance_and_the_least_of_the_seeds() -> None:
    results = {"gated": {"a": [1.0, 0.98], "b": [0.96, 0.98]}}
    text = table(results)
    assert "chance" in text and text.splitlines()[1].split() == [
        "gated", "0.990", "0.980", "0.970", "0.960",
    ]  # fmt: skip
    assert means(results)["gated"]["b"] == pytest.approx(0.97)
