"""Simulated time against steady time: keep the pace, or fall behind without ever catching up."""

from __future__ import annotations

# How much of the past the achieved speed is measured over.
WINDOW_NS = 2_000_000_000


class Pace:
    """Tells how long to wait before an instant of simulated time may be published.

    Args:
        speed: simulated seconds a second, at most.
        simulated_ns, steady_ns: where both clocks stand at the start [ns].
    """

    def __init__(self, speed: float, simulated_ns: int, steady_ns: int) -> None:
        self._speed = speed
        self._anchor = (simulated_ns, steady_ns)
        self._window = (simulated_ns, steady_ns)
        self._achieved = speed

    def wait_s(self, simulated_ns: int, steady_ns: int) -> float:
        """How long steady time still has to run [s]; 0 when it is late already.

        Lateness is forgiven: the time after it runs at the wanted speed, not faster, or a slow
        stretch would be followed by a burst that no sensor makes.
        """
        due_ns = self._anchor[1] + round((simulated_ns - self._anchor[0]) / self._speed)
        if due_ns < steady_ns:
            self._anchor = (simulated_ns, steady_ns)
            return 0.0
        return (due_ns - steady_ns) / 1e9

    def achieved(self, simulated_ns: int, steady_ns: int) -> float:
        """Simulated seconds a second of late."""
        began_simulated_ns, began_steady_ns = self._window
        if steady_ns - began_steady_ns >= WINDOW_NS:
            self._achieved = (simulated_ns - began_simulated_ns) / (steady_ns - began_steady_ns)
            self._window = (simulated_ns, steady_ns)
        return self._achieved
