"""Scenes made worse: what the sensors show under faults, and how far they are then believed.

The faults are those of `faults/`, without the kinds that are held out for the exam; trust comes
from the same intakes and monitors as at run time. Labels stay those of the clean scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import CameraConfig, LidarConfig, ReliabilityConfig, SourceConfig
from mm_fusion_ros.faults import camera, lidar
from mm_fusion_ros.faults.fault import SEVERITIES, Fault
from mm_fusion_ros.geometry import apply, inverse
from mm_fusion_ros.perception.detector import LEAST_TRUST
from mm_fusion_ros.reliability.monitors import SourceMonitor
from mm_fusion_ros.samples import CameraFrame, LidarScan, Modality
from mm_fusion_ros.sensors.camera import CameraIntake
from mm_fusion_ros.sensors.lidar import LidarIntake
from mm_fusion_ros.training.cache import Scene

CAMERA_KINDS: Sequence[type[Fault[Any]]] = (
    camera.Black, camera.Dark, camera.Overexposed, camera.MotionBlur, camera.Noise, camera.Fog,
    camera.ColourCast, camera.Jpeg, camera.Extrinsics,
)  # fmt: skip
LIDAR_KINDS: Sequence[type[Fault[Any]]] = (
    lidar.Empty, lidar.Invalid, lidar.Beams, lidar.Drop, lidar.FieldOfView, lidar.Noise, lidar.Fog,
    lidar.Rain, lidar.Extrinsics,
)  # fmt: skip
WHO = ((True, False), (False, True), (True, True))
"""Whether cameras and lidar are struck, where both are looked at."""
WHO_SHARES = (0.4, 0.4, 0.2)
STAMP_NS, PERIOD_NS = 1_000_000_000, 100_000_000
HEALTHY = 12
"""Samples after which a monitor knows what is usual."""
MONITORS = {
    modality: SourceConfig(modality.value, modality.value, rate_hz=10.0)
    for modality in (Modality.CAMERA, Modality.LIDAR)
}


@dataclass(frozen=True, eq=False)
class Struck:
    """What the sensors of a scene give.

    Attributes:
        scene: with the images, mountings and points that come in; labels as they were.
        trust_camera: (n,) float32, of each image.
        trust_lidar: of the points.
    """

    scene: Scene
    trust_camera: NDArray[np.float32]
    trust_lidar: float

    @classmethod
    def untouched(cls, scene: Scene) -> Struck:
        """A scene in which everything works and is believed."""
        return cls(scene, np.ones(len(scene.images), np.float32), 1.0)


def strike(
    scene: Scene,
    share: float,
    rng: np.random.Generator,
    looked_at: tuple[bool, bool] = (True, True),
) -> Struck:
    """Lets faults strike.

    Args:
        scene: clean.
        share: probability that any fault strikes.
        rng: draws who is struck, by what and how badly.
        looked_at: whether anybody looks at the cameras and at the lidar; only those are struck.
    """
    cameras = scanner = False
    if rng.random() < share:
        both = WHO[rng.choice(len(WHO), p=WHO_SHARES)]
        cameras, scanner = both if all(looked_at) else looked_at
    all_cameras = rng.random() < 0.5
    by_camera = _drawn(CAMERA_KINDS, rng) if cameras else None
    by_lidar = _drawn(LIDAR_KINDS, rng) if scanner else None
    intake = CameraIntake(CameraConfig())
    images, mountings, trusts = [], [], []
    for row in range(len(scene.images)):
        frame = CameraFrame(
            STAMP_NS, "", f"camera_{row}", scene.images[row], scene.intrinsics[row],
            scene.base_from_camera[row],
        )  # fmt: skip
        clean = intake.accept(frame)[1]
        # Half of the time all cameras have it, which share weather and light.
        quality = clean
        if by_camera is not None and (row == 0 or all_cameras):
            frame = by_camera.apply(frame)[0]
            quality = intake.accept(frame)[1]
        images.append(frame.image)
        mountings.append(frame.base_from_camera)
        trusts.append(trust_of(Modality.CAMERA, clean, quality))
    points, trust_lidar = _struck_points(scene, by_lidar) if looked_at[1] else (scene.points, 1.0)
    return Struck(
        replace(
            scene,
            images=np.stack(images) if images else scene.images,
            base_from_camera=np.stack(mountings) if images else scene.base_from_camera,
            points=points,
        ),
        np.array(trusts, np.float32),
        trust_lidar,
    )


def _drawn(kinds: Sequence[type[Fault[Any]]], rng: np.random.Generator) -> Fault[Any]:
    kind = kinds[int(rng.integers(len(kinds)))]
    return kind(int(rng.integers(1, SEVERITIES + 1)), int(rng.integers(2**31)))


def _struck_points(scene: Scene, fault: Fault[Any] | None) -> tuple[NDArray[np.float32], float]:
    """Points in base_link, and their trust."""
    own = apply(inverse(scene.base_from_lidar), scene.points[:, :3]).astype(np.float32)
    scan = LidarScan(
        STAMP_NS, "", "lidar", np.column_stack([own, scene.points[:, 3]]), scene.base_from_lidar
    )
    intake = LidarIntake(LidarConfig())
    prepared, clean = intake.accept(scan)
    if fault is None:
        return prepared.points, trust_of(Modality.LIDAR, clean, clean)
    prepared, quality = intake.accept(fault.apply(scan)[0])
    return prepared.points, trust_of(Modality.LIDAR, clean, quality)


def trust_of(modality: Modality, clean: Mapping[str, float], quality: Mapping[str, float]) -> float:
    """What a monitor that is used to the clean figures says of a sample's, at least LEAST_TRUST."""
    monitor = SourceMonitor(MONITORS[modality], ReliabilityConfig())
    stamp_ns = STAMP_NS
    # The same figures again, but not the same sample.
    usual = {name: value for name, value in clean.items() if name != "checksum"}
    for figures in (*[usual] * HEALTHY, quality):
        stamp_ns += PERIOD_NS
        monitor.observe(stamp_ns, figures, None)
    return max(monitor.judge(stamp_ns)[0], LEAST_TRUST)
