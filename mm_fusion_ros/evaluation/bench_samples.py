"""What the benches feed: a camera of 640x480 and a lidar of 32x1024, rendered beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mm_fusion_ros.samples import CameraFrame, Float, LidarScan, OdometrySample

CAMERA_HZ, LIDAR_HZ, ODOMETRY_HZ = 30, 10, 30
IMAGE_SIZE, BEAMS, COLUMNS = (640, 480), 32, 1024
CAMERA, LIDAR, ODOMETRY = "camera", "lidar", "odom"
CAMERA_FRAME, LIDAR_FRAME, ODOMETRY_FRAME = "camera_optical", "lidar", "odom"
# Of no split of the exam.
FIRST_SEED = 900_000
FRAMES_A_SCENE = CAMERA_HZ // LIDAR_HZ


@dataclass(frozen=True, eq=False)
class BenchSamples:
    """Samples to be sent round and round, stamped anew each time.

    Attributes:
        frames: `FRAMES_A_SCENE` for each scan, of the same place; no two are equal.
        scans: one a place.
    """

    frames: tuple[CameraFrame, ...]
    scans: tuple[LidarScan, ...]

    def frame(self, index: int, stamp_ns: int) -> CameraFrame:
        """The frame of a running number, with a stamp."""
        return replace(self.frames[index % len(self.frames)], stamp_ns=stamp_ns)

    def scan(self, index: int, stamp_ns: int) -> LidarScan:
        """The scan of a running number, with a stamp."""
        return replace(self.scans[index % len(self.scans)], stamp_ns=stamp_ns)


def standing(stamp_ns: int) -> OdometrySample:
    """Odometry of a robot that stands."""
    return OdometrySample(
        stamp_ns, ODOMETRY_FRAME, ODOMETRY, np.eye(4), np.zeros(6), np.eye(6) * 1e-6,
        np.eye(6) * 1e-6,
    )  # fmt: skip


def render(places: int = 8) -> BenchSamples:
    """Renders the samples; the only step that needs the ray caster."""
    from mm_fusion_ros.sim.drive import scene
    from mm_fusion_ros.sim.sensors import random_rig

    rig = random_rig(np.random.default_rng(0), IMAGE_SIZE, cameras=1, beams=BEAMS)
    rig = replace(rig, lidar=replace(rig.lidar, columns=COLUMNS))
    noise = np.random.default_rng(1)
    frames: list[CameraFrame] = []
    scans: list[LidarScan] = []
    for index in range(places):
        sample = scene(FIRST_SEED + index, rig=rig)
        camera = sample.cameras[0]
        for _ in range(FRAMES_A_SCENE):
            # A real camera never gives the same picture twice.
            grain = noise.integers(-1, 2, camera.image.shape)
            image = np.clip(camera.image.astype(np.int64) + grain, 0, 255).astype(np.uint8)
            frames.append(replace(camera, image=image, source=CAMERA, frame_id=CAMERA_FRAME))
        scans.append(replace(sample.lidar, source=LIDAR, frame_id=LIDAR_FRAME))
    return BenchSamples(tuple(frames), tuple(scans))


def save(samples: BenchSamples, path: Path) -> None:
    """Writes samples to one file, for processes that must not load the ray caster."""
    offsets = [offsets_of(scan) for scan in samples.scans]
    np.savez(
        path,
        images=np.stack([frame.image for frame in samples.frames]),
        intrinsics=samples.frames[0].intrinsics,
        base_from_camera=samples.frames[0].base_from_camera,
        counts=np.array([len(scan.points) for scan in samples.scans]),
        points=np.concatenate([scan.points for scan in samples.scans]),
        offsets=np.concatenate(offsets),
        base_from_lidar=samples.scans[0].base_from_lidar,
    )


def load(path: Path) -> BenchSamples:
    """Reads what `save` wrote."""
    with np.load(path, allow_pickle=False) as data:
        intrinsics: Float = data["intrinsics"]
        base_from_camera: Float = data["base_from_camera"]
        frames = tuple(
            CameraFrame(0, CAMERA_FRAME, CAMERA, image, intrinsics, base_from_camera)
            for image in data["images"]
        )
        ends = np.cumsum(data["counts"])[:-1]
        scans = tuple(
            LidarScan(0, LIDAR_FRAME, LIDAR, points, data["base_from_lidar"], offsets)
            for points, offsets in zip(
                np.split(data["points"], ends), np.split(data["offsets"], ends), strict=True
            )
        )
    return BenchSamples(frames, scans)


def offsets_of(scan: LidarScan) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """When each point was measured, relative to the stamp [ns]; 0 where the scan does not say."""
    if scan.time_offset_ns is None:
        return np.zeros(len(scan.points), dtype=np.int64)
    return np.asarray(scan.time_offset_ns, dtype=np.int64)
