"""The fusion node's parameters: declared once, from the configuration's dataclasses.

A value that cannot be used never ends the process. At start it is remembered, and configuring
fails with it; live it is refused. Either way the message names field, value and range, and nothing
of the change is applied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from mm_fusion_ros import config as configuration
from mm_fusion_ros.config import ConfigError, FusionConfig, param

T = TypeVar("T")


@dataclass(frozen=True)
class NodeConfig:
    """What only the node needs: frames, transport, and the watchdog."""

    autostart: bool = param(True, "configure and activate without a lifecycle manager")
    executor: str = param(
        "auto", "how callbacks are run; auto takes events where there is one",
        choices=("auto", "events", "single"),
    )  # fmt: skip
    base_frame: str = param("base_link", "frame of the objects, and of the sensors' mounting")
    map_frame: str = param("map", "frame of targets and of the fused pose")
    odom_frame: str = param("odom", "frame in which odometry comes")
    publish_tf: bool = param(True, "broadcast the transform from map to odom")
    image_transport: str = param("raw", "how images come", choices=("raw", "compressed"))
    queue_depth: int = param(
        4, "images or clouds of one source kept for the worker", low=1, high=1000
    )
    transform_patience_ms: float = param(
        200.0, "how long a message waits for its transform or CameraInfo", low=0.0, high=10_000.0,
        unit="ms",
    )  # fmt: skip
    watchdog_s: float = param(
        1.0, "steady time without an answer after which the target is withdrawn", low=0.1,
        high=60.0, unit="s",
    )  # fmt: skip


def descriptor_of(entry: Any, value: Any, *, read_only: bool = False) -> ParameterDescriptor:
    """What ROS tools show of a parameter, from a dataclass field made by `config.param`."""
    facts = entry.metadata
    unit = f" [{facts['unit']}]" if facts.get("unit") else ""
    descriptor = ParameterDescriptor(
        description=facts.get("description", "") + unit, read_only=read_only
    )
    if facts.get("choices"):
        descriptor.additional_constraints = "one of: " + ", ".join(facts["choices"])
    low, high = facts.get("low"), facts.get("high")
    if low is not None and isinstance(value, int):
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    elif low is not None:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high))
        ]
    return descriptor


def declared(node: Node, kind: type[T]) -> T:
    """Declares a dataclass's fields as read-only parameters and gives their values.

    Raises:
        ConfigError: one is out of range, of the wrong type, or none of the choices.
    """
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(kind):  # type: ignore[arg-type]
        descriptor = descriptor_of(entry, entry.default, read_only=True)
        try:
            given = node.declare_parameter(entry.name, entry.default, descriptor).value
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            raise ConfigError(f"{error}; {allowed(entry)}") from error
        values[entry.name] = configuration.checked_value(
            entry.name, entry, type(entry.default), given
        )
    return kind(**values)


def allowed(entry: Any) -> str:
    """What a field takes, for a message."""
    facts = entry.metadata
    if facts.get("choices"):
        return "allowed are " + ", ".join(facts["choices"])
    if facts.get("low") is not None:
        return f"allowed is {facts['low']} to {facts['high']} {facts.get('unit', '')}".rstrip()
    return f"expected {entry.type}"


class Parameters:
    """Declares every parameter of a node, and gives the checked configuration.

    The file named by the parameter `config` sets the defaults (and the list of sources, which has
    no ROS parameters); parameters given to the node go over it.

    Args:
        node: parameters are declared on it in this call; nothing is raised for a bad one.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.problems: dict[str, str] = {}
        self.locked = False
        node.declare_parameter(
            "config", "", ParameterDescriptor(
                description="YAML file with the sections of the configuration", read_only=True
            ),
        )  # fmt: skip
        self._base = self._load(str(node.get_parameter("config").value))
        self._entries: dict[str, Any] = {}
        for entry in dataclasses.fields(NodeConfig):
            self._declare(entry.name, entry.default, entry, read_only=True)
        for name, value, entry in configuration.parameters(self._base):
            self._declare(name, value, entry)
        node.add_on_set_parameters_callback(self._on_set)

    def node_config(self) -> NodeConfig:
        """The parameters that only the node needs."""
        return NodeConfig(**{
            entry.name: self._node.get_parameter(entry.name).value
            for entry in dataclasses.fields(NodeConfig)
        })  # fmt: skip

    def fusion_config(self) -> FusionConfig:
        """The configuration as file and parameters say.

        Raises:
            ConfigError: something given at start, in the file or as a parameter, cannot be used.
        """
        if self.problems:
            raise ConfigError("; ".join(self.problems.values()))
        return self._built({})

    def _load(self, path: str) -> FusionConfig:
        if not path:
            return FusionConfig()
        try:
            return configuration.load(path)
        except (ConfigError, OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            self.problems["config"] = f"config = {path!r}: {error}; mend the file and start again"
            return FusionConfig()

    def _declare(self, name: str, value: Any, entry: Any, *, read_only: bool = False) -> None:
        self._entries[name] = entry
        descriptor = descriptor_of(entry, value, read_only=read_only)
        try:
            given = self._node.declare_parameter(name, value, descriptor).value
            kind = type(value)
            configuration.checked_value(name, entry, kind, given)
        except ConfigError as error:
            self.problems[name] = str(error)
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            self.problems[name] = f"{name}: {error}; {allowed(entry)}"
            self._node.declare_parameter(name, value, descriptor, ignore_override=True)

    def _built(self, changed: dict[str, Any]) -> FusionConfig:
        """The configuration with some parameters changed, checked as a whole."""
        sections: dict[str, dict[str, Any]] = {}
        for name, _, _ in configuration.parameters(self._base):
            section, field_name = name.split(".")
            value = changed.get(name, self._node.get_parameter(name).value)
            sections.setdefault(section, {})[field_name] = value
        sources = [dataclasses.asdict(source) for source in self._base.sources]
        return configuration.from_dict({**sections, "sources": sources})

    def _on_set(self, changes: Sequence[Parameter]) -> SetParametersResult:
        """All changes together, or none of them."""
        changed = {change.name: change.value for change in changes if change.name in self._entries}
        if not changed:
            return SetParametersResult(successful=True)
        if self.locked:
            names = ", ".join(f"{name} = {value!r}" for name, value in changed.items())
            return SetParametersResult(
                successful=False,
                reason=f"{names}: read when the node is configured; clean it up first",
            )
        try:
            self._built(changed)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in changed:
            self.problems.pop(name, None)
        return SetParametersResult(successful=True)
