"""What the bench says of its figures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from mm_fusion_ros.evaluation import bench_command
from mm_fusion_ros.evaluation.bench_command import Bench, Line, drops, stage_medians, unheard

DIAGNOSTICS = {
    "fusion: fusion": {"rate_hz": "10.0", "stage.fuse.median_ms": "4.20", "stage.fuse.p99_ms": "9"},
    "fusion: camera": {
        "count.accepted": "88", "count.emitted": "29", "count.passed_over": "59",
        "count.overflow": "3", "trust": "1.000",
    },
    "fusion: lidar": {"count.accepted": "30", "count.missed": "2", "count.late_anchor": "1"},
}  # fmt: skip


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_command.add_arguments(parser)
    return parser.parse_args(words)


def test_a_limit_is_kept_up_to_itself_and_nan_keeps_none() -> None:
    assert Line("a", 60.0, "ms", 60.0).met is True
    assert Line("a", 60.1, "ms", 60.0).met is False
    assert Line("a", float("nan"), "ms", 60.0).met is False
    assert Line("a", 1e9, "ms").met is None
    assert "limit 60 (kept, ratio 0.50)" in str(Line("a", 30.0, "ms", 60.0))
    assert "NOT kept" in str(Line("a", 1.0, "", 0.0))


def test_drops_are_what_was_lost_and_not_what_was_passed_over() -> None:
    assert drops(DIAGNOSTICS) == {"camera overflow": 3, "lidar late_anchor": 1}


def test_what_the_node_never_heard_is_told_from_what_it_dropped() -> None:
    # The camera sent 95: 88 accepted and 3 overflowed reached the node, 4 did not. Outcomes are
    # second counts of accepted messages.
    figures = {"sent": {"camera": 95, "lidar": 30}, "diagnostics": DIAGNOSTICS}
    assert unheard(figures) == {"camera": 4, "lidar": 0}


def test_stages_come_from_the_nodes_own_report() -> None:
    assert stage_medians(DIAGNOSTICS) == {"fuse": "4.20"}


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (3.0, 1)])
def test_the_exit_code_says_whether_every_limit_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    value: float,
    code: int,
) -> None:
    bench = Bench([Line("push", value, "us", 2.0), Line("free", 9.0, "")], {"raw": [1]})
    monkeypatch.setattr(bench_command, "run_sync", lambda _: bench)
    path = tmp_path / "figures" / "bench.json"
    assert bench_command.run(parsed("sync", "--json", str(path))) == code
    assert "machine: " in capsys.readouterr().out
    content = json.loads(path.read_text())
    assert content["sync"]["figures"][0]["kept"] is (code == 0)
    assert content["sync"]["details"] == {"raw": [1]}
    assert content["machine"]["cores"].isdigit()


def test_the_synchronizer_bench_runs() -> None:
    bench = bench_command.run_sync(parsed("sync"))
    assert bench.lines[0].limit == 20.0
    assert bench.lines[0].value > 0.0
