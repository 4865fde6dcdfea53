"""The words that commands are made of, and how a misspelt one is recognised."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from itertools import groupby

from mm_fusion_ros.outputs import Intent


class Role(str, Enum):
    """What a word does in a command."""

    INTENT = "intent"
    CLASS = "class"
    COLOUR = "colour"
    RELATION = "relation"
    ANYTHING = "anything"  # stands for an object of any class: "the red thing"
    DEFINITE = "definite"
    INDEFINITE = "indefinite"
    NEGATION = "negation"
    UNSUPPORTED = "unsupported"  # decides which object is meant, in a way not understood yet
    NUMBER = "number"
    IDLE = "idle"


_INTENTS: dict[Intent, str] = {
    Intent.STOP: "stop halt cancel abort freeze wait stay hold pause brake quit whoa standstill",
    Intent.FOLLOW: "follow chase track tail shadow accompany pursue trail",
    Intent.GO_TO: (
        "go goto drive move navigate head approach travel proceed reach visit roll ride run walk "
        "come get steer advance take bring"
    ),
}

# A word may stand for more than one class; the objects then decide.
_CLASSES: dict[tuple[str, ...], str] = {
    ("car",): "car automobile auto sedan taxi cab hatchback suv",
    ("truck",): "truck lorry pickup",
    ("car", "truck"): "vehicle van",
    ("pedestrian",): (
        "pedestrian person human man woman guy lady boy girl child kid walker people somebody "
        "someone worker men women children persons"
    ),
    ("cyclist",): "cyclist biker bicyclist rider bicycle bike",
    ("cone",): "cone pylon",
    ("barrel",): "barrel drum keg cask cylinder",
    ("box",): "box crate cube package parcel carton block",
    ("ball",): "ball sphere orb globe",
}

_COLOURS: dict[str, str] = {
    "red": "red crimson scarlet reddish",
    "orange": "orange",
    "yellow": "yellow yellowish",
    "green": "green greenish",
    "blue": "blue bluish navy azure",
    "purple": "purple violet lilac",
    "white": "white whitish",
    "black": "black blackish",
    "grey": "grey gray greyish grayish silver",
}

_RELATIONS: dict[str, str] = {
    "nearest": "nearest closest",
    "farthest": "farthest furthest",
    "left": "left leftmost",
    "right": "right rightmost",
}

_OTHERS: dict[Role, str] = {
    Role.ANYTHING: "thing object one item target something",
    Role.DEFINITE: "the that this those these",
    Role.INDEFINITE: "a an any some",
    Role.NEGATION: "not no never dont without except neither nor ignore but avoid instead",
    Role.UNSUPPORTED: (
        "behind between beside besides near next above below under over before after around "
        "past through opposite front ahead away second third fourth last first other another "
        "biggest largest smallest tallest big large small tall short bigger smaller middle or "
        "and then both all every each back backwards far nearer farther further"
    ),
    Role.IDLE: (
        "please kindly now quickly slowly carefully immediately hey hi hello mind ok okay robot "
        "could would can will you your me my i we us want like need to towards toward up at by of "
        "on in is it its for with just straight directly there here side "
        "hand coloured colored colour color standing parked lying thanks thank "
        "let lets be asap pls plz mate buddy so which who what located until as"
    ),
}

# Phrases of several words that mean one; matched before single words.
PHRASES: dict[tuple[str, ...], str] = {
    ("traffic", "cone"): "cone",
    ("pick", "up", "truck"): "truck",
    ("motor", "car"): "car",
    ("do", "not", "move"): "stop",
    ("dont", "move"): "stop",
    ("do", "not", "go", "on"): "stop",
    ("stand", "still"): "stop",
    ("hold", "on"): "stop",
    ("never", "mind"): "stop",
    ("forget", "it"): "stop",
    ("go", "after"): "follow",
    ("come", "with"): "follow",
    ("stay", "with"): "follow",
    ("stay", "behind"): "follow",
    ("keep", "up", "with"): "follow",
    ("walk", "with"): "follow",
    ("walk", "behind"): "follow",
    ("run", "after"): "follow",
    ("go", "with"): "follow",
    ("do", "not"): "not",
    ("right", "now"): "now",
    ("right", "away"): "now",
    ("straight", "away"): "now",
    ("at", "once"): "now",
    ("over", "there"): "there",
    ("over", "to"): "to",
    ("all", "right"): "okay",
    ("most", "distant"): "farthest",
    ("far", "left"): "leftmost",
    ("far", "right"): "rightmost",
    ("next", "to", "us"): "nearest",
    ("near", "me"): "nearest",
    ("in", "front", "of", "you"): "nearest",
    ("drive", "up", "to"): "go",
    ("make", "your", "way"): "go",
}

# Ordinary words one slip away from ours. They are not misspelt, they mean something else.
_REAL_WORDS_TEXT = """
wall tall call hall fall bell bull mall core cane come done gone bone zone tone code
track crane create train trick while write whole blew clue glue flue read rod bed led
lead need greed greet great bread broad brown black block clock lock bark barrow barren
boy bay toy by fox pox bow boxer card cart cat cap far bar tar jar war scar care step
shop slop spot stair star start stay halo pausing fellow hollow yell mellow yelling bike
hike like bite pole poll tree street house building road door sign light lamp bench dog
bird horse table chair desk bus tram boat plane wheel post gate fence bush hydrant
puddle charger dock home base station
"""
_REAL_WORDS = frozenset(_REAL_WORDS_TEXT.split())


def _table() -> dict[str, tuple[Role, str]]:
    """Every known word with its role and what it stands for."""
    table: dict[str, tuple[Role, str]] = {}
    for role, words in _OTHERS.items():
        table.update({word: (role, word) for word in words.split()})
    for relation, words in _RELATIONS.items():
        table.update(dict.fromkeys(words.split(), (Role.RELATION, relation)))
    for colour, words in _COLOURS.items():
        table.update(dict.fromkeys(words.split(), (Role.COLOUR, colour)))
    for classes, words in _CLASSES.items():
        table.update({word: (Role.CLASS, "|".join(classes)) for word in words.split()})
    for intent, words in _INTENTS.items():
        table.update(dict.fromkeys(words.split(), (Role.INTENT, intent.value)))
    return table


WORDS = _table()
# Roles whose words may be misspelt: the others are short, and idle ones need no care.
_CORRECTED = frozenset({Role.INTENT, Role.CLASS, Role.COLOUR, Role.RELATION, Role.DEFINITE})
_CANDIDATES = tuple(
    word for word, (role, _) in WORDS.items() if role in _CORRECTED and len(word) >= 3
)


@lru_cache(maxsize=4096)
def look_up(word: str) -> tuple[Role, str] | None:
    """Role and meaning of a word: as it stands, inflected, or misspelt; None when unknown."""
    for form in _forms(word):
        if form in WORDS:
            return WORDS[form]
    if word in _REAL_WORDS or not word.isalpha() or not 3 <= len(word) <= 16:
        return None
    best: dict[tuple[int, bool], set[tuple[Role, str]]] = {}
    for candidate in _CANDIDATES:
        slips = _slips(word, candidate)
        if slips is not None:
            # The right letters in the wrong order are likelier than a wrong letter.
            rank = (slips, sorted(word) != sorted(candidate))
            best.setdefault(rank, set()).add(WORDS[candidate])
    if not best:
        return None
    meanings = best[min(best)]
    # A slip that could be either of two words is neither.
    return meanings.pop() if len(meanings) == 1 else None


def _forms(word: str) -> tuple[str, ...]:
    """A word and what it may be the plural or the present participle of."""
    forms = (word, word.removesuffix("s"), word.removesuffix("es"))
    stem = word.removesuffix("ing")
    return forms if stem == word else (*forms, stem, stem + "e", _undoubled(stem))


def _slips(word: str, candidate: str) -> int | None:
    """How many slips lead from one word to the other; None if more than its length allows.

    Letters may be doubled or not. Three letters allow two of them to be swapped, four also one
    too many or too few, five any one slip and eight two: short words are too near to other words.
    """
    length = len(candidate)
    if abs(len(word) - length) > 2 or word[0] not in candidate[:2]:
        return None
    if _undoubled(word) == _undoubled(candidate):
        return 1
    slips = edit_distance(word, candidate)
    if length == 3:
        allowed = slips == 1 and sorted(word) == sorted(candidate)
    elif length == 4:
        allowed = slips == 1 and (len(word) != length or sorted(word) == sorted(candidate))
    else:
        allowed = slips <= (2 if length >= 8 else 1)
    return slips if allowed else None


def _undoubled(word: str) -> str:
    """The word with each run of one letter shortened to a single one."""
    return "".join(letter for letter, _ in groupby(word))


def edit_distance(first: str, second: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours between two words.

    Optimal string alignment: Damerau, "A technique for computer detection and correction of
    spelling errors", CACM 7(3), 1964.
    """
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        before, row, above = row, [i], before
        for j, other in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            swapped = i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other
            row.append(min(cost, above[j - 2] + 1) if swapped else cost)
    return row[-1]
