"""Where the package's own files lie: in a source tree, in an environment, or in a ROS workspace."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = "mm_fusion_ros"


def config_file(name: str) -> Path:
    """A file of the package's `config` folder.

    Raises:
        FileNotFoundError: it is in none of the places; the message names them.
    """
    folders = [
        Path(__file__).resolve().parents[2] / "config",
        Path(sys.prefix) / "share" / PACKAGE / "config",
    ]
    try:
        from ament_index_python.packages import get_package_share_directory

        folders.append(Path(get_package_share_directory(PACKAGE)) / "config")
    except (ImportError, LookupError, OSError):
        pass  # no ROS workspace, or the package is not one of its
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    places = ", ".join(str(folder) for folder in folders)
    raise FileNotFoundError(f"{name} is in none of {places}; install the package again")
