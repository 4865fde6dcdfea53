"""What every backend checks before and after its runtime runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mm_fusion_ros.inference.backend import (
    Array,
    Backend,
    BackendError,
    TensorSpec,
    all_finite,
    fits,
)

FLOAT = np.dtype(np.float32)


class Doubling(Backend):
    """Doubles `x`; a runtime that can do nothing else."""

    runs = 0

    def _activate_impl(self) -> tuple[Mapping[str, TensorSpec], Mapping[str, TensorSpec]]:
        return (
            {"x": TensorSpec(("n", 2), FLOAT), "w": TensorSpec(("n", None), FLOAT)},
            {"y": TensorSpec(("n", 2), FLOAT)},
        )

    def _infer_impl(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self.runs += 1
        return {"y": feeds["x"] * np.float32(2)}

    def _deactivate_impl(self) -> None:
        pass


def ones(*shape: int) -> Array:
    return np.ones(shape, dtype=np.float32)


@pytest.fixture
def doubling(tmp_path: Path) -> Doubling:
    path = tmp_path / "doubling.onnx"
    path.touch()
    return Doubling(path)


def test_nothing_is_known_or_run_before_activate(doubling: Doubling) -> None:
    with pytest.raises(BackendError, match="call activate"):
        doubling.infer({"x": ones(1, 2), "w": ones(1, 1)})
    with pytest.raises(BackendError, match="call activate"):
        _ = doubling.inputs
    with pytest.raises(BackendError, match="call activate"):
        _ = doubling.outputs


def test_a_second_activate_is_refused_and_a_second_deactivate_is_not(doubling: Doubling) -> None:
    doubling.activate()
    with pytest.raises(BackendError, match="already active"):
        doubling.activate()
    doubling.deactivate()
    doubling.deactivate()
    assert not doubling.active


def test_the_context_manager_leaves_it_inactive_after_an_error(doubling: Doubling) -> None:
    with pytest.raises(BackendError), doubling:
        doubling.infer({})
    assert not doubling.active


def test_missing_and_unknown_names_are_both_told(doubling: Doubling) -> None:
    with doubling, pytest.raises(BackendError, match=r"missing \['w'\], unknown \['v'\]"):
        doubling.infer({"x": ones(1, 2), "v": ones(1, 1)})
    assert doubling.runs == 0


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.ones((1, 2)), r"float64\(1, 2\); expected float32\(n, 2\)"),
        (ones(1, 3), r"float32\(1, 3\); expected float32\(n, 2\)"),
        (ones(2), r"float32\(2\); expected float32\(n, 2\)"),
    ],
)
def test_a_wrong_dtype_size_or_rank_is_refused_with_both_sides_named(
    doubling: Doubling, x: Array, said: str
) -> None:
    with doubling, pytest.raises(BackendError, match=said):
        doubling.infer({"x": x, "w": ones(1, 1)})
    assert doubling.runs == 0


def test_sizes_of_one_name_must_agree_and_an_unnamed_size_is_free(doubling: Doubling) -> None:
    with doubling:
        assert doubling.infer({"x": ones(3, 2), "w": ones(3, 7)})["y"].shape == (3, 2)
        with pytest.raises(BackendError, match=r"expected float32\(n, \?\) with \{'n': 3\}"):
            doubling.infer({"x": ones(3, 2), "w": ones(4, 7)})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_refused(doubling: Doubling, bad: float) -> None:
    x = ones(4, 2)
    x[2, 1] = bad
    with doubling, pytest.raises(BackendError, match="'y' holds NaN or infinity"):
        doubling.infer({"x": x, "w": ones(4, 1)})


def test_a_missing_file_and_no_thread_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="is not there"):
        Doubling(tmp_path / "absent.onnx").activate()
    with pytest.raises(BackendError, match="threads = 0"):
        Doubling(tmp_path / "absent.onnx", threads=0)


def test_shapes_fit_by_number_name_and_wildcard() -> None:
    named: dict[str, int] = {}
    assert fits((4, 5, 6), (4, "n", None), named)
    assert named == {"n": 5}
    assert not fits((4, 6, 6), (4, "n", None), named)
    assert not fits((3, 5, 6), (4, "n", None), named)
    assert not fits((4, 5), (4, "n", None), named)


def test_integers_and_empty_arrays_are_finite() -> None:
    assert all_finite(np.array([1, 2]))
    assert all_finite(np.zeros((0, 3), dtype=np.float32))
    # The largest float32 is finite although its square, or the sum of two, is not.
    assert all_finite(np.full(2, np.finfo(np.float32).max, dtype=np.float32))
