"""`mm-fusion eval`: the exam's clean table, as text, JSON and a page."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.evaluation.exam import fingerprint_of, run_clean
from mm_fusion_ros.evaluation.machine import described, machine
from mm_fusion_ros.evaluation.pictures import examples, worst
from mm_fusion_ros.evaluation.protocol import Protocol, load_protocol
from mm_fusion_ros.evaluation.report import page
from mm_fusion_ros.evaluation.scoring import SUBSETS, score
from mm_fusion_ros.evaluation.table import plain_score, text_table
from mm_fusion_ros.inference.backend import BackendError
from mm_fusion_ros.inference.model_folder import ModelError, ModelFolder

RESULTS, PAGE = "results.json", "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `run` takes."""
    parser.add_argument("--model", default="", help="model folder (default: the one that ships)")
    parser.add_argument(
        "--split", choices=("validation", "test"), default="test",
        help="scenes: test for reports, validation while a model is being chosen",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a tenth of the scenes")
    parser.add_argument("--n", type=int, default=None, help="scenes (default: the protocol's)")
    parser.add_argument(
        "--out", type=Path, default=None, help="output folder (default: under runs/eval)"
    )
    parser.add_argument("--protocol", type=Path, default=None, help="protocol file")
    parser.add_argument("--processes", type=int, default=2, help="scenes at once")
    parser.add_argument("--pictures", type=int, default=12, help="worst scenes on the page")


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
    manifest = ModelFolder.open(args.model).manifest
    count = args.n if args.n is not None else protocol.scenes
    if args.n is None and args.quick:
        count = protocol.quick_scenes
    out = args.out or default_folder(args.model, protocol, args.split)
    records = run_clean(
        args.model, protocol, out,
        count=count, split=args.split, subsets=SUBSETS, processes=args.processes,
    )  # fmt: skip
    result = score(records, protocol)
    facts = {
        "protocol": f"{protocol.name} (sha256 {protocol.digest[:12]}), clean part",
        "model": f"{manifest.name} {manifest.version}",
        "scenes": f"{count} of split {args.split}, seeds {records[0].seed} to {records[-1].seed}",
        "machine": described(machine()),
    }
    if count < protocol.scenes:
        facts["note"] = f"fewer than the protocol's {protocol.scenes} scenes: for development"
    title = f"{protocol.name}, clean: {manifest.name} {manifest.version}"
    table = text_table(result, protocol, f"{title}, {count} scenes of split {args.split}")
    print(table)
    print(f"machine: {facts['machine']}")
    content = {
        **facts,
        "manifest": {"files": dict(manifest.files), "provenance": dict(manifest.provenance)},
        **plain_score(result, protocol),
    }
    (out / RESULTS).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")
    pictures = examples(worst(records, protocol, args.pictures), protocol)
    html = page(result, protocol, title=title, facts=facts, pictures=pictures)
    (out / PAGE).write_text(html, "utf-8")
    print(f"written: {out / RESULTS}, {out / PAGE}")
    return 0


def default_folder(model: str, protocol: Protocol, split: str) -> Path:
    """A folder for these weights, this code and this protocol alone, so that runs never mix."""
    fingerprint = fingerprint_of(ModelFolder.open(model), protocol, SUBSETS)
    digest = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()
    return Path("runs") / "eval" / f"{protocol.name}-{split}-{digest[:10]}"
