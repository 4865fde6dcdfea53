"""What runs a network: checked here once, so that a runtime only has to run.

The public methods check state, names, shapes and dtypes, then call the `_impl` that a runtime
overrides. Nothing of the runtime is touched before `activate`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Dimension = int | str | None
AnyBackend = TypeVar("AnyBackend", bound="Backend")


class BackendError(RuntimeError):
    """A network that cannot be loaded or run, or whose answer cannot be used."""


@dataclass(frozen=True)
class TensorSpec:
    """What a network takes or gives under one name.

    Attributes:
        shape: fixed sizes as numbers; a size that may vary as its name, or None. Sizes of one
            name must agree within a run.
        dtype: element type.
    """

    shape: tuple[Dimension, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype.name}({sizes})"


class Backend(ABC):
    """One network in one runtime: `activate`, then `infer` any number of times, `deactivate`."""

    def __init__(self, model_path: Path, threads: int = 1) -> None:
        """Remembers the file; loads nothing.

        Args:
            model_path: ONNX file.
            threads: threads of one run.

        Raises:
            BackendError: fewer than one thread.
        """
        if threads < 1:
            raise BackendError(f"threads = {threads}: expected 1 or more")
        self.model_path = Path(model_path)
        self.threads = threads
        self._inputs: Mapping[str, TensorSpec] = {}
        self._outputs: Mapping[str, TensorSpec] = {}
        self._active = False

    @property
    def name(self) -> str:
        """The network's name, for messages: its file's."""
        return self.model_path.name

    @property
    def active(self) -> bool:
        """Whether it can infer now."""
        return self._active

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What `infer` takes, by name.

        Raises:
            BackendError: not active.
        """
        self._require_active("inputs")
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What `infer` gives, by name.

        Raises:
            BackendError: not active.
        """
        self._require_active("outputs")
        return self._outputs

    def activate(self) -> None:
        """Loads the network into the runtime.

        Raises:
            BackendError: already active, file missing or unusable.
        """
        if self._active:
            raise BackendError(f"{self.name} is already active; deactivate() it first")
        if not self.model_path.is_file():
            raise BackendError(
                f"{self.model_path} is not there; export the network with `mm-fusion export`, "
                "or name another model folder in perception.model"
            )
        self._inputs, self._outputs = self._activate_impl()
        self._active = True

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the network once.

        Args:
            feeds: one array for each of `inputs`.

        Returns:
            One array for each of `outputs`, all finite.

        Raises:
            BackendError: not active; names, shapes or dtypes differ from `inputs`; the runtime
                failed; or an output holds NaN or infinity.
        """
        self._require_active("infer()")
        self._check_feeds(feeds)
        results = self._infer_impl(feeds)
        for name, array in results.items():
            if not all_finite(array):
                raise BackendError(
                    f"{self.name}: output {name!r} holds NaN or infinity and is refused; "
                    "check the inputs of this run for extreme values"
                )
        return results

    def deactivate(self) -> None:
        """Frees what `activate` took; a second call does nothing."""
        if self._active:
            self._active = False
            self._deactivate_impl()

    # Python 3.10 has no typing.Self.
    def __enter__(self: AnyBackend) -> AnyBackend:
        self.activate()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.deactivate()

    def _require_active(self, what: str) -> None:
        if not self._active:
            raise BackendError(f"{self.name} is not active: call activate() before {what}")

    def _check_feeds(self, feeds: Mapping[str, Array]) -> None:
        missing = sorted(self._inputs.keys() - feeds.keys())
        unknown = sorted(feeds.keys() - self._inputs.keys())
        if missing or unknown:
            raise BackendError(
                f"{self.name} takes {sorted(self._inputs)}; missing {missing}, unknown {unknown}"
            )
        named: dict[str, int] = {}
        for name, spec in self._inputs.items():
            array = feeds[name]
            if array.dtype != spec.dtype or not fits(array.shape, spec.shape, named):
                given = TensorSpec(array.shape, array.dtype)
                sizes = f" with {named}" if named else ""
                raise BackendError(
                    f"{self.name}: input {name!r} is {given}; expected {spec}{sizes}"
                )

    @abstractmethod
    def _activate_impl(self) -> tuple[Mapping[str, TensorSpec], Mapping[str, TensorSpec]]:
        """Loads the network and says what it takes and gives."""

    @abstractmethod
    def _infer_impl(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the network on feeds that were checked."""

    @abstractmethod
    def _deactivate_impl(self) -> None:
        """Frees what `_activate_impl` took."""


def fits(given: tuple[int, ...], expected: tuple[Dimension, ...], named: dict[str, int]) -> bool:
    """Whether a shape is allowed.

    Args:
        given: the array's shape.
        expected: the specification's shape.
        named: sizes already seen under each name; extended here.
    """
    if len(given) != len(expected):
        return False
    for size, wanted in zip(given, expected, strict=True):
        if isinstance(wanted, int) and size != wanted:
            return False
        if isinstance(wanted, str) and named.setdefault(wanted, size) != size:
            return False
    return True


def all_finite(array: Array) -> bool:
    """Whether an array of any dtype holds neither NaN nor infinity.

    A sum that is finite is one of finite numbers; one that is not may also have overflown, and then
    the extremes tell. No array of flags is allocated.
    """
    if array.size == 0 or array.dtype.kind not in "fc":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return True
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))
