"""Where a processor multiplies bfloat16 faster than float32, training lets it.

Weights, their averages and all losses stay float32; convolutions and matrix products are rounded
(mixed precision, Micikevicius et al., 2018; bfloat16 needs no scaling of the loss).
"""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has units of its own for it: AMX of a CPU, tensor cores of a GPU."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def mixed(precision: str, device: torch.device) -> torch.autocast:
    """A context in which networks run in that precision.

    Args:
        precision: of `PRECISIONS`; "auto" is bfloat16 where that is faster.
        device: where they run.
    """
    rounds = precision == "bfloat16" or (precision == "auto" and multiplies_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=rounds)
