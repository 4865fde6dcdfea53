"""Masked fusion: weights by variance, and nothing but its own answer from a modality alone."""

from __future__ import annotations

import pytest
import torch

from mm_fusion_ros.model.fusion.masked import LOG_VARIANCE, WHAT, WHERE, MaskedFusion
from mm_fusion_ros.perception import maps

CELLS = 16


def inputs(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    shape = (2, maps.PACKED, CELLS, CELLS)
    return {
        "camera": torch.randn(2, 6, CELLS, CELLS),
        "lidar": torch.randn(2, 10, CELLS, CELLS),
        "trust": torch.ones(2, 2, CELLS, CELLS),
        "by_camera": torch.randn(shape),
        "by_lidar": torch.randn(shape),
    }


def trained(seed: int = 1) -> MaskedFusion:
    """With weights that do something."""
    torch.manual_seed(seed)
    fusion = MaskedFusion(6, 10, 96)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return fusion


@pytest.mark.parametrize("alone", [0, 1])
def test_a_modality_alone_gives_exactly_its_own_answer(alone: int) -> None:
    given = inputs()
    given["trust"][:, 1 - alone] = 0.0
    with torch.no_grad():
        output, share = trained()(**given)
    assert torch.equal(output, given["by_camera" if alone == 0 else "by_lidar"])
    assert (share[:, alone] == 1.0).all() and (share[:, 1 - alone] == 0.0).all()


def test_what_is_absent_changes_nothing() -> None:
    given, fusion = inputs(), trained()
    given["trust"][:, 0] = 0.0
    with torch.no_grad():
        one, _ = fusion(**given)
        other, _ = fusion(**given | {"camera": torch.randn(2, 6, CELLS, CELLS)})
    assert torch.equal(one, other)


def test_where_nothing_is_present_nothing_is_said() -> None:
    given = inputs()
    given["trust"][:] = 0.0
    with torch.no_grad():
        output, share = trained()(**given)
    classes = maps.packed(maps.CLASS)
    assert (output[:, classes] == maps.UNSEEN).all() and not output[:, classes.stop :].any()
    assert not share.any()


def test_untrained_it_is_the_mean_by_inverse_variance() -> None:
    given = inputs()
    log_variance = {"by_camera": 1.0, "by_lidar": -1.0}
    for name, value in log_variance.items():
        given[name][:, LOG_VARIANCE] = value
    fusion = MaskedFusion(6, 10, 96)
    with torch.no_grad():
        fusion.answer.head.output.weight.zero_()
        output, share = fusion(**given)
    # Variances e and 1 / e: the camera weighs (1 / e) / (1 / e + e) = 0.1192.
    weight = 1.0 / (1.0 + torch.e**2)
    assert share[:, 0].numpy() == pytest.approx(weight, abs=1e-5)
    mean = weight * given["by_camera"] + (1.0 - weight) * given["by_lidar"]
    assert torch.allclose(output, mean, atol=1e-5)


def test_what_and_where_make_up_all_channels() -> None:
    assert WHAT.start == 0 and WHAT.stop == WHERE.start and WHERE.stop == maps.PACKED


def test_shares_sum_to_one_wherever_anything_is_present() -> None:
    given = inputs()
    given["trust"] = (torch.rand(2, 2, CELLS, CELLS) > 0.4).float()
    with torch.no_grad():
        _, share = trained()(**given)
    anything = given["trust"].amax(dim=1)
    assert torch.allclose(share.sum(dim=1), anything, atol=1e-6)
