"""`mm-fusion replay` writes its files, and ends with 2 and one clear line where it cannot."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import synthetic_bag as made

from mm_fusion_ros.replay import command


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(arguments)))


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return made.write(tmp_path / "bag", made.drive(2.0))


def test_a_replay_writes_outputs_and_a_page(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(str(bag), "--out", str(out), "--no-rerun", "--command", "stop") == 0
    assert sorted(item.name for item in out.iterdir()) == ["outputs.jsonl", "report.html"]
    lines = (out / "outputs.jsonl").read_text(encoding="utf-8").splitlines()
    # Odometry at 10 Hz for 2 s makes the ticks; told to stop at 1 s, the robot obeys from then on.
    assert len(lines) >= 19
    assert json.loads(lines[5])["target"]["reason"] == "no_command"
    assert json.loads(lines[-1])["target"]["intent"] == "stop"
    said = capsys.readouterr().out
    assert "real time" in said
    assert "gps" in said


def test_faults_are_shown_beside_the_clean_replay(bag: Path, tmp_path: Path) -> None:
    plain, struck = tmp_path / "plain", tmp_path / "struck"
    assert run(str(bag), "--out", str(plain), "--no-rerun") == 0
    fault = "gps.absent@0.5s-1s"
    assert run(str(bag), "--out", str(struck), "--no-rerun", "--fault", fault) == 0
    page = (struck / "report.html").read_text(encoding="utf-8")
    assert "Scorecard beside the clean replay" in page and "gps.absent:3@0.5s-1s" in page
    assert "Scorecard" not in (plain / "report.html").read_text(encoding="utf-8")
    # The replay that the faulty one is held against is the one without them.
    outputs = [folder / "outputs.jsonl" for folder in (plain, struck / "clean", struck)]
    first, clean, faulty = (path.read_bytes() for path in outputs)
    assert first == clean != faulty


def test_two_runs_write_the_same_outputs(bag: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(str(bag), "--out", str(tmp_path / name), "--no-rerun") == 0
    first, second = (tmp_path / name / "outputs.jsonl" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_recording_is_written_unless_it_is_not_wanted(bag: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    assert run(str(bag), "--out", str(tmp_path / "out"), "--max-frames", "5") == 0
    assert (tmp_path / "out" / "recording.rrd").stat().st_size > 1000


def test_without_rerun_the_page_is_written_and_says_so(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    assert run(str(bag), "--out", str(tmp_path / "out")) == 0
    assert "pip install rerun-sdk" in capsys.readouterr().err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "No recording was written" in page


@pytest.mark.parametrize("loops", ["0", "-1", "many"])
def test_a_number_that_is_none_is_refused(bag: Path, loops: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run(str(bag), "--loops", loops)
    assert stop.value.code == 2


@pytest.mark.parametrize("option", ["camera", "camera=", "=/x", "camera=x"])
def test_a_topic_option_of_another_form_is_refused(bag: Path, option: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run(str(bag), "--topic", option)
    assert stop.value.code == 2


def test_a_missing_bag_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path / "none")) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_damaged_bag_ends_with_2(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:500])
    assert run(str(bag), "--out", str(tmp_path / "out")) == 2
    assert "cut short or damaged" in capsys.readouterr().err


def test_a_bag_without_usable_topics_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made.write(tmp_path / "chat", [(made.START_NS, "/chatter", made.text("hi"))])
    assert run(str(path), "--out", str(tmp_path / "out")) == 2
    assert "no topic to fuse" in capsys.readouterr().err


def test_a_bad_configuration_ends_with_2(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("sync:\n  deadline_ms: -5\n", encoding="utf-8")
    assert run(str(bag), "--config", str(bad), "--out", str(tmp_path / "out")) == 2
    assert "sync.deadline_ms = -5" in capsys.readouterr().err


def test_a_fault_is_injected_and_named_on_the_page(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(str(bag), "--out", str(out), "--no-rerun", "--fault", "gps.absent@1s-") == 0
    assert "gps.absent:3@1s-" in (out / "report.html").read_text(encoding="utf-8")
    lines = (out / "outputs.jsonl").read_text(encoding="utf-8").splitlines()
    reasons = [json.loads(line)["reliability"]["gps"]["reason"] for line in lines]
    assert reasons[len(reasons) // 2] == "ok" and reasons[-1] == "stale"


def test_a_fault_that_cannot_be_ends_with_2(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert run(str(bag), "--out", out, "--no-rerun", "--fault", "gps.fog") == 2
    assert "multipath" in capsys.readouterr().err


def test_weights_that_are_not_there_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made.write(tmp_path / "bag", made.robot(0.5))
    code = run(str(path), "--model", str(tmp_path / "no_model"), "--out", str(tmp_path / "out"))
    assert code == 2
    assert "manifest.json" in capsys.readouterr().err


def test_an_output_folder_that_is_a_file_ends_with_2(bag: Path, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("", encoding="utf-8")
    assert run(str(bag), "--out", str(occupied), "--no-rerun") == 2


def test_a_topic_can_be_named(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(str(bag), "--out", str(out), "--no-rerun", "--topic", "wheels=/odom") == 0
    line = (out / "outputs.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert set(json.loads(line)["reliability"]) == {"gps", "wheels"}
