"""Commands (fault row 36)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_fusion_ros.config import CommandConfig
from mm_fusion_ros.samples import Command
from mm_fusion_ros.sensors.language import SECOND_NS, CommandIntake
from mm_fusion_ros.sensors.rejection import Rejected


def command(text: str, stamp_ns: int = 0) -> Command:
    return Command(stamp_ns, "", "command", text)


def understood(text: str) -> str:
    return CommandIntake(CommandConfig()).accept(command(text)).text


def reason_of(text: str) -> str:
    with pytest.raises(Rejected) as verdict:
        understood(text)
    return verdict.value.reason


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("go to the red box", "go to the red box"),
        ("  go \t to\n\nthe   red box \r\n", "go to the red box"),
        ("go\u00a0to\u2003the\u2028box", "go to the box"),
        # Full-width letters and a ligature are written out.
        ("\uff27\uff2f to the \ufb01rst box", "GO to the first box"),
        # A letter and its combining mark become one.
        ("cafe\u0301", "caf\u00e9"),
        # Left behind by editors: byte order mark, soft hyphen, zero-width space.
        ("\ufeffgo to the bar\u00adrel\u200b", "go to the barrel"),
        ("va \u00e0 la bo\u00eete rouge", "va \u00e0 la bo\u00eete rouge"),
        ("\u8d70\u5230\u7ea2\u8272\u7bb1\u5b50", "\u8d70\u5230\u7ea2\u8272\u7bb1\u5b50"),
    ],
)
def test_text_is_made_plain(text: str, plain: str) -> None:
    assert understood(text) == plain


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u200b\ufeff", "\u3000"])
def test_a_command_that_says_nothing_is_refused(text: str) -> None:
    assert reason_of(text) == "empty"


@pytest.mark.parametrize(
    "text",
    ["stop\x00", "\x1b[2Jstop", "stop\x7f", "stop\x85", "\ue000stop", "\ud800stop", "\x1cstop"],
)
def test_control_characters_are_refused(text: str) -> None:
    assert reason_of(text) == "control"


@pytest.mark.parametrize("character", "\u202e\u202d\u2066\u2069\u200f\u061c")
def test_bidirectional_characters_are_refused_by_code(character: str) -> None:
    with pytest.raises(Rejected, match=f"U\\+{ord(character):04X}") as verdict:
        understood(f"go to the {character}box")
    assert verdict.value.reason == "control"


def test_length_counts_to_the_last_character() -> None:
    assert understood("a" * 256) == "a" * 256
    assert reason_of("a" * 257) == "length"
    # Padding does not get a long text in.
    assert reason_of(" " * 300 + "stop") == "length"


def test_a_text_that_grows_when_written_out_is_measured_afterwards() -> None:
    # One character of Arabic calligraphy that stands for eighteen.
    assert len(unicodedata.normalize("NFKC", "\ufdfa")) == 18
    assert reason_of("\ufdfa" * 200) == "length"


def test_a_flood_is_limited_to_five_a_second_by_stamp() -> None:
    intake = CommandIntake(CommandConfig())
    accepted, reasons = [], set()
    for index in range(100):
        # Fifty a second for two seconds.
        stamp_ns = index * SECOND_NS // 50
        try:
            intake.accept(command(f"stop {index}", stamp_ns))
            accepted.append(stamp_ns)
        except Rejected as verdict:
            reasons.add(verdict.reason)
    assert reasons == {"rate"}
    # Five at the start of each second: after 0, 20, .. 80 ms comes the one at 1 s.
    assert accepted == [i * SECOND_NS // 50 for i in (0, 1, 2, 3, 4, 50, 51, 52, 53, 54)]


def test_refused_commands_do_not_count_towards_the_rate() -> None:
    intake = CommandIntake(CommandConfig())
    for _ in range(20):
        with pytest.raises(Rejected):
            intake.accept(command("", 0))
    assert intake.accept(command("stop", 1)).text == "stop"


def test_a_clock_that_goes_back_does_not_mute_commands() -> None:
    intake = CommandIntake(CommandConfig())
    for index in range(5):
        intake.accept(command("stop", 100 * SECOND_NS + index))
    with pytest.raises(Rejected):
        intake.accept(command("stop", 100 * SECOND_NS + 10))
    assert intake.accept(command("stop", 3 * SECOND_NS)).text == "stop"


@given(st.text(max_size=300))
def test_what_is_accepted_is_readable_and_stays_as_it_is(text: str) -> None:
    try:
        plain = understood(text)
    except Rejected:
        return
    assert 1 <= len(plain) <= 256
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in plain)
    assert understood(plain) == plain
