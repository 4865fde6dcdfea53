"""One parameter: its description, unit and range, and the check that a value keeps to them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import field
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A parameter that cannot be used: names the field, the value and what is allowed."""


def param(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
) -> Any:
    """A dataclass field with its description, closed range or choices, and unit."""
    return field(
        default=default,
        metadata={
            "description": description,
            "low": low,
            "high": high,
            "choices": choices,
            "unit": unit,
        },
    )


def build(kind: type[T], content: Mapping[str, Any], where: str) -> T:
    """One section from a dictionary.

    Raises:
        ConfigError: unknown field, wrong type, or value out of range.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where}: expected fields, got {type(content).__name__}")
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in content:
        if name not in known:
            raise ConfigError(f"{where}: unknown field {name!r}; known: {', '.join(known)}")
    hints = typing.get_type_hints(kind)
    values = {
        name: checked_value(f"{where}.{name}", known[name], hints[name], value)
        for name, value in content.items()
    }
    return kind(**values)


def checked_value(where: str, entry: Any, kind: type, value: Any) -> Any:
    """The value as its field's type, if it is allowed.

    Args:
        where: dotted name for the message.
        entry: the dataclass field, made by `param`.
        kind: the field's type.
        value: what was given.

    Raises:
        ConfigError: wrong type, out of range, or none of the choices.
    """
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(
            f"{where} = {value!r}: expected {kind.__name__}, got {type(value).__name__}"
        )
    low, high = entry.metadata.get("low"), entry.metadata.get("high")
    choices = entry.metadata.get("choices", ())
    if choices and value not in choices:
        raise ConfigError(f"{where} = {value!r}: allowed are {', '.join(choices)}")
    # The comparison is written so that NaN fails it.
    if low is not None and not (low <= value <= high):
        unit = entry.metadata.get("unit", "")
        raise ConfigError(f"{where} = {value!r}: allowed is {low} to {high} {unit}".rstrip())
    return value
