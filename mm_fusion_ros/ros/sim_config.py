"""The simulator node's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from mm_fusion_ros.config import ConfigError, param
from mm_fusion_ros.faults.injection import FaultError, Injector, parse
from mm_fusion_ros.samples import Modality
from mm_fusion_ros.sim.lighting import LIGHTS

SOURCES = {
    "camera": Modality.CAMERA, "lidar": Modality.LIDAR, "gps": Modality.GPS,
    "odom": Modality.ODOMETRY,
}  # fmt: skip


@dataclass(frozen=True)
class SimConfig:
    """The simulator's parameters."""

    executor: str = param("auto", "how callbacks run", choices=("auto", "events", "single"))
    world: str = param("demo", "the yard of the demo, or a drawn one", choices=("demo", "drawn"))
    seed: int = param(1, "of world and noise", low=0, high=1_000_000_000)
    lighting: str = param("sun", "of the demo's yard", choices=LIGHTS)
    speed: float = param(1.0, "simulated seconds a second, at most", low=0.01, high=1000.0)
    image_width: int = param(384, "of the camera", low=64, high=4096, unit="px")
    image_height: int = param(288, "of the camera", low=64, high=4096, unit="px")
    beams: int = param(32, "of the lidar, each of 1024 columns", low=4, high=128)
    camera_hz: int = param(10, "0 switches the camera off", low=0, high=120, unit="Hz")
    lidar_hz: int = param(10, "0 switches the lidar off", low=0, high=50, unit="Hz")
    gps_hz: int = param(5, "0 switches the receiver off", low=0, high=50, unit="Hz")
    odometry_hz: int = param(30, "0 switches the odometry off", low=0, high=200, unit="Hz")
    faults: str = param(
        "", "that strike the sensors, as camera.fog:3@10s-20s; several are set apart by spaces"
    )


def injector_of(config: SimConfig) -> Injector:
    """What makes the sensors' samples worse.

    A wrong mounting shows where it holds from the start: transforms are told once.

    Raises:
        ConfigError: a fault that there is not.
    """
    try:
        faults = [parse(text, SOURCES) for text in config.faults.split()]
    except FaultError as error:
        raise ConfigError(f"faults: {error}") from error
    measured = {*SOURCES, *(modality.value for modality in SOURCES.values())}
    for fault in faults:
        if fault.target not in measured:
            raise ConfigError(
                f"faults: fault {str(fault)!r}: the simulator has no {fault.target}; it has "
                f"{', '.join(SOURCES)}"
            )
    return Injector(faults, config.seed)
