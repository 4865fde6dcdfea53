"""Makes .venv: packages, ROS 2, the interface packages that it lacks, and the commands.

Called by tools/setup.sh, which also decides whether there is anything to do. Every step looks at
what is there and does only the rest, so an interrupted run is repaired by the next one. Standard
library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = ROOT / ".venv-setup.log"
SITE_PACKAGES = VENV / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

REQUIREMENTS = {
    "run": ("base", "sim", "view", "ros"),
    "dev": ("base", "sim", "view", "ros", "train", "dev"),
}
INTERFACES = ("tf2_msgs", "vision_msgs")
COMMANDS = {
    "mm-fusion": "mm_fusion_ros.cli",
    "fusion_node": "mm_fusion_ros.ros.fusion_node",
    "sim_node": "mm_fusion_ros.ros.sim_node",
}
# Shared library -> Debian package; without these the simulator's ray casting does not load.
SIMULATOR_LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libgomp.so.1": "libgomp1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
}


class SetupError(RuntimeError):
    """What went wrong and the line that mends it."""


def say(text: str) -> None:
    """One line of progress."""
    print(f"set-up: {text}", flush=True)


def run(command: list[str], what: str, environment: dict[str, str] | None = None) -> None:
    """Runs a command with its output in the log.

    Raises:
        SetupError: it failed; with the end of its output.
    """
    began = time.monotonic()
    say(f"{what} ...")
    with LOG.open("a+", encoding="utf-8", errors="replace") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        start = log.tell()
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False
        ).returncode
        if code:
            log.seek(start)
            tail = "\n".join(log.read().splitlines()[-25:])
            raise SetupError(
                f"{what} failed ({command[0]} exited {code}):\n{tail}\nAll of it: {LOG}"
            )
    say(f"{what}: done in {time.monotonic() - began:.0f} s")


def loads(library: str) -> bool:
    """Whether a shared library is installed."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install_system_packages(build: bool) -> None:
    """Installs what Debian must give: with apt where we may, else says the line.

    Args:
        build: whether interface packages will be built here.

    Raises:
        SetupError: something without which set-up cannot go on is missing.
    """
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    required: dict[str, bool] = {}
    try:
        import ensurepip  # noqa: F401  Debian splits it from Python
    except ImportError:
        required[f"python{version}-venv"] = True
    if build:
        include = Path(sysconfig.get_path("include"), "Python.h")
        required["cmake"] = shutil.which("cmake") is None
        required["make"] = shutil.which("make") is None
        required["g++"] = shutil.which("c++") is None or shutil.which("cc") is None
        required[f"python{version}-dev"] = not include.is_file()
    must = [package for package, missing in required.items() if missing]
    wanted = [package for library, package in SIMULATOR_LIBRARIES.items() if not loads(library)]
    if not must and not wanted:
        return
    line = f"apt-get update && {{}}apt-get install -y {' '.join(must + wanted)}"
    mend = "sudo " + line.format("sudo ")
    prefix = privilege()
    if prefix is not None and shutil.which("apt-get"):
        try:
            environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
            run([*prefix, "apt-get", "update"], "reading Debian's package lists", environment)
            run(
                [*prefix, "apt-get", "install", "-y", "--no-install-recommends", *must, *wanted],
                f"installing {' '.join(must + wanted)}",
                environment,
            )
        except SetupError as error:
            say(str(error))
        else:
            return
    if must:
        raise SetupError(f"missing: {', '.join(must)}. Install with\n  {mend}")
    say(
        f"missing: {', '.join(wanted)}. The fusion node works without, the simulator and the demo "
        f"do not. Install with\n  {mend}"
    )


def privilege() -> list[str] | None:
    """What to put before apt-get: nothing for root, sudo where it asks no password, else None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
        if asked.returncode == 0:
            return ["sudo", "-n"]
    return None


def make_environment(ros: str) -> None:
    """Makes .venv, anew where the one that is there cannot be used."""
    # A virtual environment cannot be moved, nor change its Python or where its ROS comes from.
    identity = f"{VENV}\n{os.path.realpath(sys.executable)}\n{sys.version}\n{ros or 'wheels'}\n"
    record = VENV / ".identity"
    usable = False
    if record.is_file() and record.read_text() == identity:
        check = [str(PYTHON), "-m", "pip", "--version"]
        usable = (
            PYTHON.exists()
            and not subprocess.run(check, capture_output=True, check=False).returncode
        )
    if usable:
        return
    if VENV.exists():
        say("the .venv that is here is incomplete, or was made elsewhere: making it anew")
        shutil.rmtree(VENV)
    options = ["--system-site-packages"] if ros else []
    run([sys.executable, "-m", "venv", *options, str(VENV)], "making .venv")
    record.write_text(identity)


def install_packages(profile: str, ros: str) -> None:
    """Installs the pinned packages, after mending what an interrupted run left half-written."""
    files = [ROOT / "requirements" / f"{name}.txt" for name in REQUIREMENTS[profile]]
    constraints = [ROOT / "requirements" / "constraints.txt"]
    if ros:
        keep = {"train.txt", "dev.txt"}
        files = [ROOT / "requirements" / "sourced-ros.txt", *(f for f in files if f.name in keep)]
        constraints = [pin_system_packages()]
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    arguments = [argument for file in constraints for argument in ("-c", str(file))]
    broken = half_installed()
    if broken:
        say(f"half-installed by an interrupted run, installing again: {', '.join(broken)}")
        again = ["install", "--force-reinstall", "--no-deps", "--ignore-installed"]
        run([*pip, *again, *broken], "repairing packages")
    for file in files:
        arguments += ["-r", str(file)]
    run(
        # Uncompiled: of the many modules few are ever imported, and those compile then.
        [*pip, "install", "--no-compile", "--progress-bar", "off", *arguments],
        f"installing packages ({', '.join(file.stem for file in files)}; minutes the first time)",
    )
    if not ros:
        run([*pip, "check"], "checking that the packages agree")


def half_installed() -> list[str]:
    """name==version of each package in .venv of which files are missing."""
    found = []
    for folder in sorted(SITE_PACKAGES.glob("*.dist-info")):
        match = re.fullmatch(r"(.+)-([^-]+)\.dist-info", folder.name)
        if match is None or match[1] == "pip":
            continue
        # pip writes this file last of all.
        record = folder / "RECORD"
        whole = record.is_file() and all(
            (SITE_PACKAGES / line.rsplit(",", 2)[0].strip('"')).exists()
            for line in record.read_text(encoding="utf-8").splitlines()
            if "__pycache__" not in line
        )
        if not whole:
            shutil.rmtree(folder)
            found.append(f"{match[1].replace('_', '-')}=={match[2].split('+')[0]}")
    return found


def pin_system_packages() -> Path:
    """A constraints file that holds numpy and its like at the sourced distribution's versions."""
    program = (
        "from importlib import metadata\n"
        "for name in ('numpy', 'scipy', 'PyYAML', 'opencv-python', 'setuptools', 'packaging'):\n"
        "    try: print(f'{name}=={metadata.version(name)}')\n"
        "    except metadata.PackageNotFoundError: pass\n"
        "import numpy, scipy, yaml, cv2\n"
    )
    answer = subprocess.run(
        [str(PYTHON), "-c", program], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise SetupError(
            f"{answer.stderr.strip().splitlines()[-1]}: of the distribution's own Python packages "
            "some are missing. Install with\n  sudo apt-get install -y "
            "python3-numpy python3-scipy python3-yaml python3-opencv"
        )
    target = VENV / "constraints-of-sourced-ros.txt"
    target.write_text(answer.stdout)
    return target


def missing_interfaces(ros: str) -> tuple[str, ...]:
    """The interface packages that the ROS installation itself does not bring."""
    prefixes = [] if not ros else os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    index = Path("share/ament_index/resource_index/packages")
    return tuple(
        name
        for name in INTERFACES
        # What another checkout built into its own environment is not the installation's.
        if not any(
            Path(p, index, name).exists() and not Path(p, "pyvenv.cfg").exists() for p in prefixes
        )
    )


def mend_cmake_exports() -> None:
    """Points the ROS wheels' CMake files at this machine's headers.

    The wheels name the include folders of Python and numpy on the machine that built them.
    """
    program = "import numpy, sysconfig; print(sysconfig.get_path('include'), numpy.get_include())"
    answer = subprocess.run(
        [str(PYTHON), "-c", program], capture_output=True, text=True, check=True
    )
    python_headers, numpy_headers = answer.stdout.split()
    for file in VENV.glob("share/*/cmake/*rosidl_generator_pyExport.cmake"):
        text = file.read_text()
        mended = re.sub(r'/[^;"\n]*/include/python3\.\d+(?=[;"])', python_headers, text)
        mended = re.sub(r'/[^;"\n]*/numpy/(?:_core|core)/include(?=[;"])', numpy_headers, mended)
        if mended != text:
            file.write_text(mended)


def build_interfaces(names: tuple[str, ...], ros: str) -> None:
    """Builds interface packages with CMake and installs them into .venv."""
    environment = dict(os.environ)
    environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environment['PATH']}"
    prefixes = [str(VENV)] + ([os.environ["AMENT_PREFIX_PATH"]] if ros else [])
    environment["AMENT_PREFIX_PATH"] = environment["CMAKE_PREFIX_PATH"] = os.pathsep.join(prefixes)
    if not ros:
        mend_cmake_exports()
    for name in names:
        source, build = ROOT / "interfaces" / name, VENV / "build" / name
        record = VENV / f".interface-{name}"
        state = fingerprint(source) + identity_of_ros()
        if record.is_file() and record.read_text() == state:
            continue
        record.unlink(missing_ok=True)
        shutil.rmtree(build, ignore_errors=True)
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_INSTALL_PREFIX": VENV,
            "BUILD_TESTING": "OFF",
            "Python3_EXECUTABLE": PYTHON,
            "PYTHON_INSTALL_DIR": SITE_PACKAGES.relative_to(VENV),
        }
        definitions = [f"-D{key}={value}" for key, value in options.items()]
        cmake = "cmake"
        run(
            [cmake, "-S", str(source), "-B", str(build), *definitions],
            f"configuring {name}",
            environment,
        )
        jobs = str(os.cpu_count() or 1)
        run([cmake, "--build", str(build), "-j", jobs], f"building {name}", environment)
        run([cmake, "--install", str(build)], f"installing {name}", environment)
        shutil.rmtree(build)
        record.write_text(state)


def fingerprint(folder: Path) -> str:
    """A hash of all files below a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def identity_of_ros() -> str:
    """What the built interfaces depend on besides their definitions."""
    generators = sorted(path.name for path in SITE_PACKAGES.glob("ros_*.dist-info"))
    numpy = sorted(path.name for path in SITE_PACKAGES.glob("numpy-*.dist-info"))
    return "\n".join(["", *generators, *numpy, os.environ.get("AMENT_PREFIX_PATH", "")])


def write_commands() -> None:
    """Puts this checkout on .venv's path, and the commands into its bin/."""
    (SITE_PACKAGES / "mm_fusion_ros.pth").write_text(f"{ROOT}\n")
    for command, module in COMMANDS.items():
        target = VENV / "bin" / command
        target.write_text(
            f'#!/usr/bin/env bash\n. "{ROOT}/tools/env.sh"\nexec "{PYTHON}" -m {module} "$@"\n'
        )
        target.chmod(0o755)


def check_ros(names: tuple[str, ...]) -> None:
    """Loads the type support of what was built.

    Raises:
        SetupError: it does not load.
    """
    program = "import rclpy\nfrom rclpy.type_support import check_for_type_support\n"
    if "tf2_msgs" in names:
        program += "from tf2_msgs.msg import TFMessage as T\ncheck_for_type_support(T)\n"
    if "vision_msgs" in names:
        program += "from vision_msgs.msg import Detection3DArray as D\ncheck_for_type_support(D)\n"
    command = f'. "{ROOT}/tools/env.sh" && exec "{PYTHON}" -c "$0"'
    answer = subprocess.run(
        ["bash", "-c", command, program], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise SetupError(
            f"ROS does not load:\n{answer.stderr}\nMend with: rm -rf .venv && make setup"
        )


def main() -> int:
    """Runs all steps; 0 when .venv is ready."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", choices=sorted(REQUIREMENTS))
    parser.add_argument("--ros", default="", help="prefix of the sourced ROS distribution")
    arguments = parser.parse_args()
    began = time.monotonic()
    with (ROOT / ".venv-setup.lock").open("w") as lock:
        # Two at a time would write over each other.
        fcntl.flock(lock, fcntl.LOCK_EX)
        LOG.write_text("")
        try:
            say(
                f"{arguments.profile}: Python {sys.version.split()[0]}, ROS "
                f"{'from ' + arguments.ros if arguments.ros else '2 Jazzy as wheels'}"
            )
            if not arguments.ros and os.uname().machine != "x86_64":
                raise SetupError(
                    f"the ROS wheels are for x86_64, this is {os.uname().machine}. Source a ROS 2 "
                    "distribution (Humble, Jazzy or newer) first:\n  source /opt/ros/*/setup.bash"
                )
            interfaces = missing_interfaces(arguments.ros)
            install_system_packages(build=bool(interfaces))
            make_environment(arguments.ros)
            install_packages(arguments.profile, arguments.ros)
            build_interfaces(interfaces, arguments.ros)
            write_commands()
            check_ros(interfaces)
        except SetupError as error:
            print(f"set-up: {error}", file=sys.stderr)
            return 1
        say(f"ready in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
