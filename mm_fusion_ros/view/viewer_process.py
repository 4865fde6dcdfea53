"""Rerun's viewer as a child process that listens on loopback and nowhere else.

The SDK's own `serve_grpc`, `serve_web_viewer` and `spawn` listen on every network interface and
take no address, so that anyone on the robot's network could watch and write. Its command line
tool takes one.
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

LOOPBACK = "127.0.0.1"
DATA_PORT = 9876
WEB_PORT = 9090
READY_ATTEMPTS = 150
READY_PAUSE_S = 0.1


class ViewerError(RuntimeError):
    """The viewer cannot be shown: says why, and what to do instead."""


def find_executable() -> Path:
    """Rerun's command line tool, as its package brings it.

    Raises:
        ViewerError: rerun-sdk is not installed, or without its viewer.
    """
    found = importlib.util.find_spec("rerun_cli")
    folders = list(found.submodule_search_locations or []) if found is not None else []
    for folder in folders:
        executable = Path(folder) / "rerun"
        if executable.exists():
            return executable
    raise ViewerError(
        "Rerun's viewer is not installed; mend it with: pip install rerun-sdk "
        "(or write a recording to a file and open it on another machine)"
    )


def free_port(wanted: int) -> int:
    """The wanted port of loopback, or any free one where it is taken."""
    for candidate in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ViewerError(f"no free port on {LOOPBACK} for Rerun's viewer")


class ViewerProcess:
    """A viewer window, or a page for the browser, fed over gRPC on loopback.

    Attributes:
        data_url: where a recording connects to.
        page_url: what a browser opens; empty for a window.
    """

    def __init__(self, browser: bool, memory_limit: str = "512MiB") -> None:
        """Starts the process and waits until it takes data.

        Args:
            browser: serve a page, else open a window.
            memory_limit: oldest data is dropped beyond this, so that a long run stays bounded.

        Raises:
            ViewerError: not installed, or it did not come up (no display, for instance).
        """
        port = free_port(DATA_PORT)
        self.data_url = f"rerun+http://{LOOPBACK}:{port}/proxy"
        self.page_url = ""
        arguments = [
            str(find_executable()), "--bind", LOOPBACK, "--port", str(port),
            "--memory-limit", memory_limit, "--server-memory-limit", memory_limit,
        ]  # fmt: skip
        if browser:
            page = free_port(WEB_PORT)
            arguments += ["--serve-web", "--web-viewer-port", str(page)]
            self.page_url = f"http://{LOOPBACK}:{page}/?url={quote(self.data_url, safe='')}"
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        if not self._wait_until_ready(port):
            self.close()
            kind = "page" if browser else "window (is there a display?)"
            raise ViewerError(
                f"Rerun's viewer did not come up as a {kind}; write a recording to a file instead"
            )

    def _wait_until_ready(self, port: int) -> bool:
        for _ in range(READY_ATTEMPTS):
            if self._process.poll() is not None:
                return False
            try:
                socket.create_connection((LOOPBACK, port), timeout=1.0).close()
            except OSError:
                time.sleep(READY_PAUSE_S)
            else:
                return True
        return False

    @property
    def alive(self) -> bool:
        """Whether the viewer still runs; a window may have been closed by its user."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=3.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> ViewerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
