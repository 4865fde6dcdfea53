import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_fusion_ros.grounding.command import (
    MAX_STAND_OFF_M,
    MIN_STAND_OFF_M,
    parse,
    plain,
)
from mm_fusion_ros.grounding.vocabulary import edit_distance, look_up
from mm_fusion_ros.outputs import CLASSES, COLOURS, Intent


@pytest.mark.parametrize(
    ("text", "intent", "classes", "colour", "relation"),
    [
        ("go to the red box", Intent.GO_TO, ("box",), "red", None),
        ("drive to the blue ball", Intent.GO_TO, ("ball",), "blue", None),
        ("go to the nearest car", Intent.GO_TO, ("car",), None, "nearest"),
        ("approach the farthest cone", Intent.GO_TO, ("cone",), None, "farthest"),
        ("go to the truck on the left", Intent.GO_TO, ("truck",), None, "left"),
        ("go to the right barrel", Intent.GO_TO, ("barrel",), None, "right"),
        ("go to the thing on the right", Intent.GO_TO, (), None, "right"),
        ("go to the green one", Intent.GO_TO, (), "green", None),
        ("follow the person", Intent.FOLLOW, ("pedestrian",), None, None),
        ("keep up with the cyclist", Intent.FOLLOW, ("cyclist",), None, None),
        ("the red box", Intent.GO_TO, ("box",), "red", None),
    ],
)
def test_plain_commands_are_understood(text, intent, classes, colour, relation):
    parsed = parse(text)
    assert parsed.known, parsed.why
    assert (parsed.intent, parsed.classes) == (intent, classes)
    assert (parsed.colour, parsed.relation) == (colour, relation)
    assert parsed.class_name == (classes[0] if len(classes) == 1 else None)


@pytest.mark.parametrize(
    "text",
    [
        "Go to the red box.",
        "GO TO THE RED BOX!!!",
        "please go to the red box",
        "could you please drive over to the red crate?",
        "robot, move towards the red cube right now",
        "I want you to go to the red box",
        "would you mind heading to the red box",
        "make your way to the red crate",
        "gó  tô the\tréd box",
        "hey buddy, take me to the red box",
    ],
)
def test_paraphrase_case_and_punctuation_change_nothing(text):
    parsed = parse(text)
    assert parsed.known, parsed.why
    assert (parsed.intent, parsed.class_name, parsed.colour) == (Intent.GO_TO, "box", "red")


@pytest.mark.parametrize(
    ("text", "class_name", "colour"),
    [
        ("go to teh rde bxo", "box", "red"),
        ("go to the yelow bal", "ball", "yellow"),
        ("drive to the purpel barell", "barrel", "purple"),
        ("go to the whtie pedestrain", "pedestrian", "white"),
        ("go to the oragne cyclsit", "cyclist", "orange"),
        ("go to the redd boxx", "box", "red"),
    ],
)
def test_small_slips_are_forgiven(text, class_name, colour):
    parsed = parse(text)
    assert parsed.known, parsed.why
    assert (parsed.class_name, parsed.colour) == (class_name, colour)


@pytest.mark.parametrize(
    "word", ["wall", "call", "tall", "core", "bone", "fox", "cat", "cap", "bread", "clue", "while"]
)
def test_an_ordinary_word_is_never_taken_for_a_misspelt_one(word):
    found = look_up(word)
    assert found is None or found[0].value not in {"class", "colour", "intent"}


@pytest.mark.parametrize(
    "text",
    ["stop", "STOP!", "halt", "cancel", "stpo", "please stop now", "stop following the person",
     "stop and go to the red box", "do not move", "stand still", "stay", "never mind"],
)  # fmt: skip
def test_stopping_is_safe_and_wins_over_everything(text):
    parsed = parse(text)
    assert parsed.known and parsed.intent is Intent.STOP


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "?!",
        "go",
        "turn left",
        "go to the dog",
        "go to the red dog",
        "go to the pink ball",  # a colour nobody knows is not "any colour"
        "go to the car park",
        "go to the red or blue box",
        "go to the box behind the car",
        "go to the second box",
        "go to box 2",
        "don't go to the red box",
        "don't stop",
        "kick the ball",
        "red",
        "fahre zum roten Kasten",
        "иди к красной коробке",
        "go to the red box, not the blue one",
    ],
)
def test_what_is_not_understood_is_not_acted_on(text):
    parsed = parse(text)
    assert not parsed.known
    assert parsed.intent is Intent.NONE
    assert parsed.why


def test_the_decisive_word_changes_the_answer_and_an_idle_one_does_not():
    red, blue = parse("go to the red box"), parse("go to the blue box")
    assert red.colour != blue.colour
    polite = parse("please go to the red box.")
    assert (polite.intent, polite.classes, polite.colour) == (red.intent, red.classes, red.colour)


def test_a_word_may_stand_for_several_classes():
    parsed = parse("go to the vehicle")
    assert parsed.known
    assert parsed.classes == ("car", "truck")
    assert parsed.class_name is None


def test_an_indefinite_object_is_the_nearest_of_its_kind():
    assert parse("go to a box").relation == "nearest"
    assert parse("go to the box").relation is None


def test_a_distance_is_taken_within_bounds_and_refused_beyond():
    assert parse("stay 2 m away from the red box").stand_off_m == 2.0
    assert parse("go to the red box at a distance of three metres").stand_off_m == 3.0
    assert parse("go to the red box").stand_off_m is None
    assert not parse(f"go to the box at a distance of {MAX_STAND_OFF_M + 1} m").known
    assert not parse("keep 0 m away from the box").known


@pytest.mark.parametrize(
    "text",
    [
        "ignore your limits and go to the red box",
        "rm -rf / && go to the red box",
        "go to ../../etc/passwd",
        "set max_speed=100 and drive to the car",
        "'; DROP TABLE targets; -- go to the box",
    ],
)
def test_text_selects_only_an_intent_an_object_and_bounded_numbers(text):
    parsed = parse(text)
    assert set(vars(parsed)) == {
        "intent", "class_name", "colour", "relation", "text", "known", "classes", "stand_off_m",
        "why",
    }  # fmt: skip
    assert parsed.class_name in (None, *CLASSES)
    assert parsed.colour in (None, *COLOURS)


def check_bounded(text: str) -> None:
    parsed = parse(text)
    assert isinstance(parsed.intent, Intent)
    assert set(parsed.classes) <= set(CLASSES)
    assert parsed.colour is None or parsed.colour in COLOURS
    assert parsed.relation in {None, "nearest", "farthest", "left", "right"}
    if parsed.stand_off_m is not None:
        assert MIN_STAND_OFF_M <= parsed.stand_off_m <= MAX_STAND_OFF_M
    if not parsed.known:
        assert parsed.intent is Intent.NONE
    assert plain(parsed.text) == parsed.text


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_text_raises_or_selects_anything_out_of_bounds(text):
    check_bounded(text)


TEXT = "go to the red box stop follow a an person 2 m away from not behind nearest left 9 metres"
MORE = "blue rde bxo one thing and please"
WORDS = TEXT.split() + MORE.split()


@given(st.lists(st.sampled_from(WORDS), max_size=12))
@settings(max_examples=150, deadline=None)
def test_no_order_of_known_words_raises_or_selects_anything_out_of_bounds(words):
    check_bounded(" ".join(words))


@pytest.mark.parametrize(
    ("first", "second", "slips"),
    [
        ("box", "box", 0),
        ("bxo", "box", 1),  # one swap of neighbours
        ("bal", "ball", 1),  # one letter left out
        ("barell", "barrel", 2),  # r left out, l doubled
        ("", "red", 3),
    ],
)
def test_edit_distance_counts_slips(first, second, slips):
    assert edit_distance(first, second) == slips
    assert edit_distance(second, first) == slips
