"""One of the processes of test_processes.py: trains two steps, and writes what came of it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mm_fusion_ros.training.processes import Processes
from mm_fusion_ros.training.train import STAGES, TrainConfig, Trainer


def digest(tensors: Mapping[str, Tensor]) -> str:
    content = b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
    return hashlib.sha256(content).hexdigest()


def main(folder: Path) -> None:
    processes = Processes.joined("cpu")
    config = TrainConfig(
        scenes=4, batch=1, steps=dict.fromkeys(STAGES, 0) | {"lidar": 2}, workers=0
    )
    # They need not share a disk: each has an output folder of its own.
    out = folder / ("run" if processes.leads else "other")
    trainer = Trainer(config, folder / "scenes", out, "cpu", processes)
    before = digest(trainer.net.state_dict())
    samples = [batch.raster.sum().item() for batch in trainer._batches("lidar")]
    trainer.run(["lidar"])
    processes.wait()
    again = Trainer(config, folder / "scenes", out, "cpu", processes)
    again.resume()
    result = {
        "before": before,
        "samples": samples,
        "weights": digest(trainer.net.state_dict()),
        "average": digest(trainer.average),
        "resumed": again.done["lidar"],
    }
    (folder / f"{processes.rank}.json").write_text(json.dumps(result), encoding="utf-8")
    processes.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
