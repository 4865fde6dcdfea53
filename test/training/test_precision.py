"""Networks may run in bfloat16; losses never do."""

from __future__ import annotations

import pytest
import torch

from mm_fusion_ros.model.blocks import convolution
from mm_fusion_ros.perception import maps
from mm_fusion_ros.training.losses import TargetBatch, detection_loss
from mm_fusion_ros.training.precision import mixed, multiplies_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "rounds"),
    [("float32", False), ("bfloat16", True), ("auto", multiplies_bfloat16(CPU))],
)
def test_convolutions_run_as_asked(precision: str, rounds: bool) -> None:
    with mixed(precision, CPU):
        said = convolution(4, 4)(torch.randn(1, 4, 8, 8))
    assert said.dtype is (torch.bfloat16 if rounds else torch.float32)


def test_losses_of_rounded_answers_are_worked_out_in_float32() -> None:
    torch.manual_seed(0)
    heat = torch.zeros(1, 8, 128, 128)
    heat[0, 2, 40, 50] = 1.0
    weight = heat[:, 2].clone()
    targets = TargetBatch(heat, torch.ones_like(weight), weight, torch.randn(1, 8, 128, 128))
    said = torch.randn(1, maps.PACKED, 64, 64)
    with mixed("bfloat16", CPU):
        rounded = detection_loss(said.bfloat16(), targets)["total"]
    exact = detection_loss(said.bfloat16().float(), targets)["total"]
    assert rounded.dtype is torch.float32
    assert float(rounded) == pytest.approx(float(exact), rel=1e-6)
