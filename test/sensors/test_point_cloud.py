"""Cloud layouts (fault rows 1, 2, 5, 6, 7, 8 and 10)."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_fusion_ros.config import LidarConfig
from mm_fusion_ros.sensors.point_cloud import DATATYPES, decode, time_offsets
from mm_fusion_ros.sensors.rejection import Rejected

CONFIG = LidarConfig()
NUMBER = {kind: number for number, kind in DATATYPES.items()}
XYZI = [("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("intensity", 12, 7, 1)]


def some_points(count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.column_stack([rng.normal(0, 20, (count, 3)), rng.random(count)]).astype(np.float32)


def decode_plain(points: np.ndarray, **changes: object):
    """Decodes points that lie as x y z intensity, with some of the message's numbers changed."""
    message = {
        "height": 1, "width": len(points), "fields": XYZI, "is_bigendian": False,
        "point_step": 16, "row_step": 16 * len(points), "data": points.tobytes(), "stamp": 0,
        "config": CONFIG,
    }  # fmt: skip
    message.update(changes)
    return decode(**message)


def test_plain_float32_points_are_a_view_of_the_message() -> None:
    points = some_points(100)
    decoded, offsets = decode_plain(points, data=points.view(np.uint8).reshape(-1))
    assert np.array_equal(decoded, points)
    assert np.shares_memory(decoded, points)
    assert not decoded.flags.writeable
    assert offsets is None


def test_an_empty_cloud_has_no_points_and_is_no_error() -> None:
    decoded, offsets = decode_plain(some_points(0), fields=[])
    assert decoded.shape == (0, 4) and decoded.dtype == np.float32
    assert offsets is None


def test_points_that_are_not_finite_are_handed_on_for_counting() -> None:
    points = some_points(4)
    points[1, 0], points[2, 2] = np.nan, np.inf
    decoded, _ = decode_plain(points)
    assert np.array_equal(decoded, points, equal_nan=True)


@st.composite
def layouts(draw):
    """A random structured layout: kinds, order, gaps, padding, byte order, further fields."""
    kinds = {axis: draw(st.sampled_from(["f4", "f8"])) for axis in "xyz"}
    if draw(st.booleans()):
        kinds["intensity"] = draw(st.sampled_from(["f4", "f8", "u1", "u2"]))
    if draw(st.booleans()):
        kinds["ring"] = draw(st.sampled_from(["u1", "u2", "i4"]))
    if draw(st.booleans()):
        kinds["t"] = "u4"
    names = draw(st.permutations(sorted(kinds)))
    offset, offsets = 0, {}
    for name in names:
        offset += draw(st.integers(0, 5))
        offsets[name] = offset
        offset += int(kinds[name][1])
    return {
        "kinds": kinds,
        "offsets": offsets,
        "point_step": offset + draw(st.integers(0, 9)),
        "big": draw(st.booleans()),
        "height": draw(st.integers(1, 4)),
        "width": draw(st.integers(1, 7)),
        "row_padding": draw(st.integers(0, 11)),
    }


@given(layouts())
def test_any_layout_round_trips(layout) -> None:
    height, width, step = layout["height"], layout["width"], layout["point_step"]
    count = height * width
    order = ">" if layout["big"] else "<"
    names = list(layout["kinds"])
    record = np.dtype(
        {
            "names": names,
            "formats": [order + layout["kinds"][name] for name in names],
            "offsets": [layout["offsets"][name] for name in names],
            "itemsize": step,
        }
    )
    points = some_points(count)
    sweep_ns = np.arange(count) * 3_000_000
    cloud = np.zeros(count, record)
    for index, axis in enumerate("xyz"):
        cloud[axis] = points[:, index]
    scale = {"u1": 255, "u2": 65535}.get(layout["kinds"].get("intensity", ""), 1)
    if "intensity" in names:
        # One point at full scale tells 65535 from 255.
        points[0, 3] = 1.0
        cloud["intensity"] = np.round(points[:, 3] * scale) if scale > 1 else points[:, 3]
    if "t" in names:
        cloud["t"] = sweep_ns
    rows = np.frombuffer(cloud.tobytes(), np.uint8).reshape(height, width * step)
    data = np.pad(rows, ((0, 0), (0, layout["row_padding"])), constant_values=123)

    decoded, offsets = decode(
        height, width,
        [(n, layout["offsets"][n], NUMBER[layout["kinds"][n]], 1) for n in names],
        layout["big"], step, data.shape[1], data.tobytes(), 0, CONFIG,
    )  # fmt: skip

    assert decoded.shape == (count, 4) and decoded.dtype == np.float32
    assert np.array_equal(decoded[:, :3], points[:, :3])
    if "intensity" not in names:
        assert not decoded[:, 3].any()
    else:
        # Quantised to 1/255 at worst, half a step off.
        assert np.abs(decoded[:, 3] - points[:, 3]).max() <= 0.5 / 255 + 1e-6
    if "t" not in names:
        assert offsets is None
    elif count > 1:
        assert offsets is not None and np.array_equal(offsets, sweep_ns)


@pytest.mark.parametrize(
    ("change", "reason"), [(-1, "truncated"), (-16, "truncated"), (1, "size"), (16, "size")]
)
def test_data_shorter_or_longer_than_its_rows_is_refused(change: int, reason: str) -> None:
    points = some_points(10)
    data = bytes(160 + change)
    with pytest.raises(Rejected) as verdict:
        decode_plain(points, data=data)
    assert verdict.value.reason == reason


def test_a_row_step_of_zero_is_recomputed_when_the_data_agrees() -> None:
    points = some_points(10)
    decoded, _ = decode_plain(points, row_step=0)
    assert np.array_equal(decoded, points)


def test_a_row_step_of_zero_is_refused_when_the_data_disagrees() -> None:
    with pytest.raises(Rejected, match="row_step 0") as verdict:
        decode_plain(some_points(10), row_step=0, data=bytes(159))
    assert verdict.value.reason == "size"


@pytest.mark.parametrize("point_step", [0, -16])
def test_a_point_step_of_zero_is_refused(point_step: int) -> None:
    with pytest.raises(Rejected) as verdict:
        decode_plain(some_points(10), point_step=point_step)
    assert verdict.value.reason == "size"


@pytest.mark.parametrize("missing", ["x", "y", "z"])
def test_a_cloud_without_a_coordinate_is_refused_with_the_field_named(missing: str) -> None:
    fields = [field for field in XYZI if field[0] != missing]
    with pytest.raises(Rejected, match=f"no field '{missing}'") as verdict:
        decode_plain(some_points(10), fields=fields)
    assert verdict.value.reason == "field"


@pytest.mark.parametrize(
    "field", [("ring", 13, 7, 1), ("ring", 16, 2, 1), ("ring", 2**32 - 1, 2, 1), ("ring", 0, 7, 5)]
)
def test_a_field_beyond_the_point_is_refused_by_name(field: tuple[str, int, int, int]) -> None:
    with pytest.raises(Rejected, match="'ring'") as verdict:
        decode_plain(some_points(10), fields=[*XYZI, field])
    assert verdict.value.reason == "field"


@pytest.mark.parametrize("datatype", [0, 9, 255])
def test_an_unknown_datatype_is_refused_with_the_field_named(datatype: int) -> None:
    with pytest.raises(Rejected, match=f"'ring' has datatype {datatype}") as verdict:
        decode_plain(some_points(10), fields=[*XYZI, ("ring", 0, datatype, 1)])
    assert verdict.value.reason == "field"


def test_two_fields_of_the_same_coordinate_are_refused() -> None:
    with pytest.raises(Rejected, match="two fields 'x'"):
        decode_plain(some_points(10), fields=[*XYZI, ("x", 4, 7, 1)])


def test_a_count_of_zero_is_read_as_one_as_old_writers_mean_it() -> None:
    points = some_points(10)
    decoded, _ = decode_plain(points, fields=[(n, o, d, 0) for n, o, d, _ in XYZI])
    assert np.array_equal(decoded, points)


def test_a_huge_cloud_is_refused_before_allocation() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Rejected) as verdict:
            decode_plain(some_points(0), height=2**32 - 1, width=2**32 - 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert verdict.value.reason == "size"
    assert peak < 100_000


def test_a_float64_that_float32_cannot_hold_becomes_infinite_without_a_warning() -> None:
    cloud = np.array([[1e300, 2.0, 3.0]])
    fields = [("x", 0, 8, 1), ("y", 8, 8, 1), ("z", 16, 8, 1)]
    decoded, _ = decode_plain(cloud, fields=fields, point_step=24, row_step=24)
    assert np.isinf(decoded[0, 0]) and decoded[0, 1] == 2.0


@pytest.mark.parametrize(("highest", "scale"), [(0.9, 1), (200.0, 255), (4000.0, 65535)])
def test_the_scale_of_intensities_is_found_from_the_data(highest: float, scale: float) -> None:
    points = some_points(10)
    points[:, 3] *= highest / points[:, 3].max()
    decoded, _ = decode_plain(points)
    assert np.allclose(decoded[:, 3], points[:, 3] / scale, rtol=1e-6)


def test_a_configured_scale_of_intensities_wins() -> None:
    points = some_points(10)
    decoded, _ = decode_plain(points, config=LidarConfig(intensity_scale=100.0))
    assert np.allclose(decoded[:, 3], points[:, 3] / 100.0, rtol=1e-6)


def test_an_intensity_that_is_not_finite_does_not_spoil_the_scale() -> None:
    points = some_points(10)
    points[3, 3], points[4, 3] = np.nan, np.inf
    points[5, 3] = 200.0
    decoded, _ = decode_plain(points)
    assert decoded[5, 3] == pytest.approx(200.0 / 255.0)


SWEEP_NS = np.linspace(0, 99_000_000, 50).astype(np.int64)
STAMP = 1_700_000_000_123_456_789
# The lidar's own clock, since it was switched on.
BOOT_NS = 532_000_000_000


@pytest.mark.parametrize(
    ("values", "tolerance_ns", "what"),
    [
        (SWEEP_NS.astype(np.uint32), 0, "ns since the stamp"),
        ((SWEEP_NS / 1e9).astype(np.float32), 10, "s since the stamp"),
        (((SWEEP_NS - 99_000_000) / 1e9).astype(np.float32), 10, "s before the stamp"),
        ((SWEEP_NS / 1e6).astype(np.float32), 10, "ms since the stamp"),
        ((SWEEP_NS // 1000).astype(np.uint32), 1000, "us since the stamp"),
        ((SWEEP_NS / 1e3).astype(np.float64), 1, "us since the stamp, float"),
        ((SWEEP_NS + STAMP) / 1e9, 500, "s, absolute"),
        ((SWEEP_NS + STAMP).astype(np.float64), 500, "ns, absolute"),
        ((SWEEP_NS + STAMP) / 1e3, 500, "us, absolute"),
        ((SWEEP_NS + BOOT_NS) / 1e9, 1, "s of the lidar's own clock"),
        ((SWEEP_NS + BOOT_NS).astype(np.float64), 1, "ns of the lidar's own clock"),
    ],
)
def test_the_unit_and_the_origin_of_times_are_found(values, tolerance_ns: int, what: str) -> None:
    expected = SWEEP_NS - 99_000_000 if "before" in what else SWEEP_NS
    found = time_offsets(values, STAMP, "auto")
    assert found.dtype == np.int64
    assert np.abs(found - expected).max() <= tolerance_ns


def test_absolute_times_of_a_simulation_that_just_began_are_told_from_offsets() -> None:
    # At 12.3 s, "12.35" could be milliseconds; its span of 0.099 says seconds.
    stamp = 12_300_000_000
    found = time_offsets((SWEEP_NS + stamp) / 1e9, stamp, "auto")
    assert np.abs(found - SWEEP_NS).max() <= 1


def test_a_configured_unit_of_time_wins() -> None:
    values = np.array([0, 100, 200], np.uint32)
    assert time_offsets(values, 0, "us").tolist() == [0, 100_000, 200_000]
    assert time_offsets(values, 0, "ns").tolist() == [0, 100, 200]


def test_times_longer_than_any_sweep_are_refused_and_may_be_ignored() -> None:
    cloud = np.zeros(2, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("t", "u4")])
    cloud["t"] = [0, 4_000_000_000]
    fields = [("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("t", 12, 6, 1)]
    with pytest.raises(Rejected, match="time_unit") as verdict:
        decode_plain(cloud, fields=fields)
    assert verdict.value.reason == "stamp"
    _, offsets = decode_plain(cloud, fields=fields, config=LidarConfig(time_unit="ignore"))
    assert offsets is None


def test_times_that_are_not_finite_become_zero() -> None:
    values = np.array([0.0, np.nan, 0.1, np.inf], np.float32)
    assert time_offsets(values, 0, "auto").tolist() == [0, 0, 100_000_001, 0]
    assert time_offsets(np.full(3, np.nan), 0, "auto").tolist() == [0, 0, 0]


@given(
    height=st.integers(-2, 2**32), width=st.integers(-2, 2**32), point_step=st.integers(-1, 2**32),
    row_step=st.integers(-1, 2**32), data=st.binary(max_size=64),
    fields=st.lists(
        st.tuples(
            st.sampled_from(["x", "y", "z", "intensity", "t"]), st.integers(-1, 2**32),
            st.integers(0, 10), st.integers(-1, 2**32),
        ), max_size=6,
    ),
)  # fmt: skip
def test_a_lying_header_is_refused_and_never_crashes(
    height: int, width: int, point_step: int, row_step: int, data: bytes, fields
) -> None:
    try:
        points, _ = decode(height, width, fields, False, point_step, row_step, data, 0, CONFIG)
    except Rejected:
        return
    assert points.shape == (height * width, 4)


@given(data=st.binary(min_size=32, max_size=32), fields=st.permutations(XYZI))
def test_any_bytes_in_an_honest_layout_are_points(data: bytes, fields) -> None:
    points, _ = decode(1, 2, fields, False, 16, 32, data, 0, CONFIG)
    assert points.shape == (2, 4)
