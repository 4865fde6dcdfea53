"""`mm-fusion train`: generate scenes, train the stages, resume where it was cut off."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.model.fusion_net import STRATEGIES
from mm_fusion_ros.training import cache, pretraining
from mm_fusion_ros.training.precision import PRECISIONS
from mm_fusion_ros.training.processes import Processes, leave_cores
from mm_fusion_ros.training.train import STAGES, TrainConfig, Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    default = TrainConfig()
    parser.add_argument("--out", type=Path, default=Path("runs/train"), help="checkpoint and log")
    parser.add_argument("--cache", type=Path, default=Path("runs/scenes"), help="generated scenes")
    parser.add_argument("--scenes", type=int, default=default.scenes, help="training scenes")
    parser.add_argument("--validation", type=int, default=400, help="validation scenes")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument(
        "--strategy", choices=STRATEGIES, default=default.strategy, help="how modalities are fused"
    )
    parser.add_argument("--batch", type=int, default=default.batch)
    parser.add_argument("--workers", type=int, default=default.workers, help="loader processes")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=default.precision,
        help="of products; auto is bfloat16 where the processor has units for it",
    )  # fmt: skip
    parser.add_argument(
        "--steps", default="", metavar="STAGE=N,...",
        help=f"steps of each stage; default {default.steps}",
    )  # fmt: skip
    parser.add_argument(
        "--faults", type=float, default=1.0, metavar="FACTOR",
        help=f"times the share of samples that faults strike, {default.faults}; 0 for none",
    )  # fmt: skip
    parser.add_argument(
        "--contrast-gain", nargs="+", choices=pretraining.LEARNS, default=[], metavar="SENSOR",
        help="instead: measure on validation scenes what pretraining by contrast gains for these "
        "specialists at 1, 10 and 100 %% of the labels, by --validation scenes; steps by default "
        f"{pretraining.Budget().steps(*STAGES)}",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=float, default=default.labels, metavar="SHARE",
        help="of the scenes, whose labels may be read; the stage `contrast` reads none",
    )  # fmt: skip
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=list(STAGES), help="stages to run"
    )
    parser.add_argument(
        "--start",
        default="",
        metavar="WEIGHTS",
        help="take over what fits of a checkpoint, of a model folder, or of what ships (`default`)",
    )
    parser.add_argument("--only-generate", action="store_true", help="fill the cache and stop")
    parser.add_argument("--processes", type=int, default=2, help="processes that generate")


def steps_of(text: str, default: dict[str, int]) -> dict[str, int]:
    """Parses "lidar=100,camera=200".

    Raises:
        ValueError: an unknown stage or something that is no number.
    """
    steps = dict(default)
    for part in filter(None, text.split(",")):
        stage, _, number = part.partition("=")
        if stage not in STAGES or not number.isdigit():
            raise ValueError(f"--steps {part!r}: expected STAGE=N with a stage of {STAGES}")
        steps[stage] = int(number)
    return steps


def measure_contrast(
    args: argparse.Namespace, config: TrainConfig, device: str, processes: Processes
) -> int:
    """What pretraining by contrast gains; returns the exit code.

    Raises:
        ValueError: steps of a stage that is not part of it.
    """
    if processes.count > 1:
        processes.leave()
        raise ConfigError("--contrast-gain runs in one process")
    known = pretraining.Budget().steps(*STAGES)
    chosen = steps_of(args.steps, known)
    if unknown := sorted(chosen.keys() - known.keys()):
        raise ConfigError(f"--steps {', '.join(unknown)}: --contrast-gain has {', '.join(known)}")
    budget = pretraining.Budget(**chosen, validation=args.validation)
    results = pretraining.run(args.cache, args.out, args.contrast_gain, budget, config, device)
    print(pretraining.table(results))
    return 0


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    import torch

    config = TrainConfig(
        seed=args.seed, strategy=args.strategy, scenes=args.scenes, batch=args.batch,
        workers=args.workers, labels=args.labels, precision=args.precision,
    )  # fmt: skip
    config = replace(
        config,
        steps=steps_of(args.steps, config.steps),
        faults={stage: share * args.faults for stage, share in config.faults.items()},
    )
    seeds = [*range(args.scenes), *cache.VALIDATION_SEEDS[: args.validation]]
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    processes = Processes.joined(device)
    if processes.leads_here:
        made = cache.fill(args.cache, seeds, args.processes)
        print(f"{made} scenes generated, {len(seeds) - made} were there")
    processes.wait()
    if args.only_generate:
        processes.leave()
        return 0
    if args.contrast_gain:
        return measure_contrast(args, config, processes.device(device), processes)
    leave_cores(args.workers)
    trainer = Trainer(config, args.cache, args.out, processes.device(device), processes)
    if args.start and processes.shared(not trainer.checkpoint.exists()):
        parts = trainer.start_from(args.start)
        if processes.leads:
            print(f"taken over from {args.start}: {', '.join(parts)}")
    trainer.resume()
    trainer.run(args.stages)
    processes.leave()
    if processes.leads:
        print(f"trained; next: mm-fusion export --checkpoint {trainer.checkpoint}")
    return 0
