"""A rosbag2 file opened for reading; whatever is wrong with it becomes one clear error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from mm_fusion_ros.replay.topics import Channel
from mm_fusion_ros.sensors.rejection import Rejected

SUFFIXES = (".mcap", ".db3")


class BagError(ValueError):
    """A bag that cannot be replayed: says why, and how to mend it."""


class BagReader:
    """The raw messages of a rosbag2, sqlite3 or MCAP, in the order of recording.

    Attributes:
        path: as given.
        start_ns, end_ns: when the first and the last message were recorded [ns].
    """

    def __init__(self, path: Path) -> None:
        """Opens the bag.

        Args:
            path: a bag's folder, or its .mcap or .db3 file.

        Raises:
            BagError: missing, not a rosbag2, damaged, or empty.
        """
        self.path = path
        storage = storage_of(path)
        with readable(path):
            # Old bags do not bring the definitions of their types.
            self._reader = AnyReader([storage], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
            self._reader.open()
        if not self._reader.message_count:
            self.close()
            raise BagError(f"{path} holds no messages")
        self.start_ns = self._reader.start_time
        self.end_ns = self._reader.end_time - 1

    def close(self) -> None:
        """Closes the bag."""
        self._reader.close()

    def channels(self) -> list[Channel]:
        """Topics with their types and numbers of messages."""
        return [Channel(c.topic, c.msgtype, c.msgcount) for c in self._reader.connections]

    def messages(
        self, topics: Iterable[str], stop_ns: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Connection, time of recording [ns] and bytes of each message of these topics.

        Args:
            topics: none of them gives no message.
            stop_ns: only what was recorded before.

        Raises:
            BagError: the bag is damaged.
        """
        wanted = set(topics)
        connections = [c for c in self._reader.connections if c.topic in wanted]
        if connections:
            with readable(self.path):
                yield from self._reader.messages(connections, stop=stop_ns)

    def decode(self, connection: Connection, data: bytes) -> Any:
        """The message of its serialized bytes.

        Raises:
            Rejected: ("truncated") the bytes do not hold a message of the topic's type.
        """
        try:
            return self._reader.deserialize(data, connection.msgtype)
        # Damaged bytes make the decoder fail in any way: in struct, in a codec, by an index.
        except Exception as error:
            raise Rejected(
                "truncated", f"{connection.topic}: not a {connection.msgtype}: {error!r}"
            ) from error

    def first(self, topic: str) -> tuple[int, Any] | None:
        """Time of recording [ns] and content of a topic's first message that can be decoded."""
        for connection, log_ns, data in self.messages([topic]):
            try:
                return log_ns, self.decode(connection, data)
            except Rejected:
                continue
        return None


def storage_of(path: Path) -> Path:
    """The folder or file that a reader takes.

    Raises:
        BagError: there is nothing, or no rosbag2.
    """
    if not path.exists():
        raise BagError(
            f"{path} does not exist; expected a rosbag2 folder or its .mcap or .db3 file"
        )
    if path.is_dir() and not (path / "metadata.yaml").exists():
        files = sorted(item for item in path.iterdir() if item.suffix in SUFFIXES)
        if len(files) != 1:
            raise BagError(
                f"{path} is no rosbag2: it has no metadata.yaml; make one with "
                f"'ros2 bag reindex {path}', or give one of its files"
            )
        return files[0]
    if path.suffix == ".bag":
        raise BagError(
            f"{path} is a ROS 1 bag; convert it with: rosbags-convert --src {path} --dst FOLDER"
        )
    if path.is_file() and path.suffix not in SUFFIXES:
        raise BagError(f"{path} is no rosbag2; expected a folder, or a .mcap or .db3 file")
    return path


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever a damaged file makes its reader do into one clear error.

    Raises:
        BagError: the bag cannot be read.
    """
    try:
        yield
    # Readers of damaged files fail in any way: in struct, in a codec, in SQL, by an assertion.
    except Exception as error:
        raise BagError(
            f"{path} cannot be read as a rosbag2; it is cut short or damaged: "
            f"{str(error) or type(error).__name__}. If its recorder was killed, 'ros2 bag reindex' "
            "or 'mcap recover' may save what is there"
        ) from error
