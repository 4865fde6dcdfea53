"""What tests of nodes talk with: a client that publishes and listens, and a node that spins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from mm_fusion_ros.ros import qos
from mm_fusion_ros.ros.execution import executor_of, spin


class Client:
    """A node that publishes and listens, in a thread of its own."""

    def __init__(self, context: Context) -> None:
        self.node = Node("client", context=context)
        self.heard: dict[str, list[Any]] = {}
        self._changed = threading.Condition()
        self._executor = SingleThreadedExecutor(context=context)
        self._thread = threading.Thread(target=spin, args=(self.node, self._executor), daemon=True)
        self._thread.start()

    def listen(self, topic: str, kind: type, profile: QoSProfile | None = None) -> None:
        """Keeps what comes on a topic."""
        self.heard[topic] = []

        def callback(message: Any) -> None:
            with self._changed:
                self.heard[topic].append(message)
                self._changed.notify_all()

        self.node.create_subscription(kind, topic, callback, profile or qos.reliable(50))

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Waits until something heard makes the condition true."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def wait_for(self, topic: str, count: int = 1, seconds: float = 10.0) -> list[Any]:
        """Waits for so many messages on a topic."""
        assert self.wait(lambda: len(self.heard[topic]) >= count, seconds), (
            f"{len(self.heard[topic])} of {count} messages on {topic} within {seconds} s"
        )
        return self.heard[topic]

    def until(
        self, condition: Callable[[], bool], send: Callable[[], None], seconds: float = 20.0
    ) -> None:
        """Sends again and again, as drivers do, until something heard makes the condition true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not heard within {seconds} s"
            send()
            self.wait(condition, 0.05)

    def publisher(self, topic: str, kind: type, profile: QoSProfile | None = None) -> Any:
        """A publisher that someone listens to already."""
        publisher = self.node.create_publisher(kind, topic, profile or qos.reliable(50))
        deadline = time.monotonic() + 10.0
        while publisher.get_subscription_count() == 0:
            assert time.monotonic() < deadline, f"nobody listens on {topic}"
            time.sleep(0.01)  # discovery has no event for the publisher's side
        return publisher

    def close(self) -> None:
        """Ends the thread; the context is shut down already."""
        self._thread.join(2.0)
        self._executor.shutdown()
        self.node.destroy_node()


class Running:
    """A node that spins in a thread until it is closed."""

    def __init__(self, node: Any, context: Context, choice: str = "auto") -> None:
        self.node = node
        self._executor = executor_of(choice, context)
        self._thread = threading.Thread(target=spin, args=(node, self._executor), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends node and thread."""
        self.node.close()
        self._thread.join(2.0)
        self._executor.shutdown()
        self.node.destroy_node()
