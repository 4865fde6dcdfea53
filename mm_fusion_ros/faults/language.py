"""What goes wrong with what is typed or heard."""

from __future__ import annotations

from dataclasses import replace

from mm_fusion_ros.faults.fault import Fault
from mm_fusion_ros.samples import Command, Modality

# Neighbours on a keyboard, for slips of the finger.
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


class Typing(Fault[Command]):
    """So many slips of the finger: a neighbouring key, a letter twice, missing, or swapped."""

    name, modality, levels = "typing", Modality.COMMAND, (1.0, 2.0, 3.0, 4.0, 6.0)

    def apply(self, sample: Command) -> list[Command]:
        """The command, mistyped."""
        text = sample.text
        for _ in range(int(self.level)):
            text = self._slip(text)
        return [replace(sample, text=text)]

    def _slip(self, text: str) -> str:
        letters = [place for place, letter in enumerate(text) if letter.isalpha()]
        if len(letters) < 2:
            return text
        at = int(self.rng.choice(letters))
        kind = int(self.rng.integers(4))
        if kind == 0:
            return text[:at] + self._neighbour(text[at]) + text[at + 1 :]
        if kind == 1:
            return text[:at] + text[at] + text[at:]
        if kind == 2:
            return text[:at] + text[at + 1 :]
        return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]

    def _neighbour(self, letter: str) -> str:
        for row in ROWS:
            at = row.find(letter.lower())
            if at >= 0:
                return row[min(max(at + int(self.rng.choice((-1, 1))), 0), len(row) - 1)]
        return letter


class Punctuation(Fault[Command]):
    """Capitals and marks that mean nothing."""

    name, modality, levels = "punctuation", Modality.COMMAND, (1.0, 2.0, 3.0, 4.0, 5.0)

    def apply(self, sample: Command) -> list[Command]:
        """The command, shouted."""
        changes = (
            lambda text: text.upper(),
            lambda text: text + "!" * int(self.level),
            lambda text: text.replace(" ", "  "),
            lambda text: text.capitalize() + ".",
            lambda text: f" {text} ?",
        )
        text = sample.text
        for pick in self.rng.permutation(len(changes))[: int(self.level)]:
            text = changes[int(pick)](text)
        return [replace(sample, text=text)]
