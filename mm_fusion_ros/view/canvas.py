"""Text, panels and bars drawn on an RGB picture."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.outputs import ActionTarget, Reason, Reliability
from mm_fusion_ros.view import palette
from mm_fusion_ros.view.palette import Colour

Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX


def text_scale(height: int) -> float:
    """A font scale that stays readable in a picture of `height` pixels."""
    return float(np.clip(height / 900.0, 0.4, 1.2))


def text_size(text: str, scale: float) -> tuple[int, int]:
    """Width and height [pixels] of a text, descenders included."""
    (width, height), baseline = cv2.getTextSize(text, FONT, scale, 1)
    return width, height + baseline


def shade(picture: Picture, box: Box, colour: Colour = palette.PANEL, opacity: float = 0.7) -> None:
    """Blends a rectangle x0 y0 x1 y1 [pixels] into the picture; what lies outside is cut."""
    height, width = picture.shape[:2]
    x0, y0 = max(box[0], 0), max(box[1], 0)
    x1, y1 = min(box[2], width), min(box[3], height)
    if x1 <= x0 or y1 <= y0:
        return
    part = picture[y0:y1, x0:x1]
    blend = part * (1.0 - opacity) + np.array(colour, dtype=np.float64) * opacity
    picture[y0:y1, x0:x1] = blend.astype(np.uint8)


def write(picture: Picture, text: str, x: int, y: int, colour: Colour, scale: float) -> None:
    """Writes a text whose upper left corner is at x, y [pixels]."""
    (_, height), _ = cv2.getTextSize(text, FONT, scale, 1)
    cv2.putText(picture, text, (x, y + height), FONT, scale, colour, 1, cv2.LINE_AA)


def label(
    picture: Picture,
    text: str,
    x: int,
    y: int,
    colour: Colour,
    scale: float,
    chip: Colour | None = None,
) -> Box:
    """A text on a dark plate with a coloured edge, its upper left corner at x, y.

    Args:
        picture: (H, W, 3) uint8, RGB, drawn on.
        text: one line.
        x, y: pixels.
        colour: of the edge.
        scale: font scale.
        chip: a square of this colour before the text.

    Returns:
        The plate: x0 y0 x1 y1 [pixels].
    """
    box = label_box(text, x, y, scale, chip is not None)
    shade(picture, box, opacity=0.78)
    cv2.rectangle(picture, (box[0], box[1]), (box[0] + 2, box[3] - 1), colour, -1)
    left = box[0] + 6
    if chip is not None:
        edge = box[3] - box[1] - 6
        corner = (left + edge, box[1] + 3 + edge)
        cv2.rectangle(picture, (left, box[1] + 3), corner, chip, -1)
        cv2.rectangle(picture, (left, box[1] + 3), corner, palette.FAINT, 1)
        left += edge + 4
    write(picture, text, left, box[1] + 3, palette.INK, scale)
    return box


def label_box(text: str, x: int, y: int, scale: float, chip: bool) -> Box:
    """Where `label` draws its plate: x0 y0 x1 y1 [pixels]."""
    width, height = text_size(text, scale)
    extra = height + 4 if chip else 0
    return x, y, x + width + extra + 10, y + height + 6


def overlaps(one: Box, other: Box) -> bool:
    """Whether two rectangles x0 y0 x1 y1 share area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def trust_panel(
    picture: Picture, reliability: Mapping[str, Reliability], scale: float, x: int = 8, y: int = 8
) -> Box:
    """A bar for each source: its trust, its share as a thin line below, and what is wrong.

    Args:
        picture: (H, W, 3) uint8, RGB, drawn on.
        reliability: by source name.
        scale: font scale.
        x, y: upper left corner [pixels].

    Returns:
        The panel: x0 y0 x1 y1 [pixels].
    """
    if not reliability:
        return x, y, x, y
    rows = list(reliability.values())
    line = text_size("Xg", scale)[1] + 7
    sources = [ascii_line(row.source, 20) for row in rows]
    names = max(text_size(source, scale)[0] for source in sources) + 14
    bar = int(110 * max(scale / 0.5, 0.8))
    notes = [
        f"{row.trust:.2f}"
        + ("" if row.reason is Reason.OK else f" {palette.reason_text(row.reason)}")
        for row in rows
    ]
    width = names + bar + 10 + max(text_size(note, scale)[0] for note in notes) + 10
    box = (x, y, x + width, y + line * len(rows) + 8)
    shade(picture, box)
    for index, (row, source, note) in enumerate(zip(rows, sources, notes, strict=True)):
        top = y + 4 + index * line
        write(picture, source, x + 7, top + 3, palette.INK, scale)
        left, middle = x + names, top + line // 2 - 3
        colour = palette.trust_colour(row.trust)
        cv2.rectangle(picture, (left, middle), (left + bar, middle + 6), (62, 66, 76), -1)
        filled = round(bar * float(np.clip(row.trust, 0.0, 1.0)))
        if filled > 0:
            cv2.rectangle(picture, (left, middle), (left + filled, middle + 6), colour, -1)
        if row.share is not None:
            part = round(bar * float(np.clip(row.share, 0.0, 1.0)))
            cv2.line(picture, (left, middle + 9), (left + part, middle + 9), palette.INK, 1)
        write(picture, note, left + bar + 8, top + 3, colour, scale)
    return box


def target_banner(picture: Picture, target: ActionTarget, scale: float) -> None:
    """The GO or HOLD line along the lower edge of the picture."""
    height, width = picture.shape[:2]
    text = ascii_line(palette.target_line(target))
    colour = palette.GO if target.go else palette.HOLD
    tall = text_size("Xg", scale)[1] + 10
    shade(picture, (0, height - tall, width, height))
    cv2.rectangle(picture, (0, height - tall), (5, height), colour, -1)
    write(picture, text, 12, height - tall + 5, colour, scale)


def ascii_line(text: str, longest: int = 100) -> str:
    """A text as the picture's font can draw it: one line of ASCII, cut where it is too long."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def jpeg(picture: Picture, quality: int = 85) -> bytes:
    """The picture (H, W, 3) uint8, RGB, as a JPEG file.

    Raises:
        ValueError: it has no pixels, or more than JPEG can hold.
    """
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    try:
        done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), settings)
    except cv2.error as error:
        raise ValueError(f"a picture of shape {picture.shape} is no JPEG: {error}") from error
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} is no JPEG")
    return data.tobytes()
