"""The order in which training sees the scenes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class CountingSampler(Sampler[tuple[int, int]]):
    """Seeded permutations, one epoch after the other: key and place of each sample.

    The key counts on with the epochs, so that they differ; the place counts the samples.
    """

    def __init__(
        self, length: int, seed: int, start: int, total: int, rank: int = 0, count: int = 1
    ) -> None:
        """Samples from `start` to `total`; of `count` processes each takes every count-th."""
        self.length, self.seed, self.start, self.total = length, seed, start, total
        self.rank, self.count = rank, count

    def __len__(self) -> int:
        return (self.total - self.start) // self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for epoch in range(self.start // self.length, self.total // self.length + 1):
            generator = torch.Generator().manual_seed(self.seed * 7919 + epoch)
            order = torch.randperm(self.length, generator=generator).tolist()
            for place, index in enumerate(order):
                counted = epoch * self.length + place
                mine = counted % self.count == self.rank
                if mine and self.start <= counted < self.total:
                    yield epoch * self.length + index, counted
