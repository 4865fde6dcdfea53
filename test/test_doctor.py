"""The doctor: each finding from an injected answer, and one examination of this machine."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mm_fusion_ros import doctor
from mm_fusion_ros.doctor import BROKEN, MISSING, OK, Answer, Finding, Probe

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_sourced_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)


def healthy(program: str) -> Answer:
    """What a machine with everything answers."""
    if "rmw()" in program:
        return Answer(json.dumps(["/ros/lib/rclpy/__init__.py", "rmw_fastrtps_cpp", "7.1.6"]))
    if "check_for_type_support" in program:
        return Answer("")
    if "BACKENDS" in program:
        content = [
            "onnxruntime",
            2,
            ["CPUExecutionProvider"],
            ["onnxruntime"],
            ["CPUExecutionProvider"],
        ]
        return Answer(json.dumps(content))
    if "import tensorrt" in program:
        return Answer(error="ModuleNotFoundError: No module named 'tensorrt'")
    return Answer("1.2.3 None")


def without(fragment: str, error: str) -> Probe:
    """A machine where the program with this fragment fails so."""
    return lambda program: Answer(error=error) if fragment in program else healthy(program)


def model_folder(folder: Path, content: bytes = b"weights") -> Path:
    """A model folder whose manifest agrees with its one file."""
    (folder / "net.onnx").write_bytes(content)
    manifest = {
        "name": "test",
        "version": "1",
        "files": {"net.onnx": hashlib.sha256(content).hexdigest()},
        "inputs": {},
        "provenance": {},
        "calibration": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def examined(model: Path, probe: Probe) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine(str(model), probe)}


def test_a_whole_machine_is_ready(tmp_path: Path) -> None:
    findings = doctor.examine(str(model_folder(tmp_path)), healthy)
    assert doctor.ready(findings)
    assert doctor.as_text(findings, colour=False).endswith("The fusion node can run here.")


@pytest.mark.parametrize("module", [lib.module for lib in doctor.LIBRARIES])
def test_a_missing_library_is_named_with_the_line_that_mends_it(
    tmp_path: Path, module: str
) -> None:
    loaded = {library.module: library.load for library in doctor.LIBRARIES}[module]
    look = f"import {module} as" if loaded else f"find_spec('{module}')"
    probe = without(look, f"ModuleNotFoundError: No module named '{module}'")
    findings = examined(model_folder(tmp_path), probe)
    assert findings[module].status == MISSING
    assert "make" in findings[module].mend
    needed = {"numpy", "scipy", "yaml", "cv2", "onnxruntime", "pymap3d"}
    assert doctor.ready(findings.values()) == (module not in needed)


def test_without_ros_the_node_cannot_run(tmp_path: Path) -> None:
    probe = without("rclpy.init", "ModuleNotFoundError: No module named 'rclpy'")
    findings = examined(model_folder(tmp_path), probe)
    assert findings["ROS 2"].status == MISSING
    assert findings["ROS 2"].mend
    assert not doctor.ready(findings.values())


def test_one_missing_message_package_is_named_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(program: str) -> Answer:
        if "check_for_type_support" in program:
            return Answer("vision_msgs ModuleNotFoundError(\"No module named 'vision_msgs'\")")
        return healthy(program)

    findings = examined(model_folder(tmp_path), probe)
    assert findings["vision_msgs"].status == MISSING
    assert "vision_msgs" not in findings["message packages"].detail
    assert "tf2_msgs" in findings["message packages"].detail
    assert not doctor.ready(findings.values())
    monkeypatch.setenv("ROS_DISTRO", "humble")
    findings = examined(model_folder(tmp_path), probe)
    assert findings["vision_msgs"].mend == "sudo apt-get install -y ros-humble-vision-msgs"


def test_open3d_without_its_shared_library_is_broken_and_not_required(tmp_path: Path) -> None:
    error = "OSError: libusb-1.0.so.0: cannot open shared object file: No such file or directory"
    findings = examined(model_folder(tmp_path), without("import open3d", error))
    assert findings["open3d"].status == BROKEN
    assert findings["open3d"].mend == "sudo apt-get install -y libusb-1.0-0"
    assert doctor.ready(findings.values())


def test_a_library_that_crashes_is_a_finding(tmp_path: Path) -> None:
    findings = examined(model_folder(tmp_path), without("import cv2", "ended with -11"))
    assert findings["cv2"].status == BROKEN
    assert "ended with -11" in findings["cv2"].detail


def test_an_altered_model_is_broken(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "net.onnx").write_bytes(b"other weights")
    finding = examined(folder, healthy)["model"]
    assert finding.status == BROKEN
    assert "net.onnx" in finding.detail
    assert finding.mend


def test_an_absent_model_is_said_to_be_absent(tmp_path: Path) -> None:
    findings = examined(tmp_path, healthy)
    assert findings["model"].status == MISSING
    assert str(tmp_path) in findings["model"].detail
    assert not doctor.ready(findings.values())


def test_an_intact_model_is_named_with_its_version(tmp_path: Path) -> None:
    finding = examined(model_folder(tmp_path), healthy)["model"]
    assert (finding.status, finding.detail.split(",")[0]) == (OK, "test 1")


def test_the_backend_comes_with_the_reason(tmp_path: Path) -> None:
    detail = examined(model_folder(tmp_path), healthy)["backend"].detail
    assert detail.startswith("onnxruntime with CPUExecutionProvider, 2 threads: the only one")


def test_a_backend_whose_provider_is_not_there_is_broken(tmp_path: Path) -> None:
    def probe(program: str) -> Answer:
        if "BACKENDS" in program:
            return Answer(json.dumps(["x", 2, ["CPUExecutionProvider"], ["x"], ["OtherProvider"]]))
        return healthy(program)

    assert examined(model_folder(tmp_path), probe)["backend"].status == BROKEN


def test_a_probe_that_crashes_gives_its_last_line() -> None:
    assert doctor.run_probe("print(1 + 1)") == Answer(output="2")
    assert doctor.run_probe("raise ValueError('why')") == Answer(error="ValueError: why")
    assert doctor.run_probe("import os; os.abort()").error == "ended with -6"


def test_the_exit_code_says_whether_the_node_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor.examine, "__defaults__", ("", healthy))
    good = argparse.Namespace(json=False, model=str(model_folder(tmp_path)))
    assert doctor.run(good) == 0
    bad = argparse.Namespace(json=True, model=str(tmp_path / "nothing"))
    capsys.readouterr()
    assert doctor.run(bad) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["ready"] is False
    assert {"name", "status", "detail", "mend", "required"} == content["findings"][0].keys()


def test_this_machine_is_examined_in_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mm_fusion_ros.cli", "doctor", "--json"]
    done = subprocess.run(
        [*command, "--model", str(model_folder(tmp_path))],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    content = json.loads(done.stdout)
    assert done.returncode == (0 if content["ready"] else 1)
    status = {finding["name"]: finding["status"] for finding in content["findings"]}
    # These tests run on them, so they are there.
    assert (status["numpy"], status["yaml"], status["model"]) == (OK, OK, OK)
