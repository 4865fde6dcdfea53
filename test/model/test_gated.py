"""Gated fusion: trust above inverse variance, and the way back to one modality alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mm_fusion_ros.model.fusion.gated import BOX, CLASS, LOG_VARIANCE, GatedFusion
from mm_fusion_ros.perception import maps

CELLS = 16


def inputs(camera_sigma: float = 1.0, lidar_sigma: float = 1.0) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    given = {
        "camera": torch.randn(1, 6, CELLS, CELLS),
        "lidar": torch.randn(1, 10, CELLS, CELLS),
        "trust": torch.ones(1, 2, CELLS, CELLS),
        "by_camera": torch.randn(1, maps.PACKED, CELLS, CELLS),
        "by_lidar": torch.randn(1, maps.PACKED, CELLS, CELLS),
    }
    given["by_camera"][:, LOG_VARIANCE] = 2.0 * np.log(camera_sigma)
    given["by_lidar"][:, LOG_VARIANCE] = 2.0 * np.log(lidar_sigma)
    return given


def fusion(trained: bool) -> GatedFusion:
    """As it begins but for nothing added, or with weights that do something."""
    torch.manual_seed(1)
    gated = GatedFusion(6, 10, 96)
    with torch.no_grad():
        if trained:
            for parameter in gated.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        else:
            gated.answer.head.output.weight.zero_()
    return gated


def run(gated: GatedFusion, given: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        output, share = gated(**given)
    return output, share


@pytest.mark.parametrize("alone", [0, 1])
@pytest.mark.parametrize("trust", [1.0, 0.2])
def test_a_modality_alone_gives_exactly_its_own_answer(alone: int, trust: float) -> None:
    given = inputs()
    given["trust"][:, alone] = trust
    given["trust"][:, 1 - alone] = 0.0
    output, share = run(fusion(trained=True), given)
    assert torch.equal(output, given["by_camera" if alone == 0 else "by_lidar"])
    assert (share[:, alone] == 1.0).all() and (share[:, 1 - alone] == 0.0).all()


def test_untrained_it_is_the_inverse_variance_mean() -> None:
    given = inputs(camera_sigma=1.0, lidar_sigma=0.5)
    output, share = run(fusion(trained=False), given)
    # Precisions 1 and 4: the lidar's weight is 4 / 5, and the fused variance 1 / 5.
    assert share[0, 1].numpy() == pytest.approx(0.8, abs=1e-4)
    for part in (CLASS, BOX):
        expected = 0.2 * given["by_camera"][:, part] + 0.8 * given["by_lidar"][:, part]
        assert torch.allclose(output[:, part], expected, atol=1e-4)
    assert output[:, LOG_VARIANCE].numpy() == pytest.approx(np.log(0.2), abs=1e-4)


def test_what_is_trusted_less_has_less_of_a_share_and_is_believed_less() -> None:
    shares, variances = [], []
    for trust in (1.0, 0.5, 0.1, 0.02):
        given = inputs()
        given["trust"][:, 0] = trust
        output, share = run(fusion(trained=False), given)
        shares.append(float(share[0, 0].mean()))
        variances.append(float(output[:, LOG_VARIANCE].mean()))
    # Of equal variances: trust / (trust + 1).
    assert shares == pytest.approx([t / (t + 1.0) for t in (1.0, 0.5, 0.1, 0.02)], abs=1e-3)
    assert variances == sorted(variances)


def test_what_both_add_counts_as_far_as_the_less_trusted_deserves() -> None:
    gated = fusion(trained=True)
    shifts = []
    for trust in (1.0, 0.3, 0.01):
        given = inputs(camera_sigma=0.05, lidar_sigma=0.05)
        given["by_camera"] = given["by_lidar"].clone()
        given["trust"][:, 0] = trust
        output, _ = run(gated, given)
        shifts.append(float((output - given["by_lidar"])[:, BOX].abs().mean()))
    assert shifts[0] > shifts[1] > shifts[2]


def test_where_fusion_is_less_certain_the_better_modality_stands() -> None:
    gated, given = fusion(trained=False), inputs(camera_sigma=1.0, lidar_sigma=0.3)
    with torch.no_grad():
        # Both together make the place uncertain, as where they contradict each other.
        bias = gated.answer.head.output.bias
        assert bias is not None
        bias[LOG_VARIANCE] = 20.0
    output, share = run(gated, given)
    assert torch.equal(output, given["by_lidar"])
    assert (share[:, 1] == 1.0).all()
    # A lidar that is hardly trusted is no way back.
    given["trust"][:, 1] = 0.08
    output, share = run(gated, given)
    assert torch.equal(output, given["by_camera"])


def test_nothing_is_said_where_nobody_looks() -> None:
    given = inputs()
    given["trust"][:] = 0.0
    output, share = run(fusion(trained=True), given)
    assert (torch.sigmoid(output[:, CLASS]) < 1e-4).all()
    assert not share.any()
