"""`mm-fusion demo` as its user starts it: by itself, without a terminal."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mm_fusion_ros.inference.model_folder import ModelError, ModelFolder
from mm_fusion_ros.ros import demo

pytest.importorskip("open3d", reason="open3d is absent; `make setup` installs it")


def start(*arguments: str, domain: int) -> subprocess.Popen[str]:
    # A shell's background job ignores SIGINT, and so would all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [sys.executable, "-m", "mm_fusion_ros.cli", "demo", "--domain", str(domain), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def children_of(pid: int) -> set[int]:
    """Processes whose parent is `pid`, as Linux lists them."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(word) for word in text.split()}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def shipped_model() -> None:
    try:
        ModelFolder.open()
    except ModelError as error:
        pytest.skip(f"no weights ship yet: {error}")


def test_a_scripted_demo_ends_by_itself_with_its_report(
    ros_domain: int, shipped_model: None, tmp_path: Path
) -> None:
    record = tmp_path / "demo.rrd"
    process = start(
        "--command", "stop", "--view", "file", "--record", str(record), domain=ros_domain
    )
    output, _ = process.communicate(timeout=240.0)
    assert process.returncode == 0, output
    assert '"stop": done' in output and "no collision" in output
    assert record.stat().st_size > 1000


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_demo_that_ends_early_takes_its_children_with_it(
    ros_domain: int, shipped_model: None, sign: signal.Signals, code: int
) -> None:
    process = start("--view", "none", domain=ros_domain)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            break
    children = children_of(process.pid)
    assert len(children) == 2
    process.send_signal(sign)
    output, _ = process.communicate(timeout=150.0)
    assert process.returncode == code, output
    deadline = time.monotonic() + 20.0
    while any(alive(child) for child in children):
        assert time.monotonic() < deadline, "a child outlived the demo"
        time.sleep(0.05)


def test_a_demo_without_weights_says_what_is_missing(ros_domain: int, tmp_path: Path) -> None:
    process = start("--view", "none", "--model", str(tmp_path), domain=ros_domain)
    output, _ = process.communicate(timeout=240.0)
    assert process.returncode == 1
    assert "manifest.json" in output and str(tmp_path) in output


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_demo_stays_on_this_host_and_leaves_room_for_clouds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    environment = demo.ros_environment(17)
    assert environment["ROS_DOMAIN_ID"] == "17"
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert Path(environment["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/etc/own.xml")
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in demo.ros_environment(17)


def test_the_options_reach_the_processes() -> None:
    args = parsed("--speed", "0.5", "--seed", "3", "--lighting", "dusk", "--model", "/m")
    assert "speed:=0.5" in demo.sim_arguments(args)
    assert "lighting:=dusk" in demo.sim_arguments(args)
    assert "perception.model:=/m" in demo.fusion_arguments(args)
    (config,) = [a for a in demo.fusion_arguments(args) if a.startswith("config:=")]
    assert Path(config.removeprefix("config:=")).is_file()
