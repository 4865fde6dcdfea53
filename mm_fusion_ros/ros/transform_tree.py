"""The static transforms of a robot: where each sensor is mounted."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.rejection import Rejected

# Robots have some tens of frames; the bound keeps a runaway sender from filling the memory.
MAX_FRAMES = 4096


def frame_name(frame_id: str) -> str:
    """The frame's name without the leading slashes that old drivers still write."""
    return str(frame_id).strip().lstrip("/")


class TransformTree:
    """Frames, each with one parent, and the transforms between them."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, Float]] = {}
        self._frames: set[str] = set()

    def add(self, parent: str, child: str, parent_from_child: Float) -> None:
        """Sets where a frame is; a frame that was there before is moved.

        Args:
            parent, child: names of frames.
            parent_from_child: (4, 4) float64.

        Raises:
            Rejected: ("transform") the two would go in a circle; ("size") too many frames.
        """
        parent, child = frame_name(parent), frame_name(child)
        if child in (name for name, _ in self._ancestry(parent)):
            raise Rejected(
                "transform",
                f"transform from {child!r} to {parent!r}: {child!r} is already above {parent!r}; "
                "expected a tree: two senders disagree on which carries which",
            )
        if len(self._frames | {parent, child}) > MAX_FRAMES:
            raise Rejected(
                "size", f"frame {child!r} is left out: there are {MAX_FRAMES} frames already"
            )
        self._frames |= {parent, child}
        self._parents[child] = (parent, np.array(parent_from_child, dtype=np.float64))

    def lookup(self, target: str, source: str) -> Float:
        """`target_from_source`, (4, 4) float64.

        Raises:
            KeyError: there is no such chain; the message names the missing link.
        """
        target, source = frame_name(target), frame_name(source)
        for frame in (source, target):
            if frame not in self._frames and source != target:
                raise KeyError(
                    f"no transform from {source!r} to {target!r}: nobody published a transform "
                    f"with frame {frame!r}; known frames: {sorted(self._frames)[:20]}"
                )
        above_target = dict(self._ancestry(target))
        for frame, frame_from_source in self._ancestry(source):
            if frame in above_target:
                return geometry.inverse(above_target[frame]) @ frame_from_source
        source_root, target_root = frame, list(above_target)[-1]
        raise KeyError(
            f"no transform from {source!r} to {target!r}: the link between {source_root!r}, where "
            f"the chain of {source!r} ends, and {target_root!r}, where that of {target!r} ends, is "
            "missing: publish it on /tf_static"
        )

    def _ancestry(self, frame: str) -> list[tuple[str, Float]]:
        """The frame and all above it, each with its transform `ancestor_from_frame`."""
        ancestor_from_frame: Float = np.eye(4)
        chain = [(frame, ancestor_from_frame)]
        while frame in self._parents:
            frame, parent_from_child = self._parents[frame]
            ancestor_from_frame = parent_from_child @ ancestor_from_frame
            chain.append((frame, ancestor_from_frame))
        return chain
