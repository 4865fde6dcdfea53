"""Child processes of the demo: started with a log each, ended by their own ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from mm_fusion_ros.ros.execution import END_WITH_PARENT

GRACE_S = 3.0
LOG_TAIL = 15


@dataclass(frozen=True)
class Child:
    """One process and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Children:
    """Starts processes of this Python, and ends them all on the way out.

    Args:
        logs: folder for their logs.
        environment: added to this process's.
    """

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self._logs = logs
        self._environment = {**os.environ, **environment, END_WITH_PARENT: "1"}
        self._children: list[Child] = []

    def start(self, name: str, module: str, arguments: Sequence[str]) -> Child:
        """Starts `python -m module arguments`."""
        log = self._logs / f"{name}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                # Of a session of its own: Ctrl-C is for the demo, which ends them in order.
                env=self._environment, start_new_session=True,
            )  # fmt: skip
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def dead(self) -> Child | None:
        """One that has ended; None while all live."""
        return next((child for child in self._children if child.process.poll() is not None), None)

    def stop(self) -> None:
        """Asks each to end, waits, and kills what does not."""
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            living = [child for child in self._children if child.process.poll() is None]
            for child in living:
                child.process.send_signal(sign)
            deadline = time.monotonic() + GRACE_S
            for child in living:
                try:
                    child.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def tail(log: Path, lines: int = LOG_TAIL) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)
