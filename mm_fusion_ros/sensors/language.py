"""Commands: text made plain, or refused.

A command selects an intent, an object and bounded numbers, whatever it says; here it is only made
sure that what a person would read on a screen is what the robot reads too.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import deque

from mm_fusion_ros.config import CommandConfig
from mm_fusion_ros.samples import Command
from mm_fusion_ros.sensors.rejection import Rejected

SECOND_NS = 1_000_000_000

# Marks and overrides that make text read differently from how it is stored (UAX #9).
BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Invisible and harmless: editors and web pages leave them behind.
INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")
# Control, format, surrogate, private and unassigned characters.
UNREADABLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


class CommandIntake:
    """Normalises commands and limits their rate, by stamp."""

    def __init__(self, config: CommandConfig) -> None:
        self._config = config
        self._accepted_ns: deque[int] = deque(maxlen=config.max_per_second)

    def accept(self, command: Command) -> Command:
        """The command with plain text: NFKC, single spaces, nothing invisible.

        Args:
            command: as received.

        Returns:
            The same command with normalised text of 1 to `max_length` characters.

        Raises:
            Rejected: ("empty", "length", "control", "rate"). A refused command does not count
                towards the rate.
        """
        text = self._plain(command.text)
        self._limit_rate(command.stamp_ns)
        return dataclasses.replace(command, text=text)

    def _plain(self, text: str) -> str:
        self._check_length(text)
        readable = "".join(" " if _is_space(c) else c for c in text if c not in INVISIBLE)
        # Normalised before the check: a compatibility form must not hide what it stands for.
        normal = unicodedata.normalize("NFKC", readable)
        for character in normal:
            if character in BIDIRECTIONAL:
                raise Rejected(
                    "control",
                    f"command holds the bidirectional character U+{ord(character):04X}, which "
                    "makes it read differently from what it says: send plain text",
                )
            if unicodedata.category(character) in UNREADABLE_CATEGORIES:
                raise Rejected(
                    "control",
                    f"command holds the character U+{ord(character):04X}, which nobody can read: "
                    "send plain text",
                )
        plain = " ".join(normal.split())
        if not plain:
            raise Rejected("empty", "command is empty; expected text such as 'stop'")
        # Compatibility forms may expand.
        self._check_length(plain)
        return plain

    def _check_length(self, text: str) -> None:
        if len(text) > self._config.max_length:
            raise Rejected(
                "length",
                f"command has {len(text)} characters; at most {self._config.max_length} are "
                "accepted: shorten it",
            )

    def _limit_rate(self, stamp_ns: int) -> None:
        accepted = self._accepted_ns
        # A clock that went back, as when a bag loops, must not mute commands until it catches up.
        if accepted and stamp_ns < accepted[-1] - SECOND_NS:
            accepted.clear()
        if len(accepted) == accepted.maxlen and stamp_ns - accepted[0] < SECOND_NS:
            raise Rejected(
                "rate",
                f"more than {accepted.maxlen} commands within a second; the rest is left out: "
                "send slower or raise command.max_per_second",
            )
        accepted.append(stamp_ns)


def _is_space(character: str) -> bool:
    return character in "\t\n\r" or unicodedata.category(character).startswith("Z")
