"""What every room's tests share: one thread each, a ROS domain each, and the recordings.

A room's own helper modules lie beside its tests and are imported by their plain names.
"""

from __future__ import annotations

import fcntl
import importlib.util
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before numpy and its like are imported: they read these once.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

ROOT = Path(__file__).resolve().parents[1]
# Domains above 101 use ports that Linux hands out to others; 0 is everybody's.
DOMAINS = range(1, 102)
_next_domain = itertools.count(os.getpid())

# After everything else, so that no helper hides a library.
sys.path += [str(folder) for folder in Path(__file__).parent.iterdir() if folder.is_dir()]


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS domain for this test alone, also in the environment of what it starts.

    A lock file holds it against other workers and other test runs on this machine.
    """
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("rclpy is absent; `make setup` installs it")
    for _ in DOMAINS:
        domain = DOMAINS[next(_next_domain) % len(DOMAINS)]
        path = Path(tempfile.gettempdir()) / f"mm_fusion_ros_domain_{domain}.lock"
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
            monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            yield domain
            return
    pytest.fail(f"all {len(DOMAINS)} ROS domains are in use by tests on this machine")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real recordings."""
    named = os.environ.get("MM_FUSION_DATA", "")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder}; MM_FUSION_DATA names their folder")
    return folder


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights: what flows where, and nothing of what it means."""
    torch = pytest.importorskip("torch", reason="torch is absent; `make setup` installs it")
    from mm_fusion_ros.inference.model_folder import write_manifest
    from mm_fusion_ros.model.export import export
    from mm_fusion_ros.model.fusion_net import FusionNet

    folder = tmp_path_factory.mktemp("untrained_model")
    torch.manual_seed(0)
    files = [path.name for path in export(FusionNet(), folder)]
    write_manifest(
        folder, name="untrained", version="0", files=files, inputs={}, provenance={}, calibration={}
    )
    return folder
