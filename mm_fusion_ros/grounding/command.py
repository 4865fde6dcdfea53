"""From text to intent: a small grammar that would rather not understand than guess.

Whatever a text says, all it can select is an intent, a class, a colour, a relation and a distance
within bounds. Nothing of it is ever run, opened or looked up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from mm_fusion_ros.grounding.vocabulary import PHRASES, Role, look_up
from mm_fusion_ros.outputs import Intent

# Distances that a command may ask for [m].
MIN_STAND_OFF_M = 0.5
MAX_STAND_OFF_M = 10.0
# A text is read no further than this many words; commands are short.
_MAX_WORDS = 64

_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?")
_NUMBERS = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "half": 0.5}
_METRES = frozenset({"m", "metre", "metres", "meter", "meters"})
_DISTANCE = frozenset({"away", "from", "off", "distance", "apart", "short", "before"})


@dataclass(frozen=True)
class ParsedCommand:
    """A command as understood.

    Attributes:
        intent: what to do; NONE when not known.
        class_name: the class asked for; None for any, or where a word stands for several.
        colour: the colour asked for; None for any.
        relation: "nearest", "farthest", "left", "right", or None.
        text: the text in plain words.
        known: whether it is understood well enough to act on.
        classes: every class that the words allow; empty for any.
        stand_off_m: distance asked for [m]; None for the usual one.
        why: what was not understood, for the log.
    """

    intent: Intent
    class_name: str | None = None
    colour: str | None = None
    relation: str | None = None
    text: str = ""
    known: bool = False
    classes: tuple[str, ...] = ()
    stand_off_m: float | None = None
    why: str = ""


def plain(text: str) -> str:
    """The text in lower case without accents, marks and apostrophes, single spaces."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(c for c in decomposed if not unicodedata.combining(c) and c not in "'’`")
    return " ".join(_WORD.findall(letters)[:_MAX_WORDS])


def parse(text: str) -> ParsedCommand:
    """What a text asks for; `known` is False where that is not certain. Never raises."""
    understood = plain(text)
    stand_off, words = _distance(understood.split())
    words = _joined(words)
    found = [look_up(word) for word in words]

    def meanings(role: Role) -> list[str]:
        return list(dict.fromkeys(each[1] for each in found if each and each[0] is role))

    intents = [Intent(value) for value in meanings(Role.INTENT)]
    if Intent.STOP in intents and not meanings(Role.NEGATION):
        # Stopping is safe: it wins over whatever else the text says.
        return ParsedCommand(Intent.STOP, text=understood, known=True)
    why = _refusal(words, found, meanings) or _distance_refusal(stand_off)
    if why:
        return ParsedCommand(Intent.NONE, text=understood, why=why)
    classes, colours, relations = (
        meanings(role) for role in (Role.CLASS, Role.COLOUR, Role.RELATION)
    )
    if not relations and meanings(Role.INDEFINITE) and not meanings(Role.DEFINITE):
        # "a box" is content with any: the nearest is as good as another.
        relations = ["nearest"]
    allowed = tuple(classes[0].split("|")) if classes else ()
    return ParsedCommand(
        Intent.FOLLOW if Intent.FOLLOW in intents else Intent.GO_TO,
        class_name=allowed[0] if len(allowed) == 1 else None,
        colour=colours[0] if colours else None,
        relation=relations[0] if relations else None,
        text=understood,
        known=True,
        classes=allowed,
        stand_off_m=stand_off,
    )


def _refusal(
    words: list[str],
    found: list[tuple[Role, str] | None],
    meanings: Callable[[Role], list[str]],
) -> str:
    """Why these words are not acted on; empty where they are.

    Args:
        words: of the command.
        found: role and meaning of each.
        meanings: the different meanings in a role.
    """
    unknown = [word for word, each in zip(words, found, strict=True) if each is None]
    few = " ".join(unknown[:3])
    classes, colours = meanings(Role.CLASS), meanings(Role.COLOUR)
    relations, unsupported = meanings(Role.RELATION), meanings(Role.UNSUPPORTED)
    named = bool(colours or meanings(Role.ANYTHING))
    describing = _describing(words, found)
    checks = (
        (bool(meanings(Role.NEGATION)), "a negation"),
        (bool(unsupported), f"{unsupported[:1]} decides which object is meant"),
        (max(map(len, (classes, colours, relations))) > 1, "more than one object"),
        (not classes and not colours and not relations, f"no known object, but {few!r}"),
        (not classes and (bool(unknown) or not named), f"no known object, but {few!r}"),
        (any(word[0].isdigit() for word in unknown), "a number"),
        (describing is not None, f"{describing!r} says something of the object"),
        (not meanings(Role.INTENT) and (bool(unknown) or not classes), f"no verb, but {few!r}"),
        (len(unknown) > 1 + len(words) - len(unknown), "more unknown than known words"),
    )
    return next((why for wrong, why in checks if wrong), "")


def _distance_refusal(stand_off_m: float | None) -> str:
    """Why a distance is not kept; empty where it is."""
    if stand_off_m is None or MIN_STAND_OFF_M <= stand_off_m <= MAX_STAND_OFF_M:
        return ""
    return f"a distance of {stand_off_m} m: allowed is {MIN_STAND_OFF_M} to {MAX_STAND_OFF_M} m"


def _describing(words: list[str], found: list[tuple[Role, str] | None]) -> str | None:
    """An unknown word beside the object's words: "the pink ball" is no ball of any colour."""
    naming = {Role.CLASS, Role.COLOUR, Role.ANYTHING}
    for at, (word, meaning) in enumerate(zip(words, found, strict=True)):
        around = found[max(at - 1, 0) : at + 2]
        if meaning is None and any(each is not None and each[0] in naming for each in around):
            return word
    return None


def _joined(words: list[str]) -> list[str]:
    """The words with known phrases replaced by the word they mean, longest first."""
    joined: list[str] = []
    at = 0
    while at < len(words):
        for length in (4, 3, 2):
            phrase = tuple(words[at : at + length])
            if len(phrase) == length and phrase in PHRASES:
                joined.append(PHRASES[phrase])
                at += length
                break
        else:
            joined.append(words[at])
            at += 1
    return joined


def _distance(words: list[str]) -> tuple[float | None, list[str]]:
    """A distance such as "2 metres away from" or "at a distance of 3 m", and the other words."""
    for at, word in enumerate(words[:-1]):
        number = float(word) if word[0].isdigit() else _NUMBERS.get(word)
        if number is None or words[at + 1] not in _METRES:
            continue
        end = at + 2
        while end < len(words) and (words[end] in _DISTANCE or words[end] == "of"):
            end += 1
        start = at
        while start > 0 and words[start - 1] in {"distance", "of", "keep", "stay", "a", "at"}:
            start -= 1
        return number, words[:start] + words[end:]
    return None, words
