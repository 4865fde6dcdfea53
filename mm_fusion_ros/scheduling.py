"""Who does the work, and how long it took: both are given to the pipeline from outside.

The live node encodes in worker threads and times the stages by the steady clock; replay and
evaluation do everything inline, so that the same input gives the same output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

T = TypeVar("T")
P = ParamSpec("P")


class Pending(Protocol[T]):  # type: ignore[misc]
    """A result that is there now or will be."""

    def result(self) -> T:
        """Waits for the work and returns what it gave, or raises what it raised."""
        ...


class Scheduler(Protocol):
    """Takes work and promises its result."""

    def submit(self, work: Callable[[], T]) -> Pending[T]:
        """Does the work at once or soon."""
        ...


class Inline:
    """Does the work at once, in the caller's thread; errors come out of `result`."""

    def submit(self, work: Callable[[], T]) -> Pending[T]:
        """Does the work before it returns."""
        done: Future[T] = Future()
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - handed on, whatever it is
            done.set_exception(error)
        return done


class Threads:
    """Does the work in worker threads."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="encoder")

    def submit(self, work: Callable[[], T]) -> Pending[T]:
        """Queues the work."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Drops what has not begun and waits for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Stopwatch:
    """Durations by stage; the clock is given, so that none is read here.

    Args:
        clock_ns: returns a steady time [ns]; None measures nothing.
        keep: durations kept for each stage.
    """

    def __init__(self, clock_ns: Callable[[], int] | None = None, keep: int = 2000) -> None:
        self._clock_ns = clock_ns
        self._keep = keep
        self._durations: dict[str, deque[int]] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Times the block."""
        if self._clock_ns is None:
            yield
            return
        began = self._clock_ns()
        try:
            yield
        finally:
            durations = self._durations.setdefault(stage, deque(maxlen=self._keep))
            durations.append(self._clock_ns() - began)

    def timed(self, stage: str, work: Callable[P, T]) -> Callable[P, T]:
        """The same work, timed whenever it is done."""

        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.measure(stage):
                return work(*args, **kwargs)

        return run

    def summary(self) -> Mapping[str, Mapping[str, float]]:
        """For each stage: count, and median and 99th percentile in milliseconds."""
        result = {}
        for stage, durations in sorted(self._durations.items()):
            values = np.array(durations) / 1e6
            result[stage] = {
                "count": float(len(values)),
                "median_ms": float(np.median(values)),
                "p99_ms": float(np.percentile(values, 99)),
            }
        return result
