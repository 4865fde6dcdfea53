"""One colour for each thing shown, the same in pictures, recordings and reports. RGB, 0..255."""

from __future__ import annotations

from mm_fusion_ros.outputs import ActionTarget, Reason
from mm_fusion_ros.samples import Modality

Colour = tuple[int, int, int]

CLASS_COLOURS: dict[str, Colour] = {
    "car": (64, 170, 255),
    "truck": (150, 130, 255),
    "pedestrian": (255, 190, 50),
    "cyclist": (80, 215, 165),
    "cone": (255, 125, 50),
    "barrel": (235, 105, 175),
    "box": (205, 220, 70),
    "ball": (90, 225, 235),
}
UNKNOWN_CLASS: Colour = (200, 200, 200)

ATTRIBUTE_COLOURS: dict[str, Colour] = {
    "red": (215, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (245, 215, 50),
    "green": (50, 165, 70),
    "blue": (45, 95, 215),
    "purple": (140, 65, 180),
    "white": (245, 245, 245),
    "black": (25, 25, 25),
    "grey": (135, 135, 135),
}

SOURCE_COLOURS: dict[Modality, Colour] = {
    Modality.CAMERA: (70, 135, 235),
    Modality.LIDAR: (25, 160, 125),
    Modality.GPS: (215, 85, 130),
    Modality.ODOMETRY: (215, 140, 30),
    Modality.IMU: (140, 110, 215),
    Modality.COMMAND: (115, 125, 140),
}

GO: Colour = (60, 200, 110)
HOLD: Colour = (245, 165, 55)
ROBOT: Colour = (255, 255, 255)
FIX: Colour = (255, 95, 130)
PANEL: Colour = (18, 20, 26)
INK: Colour = (240, 242, 246)
FAINT: Colour = (150, 156, 168)

GOOD: Colour = (70, 190, 110)
FAIR: Colour = (235, 180, 60)
POOR: Colour = (225, 80, 75)


def class_colour(name: str) -> Colour:
    """The colour of a class; grey for a name that is no class."""
    return CLASS_COLOURS.get(name, UNKNOWN_CLASS)


def source_colour(modality: Modality, index: int = 0) -> Colour:
    """The colour of a source: that of its kind, shaded by `index` to tell equals apart."""
    shade = 1.0 - 0.14 * (index % 4)
    red, green, blue = (round(part * shade) for part in SOURCE_COLOURS[modality])
    return red, green, blue


def trust_colour(trust: float) -> Colour:
    """Green for a source that is believed, yellow for half, red for one that is not."""
    if trust >= 0.66:
        return GOOD
    return FAIR if trust >= 0.33 else POOR


def target_line(target: ActionTarget) -> str:
    """The target in one line: GO with what and how sure, or HOLD with its reason."""
    told = f'  "{target.text}"' if target.text else ""
    if target.go:
        intent = target.intent.value.replace("_", " ")
        return f"GO  {intent} #{target.track_id}  p {target.probability:.2f}{told}"
    why = target.intent.value if target.reason is None else target.reason.value
    return f"HOLD  {why.replace('_', ' ')}{told}"


def reason_text(reason: Reason) -> str:
    """A reason code in words."""
    return reason.value.replace("_", " ")


def css(colour: Colour) -> str:
    """The colour as CSS takes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
