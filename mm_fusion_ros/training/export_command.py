"""`mm-fusion export`: checkpoint -> ONNX graphs, calibrated, in a model folder with a manifest."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from mm_fusion_ros.training import cache


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/train/checkpoint.pt"))
    parser.add_argument("--out", type=Path, default=Path("runs/model"), help="model folder")
    parser.add_argument("--validation", type=int, default=300, help="scenes to calibrate on")
    parser.add_argument("--cache", type=Path, default=Path("runs/scenes"), help="training scenes")
    parser.add_argument("--familiar", type=int, default=800, help="of those, what is familiar")
    parser.add_argument("--version", default="0.1.0", help="version of these weights")
    parser.add_argument(
        "--late", action="store_true",
        help="without the fusion on the grid: what camera and lidar find is matched and combined",
    )  # fmt: skip
    parser.add_argument(
        "--untrained", action="store_true", help="random weights, to try the plumbing"
    )


def commit() -> str:
    """The commit of the code that exports; "unknown" outside a repository."""
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True, text=True, cwd=Path(__file__).parent, check=False,
    )  # fmt: skip
    return answer.stdout.strip() or "unknown"


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    import torch

    from mm_fusion_ros.inference.model_folder import write_manifest
    from mm_fusion_ros.model.export import export
    from mm_fusion_ros.model.fusion_net import DEFAULT, FusionNet
    from mm_fusion_ros.training import weights
    from mm_fusion_ros.training.calibrate import calibrate
    from mm_fusion_ros.training.familiar import fit_densities

    command = " ".join(["mm-fusion", *sys.argv[1:]])
    provenance: dict[str, Any] = {"commit": commit(), "command": command}
    strategy, densities = DEFAULT, None
    average: dict[str, torch.Tensor] = {}
    training: dict[str, Any] = {}
    if args.untrained:
        torch.manual_seed(0)
        net = FusionNet(strategy)
        provenance |= {"training": "none: random weights"}
    else:
        average, training = weights.load(args.checkpoint)
        strategy = training["config"].get("strategy", DEFAULT)
        net = FusionNet(strategy)
        net.load_state_dict(average)
        provenance |= {"training": training}
        cache.fill(args.cache, range(args.familiar), processes=2)
        densities = fit_densities(net.eval(), args.cache, range(args.familiar))
        provenance |= {"familiar": {"scenes": args.familiar}}
    files = [path.name for path in export(net, args.out, densities, late=args.late)]
    if not args.untrained:
        weights.save(average, training, args.out / weights.FILE)
        files.append(weights.FILE)
    fields = {
        "name": f"mm_fusion {'late' if args.late else strategy}",
        "version": args.version,
        "files": files,
        "inputs": {"image": "288x384 RGB uint8", "points": "base_link, 80 m square"}
        | ({"fusion": "late"} if args.late else {}),
    }
    write_manifest(args.out, **fields, provenance=provenance, calibration={})
    if not args.untrained:
        seeds = list(cache.VALIDATION_SEEDS[: args.validation])
        calibration, figures = calibrate(args.out, seeds)
        provenance |= {"validation": {"scenes": len(seeds), **figures}}
        write_manifest(args.out, **fields, provenance=provenance, calibration=calibration)
    print(f"model folder: {args.out}")
    return 0
