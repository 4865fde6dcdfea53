"""Real DDS in a domain of its own for each test: a context, a client, and nodes that spin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rclpy.context import Context
from ros_client import Client, Running
from scripted_pipeline import Script


@pytest.fixture
def context(ros_domain: int) -> Iterator[Context]:
    """A context in this test's domain."""
    context = Context()
    context.init(args=[], domain_id=ros_domain)
    yield context
    context.try_shutdown()


@pytest.fixture
def client(context: Context) -> Iterator[Client]:
    """A client in this test's domain."""
    client = Client(context)
    yield client
    context.try_shutdown()
    client.close()


@pytest.fixture
def run(context: Context) -> Iterator[Callable[..., Running]]:
    """Spins nodes, and ends them after the test."""
    running: list[Running] = []

    def start(node: Any, choice: str = "auto") -> Running:
        running.append(Running(node, context, choice))
        return running[-1]

    yield start
    context.try_shutdown()
    for each in running:
        each.close()


@pytest.fixture
def scripted() -> Callable[..., Any]:
    """For `FusionNode(make_pipeline=scripted)`; the pipeline made last is its `pipeline`."""
    return Script()
