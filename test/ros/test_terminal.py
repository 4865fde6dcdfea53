"""The terminal's text and its input line, with no terminal."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from mm_fusion_ros.outputs import ActionTarget, FusedOutput, Intent, Reason, Reliability
from mm_fusion_ros.ros.listener import Health
from mm_fusion_ros.ros.terminal import LineEditor, panel, plain_line
from mm_fusion_ros.samples import Modality
from mm_fusion_ros.sim.mission import DriveState

TARGET = ActionTarget(
    go=True, intent=Intent.GO_TO, text="go to the red box", map_from_target=np.eye(4),
    probability=0.8, reason=None, track_id=4,
)  # fmt: skip
DRIVE = DriveState(12.5, TARGET, 2.25, 0.8, False)
HEALTH = Health(b"\x00", "10.0 answers a second", {"rate_hz": "10.0"}, {"lidar": "9.9"})
OUTPUT = FusedOutput(
    0,
    (),
    {
        "lidar": Reliability("lidar", Modality.LIDAR, 0.95, 0.7, Reason.OK, 5_000_000),
        "camera": Reliability("camera", Modality.CAMERA, 0.2, 0.3, Reason.DARK),
    },
    None,
    TARGET,
    None,
    False,
)


def drawn(width: int = 120, **more: object) -> str:
    given = {
        "output": OUTPUT, "drive": DRIVE, "health": HEALTH, "pace": 0.8, "typed": "sto", "note": "",
    } | more  # fmt: skip
    stream = io.StringIO()
    Console(file=stream, width=width).print(panel(**given))  # type: ignore[arg-type]
    return stream.getvalue()


def test_the_panel_shows_rates_trust_reasons_and_the_target() -> None:
    text = drawn()
    for word in ("9.9", "0.95", "dark", "GO  ", "#4", "2.25 m to go", "> sto_", "0.80 of real"):
        assert word in text


def test_the_panel_says_what_it_waits_for() -> None:
    assert "waiting for the simulator" in drawn(drive=None)
    unheard = Health()
    assert "the fusion node is not heard yet" in drawn(output=None, health=unheard)


def test_a_collision_is_shown() -> None:
    assert "COLLIDED" in drawn(drive=DriveState(1.0, TARGET, 1.0, 0.0, True))


def test_a_plain_line_has_all_of_it() -> None:
    line = plain_line(OUTPUT, DRIVE, HEALTH, 0.8)
    for word in ("12.5 s", "x0.80", "lidar 0.95/0.70", "camera 0.20/0.30 dark", "2.25 m away"):
        assert word in line
    assert "\n" not in line


def test_typed_characters_become_lines() -> None:
    editor = LineEditor()
    assert editor.feed("go to teh\x7f\x7f\x7fthe box") == []
    assert editor.typed == "go to the box"
    assert editor.feed("\nstop\r") == ["go to the box", "stop"]
    assert editor.feed("   \n") == []
    assert editor.feed("nonsense\x15quit\n") == ["quit"]
    assert editor.feed("\x04") == ["quit"]


def test_a_flood_of_characters_is_cut_off() -> None:
    editor = LineEditor(longest=8)
    assert editor.feed("x" * 100 + "\x1b[A" + "\n") == ["x" * 8]
