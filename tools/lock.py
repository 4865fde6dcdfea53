"""Writes requirements/constraints.txt: the exact version of everything in this environment.

Run it (`make lock`) in an environment that holds all of requirements/*.txt and passes the tests.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

HEADER = """\
# Every package that the files beside this one bring along, pinned. Written by `make lock`.
"""
LEFT_OUT = {"pip"}


def main() -> None:
    """Writes the file from what pip installed here."""
    pins = {}
    for found in metadata.distributions():
        name = found.metadata["Name"]
        # ROS wheels carry a second, nested record of themselves; pip installed only the outer one.
        if found.read_text("INSTALLER") is None or name in LEFT_OUT:
            continue
        # 2.13.0+cpu is pinned as 2.13.0, which other builds of it satisfy as well.
        pins[name.lower()] = f"{name}=={found.version.split('+')[0]}"
    target = Path(__file__).resolve().parents[1] / "requirements" / "constraints.txt"
    target.write_text(HEADER + "\n".join(pins[key] for key in sorted(pins)) + "\n")
    print(f"{target}: {len(pins)} packages")


if __name__ == "__main__":
    main()
