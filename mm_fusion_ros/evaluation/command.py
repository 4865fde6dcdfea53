"""`mm-fusion eval`: the exam, part by part or as a whole, as text, JSON and pages."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.evaluation import (
    archive,
    compare,
    drives,
    reactions,
    reference,
    unfamiliar,
    verdicts,
)
from mm_fusion_ros.evaluation.exam import code_digest, fingerprint_of, run_clean
from mm_fusion_ros.evaluation.faulted import (
    FINGERPRINT,
    SCENES,
    check_fingerprint,
    faulted_fingerprint,
    run_faulted,
)
from mm_fusion_ros.evaluation.machine import described, machine
from mm_fusion_ros.evaluation.pictures import (
    examples,
    examples_under_faults,
    worst,
    worst_under_faults,
)
from mm_fusion_ros.evaluation.protocol import Protocol, load_protocol
from mm_fusion_ros.evaluation.reactions_page import page as reactions_page
from mm_fusion_ros.evaluation.reactions_page import plain_reactions
from mm_fusion_ros.evaluation.report import page
from mm_fusion_ros.evaluation.robustness import score_all, worst_first
from mm_fusion_ros.evaluation.robustness import text as robustness_text
from mm_fusion_ros.evaluation.robustness_page import page as robustness_page
from mm_fusion_ros.evaluation.robustness_page import plain_robustness
from mm_fusion_ros.evaluation.scoring import SUBSETS, score
from mm_fusion_ros.evaluation.table import plain_score, text_table
from mm_fusion_ros.inference.backend import BackendError
from mm_fusion_ros.inference.model_folder import ModelError, ModelFolder

RESULTS, PAGE = "results.json", "report.html"
WHOLE = {
    "clean": "", "under faults": "faults", "reactions": "reactions", "unfamiliar": "unfamiliar",
    "drive": "drive", "red cube": "red_cube",
}  # fmt: skip
"""Parts of the whole exam in their order, and the option of each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `run` takes."""
    parser.add_argument("--model", default="", help="model folder (default: the one that ships)")
    parser.add_argument(
        "--split", choices=("validation", "test"), default="test",
        help="scenes: test for reports, validation while a model is being chosen",
    )  # fmt: skip
    parser.add_argument(
        "--faults", action="store_true",
        help="the exam under faults instead of the clean one: every kind and severity",
    )  # fmt: skip
    parser.add_argument(
        "--reactions", action="store_true",
        help="how fast the gate notices a fault, and forgets it, on a robot that drives",
    )  # fmt: skip
    parser.add_argument(
        "--costs", type=Path, default=None, metavar="RESULTS",
        help="with --reactions: results.json of --faults; the bars then hold for the faults that "
        "cost their sensor enough, and not for all",
    )  # fmt: skip
    parser.add_argument(
        "--compare", nargs="+", default=None, metavar="MODEL",
        help="strategies side by side, clean and under some faults: model folders, the first is "
        "what the others are held against",
    )  # fmt: skip
    parser.add_argument(
        "--whole", action="store_true",
        help="all parts but the comparison and the ensemble, one after the other, and a first page "
        "with their bars; needs torch",
    )  # fmt: skip
    parser.add_argument(
        "--unfamiliar", action="store_true",
        help="whether other surfaces, another lidar and things of no class are noticed as such",
    )  # fmt: skip
    parser.add_argument(
        "--drive", action="store_true",
        help="whether the simulated robot does what it is told in the yard, also when it loses a "
        "sensor on the way",
    )  # fmt: skip
    parser.add_argument(
        "--red-cube", action="store_true",
        help="the controlled conjunction test of every fusion strategy: trains small ones, needs "
        "torch, and no model",
    )  # fmt: skip
    parser.add_argument(
        "--ensemble", action="store_true",
        help="the reference for what is unfamiliar: trains a small ensemble on --cache and sets "
        "its disagreement beside what one of its networks tells in one pass; needs torch",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/scenes"),
        help="with --ensemble: training scenes; those that are missing are made",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a tenth of the scenes")
    parser.add_argument("--n", type=int, default=None, help="scenes (default: the protocol's)")
    parser.add_argument(
        "--out", type=Path, default=None, help="output folder (default: under runs/eval)"
    )
    parser.add_argument("--protocol", type=Path, default=None, help="protocol file")
    parser.add_argument("--processes", type=int, default=2, help="scenes at once")
    parser.add_argument(
        "--pictures",
        type=int,
        default=12,
        help="worst scenes on the page; with --faults, worst cells",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the exam, prints the table, writes JSON and page; 0 when it ran, 2 when it could not."""
    try:
        return evaluate(args)
    except (BackendError, ConfigError, ModelError, ValueError) as error:
        print(f"mm-fusion eval: {error}", file=sys.stderr)
        return 2


def evaluate(args: argparse.Namespace) -> int:
    """`run`, with errors raised."""
    protocol = load_protocol(args.protocol)
    if args.whole:
        return evaluate_whole(args, protocol)
    if args.drive:
        return evaluate_drives(args, protocol)
    if args.red_cube:
        return evaluate_red_cube(args, protocol)
    if args.ensemble:
        return evaluate_ensemble(args, protocol)
    if args.reactions:
        return evaluate_reactions(args, protocol)
    if args.unfamiliar:
        return evaluate_unfamiliar(args, protocol)
    if args.compare:
        return evaluate_compare(args, protocol)
    manifest = ModelFolder.open(args.model).manifest
    count = args.n if args.n is not None else protocol.scenes
    if args.n is None and args.quick:
        count = protocol.quick_scenes
    if args.faults:
        return evaluate_faults(args, protocol, count)
    out = args.out or default_folder(args.model, protocol, args.split)
    records = run_clean(
        args.model, protocol, out,
        count=count, split=args.split, subsets=SUBSETS, processes=args.processes,
    )  # fmt: skip
    result = score(records, protocol)
    facts = facts_of(args, protocol, count, "clean part")
    title = f"{protocol.name}, clean: {manifest.name} {manifest.version}"
    table = text_table(result, protocol, f"{title}, {count} scenes of split {args.split}")
    print(table)
    print(f"machine: {facts['machine']}")
    content = {
        **facts,
        "manifest": {"files": dict(manifest.files), "provenance": dict(manifest.provenance)},
        **plain_score(result, protocol),
        verdicts.KEY: verdicts.plain_verdicts(verdicts.of_clean(result, protocol)),
    }
    pictures = examples(worst(records, protocol, args.pictures), protocol)
    html = page(result, protocol, title=title, facts=facts, pictures=pictures)
    return written(out, content, html)


def evaluate_faults(args: argparse.Namespace, protocol: Protocol, count: int) -> int:
    """The exam under faults, with errors raised."""
    if not protocol.faults:
        raise ConfigError(f"protocol {protocol.name} has no faults")
    folder = ModelFolder.open(args.model)
    digest = digest_of(faulted_fingerprint(folder, protocol))
    out = args.out or Path("runs") / "eval" / f"{protocol.name}-faults-{args.split}-{digest}"
    seeds = run_faulted(
        args.model, protocol, out, count=count, split=args.split, processes=args.processes
    )
    result = score_all(out / SCENES, seeds, protocol, args.processes)
    title = f"{protocol.name}, faults: {folder.manifest.name} {folder.manifest.version}"
    facts = facts_of(args, protocol, count, "under faults")
    print(robustness_text(result, protocol, f"{title}, {count} scenes of split {args.split}"))
    print(f"machine: {facts['machine']}")
    content = {**facts, "files": dict(folder.manifest.files), **plain_robustness(result, protocol)}
    content[verdicts.KEY] = verdicts.plain_verdicts(verdicts.of_robustness(result, protocol))
    ordered = worst_first(result.cells, "primary", protocol.robustness.floor)
    records = [archive.read(out / SCENES, seed) for seed in seeds]
    chosen = worst_under_faults(ordered, records, protocol, args.pictures)
    html = robustness_page(
        result, protocol, title=title, facts=facts,
        pictures=examples_under_faults(chosen, protocol),
    )  # fmt: skip
    return written(out, content, html)


def evaluate_reactions(args: argparse.Namespace, protocol: Protocol) -> int:
    """How fast the gate reacts, with errors raised."""
    folder = ModelFolder.open(args.model)
    count = args.n or protocol.reactions.sequences // (10 if args.quick else 1)
    digest = digest_of(reactions.fingerprint(folder, protocol))
    out = args.out or Path("runs") / "eval" / f"{protocol.name}-reactions-{args.split}-{digest}"
    traces = reactions.run_sequences(
        args.model, protocol, out, count=count, split=args.split, processes=args.processes
    )
    costs = json.loads(args.costs.read_text("utf-8"))["costs"] if args.costs else None
    result = reactions.score(traces, protocol, costs)
    manifest = folder.manifest
    title = f"{protocol.name}, reactions: {manifest.name} {manifest.version}"
    wanted = protocol.reactions.sequences
    facts = facts_of(args, protocol, count, "how fast the gate reacts", wanted)
    print(reactions.text(result, protocol, f"{title}, {count} sequences of split {args.split}"))
    print(f"machine: {facts['machine']}")
    content = {**facts, "files": dict(manifest.files), **plain_reactions(result)}
    content[verdicts.KEY] = verdicts.plain_verdicts(verdicts.of_reactions(result, protocol))
    return written(out, content, reactions_page(result, protocol, title=title, facts=facts))


def evaluate_unfamiliar(args: argparse.Namespace, protocol: Protocol) -> int:
    """Whether what was never trained on is noticed, with errors raised."""
    folder = ModelFolder.open(args.model)
    count = args.n or protocol.unfamiliar.scenes // (10 if args.quick else 1)
    digest = digest_of(unfamiliar.fingerprint(folder, protocol))
    out = args.out or Path("runs") / "eval" / f"{protocol.name}-unfamiliar-{args.split}-{digest}"
    records = unfamiliar.run_unfamiliar(
        args.model, protocol, out, count=count, split=args.split, processes=args.processes
    )
    result = unfamiliar.score(records, protocol)
    manifest = folder.manifest
    title = f"{protocol.name}, unfamiliar: {manifest.name} {manifest.version}"
    facts = facts_of(args, protocol, count, "what is unfamiliar", protocol.unfamiliar.scenes)
    print(unfamiliar.text(result, protocol, f"{title}, {count} scenes of split {args.split}"))
    print(f"machine: {facts['machine']}")
    content = {**facts, **unfamiliar.plain_unfamiliar(result, protocol)}
    content[verdicts.KEY] = verdicts.plain_verdicts(verdicts.of_unfamiliar(result, protocol))
    return written(out, content)


def evaluate_drives(args: argparse.Namespace, protocol: Protocol) -> int:
    """Whether the robot does what it is told, with errors raised."""
    folder = ModelFolder.open(args.model)
    count = args.n or protocol.drive.seeds // (10 if args.quick else 1)
    digest = digest_of(drives.fingerprint(folder))
    out = args.out or Path("runs") / "eval" / f"{protocol.name}-drive-{args.split}-{digest}"
    driven = drives.run_drives(
        args.model, protocol, out, count=count, split=args.split, processes=args.processes
    )
    result = drives.score(driven, protocol)
    manifest = folder.manifest
    title = f"{protocol.name}, drive: {manifest.name} {manifest.version}"
    facts = facts_of(args, protocol, count, "drives", protocol.drive.seeds)
    print(drives.text(result, f"{title}, {count} seeds of split {args.split}"))
    print(f"machine: {facts['machine']}")
    seeds = protocol.chosen_seeds(args.split, count)
    content = {**facts, **drives.plain_drives(driven, result, seeds)}
    content[verdicts.KEY] = verdicts.plain_verdicts(verdicts.of_drives(result, protocol))
    return written(out, content)


def evaluate_compare(args: argparse.Namespace, protocol: Protocol) -> int:
    """Strategies side by side, with errors raised."""
    count = args.n or protocol.compare.scenes // (10 if args.quick else 1)
    prints = [faulted_fingerprint(ModelFolder.open(model), protocol) for model in args.compare]
    digest = digest_of({"models": prints})
    out = args.out or Path("runs") / "eval" / f"{protocol.name}-compare-{args.split}-{digest}"
    result = compare.compare(
        args.compare, protocol, out, count=count, split=args.split, processes=args.processes
    )
    facts = facts_of(args, protocol, count, "strategies side by side", protocol.compare.scenes)
    facts["model"] = ", ".join(
        f"{each.name} {version}" for each in result.contenders for version in each.versions
    )
    title = f"{protocol.name}, strategies"
    print(compare.text(result, protocol, f"{title}, {count} scenes of split {args.split}"))
    print(f"machine: {facts['machine']}")
    content = {**facts, **compare.plain_comparison(result, protocol)}
    return written(out, content, compare.page(result, protocol, title=title, facts=facts))


def evaluate_red_cube(args: argparse.Namespace, protocol: Protocol) -> int:
    """The conjunction test; a quarter of an hour on two cores, a third of it when quick."""
    from mm_fusion_ros.training import red_cube  # torch stays out of an exam of shipped weights

    seeds = (0,) if args.quick else (0, 1, 2)
    out = args.out or Path("runs") / "eval" / "red_cube"
    results = red_cube.run(seeds=seeds, kept=out / red_cube.KEPT, processes=args.processes)
    print(red_cube.table(results))
    print(f"machine: {described(machine())}")
    means = red_cube.means(results)
    content = {
        "seeds": list(seeds), "machine": described(machine()), "accuracy": means,
        "of_each_seed": results,
        verdicts.KEY: verdicts.plain_verdicts(verdicts.of_red_cube(means, protocol)),
    }  # fmt: skip
    return written(out, content)


def evaluate_ensemble(args: argparse.Namespace, protocol: Protocol) -> int:
    """What a small ensemble notices, with errors raised; a quarter of an hour on two cores."""
    # Torch stays out of an exam of shipped weights.
    from mm_fusion_ros.training import ensemble
    from mm_fusion_ros.training.train import TrainConfig

    out = args.out or Path("runs") / "eval" / "ensemble"
    count = args.n or protocol.unfamiliar.scenes // (10 if args.quick else 1)
    seeds = protocol.chosen_seeds(args.split, count)
    budget, base = ensemble.Budget(), TrainConfig()
    out.mkdir(parents=True, exist_ok=True)
    how = {"budget": asdict(budget), "base": asdict(base), "code": code_digest("model", "training")}
    check_fingerprint(out / FINGERPRINT, how)
    made = ensemble.trained(args.cache, out, budget, base, processes=args.processes)
    result = reference.measured(made, protocol, seeds)
    print(reference.text(result, f"{budget}, {count} scenes of split {args.split}"))
    content = {
        "budget": asdict(budget), "scenes": count, "split": args.split,
        "machine": described(machine()), "auroc": reference.plain_result(result),
    }  # fmt: skip
    return written(out, content)


def evaluate_whole(args: argparse.Namespace, protocol: Protocol) -> int:
    """All parts of the exam and a first page with every bar, with errors raised."""
    folder = ModelFolder.open(args.model)
    digest = digest_of(faulted_fingerprint(folder, protocol))
    out = args.out or Path("runs") / "eval" / f"{protocol.name}-whole-{args.split}-{digest}"
    # Not after hours: the last part trains small networks.
    importlib.import_module("mm_fusion_ros.training.red_cube")
    others = {"whole": False, "compare": None, "ensemble": False}
    alone = dict.fromkeys(filter(None, WHOLE.values()), False) | others
    found: dict[str, list[verdicts.Verdict]] = {}
    pages: dict[str, str] = {}
    for name, flag in WHOLE.items():
        place = out / name.replace(" ", "_")
        costs = out / "under_faults" / RESULTS if flag == "reactions" else None
        chosen = {**vars(args), **alone, "out": place, "costs": costs}
        code = evaluate(argparse.Namespace(**(chosen | ({flag: True} if flag else {}))))
        if code:
            return code
        content = json.loads((place / RESULTS).read_text("utf-8"))
        found[name] = [verdicts.Verdict(**each) for each in content[verdicts.KEY]]
        if (place / PAGE).exists():
            pages[name] = f"{place.name}/{PAGE}"
        print()
    facts = {
        "protocol": f"{protocol.name} (sha256 {protocol.digest[:12]})",
        "model": f"{folder.manifest.name} {folder.manifest.version}",
        "machine": described(machine()),
    }
    everything = [each for part in found.values() for each in part]
    print(verdicts.text(everything))
    title = f"{protocol.name}: {folder.manifest.name} {folder.manifest.version}"
    content = {**facts, verdicts.KEY: verdicts.plain_verdicts(everything)}
    return written(out, content, verdicts.overview(found, pages, facts, title))


def written(out: Path, content: dict[str, Any], html: str = "") -> int:
    """Writes the figures, and the page if there is one, and says where; returns 0."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    names = {RESULTS: text} | ({PAGE: html} if html else {})
    for name, part in names.items():
        (out / name).write_text(part, "utf-8")
    print("written: " + ", ".join(str(out / name) for name in names))
    return 0


def facts_of(
    args: argparse.Namespace, protocol: Protocol, count: int, part: str, wanted: int | None = None
) -> dict[str, str]:
    """What a figure needs to be believed.

    Args:
        count: scenes that were taken.
        part: of the exam.
        wanted: scenes that the protocol asks of it; None for those of its main parts.
    """
    manifest = ModelFolder.open(args.model).manifest
    seeds = protocol.chosen_seeds(args.split, count)
    facts = {
        "protocol": f"{protocol.name} (sha256 {protocol.digest[:12]}), {part}",
        "model": f"{manifest.name} {manifest.version}",
        "scenes": f"{count} of split {args.split}, seeds {seeds[0]} to {seeds[-1]}",
        "machine": described(machine()),
    }
    wanted = protocol.scenes if wanted is None else wanted
    if count < wanted:
        facts["note"] = f"fewer than the protocol's {wanted} scenes: for development"
    return facts


def digest_of(fingerprint: dict[str, Any]) -> str:
    """Ten hexadecimal digits that stand for a fingerprint."""
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:10]


def default_folder(model: str, protocol: Protocol, split: str) -> Path:
    """A folder for these weights, this code and this protocol alone, so that runs never mix."""
    digest = digest_of(fingerprint_of(ModelFolder.open(model), protocol, SUBSETS))
    return Path("runs") / "eval" / f"{protocol.name}-{split}-{digest}"
