"""Where the lidar, left to itself, takes something for an object: what a second look must doubt.

A classifier that only ever saw true boxes and empty places does not know walls and hedges, which
are what a detector errs on; so its own errors are looked for and shown (hard negatives, after
Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.data import DataLoader

from mm_fusion_ros.model.fusion_net import FusionNet
from mm_fusion_ros.perception.decode import Calibration, decode
from mm_fusion_ros.training.dataset import PLAIN, Batch, Needs, SceneDataset, collate

LEAST_PROBABILITY = 0.03
MOST_BOXES = 24
"""Of a scene, the most probable."""
BATCH = 8
NEEDS = Needs(images=False, grid=False, subsets=())
Boxes = NDArray[np.float32]


@torch.no_grad()
def mine(
    net: FusionNet, folder: Path, seeds: Sequence[int], workers: int = 1, device: str = "cpu"
) -> list[Boxes]:
    """What the lidar finds, right or wrong.

    Args:
        net: of which only the lidar's encoder and head are asked.
        folder: cached scenes.
        seeds: of the scenes.
        workers: processes that prepare.
        device: the network's.

    Returns:
        for each scene (m, 7) boxes in base_link, as in `Scene`; most probable first.
    """
    loader: DataLoader[Batch] = DataLoader(
        SceneDataset(folder, seeds, PLAIN, needs=NEEDS),  # type: ignore[arg-type]
        BATCH, num_workers=workers, collate_fn=collate,
    )  # fmt: skip
    net = net.to(device).eval()
    result = []
    for batch in track(loader, description="mining"):
        for answer in net.lidar_head(net.lidar(batch.raster.to(device))).cpu().numpy():
            found = decode(answer, Calibration(), LEAST_PROBABILITY, MOST_BOXES)
            result.append(found.boxes.astype(np.float32).reshape(-1, 7))
    return result


def save(boxes: Sequence[Boxes], path: Path) -> None:
    """Writes what `mine` found; the file is either whole or absent."""
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as stream:
        np.savez(stream, counts=[len(each) for each in boxes], boxes=np.concatenate(boxes))
    partial.replace(path)


def load(path: Path) -> list[Boxes]:
    """Reads what `save` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return np.split(data["boxes"], np.cumsum(data["counts"])[:-1])
