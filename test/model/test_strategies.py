"""Every fusion strategy: any subset, any cell, and as ONNX."""

from __future__ import annotations

import io

import numpy as np
import onnxruntime
import pytest
import torch

from mm_fusion_ros.model.export import OPSET, bake
from mm_fusion_ros.model.fusion.tensor import OuterProduct
from mm_fusion_ros.model.fusion_net import STRATEGIES
from mm_fusion_ros.perception import maps
from mm_fusion_ros.perception.grid import FEATURE_CELLS, RASTER

CELLS = 16
NAMES = ("camera", "lidar", "trust", "by_camera", "by_lidar")


def inputs(name: str, batch: int = 1) -> list[torch.Tensor]:
    torch.manual_seed(0)
    shape = (batch, maps.PACKED, CELLS, CELLS)
    cells = CELLS * (RASTER // FEATURE_CELLS if STRATEGIES[name].reads_points else 1)
    return [
        torch.randn(batch, 6, cells, cells), torch.randn(batch, 10, cells, cells),
        torch.ones(batch, 2, CELLS, CELLS), torch.randn(shape), torch.randn(shape),
    ]  # fmt: skip


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("present", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_every_subset_gives_an_answer_that_what_is_missing_does_not_touch(
    name: str, present: tuple[int, int]
) -> None:
    given = inputs(name)
    given[2] = given[2] * torch.tensor(present, dtype=torch.float32).reshape(1, 2, 1, 1)
    strategy = STRATEGIES[name](6, 10, 96)
    with torch.no_grad():
        output, share = strategy(*given)
        for index, there in enumerate(present):
            if not there:
                given[index] = torch.randn_like(given[index])
        again, _ = strategy(*given)
    assert output.shape == (1, maps.PACKED, CELLS, CELLS) and share.shape == (1, 2, CELLS, CELLS)
    assert torch.equal(output, again)
    for index, there in enumerate(present):
        assert there or not share[:, index].any()
    expected = float(any(present))
    assert share.sum(dim=1).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_is_missing_in_some_cells_has_no_share_there(name: str) -> None:
    given = inputs(name)
    given[2] = (torch.rand(1, 2, CELLS, CELLS) > 0.4).float()
    with torch.no_grad():
        output, share = STRATEGIES[name](6, 10, 96)(*given)
    assert torch.isfinite(output).all()
    assert not share[given[2] == 0.0].any()
    assert torch.allclose(share.sum(dim=1), given[2].amax(dim=1), atol=1e-5)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_learns_from_both(name: str) -> None:
    given = inputs(name, 2)
    strategy = STRATEGIES[name](6, 10, 96)
    for tensor in given[:2]:
        tensor.requires_grad_(True)
    strategy(*given)[0].square().mean().backward()
    for tensor in given[:2]:
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0.0


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_exported(name: str) -> None:
    given, strategy = inputs(name), STRATEGIES[name](6, 10, 96).eval()
    stream = io.BytesIO()
    torch.onnx.export(
        bake(strategy), tuple(given), stream, input_names=list(NAMES),
        output_names=["output", "share"], opset_version=OPSET, dynamo=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(stream.getvalue(), providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    feeds = {n: t.numpy() for n, t in zip(NAMES, given, strict=True) if n in wanted}
    output, share = session.run(["output", "share"], feeds)
    with torch.no_grad():
        expected = strategy(*given)
    assert output == pytest.approx(expected[0].numpy(), abs=2e-3)
    assert share == pytest.approx(expected[1].numpy(), abs=1e-4)


def test_low_rank_factors_are_the_full_outer_product_in_disguise() -> None:
    """With as many dimensions as the input, and identities before the core, they are the same."""
    torch.manual_seed(1)
    full, low = OuterProduct(3, 4, 5, rank=None), OuterProduct(3, 4, 5, rank=4)
    assert isinstance(low.x, torch.nn.Conv2d) and isinstance(low.y, torch.nn.Conv2d)
    with torch.no_grad():
        for layer, size in ((low.x, 3), (low.y, 4)):
            layer.weight.zero_()
            assert layer.bias is not None
            layer.bias.zero_()
            layer.weight[:size, :size, 0, 0] = torch.eye(size)
        # The core's rows for the fourth dimension of x, which is always 0, do not matter.
        core = torch.randn(5, 5, 5)
        low.core.weight.copy_(core.reshape(5, 25, 1, 1))
        full.core.weight.copy_(core[:, :4].reshape(5, 20, 1, 1))
        assert full.core.bias is not None and low.core.bias is not None
        full.core.bias.copy_(low.core.bias)
        x, y = torch.randn(2, 3, 2, 2), torch.randn(2, 4, 2, 2)
        assert torch.allclose(low(x, y), full(x, y), atol=1e-5)


def test_the_outer_product_holds_every_product() -> None:
    product = OuterProduct(2, 2, 9, rank=None)
    with torch.no_grad():
        product.core.weight.copy_(torch.eye(9).reshape(9, 9, 1, 1))
        assert product.core.bias is not None
        product.core.bias.zero_()
        x = torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1)
        y = torch.tensor([5.0, 7.0]).reshape(1, 2, 1, 1)
        got = product(x, y).flatten().numpy()
    assert got == pytest.approx(np.outer([1, 2, 3], [1, 5, 7]).ravel())
