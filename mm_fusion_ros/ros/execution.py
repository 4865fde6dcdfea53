"""How a node's process runs: its executor, and its end within two seconds of a signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

LONGEST_WAIT_S = 0.5


def executor_of(choice: str, context: Context | None = None) -> Executor:
    """The executor by name; `auto` takes the events executor where there is one."""
    if choice != "single":
        try:
            from rclpy.experimental import EventsExecutor
        except ImportError:
            if choice == "events":
                raise
        else:
            return EventsExecutor(context=context)
    return SingleThreadedExecutor(context=context)


def spin(node: Node, executor: Executor) -> None:
    """Runs a node until its context ends: by SIGINT, by SIGTERM or by a call."""
    executor.add_node(node)
    try:
        # Not `spin()`: the events executor waits there until the end of time, which where the
        # library was built without a steady condition variable overflows into a busy loop.
        while node.context.ok():
            executor.spin_once(LONGEST_WAIT_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A callback that was under way when the context ended finds its publishers invalid.
        if node.context.ok():
            raise


def run_node(make: Callable[[], Any], args: Sequence[str] | None, choice: str = "") -> None:
    """The main function of a process with one node.

    Args:
        make: builds the node, which has a `close` that ends its threads.
        args: command line; None takes the process's.
        choice: the executor by name; empty takes the node's parameter `executor`.
    """
    rclpy.init(args=None if args is None else list(args))
    node = make()
    executor = executor_of(choice or str(node.get_parameter("executor").value))
    try:
        spin(node, executor)
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
