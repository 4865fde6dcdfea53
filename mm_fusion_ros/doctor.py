"""`mm-fusion doctor`: what is installed, what will be used and why, and how to mend the rest.

Libraries are tried in processes of their own, so one that crashes on loading is a finding and not
the end of the examination, and nothing here needs any of them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MINIMUM_PYTHON = (3, 10)
PROBE_TIMEOUT_S = 60.0
LOW_DISK_BYTES = 2_000_000_000
# What Docker gives by default, and what one process's DDS transport alone may take.
LOW_SHARED_MEMORY_BYTES = 64 * 1024 * 1024
OK, MISSING, BROKEN, NOTE = "ok", "missing", "broken", "note"

# Shared library -> Debian package.
DEBIAN_PACKAGES = {
    "libusb-1.0": "libusb-1.0-0",
    "libGL": "libgl1",
    "libgomp": "libgomp1",
    "libEGL": "libegl1",
    "libX11": "libx11-6",
}
MESSAGE_TYPES = {
    "builtin_interfaces": "Time",
    "diagnostic_msgs": "DiagnosticArray",
    "geometry_msgs": "PoseStamped",
    "lifecycle_msgs": "State",
    "nav_msgs": "OccupancyGrid",
    "rosgraph_msgs": "Clock",
    "sensor_msgs": "PointCloud2",
    "std_msgs": "String",
    "tf2_msgs": "TFMessage",
    "vision_msgs": "Detection3DArray",
    "visualization_msgs": "MarkerArray",
}
ROS_MODULES = ("rclpy", "rcl_interfaces", "std_srvs", "ament_index_python", *MESSAGE_TYPES)


@dataclass(frozen=True)
class Library:
    """One Python library.

    Attributes:
        module: what is imported.
        distribution: what is installed.
        purpose: what does not work without it.
        required: whether the fusion node needs it.
        load: whether to import it here; a heavy one is only looked up.
        apt: Debian's package of it, for use with the system's Python.
        beside_ros: whether it works with the numpy of a ROS distribution.
    """

    module: str
    distribution: str
    purpose: str
    required: bool = False
    load: bool = True
    apt: str = ""
    beside_ros: bool = True


LIBRARIES = (
    Library("numpy", "numpy", "everything", required=True, apt="python3-numpy"),
    Library("scipy", "scipy", "everything", required=True, apt="python3-scipy"),
    Library("yaml", "PyYAML", "configuration", required=True, apt="python3-yaml"),
    Library("cv2", "opencv-python-headless", "images", required=True, apt="python3-opencv"),
    Library("onnxruntime", "onnxruntime", "the networks", required=True),
    Library("pymap3d", "pymap3d", "GPS", required=True),
    Library("rosbags", "rosbags", "replay and sim"),
    Library("kiss_icp", "kiss-icp", "odometry from lidar, where no odometry comes"),
    Library("open3d", "open3d-cpu", "the simulator: demo, sim, train, eval"),
    Library("rerun", "rerun-sdk", "recordings to look at", beside_ros=False),
    Library("rich", "rich", "progress in the terminal"),
    Library("torch", "torch", "training", load=False),
    Library("onnx", "onnx", "export", load=False),
    Library("safetensors", "safetensors", "trained weights", load=False),
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        status: "ok", "missing", "broken", or "note" for what is neither good nor bad.
        detail: version and place, or what was found instead.
        mend: the line that mends it.
        required: whether the fusion node needs it.
    """

    name: str
    status: str
    detail: str
    mend: str = ""
    required: bool = False


@dataclass(frozen=True)
class Answer:
    """What a probing process said: its output, or its error."""

    output: str = ""
    error: str = ""


Probe = Callable[[str], Answer]


def run_probe(program: str) -> Answer:
    """Runs a Python program in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False,
            cwd="/", env=os.environ | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Answer(error=f"no answer within {PROBE_TIMEOUT_S:.0f} s")
    if done.returncode == 0:
        return Answer(output=done.stdout.strip())
    lines = done.stderr.strip().splitlines()
    return Answer(error=lines[-1] if lines else f"ended with {done.returncode}")


def setup_line() -> str:
    """The line that installs everything, from wherever the caller stands."""
    if not (ROOT / "Makefile").is_file():
        return ""
    return "make setup" if Path.cwd() == ROOT else f"make -C {shlex.quote(str(ROOT))} setup"


def mend(module: str) -> str:
    """The exact line that brings a Python or ROS module that is missing, or "" if unknown."""
    module = module.partition(".")[0]
    distribution = os.environ.get("ROS_DISTRO", "")
    if module in ROS_MODULES:
        if distribution:
            package = f"ros-{distribution}-{module.replace('_', '-')}"
            return f"sudo apt-get install -y {package}"
        return setup_line() or "source /opt/ros/jazzy/setup.bash"
    for library in LIBRARIES:
        if library.module == module:
            if distribution and library.apt:
                return f"sudo apt-get install -y {library.apt}"
            if distribution and not library.beside_ros:
                return f"{setup_line()}  # in a shell that has not sourced ROS: it wants numpy 2"
            return setup_line() or f"python3 -m pip install {library.distribution}"
    return ""


def mend_shared_library(error: str) -> str:
    """The line that brings the shared library that an error names, or ""."""
    for library, package in DEBIAN_PACKAGES.items():
        if f"{library}.so" in error or f"{library}-" in error:
            return f"sudo apt-get install -y {package}"
    return ""


def examine(model: str = "", probe: Probe = run_probe) -> list[Finding]:
    """Looks at everything.

    Args:
        model: model folder; empty takes the weights that ship.
        probe: runs a Python program and gives its answer.
    """
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        ros = pool.submit(ros_findings, probe)
        libraries = list(pool.map(lambda library: library_finding(library, probe), LIBRARIES))
        accelerators = accelerator_findings(probe)
        return [
            python_finding(),
            *ros.result(),
            *libraries,
            backend_finding(probe),
            model_finding(model),
            *accelerators,
            *space_findings(),
        ]


def python_finding() -> Finding:
    """The interpreter."""
    detail = f"{sys.version.split()[0]}, {sys.executable}"
    if sys.version_info[:2] < MINIMUM_PYTHON:
        line = "sudo apt-get install -y python3.11 python3.11-venv python3.11-dev"
        return Finding("python", BROKEN, f"{detail}: 3.10 or newer is needed", line, required=True)
    return Finding("python", OK, detail, required=True)


def ros_findings(probe: Probe) -> Iterable[Finding]:
    """The client library, its middleware, and each message package."""
    answer = probe(
        "import json, rclpy\n"
        "from rclpy.utilities import get_rmw_implementation_identifier as rmw\n"
        "rclpy.init(args=[])\n"
        "node = rclpy.create_node('mm_fusion_doctor')\n"
        "node.destroy_node()\n"
        "rclpy.try_shutdown()\n"
        "from importlib import metadata\n"
        "try: wheels = metadata.version('ros-rclpy')\n"
        "except metadata.PackageNotFoundError: wheels = ''\n"
        "print(json.dumps([rclpy.__file__, rmw(), wheels]))"
    )
    if answer.error:
        yield broken_or_missing("ROS 2", "rclpy", answer.error, "the nodes", required=True)
        return
    file, middleware, wheels = json.loads(answer.output.splitlines()[-1])
    distribution = os.environ.get("ROS_DISTRO", "of unknown distribution")
    origin = f"Jazzy as wheels (rclpy {wheels})" if wheels else f"{distribution}, sourced"
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    discovery = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    yield Finding(
        "ROS 2",
        OK,
        f"{origin}, from {Path(file).parents[1]}; {middleware}, domain {domain}, "
        f"discovery {discovery}",
        required=True,
    )
    loaded = probe(
        "from importlib import import_module\n"
        "from rclpy.type_support import check_for_type_support\n"
        f"for package, kind in {MESSAGE_TYPES!r}.items():\n"
        "    try:\n"
        "        check_for_type_support(getattr(import_module(package + '.msg'), kind))\n"
        "    except Exception as error:\n"
        "        print(package, repr(error))\n"
    )
    failures = dict(line.split(" ", 1) for line in loaded.output.splitlines())
    if loaded.error:
        failures = {"rclpy": loaded.error}
    for package, error in failures.items():
        yield broken_or_missing(package, package, error, "the nodes", required=True)
    good = [package for package in MESSAGE_TYPES if package not in failures]
    if good and not loaded.error:
        yield Finding("message packages", OK, ", ".join(good), required=True)


def library_finding(library: Library, probe: Probe) -> Finding:
    """One Python library: its version and place, or why it does not load."""
    look = (
        f"import {library.module} as module\nplace = module.__file__"
        if library.load
        else "from importlib.util import find_spec\n"
        f"found = find_spec({library.module!r})\n"
        f"if found is None: raise ModuleNotFoundError('No module named {library.module}')\n"
        "module, place = None, found.origin"
    )
    answer = probe(
        f"{look}\n"
        "from importlib import metadata\n"
        f"try: version = metadata.version({library.distribution!r})\n"
        # The same module may come under another name: Debian's, or a build with CUDA.
        "except metadata.PackageNotFoundError: version = getattr(module, '__version__', '?')\n"
        "print(version, place)"
    )
    if answer.error:
        return broken_or_missing(
            library.module, library.module, answer.error, library.purpose, library.required
        )
    # A library may greet on import: the last line is ours.
    version, _, place = answer.output.splitlines()[-1].partition(" ")
    elsewhere = "" if place.startswith((sys.prefix, "None")) else f", from {place}"
    return Finding(library.module, OK, f"{version}{elsewhere}", required=library.required)


def broken_or_missing(name: str, module: str, error: str, purpose: str, required: bool) -> Finding:
    """The finding for something that did not load."""
    if "No module named" in error:
        absent = re.sub(r".*No module named '?([\w.]+)'?.*", r"\1", error)
        detail = f"needed for {purpose}"
        if absent.partition(".")[0] != module:
            detail += f"; it lacks {absent}"
        return Finding(name, MISSING, detail, mend(module), required)
    line = mend_shared_library(error) or mend(module)
    return Finding(name, BROKEN, f"needed for {purpose}; {error}", line, required)


def backend_finding(probe: Probe) -> Finding:
    """Which runtime the networks will run in, and why."""
    answer = probe(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import json, onnxruntime\n"
        "from mm_fusion_ros.config import PerceptionConfig\n"
        "from mm_fusion_ros.inference.backends import BACKENDS\n"
        "chosen = PerceptionConfig()\n"
        "used = list(getattr(BACKENDS[chosen.backend], 'providers', ()))\n"
        "print(json.dumps([chosen.backend, chosen.threads, used, sorted(BACKENDS), "
        "onnxruntime.get_available_providers()]))"
    )
    if answer.error:
        line = mend(re.sub(r".*No module named '([\w.]+)'.*", r"\1", answer.error)) or setup_line()
        return Finding("backend", BROKEN, f"none: {answer.error}", line, required=True)
    backend, threads, used, known, available = json.loads(answer.output.splitlines()[-1])
    why = "the only one there is" if len(known) == 1 else f"the default of {', '.join(known)}"
    detail = (
        f"{backend} with {', '.join(used) or 'its default provider'}, {threads} threads: {why}; "
        f"this onnxruntime offers {', '.join(available)}"
    )
    if missing := [provider for provider in used if provider not in available]:
        return Finding(
            "backend", BROKEN, f"{detail}; it lacks {', '.join(missing)}", setup_line(), True
        )
    return Finding("backend", OK, detail, required=True)


def model_finding(model: str) -> Finding:
    """The weights and their hashes."""
    from mm_fusion_ros.inference.model_folder import DEFAULT_FOLDER, ModelError, ModelFolder

    folder = Path(model) if model else DEFAULT_FOLDER
    restore = "mm-fusion train && mm-fusion export"
    if not model and is_tracked(folder):
        restore = f"git -C {shlex.quote(str(ROOT))} checkout -- {folder.relative_to(ROOT)}"
    if not (folder / "manifest.json").is_file():
        return Finding("model", MISSING, f"no manifest.json in {folder}", restore, required=True)
    try:
        manifest = ModelFolder.open(folder).manifest
    except ModelError as error:
        return Finding("model", BROKEN, str(error), restore, required=True)
    if not manifest.files:
        return Finding("model", BROKEN, f"{folder} names no files", restore, required=True)
    detail = f"{manifest.name} {manifest.version}, {len(manifest.files)} files intact, {folder}"
    return Finding("model", OK, detail, required=True)


def is_tracked(folder: Path) -> bool:
    """Whether git can bring back what the folder held."""
    if not (ROOT / ".git").exists():
        return False
    return bool(ask(["git", "-C", str(ROOT), "ls-files", str(folder)]))


def ask(command: list[str]) -> str:
    """What a program prints; "" where it fails or does not answer."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def accelerator_findings(probe: Probe) -> Iterable[Finding]:
    """Whether there is a GPU, and TensorRT."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    gpu = ask(query).replace("\n", "; ")
    if not gpu:
        gpu = "Jetson" if Path("/etc/nv_tegra_release").is_file() else "none"
    yield Finding("GPU", NOTE, gpu)
    versions = []
    for module in ("tensorrt", "tensorrt_rtx"):
        answer = probe(f"import {module} as module; print(module.__version__)")
        if not answer.error:
            versions.append(f"{module} {answer.output}")
        elif "No module named" not in answer.error:
            versions.append(f"{module} does not load ({answer.error})")
    yield Finding("TensorRT", NOTE, "; ".join(versions) or "none")


def space_findings() -> Iterable[Finding]:
    """Disk, and the shared memory that DDS uses."""
    free = shutil.disk_usage(Path.cwd()).free
    status = NOTE if free < LOW_DISK_BYTES else OK
    warning = "; recordings and training data may not fit" if status == NOTE else ""
    yield Finding("disk", status, f"{free / 1e9:.1f} GB free here{warning}")
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        if free < LOW_SHARED_MEMORY_BYTES:
            detail = f"{free / 1e6:.0f} MB free: images and clouds may fall back to UDP"
            yield Finding("shared memory", NOTE, detail, "docker run --shm-size=512m ...")


def ready(findings: Iterable[Finding]) -> bool:
    """Whether everything that the fusion node needs is there."""
    return all(finding.status in (OK, NOTE) for finding in findings if finding.required)


def as_text(findings: list[Finding], colour: bool) -> str:
    """The findings as lines for a terminal."""
    colours = {OK: "32", MISSING: "33", BROKEN: "31", NOTE: "2"}
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        status = finding.status.ljust(7)
        if colour:
            code = "31" if finding.required and finding.status == MISSING else None
            status = f"\033[{code or colours[finding.status]}m{status}\033[0m"
        lines.append(f"{status}  {finding.name.ljust(width)}  {finding.detail}")
        if finding.mend:
            lines.append(f"{' ' * (width + 11)}mend: {finding.mend}")
    absent = [f.name for f in findings if f.required and f.status not in (OK, NOTE)]
    lines.append("")
    lines.append(
        f"The fusion node cannot run here: {', '.join(absent)}."
        if absent
        else "The fusion node can run here."
    )
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mm-fusion doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--model", default="", metavar="FOLDER", help="examine this model folder")


def run(args: argparse.Namespace) -> int:
    """Prints what was found; 1 if something that the fusion node needs is missing."""
    findings = examine(args.model)
    if args.json:
        content = {"ready": ready(findings), "findings": [asdict(f) for f in findings]}
        print(json.dumps(content, indent=2))
    else:
        print(as_text(findings, colour=sys.stdout.isatty()))
    return 0 if ready(findings) else 1
