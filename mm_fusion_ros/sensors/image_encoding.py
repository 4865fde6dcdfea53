"""Image bytes to RGB: the raw encodings of `sensor_msgs/Image`, and JPEG and PNG.

Sizes are checked before anything is allocated, from the header where the bytes are compressed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.sensors.byte_view import byte_view
from mm_fusion_ros.sensors.rejection import Rejected

Image = NDArray[np.uint8]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND\xaeB`\x82"
JPEG_START = b"\xff\xd8"
JPEG_END = b"\xff\xd9"
# Start-of-frame markers hold the size; C4, C8 and CC share their range but mean something else.
JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# A header has a dozen segments; the bound keeps a crafted one from costing time.
JPEG_MAX_SEGMENTS = 1000


@dataclass(frozen=True)
class RawEncoding:
    """How one raw encoding lies in memory.

    Attributes:
        channels: samples of one pixel.
        to_rgb: (H, W, channels) uint8 to (H, W, 3) uint8; None where it is RGB already.
        depth: bytes of one sample: 1 or 2.
        even_width: True where two neighbours share their colour.
    """

    channels: int
    to_rgb: Callable[[Image], Image] | None
    depth: int = 1
    even_width: bool = False


def _by_opencv(code: int) -> Callable[[Image], Image]:
    def convert(image: Image) -> Image:
        return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)

    return convert


def _raw_encodings() -> dict[str, RawEncoding]:
    # OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first
    # two pixels of both rows: rggb is OpenCV's BG.
    converters: dict[str, tuple[int, Callable[[Image], Image] | None]] = {
        "rgb": (3, None),
        "bgr": (3, _by_opencv(cv2.COLOR_BGR2RGB)),
        "rgba": (4, _by_opencv(cv2.COLOR_RGBA2RGB)),
        "bgra": (4, _by_opencv(cv2.COLOR_BGRA2RGB)),
        "mono": (1, _by_opencv(cv2.COLOR_GRAY2RGB)),
        "bayer_rggb": (1, _by_opencv(cv2.COLOR_BayerBG2RGB)),
        "bayer_bggr": (1, _by_opencv(cv2.COLOR_BayerRG2RGB)),
        "bayer_gbrg": (1, _by_opencv(cv2.COLOR_BayerGR2RGB)),
        "bayer_grbg": (1, _by_opencv(cv2.COLOR_BayerGB2RGB)),
    }
    table = {
        f"{name}{8 * depth}": RawEncoding(channels, to_rgb, depth)
        for name, (channels, to_rgb) in converters.items()
        for depth in (1, 2)
    }
    uyvy = RawEncoding(2, _by_opencv(cv2.COLOR_YUV2RGB_UYVY), even_width=True)
    yuyv = RawEncoding(2, _by_opencv(cv2.COLOR_YUV2RGB_YUY2), even_width=True)
    table.update({"yuv422": uyvy, "uyvy": uyvy, "yuv422_yuy2": yuyv, "yuyv": yuyv})
    return table


RAW_ENCODINGS: dict[str, RawEncoding] = _raw_encodings()


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Refuses images with no pixels or more than `max_pixels`.

    Raises:
        Rejected: ("size").
    """
    if height <= 0 or width <= 0:
        raise Rejected("size", f"image of {width} x {height} pixels; expected at least 1 x 1")
    if height * width > max_pixels:
        raise Rejected(
            "size",
            f"image of {width} x {height} = {height * width} pixels; at most {max_pixels} are "
            "accepted: lower the camera's resolution or raise camera.max_pixels",
        )


def decode_raw(
    data: Any,
    height: int,
    width: int,
    step: int,
    encoding: str,
    is_bigendian: bool,
    max_pixels: int,
) -> Image:
    """The pixels of a raw image as RGB.

    `rgb8` is a read-only view of `data`, padded rows included; every other encoding is converted.
    Sixteen-bit samples keep their upper byte. YUV is BT.601 with limited range.

    Args:
        data: buffer of `height * step` bytes.
        height: rows.
        width: columns.
        step: bytes from one row to the next; 0 is taken as rows without padding.
        encoding: name as in `sensor_msgs/image_encodings.hpp`, any case.
        is_bigendian: byte order of sixteen-bit samples.
        max_pixels: larger images are refused before anything is allocated.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        Rejected: ("size", "encoding", "truncated", "field") with the encoding named.
    """
    check_size(height, width, max_pixels)
    layout = RAW_ENCODINGS.get(encoding.strip().lower())
    if layout is None:
        raise Rejected(
            "encoding",
            f"image encoding {encoding[:64]!r} is not supported; supported are "
            f"{', '.join(sorted(RAW_ENCODINGS))}: set the driver to one of them",
        )
    if layout.even_width and width % 2:
        raise Rejected(
            "encoding", f"image encoding {encoding!r} needs an even width, but the width is {width}"
        )
    pixel_bytes = layout.channels * layout.depth
    row_bytes = width * pixel_bytes
    if step == 0:
        step = row_bytes
    if step < row_bytes:
        raise Rejected(
            "encoding",
            f"image step {step} does not fit encoding {encoding!r}: {width} pixels of "
            f"{pixel_bytes} bytes need {row_bytes}",
        )
    view = byte_view(data)
    if view.size != height * step:
        raise Rejected(
            "truncated" if view.size < height * step else "size",
            f"image data has {view.size} bytes; {height} rows with a step of {step} bytes in "
            f"encoding {encoding!r} need {height * step}: the driver's header is wrong",
        )
    # Of a sixteen-bit sample only the upper byte is looked at, by starting there.
    offset = layout.depth - 1 if not is_bigendian else 0
    shape: tuple[int, ...] = (height, width, layout.channels)
    strides: tuple[int, ...] = (step, pixel_bytes, layout.depth)
    if layout.channels == 1:
        shape, strides = shape[:2], strides[:2]
    image: Image = np.ndarray(shape, np.uint8, view, offset, strides)
    if layout.depth == 2:
        image = np.ascontiguousarray(image)
    return image if layout.to_rgb is None else layout.to_rgb(image)


def decode_compressed(data: Any, format: str, max_pixels: int) -> Image:  # noqa: A002
    """The pixels of a JPEG or PNG image as RGB.

    The kind is read from the bytes, the size from the header before anything is decoded. The
    orientation that a JPEG may declare is ignored: intrinsics are those of the stored pixels.

    Args:
        data: buffer with one whole file.
        format: `format` of `sensor_msgs/CompressedImage`, such as "jpeg" or
            "rgb8; jpeg compressed bgr8".
        max_pixels: larger images are refused before anything is allocated.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        Rejected: ("encoding", "size", "truncated", "field").
    """
    if "compresseddepth" in format.lower():
        raise Rejected("encoding", f"image format {format[:64]!r} is depth; expected colour")
    view = byte_view(data)
    head = view[:8].tobytes()
    if head == PNG_SIGNATURE:
        width, height = _png_size(view)
        complete = PNG_END in view[-4096:].tobytes()
    elif head[:2] == JPEG_START:
        width, height = _jpeg_size(view)
        # Some cameras fill the file up with zeros after its end.
        complete = view[-4096:].tobytes().rstrip(b"\x00").endswith(JPEG_END)
    else:
        raise Rejected(
            "encoding" if view.size >= 8 else "truncated",
            f"compressed image of {view.size} bytes with format {format[:64]!r} is neither JPEG "
            f"nor PNG (it starts with {head[:4].hex(' ')}): set the camera to one of them",
        )
    check_size(height, width, max_pixels)
    if not complete:
        raise Rejected(
            "truncated",
            f"compressed image of {width} x {height} ends after {view.size} bytes without its end "
            "marker: bytes were lost on the way, or the camera sends less than a whole file",
        )
    image = _decode(view, width, height)
    # image_transport encodes from BGR memory and says so; a sender that says RGB here handed RGB
    # memory to the same encoder, which leaves red and blue exchanged inside the file.
    if "compressed rgb" in format.lower():
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=image)
    return image


def _decode(view: Image, width: int, height: int) -> Image:
    # Older OpenCV decodes to BGR only.
    to_rgb = getattr(cv2, "IMREAD_COLOR_RGB", None)
    flags = (cv2.IMREAD_COLOR if to_rgb is None else to_rgb) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(view, flags)
    except cv2.error as error:
        raise Rejected("truncated", f"compressed image cannot be decoded: {error}") from error
    if image is None or image.shape != (height, width, 3):
        found = "nothing" if image is None else f"{image.shape[1]} x {image.shape[0]} pixels"
        raise Rejected(
            "truncated",
            f"compressed image decodes to {found}; its header says {width} x {height} pixels",
        )
    if to_rgb is None:
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return np.asarray(image, dtype=np.uint8)


def _png_size(view: Image) -> tuple[int, int]:
    """Width and height from the header chunk, which must be the first (PNG, section 5.6)."""
    if view.size < 24 or view[12:16].tobytes() != b"IHDR":
        raise Rejected("truncated", f"PNG of {view.size} bytes has no whole header")
    return int.from_bytes(view[16:20], "big"), int.from_bytes(view[20:24], "big")


def _jpeg_size(view: Image) -> tuple[int, int]:
    """Width and height from the first start-of-frame segment (ITU-T T.81, annex B)."""
    position = 2
    for _ in range(JPEG_MAX_SEGMENTS):
        if position + 9 > view.size:
            break
        if view[position] != 0xFF:
            raise Rejected("truncated", f"JPEG header is broken at byte {position}")
        marker = int(view[position + 1])
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in JPEG_FRAME_MARKERS:
            height = int.from_bytes(view[position + 5 : position + 7], "big")
            width = int.from_bytes(view[position + 7 : position + 9], "big")
            return width, height
        # The length counts its own two bytes.
        length = int.from_bytes(view[position + 2 : position + 4], "big")
        if length < 2:
            raise Rejected("truncated", f"JPEG segment at byte {position} has length {length}")
        position += 2 + length
    raise Rejected("truncated", f"JPEG of {view.size} bytes has no whole header")
