"""Raw encodings, JPEG and PNG (fault rows 9, 10 and 11)."""

from __future__ import annotations

import array
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_fusion_ros.sensors.image_encoding import (
    RAW_ENCODINGS,
    decode_compressed,
    decode_raw,
)
from mm_fusion_ros.sensors.rejection import Rejected

MAX_PIXELS = 1_000_000
COLOUR = (200, 120, 40)


def picture(height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_picture(height: int = 48, width: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 4, columns * 3, 255 - rows * 2], axis=2).astype(np.uint8)


def decode(data: object, shape: tuple[int, int], encoding: str, step: int, big: bool = False):
    return decode_raw(data, shape[0], shape[1], step, encoding, big, MAX_PIXELS)


def test_rgb8_is_a_view_of_the_message_and_cannot_be_written_to() -> None:
    image = picture()
    data = image.copy()
    decoded = decode(data.reshape(-1), (6, 8), "rgb8", 24)
    assert np.array_equal(decoded, image)
    assert np.shares_memory(decoded, data)
    assert not decoded.flags.writeable


@pytest.mark.parametrize("container", [bytes, bytearray, lambda b: array.array("B", b), memoryview])
def test_every_kind_of_buffer_is_read(container) -> None:
    image = picture()
    assert np.array_equal(decode(container(image.tobytes()), (6, 8), "rgb8", 24), image)


def test_a_list_is_refused_by_name_because_it_is_no_buffer() -> None:
    with pytest.raises(Rejected, match="list") as verdict:
        decode([0] * 144, (6, 8), "rgb8", 24)
    assert verdict.value.reason == "field"


@given(
    name=st.sampled_from(["rgb", "bgr", "rgba", "bgra", "mono"]),
    depth=st.sampled_from([1, 2]),
    big=st.booleans(),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
)
def test_any_layout_of_colour_and_grey_round_trips(
    name: str, depth: int, big: bool, height: int, width: int, padding: int
) -> None:
    rgb = picture(height, width)
    if name == "mono":
        rgb = np.repeat(rgb[:, :, :1], 3, axis=2)
    channels = {"rgb": [0, 1, 2], "bgr": [2, 1, 0], "rgba": [0, 1, 2, 0], "bgra": [2, 1, 0, 0]}
    samples = rgb[:, :, channels.get(name, [0])]
    if depth == 2:
        # The lower byte is noise that must not show.
        kind = ">u2" if big else "<u2"
        samples = (samples.astype(np.uint16) * 256 + 77).astype(kind)
    rows = np.frombuffer(samples.tobytes(), np.uint8).reshape(height, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    decoded = decode(padded.tobytes(), (height, width), f"{name}{8 * depth}", padded.shape[1], big)
    assert decoded.shape == (height, width, 3)
    assert np.array_equal(decoded, rgb)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_are_named_by_their_first_two_rows(pattern: str, depth: int) -> None:
    # A uniform colour: each sample of the mosaic is the channel that the pattern names there,
    # and whatever the interpolation, the inside must come out as that colour.
    values = dict(zip("rgb", COLOUR, strict=True))
    tile = np.array(
        [[values[pattern[0]], values[pattern[1]]], [values[pattern[2]], values[pattern[3]]]]
    )
    mosaic = np.tile(tile, (6, 8)).astype("<u2" if depth == 2 else np.uint8)
    if depth == 2:
        mosaic = mosaic * 256
    step = mosaic.shape[1] * depth
    decoded = decode(mosaic.tobytes(), mosaic.shape, f"bayer_{pattern}{8 * depth}", step)
    assert np.array_equal(decoded[2:-2, 2:-2], np.broadcast_to(COLOUR, (8, 12, 3)))


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_yuv_is_bt601_with_limited_range(encoding: str, order: str) -> None:
    # Red in BT.601, limited: Y = 16 + 65.481 = 81, U = 128 - 37.797 = 90, V = 128 + 112 = 240.
    pair = {"u": 90, "v": 240, "y": 81}
    data = bytes(pair[letter] for letter in order) * 8
    decoded = decode(data, (4, 4), encoding, 8)
    assert np.abs(decoded.astype(int) - (255, 0, 0)).max() <= 2


def test_yuv_of_an_odd_width_is_refused() -> None:
    with pytest.raises(Rejected, match="even width") as verdict:
        decode(bytes(30), (3, 5), "yuv422", 10)
    assert verdict.value.reason == "encoding"


def test_an_encoding_may_be_written_in_capitals() -> None:
    image = picture()
    assert np.array_equal(decode(image.tobytes(), (6, 8), "RGB8", 24), image)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1", "8UC3", "", "nv21", "rgb8\x00"])
def test_an_unknown_encoding_is_refused_by_name_with_those_that_are_known(encoding: str) -> None:
    with pytest.raises(Rejected, match="bgr8") as verdict:
        decode(bytes(144), (6, 8), encoding, 24)
    assert verdict.value.reason == "encoding"
    assert repr(encoding) in verdict.value.detail


def test_a_step_shorter_than_a_row_is_refused_with_the_encoding_named() -> None:
    with pytest.raises(Rejected, match="'rgb8'.*need 24") as verdict:
        decode(bytes(6 * 23), (6, 8), "rgb8", 23)
    assert verdict.value.reason == "encoding"


def test_a_step_of_zero_means_rows_without_padding() -> None:
    image = picture()
    assert np.array_equal(decode(image.tobytes(), (6, 8), "rgb8", 0), image)


@pytest.mark.parametrize(("size", "reason"), [(143, "truncated"), (0, "truncated"), (145, "size")])
def test_data_shorter_or_longer_than_its_rows_is_refused(size: int, reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        decode(bytes(size), (6, 8), "rgb8", 24)
    assert verdict.value.reason == reason


@pytest.mark.parametrize("shape", [(0, 8), (6, 0), (-1, 8)])
def test_an_image_without_pixels_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(Rejected) as verdict:
        decode(b"", shape, "rgb8", 24)
    assert verdict.value.reason == "size"


def allocated_by(action) -> int:
    """Peak bytes that `action` allocates; numpy reports its arrays to tracemalloc."""
    tracemalloc.start()
    try:
        with pytest.raises(Rejected) as verdict:
            action()
        assert verdict.value.reason == "size"
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_huge_raw_image_is_refused_before_allocation() -> None:
    # 2^32 - 1 squared pixels would be exabytes, and overflow 64 bits in bytes.
    huge = 2**32 - 1
    assert allocated_by(lambda: decode_raw(b"", huge, huge, 0, "bgr8", False, 16_000_000)) < 100_000


def png_header(width: int, height: int) -> bytes:
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + content
    return start + struct.pack(">I", zlib.crc32(content))


def test_a_huge_png_is_refused_by_its_header_before_allocation() -> None:
    data = png_header(60_000, 60_000) + b"\x00\x00\x00\x00IEND\xaeB`\x82"
    assert allocated_by(lambda: decode_compressed(data, "png", 16_000_000)) < 100_000


def test_a_huge_jpeg_is_refused_by_its_header_before_allocation() -> None:
    frame = struct.pack(">BBHBHHB", 0xFF, 0xC0, 17, 8, 65_000, 65_000, 3) + bytes(9)
    data = b"\xff\xd8" + frame + b"\xff\xd9"
    assert allocated_by(lambda: decode_compressed(data, "jpeg", 16_000_000)) < 100_000


def encoded(image: np.ndarray, extension: str) -> bytes:
    done, data = cv2.imencode(extension, image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    assert done
    return data.tobytes()


def test_a_png_comes_back_exactly() -> None:
    image = picture(48, 64)
    assert np.array_equal(decode_compressed(encoded(image, ".png"), "png", MAX_PIXELS), image)


@pytest.mark.parametrize("format_name", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", ""])
def test_a_jpeg_comes_back_in_rgb(format_name: str) -> None:
    image = smooth_picture()
    decoded = decode_compressed(encoded(image, ".jpg"), format_name, MAX_PIXELS)
    assert np.abs(decoded.astype(int) - image).mean() < 2.0


def test_a_jpeg_made_of_rgb_memory_says_so_and_is_put_right() -> None:
    # Written as though its first channel were blue: red and blue are exchanged inside the file.
    image = smooth_picture()
    data = encoded(image[:, :, ::-1], ".jpg")
    decoded = decode_compressed(data, "rgb8; jpeg compressed rgb8", MAX_PIXELS)
    assert np.abs(decoded.astype(int) - image).mean() < 2.0


def test_a_grey_sixteen_bit_png_becomes_rgb() -> None:
    grey = (picture(48, 64)[:, :, 0].astype(np.uint16) << 8) + 9
    done, data = cv2.imencode(".png", grey)
    assert done
    decoded = decode_compressed(data.tobytes(), "mono16; png compressed", MAX_PIXELS)
    assert np.array_equal(decoded, np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


def test_the_orientation_that_a_jpeg_declares_does_not_turn_it() -> None:
    image = smooth_picture()
    data = encoded(image, ".jpg")
    # EXIF with one entry: orientation (0x0112), short, 1 value, 6 = turned by 90 degrees.
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00" + entry + bytes(4)
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (64, 48)
    assert decode_compressed(turned, "jpeg", MAX_PIXELS).shape == image.shape


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(extension: str, fraction: float) -> None:
    data = encoded(picture(48, 64), extension)
    with pytest.raises(Rejected) as verdict:
        decode_compressed(data[: int(len(data) * fraction)], "", MAX_PIXELS)
    assert verdict.value.reason == "truncated"


def test_a_jpeg_filled_up_with_zeros_is_whole() -> None:
    image = smooth_picture()
    decoded = decode_compressed(encoded(image, ".jpg") + bytes(500), "jpeg", MAX_PIXELS)
    assert decoded.shape == image.shape


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\xff\xd8", "truncated"),
        (b"\xff\xd8" + b"\xff" * 5000, "truncated"),
        (b"\xff\xd8\xff\xe0\x00\x00" + bytes(50), "truncated"),
        (b"\xff\xd8" + bytes(50), "truncated"),
        (b"\x89PNG\r\n\x1a\n" + bytes(4), "truncated"),
        (b"GIF89a" + bytes(50), "encoding"),
        (b"RIFF" + bytes(50), "encoding"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        decode_compressed(data, "jpeg", MAX_PIXELS)
    assert verdict.value.reason == reason


def test_a_depth_image_is_refused_by_its_format() -> None:
    with pytest.raises(Rejected, match="depth") as verdict:
        decode_compressed(encoded(picture(), ".png"), "16UC1; compressedDepth png", MAX_PIXELS)
    assert verdict.value.reason == "encoding"


def test_a_png_whose_content_is_broken_is_refused() -> None:
    data = bytearray(encoded(picture(48, 64), ".png"))
    # From the first pixel data on, up to the end marker.
    data[60:-12] = bytes(len(data) - 72)
    with pytest.raises(Rejected) as verdict:
        decode_compressed(bytes(data), "png", MAX_PIXELS)
    assert verdict.value.reason == "truncated"


@given(
    data=st.binary(max_size=200), start=st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"])
)
def test_random_bytes_are_refused_and_never_crash(data: bytes, start: bytes) -> None:
    with pytest.raises(Rejected):
        decode_compressed(start + data, "jpeg", MAX_PIXELS)


def test_the_table_holds_every_encoding_that_was_promised() -> None:
    promised = {"rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "yuv422", "yuv422_yuy2"}
    promised |= {f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")}
    assert promised <= set(RAW_ENCODINGS)
