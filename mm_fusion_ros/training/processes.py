"""Training in several processes, on one machine or many, as PyTorch's own launcher starts them.

    torchrun --nproc-per-node 4 -m mm_fusion_ros.cli train --out runs/train

Each process reads other samples; their gradients are averaged at every step, so that a step is one
of a batch as many times as large. The first process speaks, and alone writes the checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed as dist
from torch import nn

Value = TypeVar("Value")
PATIENCE = timedelta(days=1)
"""While one generates scenes or looks something up for all, the others wait."""


def leave_cores(workers: int) -> int:
    """Gives the network the cores that the loaders leave; returns how many.

    Where both want one, the network's threads wait for each other at every layer: on two cores a
    step with one loader took 1.6 times as long on two threads as on one.
    """
    threads = min(torch.get_num_threads(), max(1, len(os.sched_getaffinity(0)) - workers))
    torch.set_num_threads(threads)
    return threads


@dataclass(frozen=True)
class Processes:
    """All that train together.

    Attributes:
        rank: this one's place among them.
        count: of all.
        local_rank: its place among those of this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def joined(cls, device: str) -> Processes:
        """Meets the others, if the launcher started any; else this one is alone."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        gpu = device.startswith("cuda")
        if gpu:
            torch.cuda.set_device(local_rank)
        dist.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE)
        return cls(dist.get_rank(), count, local_rank)

    @property
    def leads(self) -> bool:
        """Whether this one speaks for all."""
        return self.rank == 0

    @property
    def leads_here(self) -> bool:
        """Whether this one does what is to be done once a machine."""
        return self.local_rank == 0

    def device(self, device: str) -> str:
        """The one of several GPUs that is this process's."""
        return f"cuda:{self.local_rank}" if device == "cuda" else device

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            dist.barrier()

    def shared(self, value: Value) -> Value:
        """The first one's value, for all."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Makes each gradient the mean of all processes'; what has none counts as 0."""
        if self.count == 1:
            return
        wanted = list(parameters)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in wanted]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for parameter, mean in zip(wanted, flat.split([p.numel() for p in wanted]), strict=True):
            parameter.grad = mean.reshape(parameter.shape).clone()

    def leave(self) -> None:
        """Parts from the others, in good order."""
        if self.count > 1:
            dist.destroy_process_group()
