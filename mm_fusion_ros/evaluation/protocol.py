"""The exam's frozen protocol, read from `config/exam_v5.yaml`."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mm_fusion_ros.config import ConfigError
from mm_fusion_ros.evaluation.average_precision import PrecisionRule
from mm_fusion_ros.evaluation.matching import Region

FILE = "exam_v5.yaml"


@dataclass(frozen=True)
class Figure:
    """One mean average precision.

    Attributes:
        name: as printed.
        region: name of the region.
        with_colour: class and colour must both be right.
    """

    name: str
    region: str
    with_colour: bool


@dataclass(frozen=True)
class CalibrationRule:
    """How the expected calibration error is taken."""

    region: str
    radius_m: float
    min_probability: float
    bins: int


@dataclass(frozen=True)
class PositionRule:
    """How the coverage of the position's covariance is taken."""

    region: str
    min_probability: float
    gate_m: float
    bearing_gate_deg: float


@dataclass(frozen=True)
class BoxRule:
    """How the errors of boxes are taken."""

    region: str
    radius_m: float
    min_probability: float


@dataclass(frozen=True)
class CountsRule:
    """Which objects are asked for; applied by whoever makes the labels."""

    min_lidar_points: int
    min_pixels: int
    min_visible: float


@dataclass(frozen=True)
class BootstrapRule:
    """How intervals are taken."""

    replicates: int
    seed: int


@dataclass(frozen=True)
class MotionRule:
    """How the robot moves while a sensor shows what was.

    Attributes:
        frozen_s: how old what a frozen sensor shows is [s].
    """

    speed_mps: float = 0.0
    turn_radps: float = 0.0
    frozen_s: float = 0.0


@dataclass(frozen=True)
class Least:
    """A relative accuracy that must be reached.

    Attributes:
        figure: key of the protocol's figure.
    """

    figure: str
    least: float


@dataclass(frozen=True)
class FloorRule:
    """How far the fused answer may fall below the best sensor that still works.

    Attributes:
        factor: of the best specialist's figure that must be kept.
        small: below this the specialist's figure is taken as it is.
        least: what the lower end of the difference's interval must be above.
    """

    factor: float = 0.98
    small: float = 0.1
    least: float = -0.01


@dataclass(frozen=True)
class GateRule:
    """What the gate must notice.

    Attributes:
        severity, cost: faults of at least this severity that cost their sensor this part.
        mean, least: area under the curve of (1 - trust), over these cells.
    """

    severity: int = 3
    cost: float = 0.1
    mean: float = 0.95
    least: float = 0.8


@dataclass(frozen=True)
class ReactionRule:
    """How fast the gate must react; see the protocol's file.

    Attributes:
        sequences, frames, period_s: how many, how long, and how fast they are.
        onset, end: the frames from which and before which a fault holds.
        severity: of the faults.
        half, back: parts of the clean trust at which a fault is noticed, and forgotten.
        quantile: of the sequences that must be within the bars.
        notice, recover: bars, frames.
        false_alarms: bar, part of the clean frames.
        cost: the bars hold for faults that cost their sensor this part of its accuracy.
    """

    sequences: int = 100
    frames: int = 30
    period_s: float = 0.1
    onset: int = 10
    end: int = 20
    severity: int = 5
    half: float = 0.5
    back: float = 0.9
    quantile: float = 0.9
    notice: int = 3
    recover: int = 5
    false_alarms: float = 0.01
    cost: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.onset < self.end < self.frames:
            raise ValueError("0 < onset < end < frames does not hold")


@dataclass(frozen=True)
class CompareRule:
    """How strategies are compared; see the protocol's file.

    Attributes:
        scenes: how many, clean and under each fault.
        faults: names of conditions.
        clean: by how much another may be better on clean scenes.
        cost: how many times concatenation's duration fusion may take.
    """

    scenes: int = 200
    faults: tuple[str, ...] = ()
    clean: float = 0.01
    cost: float = 1.3


@dataclass(frozen=True)
class CleanRule:
    """Bars of the clean part beside the gains; see the protocol's file.

    Attributes:
        ece: most calibration error.
        coverage: least and most of the 90 % ellipses that hold the centre.
        follows: least rank correlation of errors on sigmas.
    """

    ece: float = 0.03
    coverage: tuple[float, float] = (0.87, 0.93)
    follows: float = 0.9


@dataclass(frozen=True)
class RedCubeRule:
    """Bars of the conjunction test; see the protocol's file.

    Attributes:
        least: accuracy of what models interaction.
        chance: most accuracy of what does not.
        without: names of those.
    """

    least: float = 0.95
    chance: float = 0.55
    without: tuple[str, ...] = ("camera alone", "lidar alone", "late (sum of logits)")


@dataclass(frozen=True)
class DriveRule:
    """Bars of the drives in the yard; a protocol's file may say others.

    Attributes:
        seeds: how many.
        least: part of the commands carried out with every sensor.
        lost: the same with any one sensor lost on the way.
    """

    seeds: int = 20
    least: float = 0.95
    lost: float = 0.9


@dataclass(frozen=True)
class UnfamiliarRule:
    """Whether what was never trained on is noticed; see the protocol's file.

    Attributes:
        scenes: how many.
        least: area under the receiver's curve.
    """

    scenes: int = 200
    least: float = 0.8


@dataclass(frozen=True)
class ClaimRule:
    """What holds in each cell of what all sensors together claim; see the protocol's file.

    Attributes:
        ece: most calibration error.
        coverage: least and most of the 90 % ellipses that hold the centre.
    """

    ece: float = 0.06
    coverage: tuple[float, float] = (0.8, 0.95)


@dataclass(frozen=True)
class RobustnessRule:
    """The bars under faults.

    Attributes:
        mean_relative: group of faults to its bar.
        missing: condition to its bar.
        calibration: None where the protocol asks for none.
    """

    mean_relative: Mapping[str, Least] = field(default_factory=dict)
    missing: Mapping[str, Least] = field(default_factory=dict)
    floor: FloorRule = FloorRule()
    gate: GateRule = GateRule()
    calibration: ClaimRule | None = None


@dataclass(frozen=True)
class Protocol:
    """Everything that an exam's figures depend on, the model left out.

    Attributes:
        name: of this version.
        digest: SHA-256 of the file's content, in hexadecimal.
        seeds: split to its seeds.
        scenes, quick_scenes: how many of a split's seeds are used.
        image_size: width, height of every camera [px].
        regions: by name.
        min_probability, max_objects: which answers are asked for.
        figures: by key; "primary" and "secondary" exist.
        bars: subset to the least gain of all sensors over it in the primary figure.
        faults: group ("camera", "lidar", "both") to kinds, with how many severities each has.
    """

    name: str
    digest: str
    seeds: Mapping[str, range]
    scenes: int
    quick_scenes: int
    image_size: tuple[int, int]
    counts: CountsRule
    regions: Mapping[str, Region]
    precision: PrecisionRule
    min_probability: float
    max_objects: int
    figures: Mapping[str, Figure]
    calibration: CalibrationRule
    position: PositionRule
    boxes: BoxRule
    bootstrap: BootstrapRule
    bars: Mapping[str, float]
    faults: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    motion: MotionRule = MotionRule()
    robustness: RobustnessRule = RobustnessRule()
    reactions: ReactionRule = ReactionRule()
    compare: CompareRule = CompareRule()
    unfamiliar: UnfamiliarRule = UnfamiliarRule()
    clean: CleanRule = CleanRule()
    red_cube: RedCubeRule = RedCubeRule()
    drive: DriveRule = DriveRule()

    def chosen_seeds(self, split: str, count: int) -> range:
        """The first seeds of a split.

        Raises:
            ConfigError: no such split, or fewer seeds than asked for.
        """
        if split not in self.seeds:
            raise ConfigError(f"split {split!r}: allowed are {', '.join(self.seeds)}")
        seeds = self.seeds[split]
        if not 1 <= count <= len(seeds):
            raise ConfigError(f"{count} scenes of {split!r}: allowed is 1 to {len(seeds)}")
        return seeds[:count]


def load_protocol(path: Path | None = None) -> Protocol:
    """Reads a protocol; None takes the one that ships.

    Raises:
        ConfigError: the file is not there, or its content does not fit.
    """
    file = path or shipped_protocol()
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return parse(yaml.safe_load(text), hashlib.sha256(text).hexdigest())
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} is no exam protocol: {type(error).__name__}: {error}") from error


def parse(content: Mapping[str, Any], digest: str) -> Protocol:
    """The protocol of a YAML document.

    Raises:
        KeyError, TypeError, ValueError: the document does not fit.
    """
    rest = dict(content)
    regions = {name: Region(**rule) for name, rule in rest.pop("regions").items()}
    precision = rest.pop("precision")
    width, height = rest.pop("image_size")
    protocol = Protocol(
        digest=digest,
        seeds={name: range(low, high + 1) for name, (low, high) in rest.pop("seeds").items()},
        image_size=(int(width), int(height)),
        regions=regions,
        counts=CountsRule(**rest.pop("counts")),
        precision=PrecisionRule(**{**precision, "radii_m": tuple(precision["radii_m"])}),
        figures={key: Figure(**figure) for key, figure in rest.pop("figures").items()},
        calibration=CalibrationRule(**rest.pop("calibration")),
        position=PositionRule(**rest.pop("position")),
        boxes=BoxRule(**rest.pop("boxes")),
        bootstrap=BootstrapRule(**rest.pop("bootstrap")),
        motion=MotionRule(**rest.pop("motion", {})),
        robustness=_robustness(rest.pop("robustness", {})),
        reactions=ReactionRule(**rest.pop("reactions", {})),
        compare=_compare(rest.pop("compare", {})),
        unfamiliar=UnfamiliarRule(**rest.pop("unfamiliar", {})),
        clean=CleanRule(**_tupled(rest.pop("clean", {}))),
        red_cube=RedCubeRule(**_tupled(rest.pop("red_cube", {}))),
        drive=DriveRule(**rest.pop("drive", {})),
        **rest,
    )
    named = [figure.region for figure in protocol.figures.values()]
    named += [protocol.calibration.region, protocol.position.region, protocol.boxes.region]
    if unknown := sorted(set(named) - regions.keys()):
        raise ValueError(f"regions {unknown} are used and not defined")
    if missing := sorted({"primary", "secondary"} - protocol.figures.keys()):
        raise ValueError(f"figures {missing} are not defined")
    used = [bar.figure for bar in protocol.robustness.mean_relative.values()]
    used += [bar.figure for bar in protocol.robustness.missing.values()]
    if unknown := sorted(set(used) - protocol.figures.keys()):
        raise ValueError(f"figures {unknown} are used and not defined")
    return protocol


def _tupled(content: Mapping[str, Any]) -> dict[str, Any]:
    """With tuples for lists."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}


def _compare(content: Mapping[str, Any]) -> CompareRule:
    rest = dict(content)
    return CompareRule(faults=tuple(rest.pop("faults", ())), **rest)


def _robustness(content: Mapping[str, Any]) -> RobustnessRule:
    rest = dict(content)
    bars = {
        name: {key: Least(**bar) for key, bar in rest.pop(name, {}).items()}
        for name in ("mean_relative", "missing")
    }
    floor, gate = FloorRule(**rest.pop("floor", {})), GateRule(**rest.pop("gate", {}))
    claims = ClaimRule(**_tupled(rest.pop("calibration"))) if "calibration" in rest else None
    return RobustnessRule(**bars, floor=floor, gate=gate, calibration=claims, **rest)


def shipped_protocol() -> Path:
    """The protocol file of this checkout or installation.

    Raises:
        ConfigError: in none of the places where it may lie.
    """
    tried = []
    for folder in config_folders():
        tried.append(str(folder))
        if (folder / FILE).is_file():
            return folder / FILE
    raise ConfigError(f"{FILE} is in none of {', '.join(tried)}; name it with --protocol")


def config_folders() -> Iterator[Path]:
    """Where configuration lies: beside the package, in a ROS workspace, in an environment."""
    yield Path(__file__).resolve().parents[2] / "config"
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in (*prefixes, sys.prefix):
        yield Path(prefix) / "share" / "mm_fusion_ros" / "config"
