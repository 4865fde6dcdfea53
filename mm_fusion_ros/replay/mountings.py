"""Where the sensors of a recorded robot are mounted."""

from __future__ import annotations

from itertools import islice

from mm_fusion_ros.replay.bag_reader import BagReader
from mm_fusion_ros.replay.topics import TF_TYPE
from mm_fusion_ros.ros import conversions
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.rejection import Rejected

STATIC_TOPIC, MOVING_TOPIC = "/tf_static", "/tf"
# Of /tf only so many messages are read, for mountings that nobody latched.
MOVING_MESSAGES = 200
# A broken broadcaster repeats itself; more remarks of one kind say nothing new.
MOST_REMARKS = 3

Edge = tuple[str, str, Float]


class Mountings:
    """All transforms of /tf_static, and apart from them what /tf says first of each frame.

    They are read before the first message is replayed, so that a transform latched late in the
    recording holds from its start.

    Attributes:
        remarks: broken transforms, a line each.
    """

    def __init__(self, reader: BagReader, base_frame: str) -> None:
        """Reads the transforms.

        Args:
            reader: an open bag.
            base_frame: the robot's frame.

        Raises:
            BagError: the bag is damaged.
        """
        self.remarks: list[str] = []
        self._base_frame = base_frame
        self._fixed = conversions.TransformTree()
        self._with_moving = conversions.TransformTree()
        static = self._edges(reader, STATIC_TOPIC, None)
        first: dict[str, Edge] = {}
        for edge in self._edges(reader, MOVING_TOPIC, MOVING_MESSAGES):
            first.setdefault(edge[1], edge)
        self._fill(self._fixed, static)
        self._fill(self._with_moving, [*first.values(), *static])

    def lookup(self, frame: str) -> tuple[Float, str]:
        """base_from_sensor (4, 4) of a sensor's frame, and a remark where it was assumed.

        Raises:
            KeyError: no chain leads to the robot's frame; the message names the missing link.
        """
        try:
            return self._fixed.lookup(self._base_frame, frame), ""
        except KeyError:
            base_from_sensor = self._with_moving.lookup(self._base_frame, frame)
        return base_from_sensor, (
            f"{STATIC_TOPIC} does not say where {frame!r} is mounted; taken as {MOVING_TOPIC} says "
            "first, and held fixed"
        )

    def _edges(self, reader: BagReader, topic: str, most: int | None) -> list[Edge]:
        """The transforms of a topic's first messages."""
        edges: list[Edge] = []
        refused: list[Rejected] = []
        # A robot's name may stand before the topic's.
        topics = [
            channel.topic
            for channel in reader.channels()
            if channel.msgtype == TF_TYPE and f"/{channel.topic}".endswith(topic)
        ]
        for connection, _, data in islice(reader.messages(topics), most):
            try:
                edges += conversions.static_transforms(reader.decode(connection, data), refused)
            except Rejected as rejection:
                refused.append(rejection)
        self._remark(topic, refused)
        return edges

    def _fill(self, tree: conversions.TransformTree, edges: list[Edge]) -> None:
        refused: list[Rejected] = []
        for edge in edges:
            try:
                tree.add(*edge)
            except Rejected as rejection:
                refused.append(rejection)
        self._remark(STATIC_TOPIC, refused)

    def _remark(self, topic: str, refused: list[Rejected]) -> None:
        lines = dict.fromkeys(f"{topic}: {rejection.detail}" for rejection in refused)
        self.remarks += [line for line in list(lines)[:MOST_REMARKS] if line not in self.remarks]
