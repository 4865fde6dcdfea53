"""How a node's process runs: its executor, and its end within two seconds of a signal."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from mm_fusion_ros.allocation import keep_freed_memory

LONGEST_WAIT_S = 0.5
KEPT_BYTES = 64 << 20
"""Freed memory that a node keeps for its next message: about what one tick needs."""
SWITCH_S = 0.0005
"""How long a thread whose answer is there waits for the interpreter; ten times that by default."""
# Set in the environment of a child process, it ends the child with its parent.
END_WITH_PARENT = "MM_FUSION_END_WITH_PARENT"
PR_SET_PDEATHSIG = 1


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
        make: builds the node, which has a `close` that ends its threads; where it has a `failed`
            that is true in the end, so is the process.
        args: command line; None takes the process's.
        choice: the executor by name; empty takes the node's parameter `executor`.
    """
    keep_freed_memory(KEPT_BYTES)
    sys.setswitchinterval(SWITCH_S)
    if os.environ.get(END_WITH_PARENT) and sys.platform.startswith("linux"):
        # Even when the parent is killed and cannot end its children itself.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
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
    if getattr(node, "failed", False):
        sys.exit(1)
