"""The deadline synchronizer beside approximate-time matching, on streams where the latter stalls.

`mm-fusion bench sync` prints this: two streams of which one dies before the bag's end, looped with
time jumping back; ten stamps from the future; and the cost of a push.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mm_fusion_ros.config import SourceConfig, SyncConfig
from mm_fusion_ros.sync.synchronizer import DeadlineSynchronizer, Verdict

PERIOD_NS = 100_000_000
LOOP_NS = 30_000_000_000
DEATH_NS = 1_500_000_000
START_NS = 1_700_000_000_000_000_000
QUEUE = 10
SLOP_NS = 50_000_000


class ApproximateTimeBaseline:
    """Matching by queues and slop, as the ROS Python class `ApproximateTimeSynchronizer` does it.

    Each topic keeps the `queue_size` messages of the highest stamps. A new message is matched with
    one stored message of every other topic, combinations tried in the order of nearness to it; the
    first whose stamps spread by less than the slop is given out and leaves the queues. There is
    neither a deadline nor a notion of now, which is what the demonstration is about: a queue full
    of stamps from a later time throws each new message out as the oldest it has.

    Args:
        topics: how many topics are matched.
        queue_size: messages kept for each topic.
        slop_ns: greatest spread of the stamps in a set.
    """

    def __init__(self, topics: int, queue_size: int, slop_ns: int) -> None:
        self.queues: list[dict[int, Any]] = [{} for _ in range(topics)]
        self.queue_size = queue_size
        self.slop_ns = slop_ns

    def add(self, topic: int, stamp_ns: int, message: Any) -> tuple[Any, ...] | None:
        """Takes a message in; returns the set that it completes, or None."""
        own = self.queues[topic]
        own[stamp_ns] = message
        while len(own) > self.queue_size:
            del own[min(own)]
        choices: list[list[int]] = []
        for index, queue in enumerate(self.queues):
            if index == topic:
                choices.append([stamp_ns])
                continue
            near = [stamp for stamp in queue if abs(stamp - stamp_ns) <= self.slop_ns]
            choices.append(sorted(near, key=lambda stamp: abs(stamp - stamp_ns)))
        for stamps in itertools.product(*choices):
            held = all(s in queue for s, queue in zip(stamps, self.queues, strict=True))
            if held and max(stamps) - min(stamps) < self.slop_ns:
                return tuple(q.pop(s) for s, q in zip(stamps, self.queues, strict=True))
        return None


@dataclass(frozen=True)
class Event:
    """A message: which of the two streams, its stamp, and the time at its arrival [ns]."""

    topic: int
    stamp_ns: int
    now_ns: int


@dataclass(frozen=True)
class Tally:
    """What came out: sets of both streams, and sets of at least one."""

    complete: int = 0
    total: int = 0


Runner = Callable[[list[Event]], Tally]
NAMES = ("lidar", "camera")


def looped_bag(dying: int) -> list[list[Event]]:
    """Three loops of two 10 Hz streams; stream `dying` ends 1.5 s before the bag does."""
    loop: list[Event] = []
    for step in range(LOOP_NS // PERIOD_NS):
        stamp_ns = START_NS + step * PERIOD_NS
        for topic in (0, 1):
            if topic == dying and step * PERIOD_NS >= LOOP_NS - DEATH_NS:
                continue
            own_ns = stamp_ns + topic * 5_000_000  # the camera is 5 ms after the lidar
            loop.append(Event(topic, own_ns, own_ns + 2_000_000))
    return [loop, loop, loop]


def future_stamps() -> list[list[Event]]:
    """Ten lidar stamps an hour ahead, then 10 s of two healthy streams."""
    hour_ns = 3_600_000_000_000
    ahead_ns = START_NS + hour_ns - PERIOD_NS
    ahead = [Event(0, ahead_ns + step * PERIOD_NS, START_NS - PERIOD_NS) for step in range(10)]
    healthy = looped_bag(dying=-1)[0][: 2 * 100]
    return [ahead, healthy]


def baseline_runner() -> Runner:
    """Approximate-time matching, state kept from one call to the next."""
    matcher = ApproximateTimeBaseline(len(NAMES), QUEUE, SLOP_NS)

    def run_events(events: list[Event]) -> Tally:
        sets = sum(matcher.add(e.topic, e.stamp_ns, e) is not None for e in events)
        return Tally(sets, sets)

    return run_events


def deadline_runner() -> Runner:
    """The deadline synchronizer with its default parameters, polled whenever it asks to be."""
    sources = [
        SourceConfig("lidar", "lidar", rate_hz=10.0, tolerance_ms=50.0),
        SourceConfig("camera", "camera", rate_hz=10.0, tolerance_ms=50.0),
    ]
    synchronizer: DeadlineSynchronizer[Event] = DeadlineSynchronizer(sources, SyncConfig())

    def ticks(now_ns: int) -> Iterator[bool]:
        while (tick := synchronizer.tick(now_ns)) is not None:
            if tick.entries:
                yield not tick.missing

    def ticks_until(start_ns: int, end_ns: int) -> Iterator[bool]:
        """What falls due between two arrivals, asked for when it falls due."""
        while (due_ns := synchronizer.next_deadline_ns()) is not None:
            if not start_ns < due_ns < end_ns:
                break
            yield from ticks(due_ns)

    def run_events(events: list[Event]) -> Tally:
        complete: list[bool] = []
        previous_ns = events[0].now_ns
        for event in events:
            complete.extend(ticks_until(previous_ns, event.now_ns))
            synchronizer.push(NAMES[event.topic], event.stamp_ns, event, event.now_ns)
            complete.extend(ticks(event.now_ns))
            previous_ns = event.now_ns
        complete.extend(ticks_until(previous_ns, previous_ns + PERIOD_NS // 2))
        return Tally(sum(complete), len(complete))

    return run_events


def push_cost_us(pushes: int = 20_000) -> dict[str, float]:
    """Time of one push [us], and of one poll, at 30 Hz camera, 10 Hz lidar and 100 Hz IMU."""
    sources = [
        SourceConfig("lidar", "lidar", rate_hz=10.0),
        SourceConfig("camera", "camera", rate_hz=30.0),
        SourceConfig("imu", "imu", rate_hz=100.0),
    ]
    synchronizer: DeadlineSynchronizer[int] = DeadlineSynchronizer(sources, SyncConfig())
    events = sorted(
        (START_NS + round(step * 1e9 / source.rate_hz), source.name)
        for source in sources
        for step in range(round(pushes * source.rate_hz / 140.0))
    )
    push_us: list[float] = []
    poll_us: list[float] = []
    for stamp_ns, name in events:
        begin = time.perf_counter()
        verdict = synchronizer.push(name, stamp_ns, 0, stamp_ns)
        middle = time.perf_counter()
        synchronizer.tick(stamp_ns)
        synchronizer.next_deadline_ns()
        end = time.perf_counter()
        if verdict is not Verdict.ACCEPTED:
            raise RuntimeError(f"benchmark stream refused: {name} {verdict.value}")
        push_us.append((middle - begin) * 1e6)
        poll_us.append((end - middle) * 1e6)
    return {
        "push_median_us": statistics.median(push_us),
        "push_p99_us": statistics.quantiles(push_us, n=100)[98],
        "poll_median_us": statistics.median(poll_us),
        "poll_p99_us": statistics.quantiles(poll_us, n=100)[98],
    }


def run() -> dict[str, Any]:
    """Runs both on the same streams, prints the table and returns its figures.

    Returns:
        scenario -> method -> list of (complete sets, sets) for each part of the scenario; and
        `cost`, the figures of `push_cost_us`.
    """
    scenarios = {
        "lidar dies 1.5 s before the end, 3 loops of 30 s": looped_bag(dying=0),
        "camera dies 1.5 s before the end, 3 loops of 30 s": looped_bag(dying=1),
        "10 stamps an hour ahead, then 10 s healthy": future_stamps(),
    }
    methods = {"approximate time": baseline_runner, "deadline": deadline_runner}
    result: dict[str, Any] = {}
    print("complete sets / sets, part by part")
    for name, parts in scenarios.items():
        print(f"  {name}")
        result[name] = {}
        for method, make in methods.items():
            runner = make()
            tallies = [runner(part) for part in parts]
            result[name][method] = [(tally.complete, tally.total) for tally in tallies]
            line = "   ".join(f"{tally.complete:3d} / {tally.total:3d}" for tally in tallies)
            print(f"    {method:<18}{line}")
    cost = push_cost_us()
    result["cost"] = cost
    print(
        f"a push: median {cost['push_median_us']:.1f} us, "
        f"99th percentile {cost['push_p99_us']:.1f} us; "
        f"a poll (tick and next deadline): median {cost['poll_median_us']:.1f} us"
    )
    return result


def main() -> None:
    """Prints the demonstration."""
    run()


if __name__ == "__main__":
    main()
