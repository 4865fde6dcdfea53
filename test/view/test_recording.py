"""Recordings hold every view; what is served is served on loopback and nowhere else."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import scene

from mm_fusion_ros.view import bev, viewer_process
from mm_fusion_ros.view.recording import RerunRecording
from mm_fusion_ros.view.viewer_process import ViewerError, ViewerProcess, free_port

LISTENING = "0A"


def rerun_tool() -> str:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    return str(viewer_process.find_executable())


def said_by(*arguments: str) -> str:
    done = subprocess.run([rerun_tool(), *arguments], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def listeners(ports: set[int]) -> dict[int, set[str]]:
    """Addresses, as /proc writes them, on which these ports are listened to."""
    found: dict[int, set[str]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            local, _, state = line.split()[1:4]
            address, port = local.split(":")
            if state == LISTENING and int(port, 16) in ports:
                found.setdefault(int(port, 16), set()).add(address)
    return found


def test_a_recording_is_complete_and_holds_every_view(tmp_path: Path) -> None:
    rerun_tool()
    path = tmp_path / "deep" / "run.rrd"
    with RerunRecording(path) as recording:
        for index in range(5):
            stamp_ns = 10**18 + index * 100_000_000
            target = scene.go(9.0, 0.0) if index > 2 else scene.HOLD
            output = scene.output(stamp_ns, target, x=float(index))
            recording.log(output, [scene.frame()], [scene.scan()])
    printed = said_by("rrd", "print", "-vv", str(path))
    for entity in (
        "/overlay/camera", "/bird_eye", "/world/base/points/lidar", "/world/base/objects",
        "/world/target", "/world/trail", "/trust/camera", "/share/lidar", "/target/log",
    ):  # fmt: skip
        assert entity in printed, entity
    assert "ros_time" in printed
    assert "without error" in said_by("rrd", "verify", str(path))


def test_an_output_with_nothing_in_it_is_recorded(tmp_path: Path) -> None:
    rerun_tool()
    empty = dataclasses.replace(
        scene.output(), objects=(), reliability={}, pose=None, obstacles=None
    )
    with RerunRecording(tmp_path / "empty.rrd") as recording:
        recording.log(empty)
        recording.log(empty)
    assert (tmp_path / "empty.rrd").stat().st_size > 0


@pytest.mark.parametrize(("every_s", "pictures"), [(0.0, 30), (10.0, 1)])
def test_pictures_from_above_can_be_spaced_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_s: float, pictures: int
) -> None:
    rerun_tool()
    drawn = []

    def counted(*args: object, **options: object) -> object:
        drawn.append(1)
        return draw(*args, **options)  # type: ignore[arg-type]

    draw = bev.bird_eye
    monkeypatch.setattr(bev, "bird_eye", counted)
    # Thirty outputs, a tenth of a second apart: 2.9 s.
    with RerunRecording(tmp_path / "some.rrd", bird_eye_every_s=every_s) as recording:
        for index in range(30):
            recording.log(scene.output(10**18 + index * 100_000_000))
    assert len(drawn) == pictures


def test_closing_twice_is_harmless_and_logging_afterwards_is_an_error(tmp_path: Path) -> None:
    rerun_tool()
    recording = RerunRecording(tmp_path / "run.rrd")
    recording.close()
    recording.close()
    with pytest.raises(ValueError, match="closed"):
        recording.log(scene.output())


def test_a_place_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    rerun_tool()
    with pytest.raises(OSError, match="directory"):
        RerunRecording(tmp_path)


def test_without_rerun_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ViewerError, match="pip install rerun-sdk"):
        RerunRecording("run.rrd")


def test_nothing_imports_rerun_before_a_recording_is_opened() -> None:
    code = (
        "import sys, mm_fusion_ros.view.recording, mm_fusion_ros.view.overlay\n"
        "assert 'rerun' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="listeners are read from /proc/net")
def test_what_is_served_is_served_on_loopback_only() -> None:
    rerun_tool()
    with RerunRecording("serve") as recording:
        recording.log(scene.output())
        page = recording.page_url
        assert page.startswith("http://127.0.0.1:")
        web = int(page.split(":")[2].split("/")[0])
        data = int(page.split("127.0.0.1%3A")[1].split("%2F")[0])
        found = listeners({web, data})
    # 127.0.0.1 in the kernel's little-endian hexadecimal; anything else would be reachable.
    assert found == {web: {"0100007F"}, data: {"0100007F"}}


@pytest.mark.skipif(sys.platform != "linux", reason="listeners are read from /proc/net")
def test_a_closed_viewer_leaves_nothing_behind() -> None:
    rerun_tool()
    viewer = ViewerProcess(browser=True)
    port = int(viewer.data_url.split(":")[2].split("/")[0])
    assert viewer.alive
    viewer.close()
    assert not viewer.alive
    assert not listeners({port})


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_a_viewer_that_is_not_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ViewerError, match="pip install rerun-sdk"):
        ViewerProcess(browser=True)
