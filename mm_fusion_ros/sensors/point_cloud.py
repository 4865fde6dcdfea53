"""Point cloud bytes to points: any layout of `sensor_msgs/PointCloud2`.

Counts are checked before any view is taken, so nothing is allocated for a cloud that lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import LidarConfig
from mm_fusion_ros.sensors.byte_view import byte_view
from mm_fusion_ros.sensors.rejection import Rejected

# (name, offset, datatype, count), as in `sensor_msgs/PointField`.
Field = tuple[str, int, int, int]

# The values of `sensor_msgs/PointField.datatype`.
DATATYPES: dict[int, str] = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8",
}  # fmt: skip

# In order of preference; drivers agree on x, y, z only.
INTENSITY_FIELDS = ("intensity", "intensities", "i", "reflectivity")
TIME_FIELDS = (
    "t", "time", "time_offset", "offset_time", "timeoffset", "time_stamp", "timestamp", "ts",
)  # fmt: skip

NS_PER_UNIT: dict[str, float] = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
# No sweep is longer, and the units lie a factor of 1000 apart: a span within it names its unit.
MAX_SWEEP_NS = 0.5e9


@dataclass(frozen=True)
class Layout:
    """Where the points of a cloud lie in its bytes; made only of numbers that fit together.

    Attributes:
        height, width: rows and columns; an unorganised cloud has one row.
        point_step, row_step: bytes from one point, one row, to the next.
        order: ">" or "<", the byte order.
        fields: name to (offset, numpy type without byte order, count).
    """

    height: int
    width: int
    point_step: int
    row_step: int
    order: str
    fields: dict[str, tuple[int, str, int]]

    def column(self, data: NDArray[np.uint8], name: str) -> NDArray[Any]:
        """One field as a (height, width) view of `data`, in the field's own type."""
        offset, kind, _ = self.fields[name]
        return np.ndarray(
            (self.height, self.width),
            np.dtype(self.order + kind),
            data,
            offset,
            (self.row_step, self.point_step),
        )

    def packed(self, data: NDArray[np.uint8], names: Sequence[str]) -> NDArray[Any] | None:
        """Neighbouring fields as a (height * width, len(names)) view, float32 as it lies.

        Returns:
            None where they are not neighbours in this order, or not float32 in native order.
        """
        first = self.fields[names[0]][0]
        native = np.dtype(self.order + "f4").isnative
        for index, name in enumerate(names):
            offset, kind, _ = self.fields[name]
            if kind != "f4" or offset != first + 4 * index or not native:
                return None
        if self.height > 1 and self.row_step != self.width * self.point_step:
            return None
        return np.ndarray(
            (self.height * self.width, len(names)), np.float32, data, first, (self.point_step, 4)
        )


def decode(
    height: int,
    width: int,
    fields: Sequence[Field],
    is_bigendian: bool,
    point_step: int,
    row_step: int,
    data: Any,
    stamp: int,
    config: LidarConfig,
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """The points of a cloud and when each was measured.

    Organised clouds are flattened row by row. Points that lie as float32 x y z intensity and need
    no scaling are a read-only view of `data`; every other layout is copied once.

    Args:
        height, width, point_step, row_step: as in the message; `row_step` 0 is recomputed.
        fields: (name, offset [bytes], datatype, count); further fields are ignored.
        is_bigendian: byte order of `data`.
        data: buffer of `height * row_step` bytes.
        stamp: the message's `stamp_ns`, for fields that hold absolute times.
        config: bounds, intensity scale and unit of time.

    Returns:
        points: (N, 4) float32, x y z [m], intensity [0..1] (0 where there is none), lidar frame;
            not finite where the message is not.
        time_offset_ns: (N,) int64, relative to `stamp`; None without a field of time.

    Raises:
        Rejected: ("size", "truncated", "field", "stamp").
    """
    count = height * width
    if height < 0 or width < 0 or count > config.max_points:
        raise Rejected(
            "size",
            f"cloud of {height} x {width} points; 0 to {config.max_points} points are accepted: "
            "thin the cloud out or raise lidar.max_points",
        )
    view = byte_view(data)
    if count == 0:
        if view.size:
            raise Rejected("size", f"cloud of 0 points has {view.size} bytes of data; expected 0")
        return np.zeros((0, 4), np.float32), None
    layout = _layout(height, width, fields, is_bigendian, point_step, row_step, view.size)
    return _points(layout, view, config), _time_offsets(layout, view, stamp, config.time_unit)


def _layout(
    height: int,
    width: int,
    fields: Sequence[Field],
    is_bigendian: bool,
    point_step: int,
    row_step: int,
    size: int,
) -> Layout:
    if point_step <= 0:
        raise Rejected("size", f"cloud has point_step {point_step}; expected at least 1 byte")
    if row_step == 0 and size == height * width * point_step:
        row_step = width * point_step
    if row_step < width * point_step:
        raise Rejected(
            "size",
            f"cloud has row_step {row_step}; {width} points of {point_step} bytes need "
            f"{width * point_step}: the driver's header is wrong",
        )
    if size != height * row_step:
        raise Rejected(
            "truncated" if size < height * row_step else "size",
            f"cloud data has {size} bytes; {height} rows with a row_step of {row_step} need "
            f"{height * row_step}: bytes were lost, or the driver's header is wrong",
        )
    known: dict[str, tuple[int, str, int]] = {}
    for name, offset, datatype, count in fields:
        kind = DATATYPES.get(datatype)
        if kind is None:
            raise Rejected(
                "field",
                f"cloud field {name[:64]!r} has datatype {datatype}; expected 1 (int8) to "
                "8 (float64)",
            )
        # Some writers leave the count of a single value at 0.
        elements = max(count, 1)
        end = offset + elements * int(kind[1])
        if offset < 0 or end > point_step:
            raise Rejected(
                "field",
                f"cloud field {name[:64]!r} lies at bytes {offset} to {end}, outside a point of "
                f"{point_step} bytes",
            )
        key = name.lower()
        if key in known and key in ("x", "y", "z"):
            raise Rejected("field", f"cloud has two fields {name!r}; expected one")
        known.setdefault(key, (offset, kind, elements))
    for name in ("x", "y", "z"):
        if name not in known or known[name][2] != 1:
            raise Rejected(
                "field",
                f"cloud has no field {name!r} with one value a point; it has "
                f"{[field[0][:32] for field in fields[:32]]}: x, y and z are needed",
            )
    order = ">" if is_bigendian else "<"
    return Layout(height, width, point_step, row_step, order, known)


def _first_field(layout: Layout, names: Sequence[str]) -> str | None:
    for name in names:
        if name in layout.fields and layout.fields[name][2] == 1:
            return name
    return None


def _points(layout: Layout, data: NDArray[np.uint8], config: LidarConfig) -> NDArray[np.float32]:
    name = _first_field(layout, INTENSITY_FIELDS)
    intensity = None if name is None else layout.column(data, name)
    scale = 1.0
    if name is not None and intensity is not None:
        scale = config.intensity_scale or intensity_scale(intensity)
        view = layout.packed(data, ("x", "y", "z", name)) if scale == 1.0 else None
        if view is not None:
            return view
    points = np.empty((layout.height * layout.width, 4), np.float32)
    grid = points.reshape(layout.height, layout.width, 4)
    # A float64 that float32 cannot hold becomes infinite, and is masked like any other.
    with np.errstate(over="ignore", invalid="ignore"):
        for index, axis in enumerate(("x", "y", "z")):
            grid[:, :, index] = layout.column(data, axis)
        if intensity is None:
            points[:, 3] = 0.0
        else:
            grid[:, :, 3] = intensity
            if scale != 1.0:
                points[:, 3] *= np.float32(1.0 / scale)
    return points


def intensity_scale(column: NDArray[Any]) -> float:
    """What intensities are divided by to lie in 0..1: 1, 255 or 65535, from type and values."""
    if column.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            highest = float(np.max(column, where=np.isfinite(column), initial=0.0))
        if highest <= 1.0:
            return 1.0
    else:
        highest = float(np.max(column, initial=0))
    return 255.0 if highest <= 255.0 else 65535.0


def _time_offsets(
    layout: Layout, data: NDArray[np.uint8], stamp: int, unit: str
) -> NDArray[np.int64] | None:
    name = _first_field(layout, TIME_FIELDS)
    if name is None or unit == "ignore":
        return None
    return time_offsets(layout.column(data, name).ravel(), stamp, unit)


def time_offsets(values: NDArray[Any], stamp: int, unit: str) -> NDArray[np.int64]:
    """Per-point times, however a driver writes them, relative to the scan's stamp.

    Drivers write seconds, milliseconds, microseconds or nanoseconds, relative to the stamp or
    absolute, as float or integer. The unit follows from the span of a sweep (under 0.5 s, and no
    integer counts seconds). Values farther than that from zero are absolute: of the stamp's clock
    if they lie near it, else of the lidar's own, whose first point is then taken as the stamp.

    Args:
        values: (N,) any integer or float type.
        stamp: the scan's `stamp_ns`.
        unit: "s", "ms", "us", "ns", or "auto".

    Returns:
        (N,) int64, ns; 0 where a value is not finite.

    Raises:
        Rejected: ("stamp") the span is longer than any sweep in this unit.
    """
    # float64 holds integers to 2^53 and epoch nanoseconds to 256 ns: enough for deskewing.
    raw = values.astype(np.float64)
    finite = np.isfinite(raw)
    if not finite.any():
        return np.zeros(raw.size, np.int64)
    low = float(raw.min(where=finite, initial=np.inf))
    high = float(raw.max(where=finite, initial=-np.inf))
    if unit == "auto":
        if high == low:
            return np.zeros(raw.size, np.int64)
        unit = _unit_of(high - low, is_integer=values.dtype.kind != "f")
    factor = NS_PER_UNIT[unit]
    if (high - low) * factor > MAX_SWEEP_NS:
        raise Rejected(
            "stamp",
            f"per-point times span {(high - low) * factor / 1e9:.3g} s in {unit}; a sweep spans "
            f"at most {MAX_SWEEP_NS / 1e9} s: set lidar.time_unit to the driver's, or to ignore",
        )
    base = 0.0
    if max(abs(low), abs(high)) * factor > MAX_SWEEP_NS:
        same_clock = abs(low - stamp / factor) * factor <= MAX_SWEEP_NS
        base = stamp / factor if same_clock else low
    # Subtracted in the driver's unit, where large absolute times lose least.
    offsets = (raw - base) * factor
    offsets[~finite] = 0.0
    return np.rint(offsets).astype(np.int64)


def _unit_of(span: float, *, is_integer: bool) -> str:
    for unit, factor in NS_PER_UNIT.items():
        if span * factor <= MAX_SWEEP_NS and not (is_integer and unit == "s"):
            return unit
    return "ns"
