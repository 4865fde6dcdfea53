"""Records are made once, in any order, and read back whole."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_fusion_ros.evaluation.exam import (
    RECORDS,
    Examine,
    Examiner,
    code_digest,
    plain_record,
    record_of,
    run_clean,
)
from mm_fusion_ros.evaluation.protocol import load_protocol
from mm_fusion_ros.evaluation.scoring import SUBSETS, SceneRecord
from mm_fusion_ros.inference.model_folder import DEFAULT_FOLDER, MANIFEST

PROTOCOL = load_protocol()


# A file of its own: what runs in another process must be importable there by name.
COUNTING = """
from mm_fusion_ros.evaluation.records import findings_of, truths_of
from mm_fusion_ros.evaluation.scoring import SUBSETS, SceneRecord


class Counting:
    def __init__(self, log):
        self.log = log

    def __call__(self, seed):
        with self.log.open("a") as stream:
            stream.write(f"{seed}\\n")
        empty = {subset: findings_of([], []) for subset in SUBSETS}
        return SceneRecord(seed, truths_of([], []), empty, {"detect": [0.1 * seed]})
"""


@pytest.fixture(autouse=True)
def counting(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `counting_examiner.Counting`: answers nothing, writes down what it was asked."""
    folder = tmp_path_factory.mktemp("importable")
    (folder / "counting_examiner.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(folder)


def examiner(log: Path) -> Callable[[], Examine]:
    """What makes a counting examiner, in this process or another."""
    make: Any = importlib.import_module("counting_examiner").Counting
    return partial(make, log)


def run(folder: Path, count: int, processes: int = 1) -> list[SceneRecord]:
    make = examiner(folder / "asked.txt")
    return run_clean(
        "", PROTOCOL, folder / "out", count=count, processes=processes, make_examiner=make
    )


def asked(folder: Path) -> list[int]:
    return sorted(int(line) for line in (folder / "asked.txt").read_text().split())


def test_an_interrupted_run_goes_on_where_it_left_off(tmp_path: Path) -> None:
    run(tmp_path, 3)
    records = run(tmp_path, 5)
    assert [record.seed for record in records] == list(range(200_000, 200_005))
    assert asked(tmp_path) == list(range(200_000, 200_005))  # each once


def test_a_line_cut_short_is_made_again_and_spoils_nothing(tmp_path: Path) -> None:
    run(tmp_path, 3)
    path = tmp_path / "out" / RECORDS
    path.write_bytes(path.read_bytes()[:-20])
    records = run(tmp_path, 3)
    assert [record.seed for record in records] == [200_000, 200_001, 200_002]
    assert asked(tmp_path) == [200_000, 200_001, 200_002, 200_002]
    lines = path.read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines[1:]] == [200_000, 200_001, 200_002]


def test_records_of_another_run_are_refused_and_kept(tmp_path: Path) -> None:
    run(tmp_path, 2)
    path = tmp_path / "out" / RECORDS
    before = path.read_bytes()
    with pytest.raises(ValueError, match="name another folder with --out"):
        run_clean(
            "", PROTOCOL, tmp_path / "out", count=2, processes=1, subsets=("both",),
            make_examiner=examiner(tmp_path / "asked.txt"),
        )  # fmt: skip
    assert path.read_bytes() == before


def test_processes_change_nothing_but_the_time(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    alone = run(tmp_path / "one", 4)
    together = run(tmp_path / "two", 4, processes=2)
    assert [plain_record(r) for r in alone] == [plain_record(r) for r in together]


def test_a_record_survives_its_line_bit_for_bit(tmp_path: Path) -> None:
    record = examiner(tmp_path / "asked.txt")()(7)
    line = json.dumps(plain_record(record))
    assert json.dumps(plain_record(record_of(json.loads(line)))) == line


def test_the_code_digest_is_stable() -> None:
    assert code_digest() == code_digest()


@pytest.mark.skipif(not (DEFAULT_FOLDER / MANIFEST).exists(), reason="no weights are shipped yet")
def test_the_shipped_model_answers_a_scene_alike_twice() -> None:
    first, second = (Examiner("", PROTOCOL, SUBSETS)(100_000) for _ in range(2))
    for subset in SUBSETS:
        np.testing.assert_array_equal(first.found[subset].centre, second.found[subset].centre)
        assert (first.found[subset].probability >= PROTOCOL.min_probability).all()
    assert first.truths.counts.any()
    assert {"encode camera", "encode lidar", "detect (both)"} <= first.milliseconds.keys()
