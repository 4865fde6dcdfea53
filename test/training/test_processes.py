"""Several processes train one network, each on samples of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scenes import made_up

from mm_fusion_ros.training import cache
from mm_fusion_ros.training.processes import Processes, leave_cores
from mm_fusion_ros.training.sampling import CountingSampler

WORKER = Path(__file__).parent / "one_of_many.py"


def test_alone_there_is_nobody_to_wait_for() -> None:
    alone = Processes.joined("cpu")
    assert alone.leads and alone.leads_here and alone.count == 1
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    alone.average_gradients([parameter])
    alone.wait()
    alone.leave()
    assert alone.shared("mine") == "mine" and torch.equal(parameter.grad, torch.ones(2))
    assert Processes(3, 4, 1).device("cuda") == "cuda:1"


def test_networks_take_the_cores_that_loaders_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
        torch.set_num_threads(8)
        assert leave_cores(2) == torch.get_num_threads() == 6
        # Never none, and never more than somebody has allowed.
        assert leave_cores(9) == 1
        assert leave_cores(0) == 1
    finally:
        torch.set_num_threads(before)


def test_each_process_takes_its_share_of_every_step() -> None:
    whole = [place for _, place in CountingSampler(7, seed=1, start=4, total=16)]
    shares = [list(CountingSampler(7, 1, 4, 16, rank, 3)) for rank in range(3)]
    assert sorted(place for share in shares for _, place in share) == sorted(whole)
    assert [len(share) for share in shares] == [4, 4, 4]
    assert all(len(CountingSampler(7, 1, 4, 16, rank, 3)) == 4 for rank in range(3))


def test_two_that_the_launcher_starts_end_with_the_same_network(tmp_path: Path) -> None:
    for seed in range(4):
        cache.save(made_up(seed, cameras=1), cache.path_of(tmp_path / "scenes", seed))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(WORKER), str(tmp_path)], capture_output=True, text=True, timeout=300,
        check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["samples"] != second["samples"]
    assert first["weights"] == second["weights"] and first["average"] == second["average"]
    assert first["weights"] != first["before"]
    # Only the first writes; the second learned from it how far they had come.
    assert second["resumed"] == first["resumed"] == 2
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    assert not (tmp_path / "other").joinpath("checkpoint.pt").exists()
