"""The command `mm-fusion`: finds the subcommand's module, and answers plainly when it cannot run.

Only the chosen subcommand is imported, so `--help` is quick and an optional library is missed only
by the command that needs it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from mm_fusion_ros import __version__
from mm_fusion_ros.allocation import keep_freed_memory

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
USAGE_ERROR = 2


@dataclass(frozen=True)
class Command:
    """One subcommand: a module with `add_arguments(parser)` and `run(args) -> int`."""

    module: str
    summary: str


COMMANDS = {
    "demo": Command("mm_fusion_ros.ros.demo", "simulator, fusion node and robot, live over ROS 2"),
    "sim": Command("mm_fusion_ros.sim.command", "write a rosbag2 of a simulated drive"),
    "replay": Command("mm_fusion_ros.replay.command", "run a rosbag2 through the fusion, no ROS"),
    "eval": Command("mm_fusion_ros.evaluation.command", "measure the fusion on simulated scenes"),
    "scenes": Command("mm_fusion_ros.training.scenes_command", "make training data of a bag"),
    "train": Command("mm_fusion_ros.training.command", "make training data and train the network"),
    "export": Command("mm_fusion_ros.training.export_command", "turn trained weights into ONNX"),
    "bench": Command("mm_fusion_ros.evaluation.bench_command", "measure latency and memory"),
    "doctor": Command("mm_fusion_ros.doctor", "what is installed, used, missing; how to mend it"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `mm-fusion`.

    Args:
        argv: arguments without the program's name; None takes the process's.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    keep_freed_memory()
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    try:
        return dispatch(chosen, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, as in `mm-fusion doctor | head`; Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, OSError) as error:
        explanation = explain_missing(chosen, error)
        if explanation is None:
            raise
        print(explanation, file=sys.stderr)
        return 1
    except ValueError as error:
        if not is_config_error(error):
            raise
        print(f"mm-fusion {chosen}: {error}", file=sys.stderr)
        return USAGE_ERROR


def dispatch(chosen: str, arguments: list[str]) -> int:
    """Parses the arguments with the chosen subcommand's options and runs it."""
    parser = argparse.ArgumentParser(
        prog="mm-fusion",
        description="Fuses camera, lidar, GPS and commands, and says why each sensor is believed.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    module = None
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=command.summary, description=f"{command.summary[0].upper()}"
            f"{command.summary[1:]}.",
        )  # fmt: skip
        if name == chosen:
            module = importlib.import_module(command.module)
            module.add_arguments(subparser)
    parsed = parser.parse_args(arguments)
    assert module is not None, "argparse ends the program where no command was chosen"
    return int(module.run(parsed) or 0)


def explain_missing(command: str, error: ImportError | OSError) -> str | None:
    """One plain line for a library that is missing, or None where the error is something else."""
    from mm_fusion_ros import doctor

    if isinstance(error, ModuleNotFoundError) and error.name:
        if error.name == COMMANDS[command].module:
            return f"mm-fusion {command} is not part of this installation"
        line = doctor.mend(error.name)
        if line:
            return (
                f"mm-fusion {command} needs {error.name}, which is not installed here. "
                f"Mend it with: {line}"
            )
    if "cannot open shared object file" in str(error):
        line = doctor.mend_shared_library(str(error))
        if line:
            return f"mm-fusion {command}: {error}. Mend it with: {line}"
    return None


def is_config_error(error: ValueError) -> bool:
    """Whether the user's configuration is wrong, and not the program."""
    # Nothing can have raised it unless the module is loaded.
    config = sys.modules.get("mm_fusion_ros.config")
    return config is not None and isinstance(error, config.ConfigError)


if __name__ == "__main__":
    sys.exit(main())
