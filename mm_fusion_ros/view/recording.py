"""A Rerun recording of the fusion: to a file, to a viewer's window, or served to a browser."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mm_fusion_ros import geometry
from mm_fusion_ros.outputs import FusedObject, FusedOutput, Reliability
from mm_fusion_ros.samples import CameraFrame, Float, LidarScan
from mm_fusion_ros.view import bev, canvas, palette
from mm_fusion_ros.view.canvas import Picture
from mm_fusion_ros.view.overlay import label_of, overlay
from mm_fusion_ros.view.viewer_process import ViewerError, ViewerProcess

INSTALL = "Rerun is not installed; mend it with: pip install rerun-sdk (or do without a recording)"
TRAIL_STEP_M = 0.5
TRAIL_LENGTH = 1000
JPEG_QUALITY = 80


class RerunRecording:
    """Camera overlay, bird's-eye view, scene in 3D, trust and share over time, and the target.

    Use it in one thread, and close it: a file is complete only then.
    """

    def __init__(
        self,
        destination: str | Path,
        cameras: Sequence[str] = ("camera",),
        extent_m: float = 40.0,
        max_points: int = 40_000,
        bird_eye_every_s: float = 0.0,
    ) -> None:
        """Opens the recording.

        Args:
            destination: a file's path, "serve" (a page for the browser, on loopback only) or
                "spawn" (a window).
            cameras: sources whose overlays get a view.
            extent_m: from the robot to the edge of the bird's-eye view [m].
            max_points: of a scan no more are recorded, evenly thinned.
            bird_eye_every_s: least time between bird's-eye pictures [s]; 0 makes one a tick.

        Raises:
            ViewerError: Rerun is absent, or its viewer does not come up.
            OSError: the file cannot be written.
        """
        self._rerun = import_rerun()
        self._extent_m = extent_m
        self._max_points = max_points
        self._bird_eye_every_ns = round(bird_eye_every_s * 1e9)
        self._bird_eye_ns: int | None = None
        self._trail: list[Float] = []
        self._last_line = ""
        self._had_objects = False
        self._styled: set[str] = set()
        self._ticks = 0
        self._viewer: ViewerProcess | None = None
        self._stream: Any = self._rerun.RecordingStream("mm_fusion_ros")
        layout = arrange(cameras)
        if str(destination) in ("serve", "spawn"):
            self._viewer = ViewerProcess(browser=str(destination) == "serve")
            self._stream.connect_grpc(self._viewer.data_url, default_blueprint=layout)
        else:
            path = Path(destination)
            path.parent.mkdir(parents=True, exist_ok=True)
            # Rerun reports an unwritable file in its log only: found out here instead.
            path.open("wb").close()
            self._stream.save(path, default_blueprint=layout)
        self._stream.log("world", self._rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    @property
    def page_url(self) -> str:
        """What a browser opens; empty unless it is served."""
        return self._viewer.page_url if self._viewer is not None else ""

    def log(
        self,
        output: FusedOutput,
        frames: Sequence[CameraFrame] = (),
        scans: Sequence[LidarScan] = (),
        fixes: Float | None = None,
    ) -> None:
        """Records one tick.

        Args:
            output: the answer of the tick.
            frames: rectified pictures that belong to it.
            scans: sweeps that belong to it.
            fixes: (M, 2) east north [m] in `map`, those accepted so far.
        """
        if self._stream is None:
            raise ValueError("the recording is closed")
        rerun, stream = self._rerun, self._stream
        stream.set_time("tick", sequence=self._ticks)
        stream.set_time("ros_time", timestamp=np.datetime64(output.stamp_ns, "ns"))
        self._ticks += 1
        points = self._log_scans(scans)
        self._log_frames(output, frames)
        self._log_pose(output)
        self._log_objects(output.objects)
        self._log_target(output)
        for name, entry in output.reliability.items():
            self._style_once(entry)
            stream.log(f"trust/{name}", rerun.Scalars(entry.trust))
            if entry.share is not None:
                stream.log(f"share/{name}", rerun.Scalars(entry.share))
        since = None if self._bird_eye_ns is None else output.stamp_ns - self._bird_eye_ns
        if since is None or since < 0 or since >= self._bird_eye_every_ns:
            self._bird_eye_ns = output.stamp_ns
            self._log_bird_eye(output, points, fixes)

    def note(self, text: str) -> None:
        """Records a line of text at the last tick's instant."""
        if self._stream is not None:
            self._stream.log("target/log", self._rerun.TextLog(text))

    def close(self) -> None:
        """Completes the file, or ends the viewer; a second call does nothing."""
        if self._stream is not None:
            self._stream.flush()
            self._stream.disconnect()
            self._stream = None
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None

    def __enter__(self) -> RerunRecording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _log_bird_eye(self, output: FusedOutput, points: Float | None, fixes: Float | None) -> None:
        trail = np.array([place[:2] for place in self._trail]).reshape(-1, 2)
        picture = bev.bird_eye(
            points, output.objects, output.pose, output.target, output.obstacles,
            self._extent_m, fixes=fixes, trail=trail,
        )  # fmt: skip
        self._stream.log("bird_eye", self._encoded(picture))

    def _style_once(self, entry: Reliability) -> None:
        """Gives a source's curves its colour, the first time that it is seen."""
        if entry.source in self._styled:
            return
        colour = palette.source_colour(entry.modality, len(self._styled))
        self._styled.add(entry.source)
        for curve in ("trust", "share"):
            lines = self._rerun.SeriesLines(names=[entry.source], colors=[colour], widths=[1.5])
            self._stream.log(f"{curve}/{entry.source}", lines, static=True)

    def _encoded(self, picture: Picture) -> Any:
        """The picture as JPEG."""
        contents = canvas.jpeg(picture, JPEG_QUALITY)
        return self._rerun.EncodedImage(contents=contents, media_type="image/jpeg")

    def _log_scans(self, scans: Sequence[LidarScan]) -> Float | None:
        """Records the sweeps; returns all their points (N, 3) in base_link."""
        everything = []
        for scan in scans:
            places = scan.points[np.isfinite(scan.points[:, :3]).all(axis=1), :3]
            places = geometry.apply(scan.base_from_lidar, places)
            everything.append(places)
            shown = places[:: max(1, -(-len(places) // self._max_points))]
            level = (shown[:, 2] - bev.LOWEST_M) / (bev.HIGHEST_M - bev.LOWEST_M) * 255.0
            colours = bev.HEIGHT_COLOURS[np.clip(level, 0.0, 255.0).astype(np.uint8)]
            self._stream.log(
                f"world/base/points/{scan.source}",
                self._rerun.Points3D(shown, colors=colours, radii=0.03),
            )
        return np.concatenate(everything) if everything else None

    def _log_frames(self, output: FusedOutput, frames: Sequence[CameraFrame]) -> None:
        rerun = self._rerun
        for frame in frames:
            picture = overlay(
                frame.image, frame.intrinsics, frame.base_from_camera, output.objects,
                output.target, output.reliability, output.pose,
            )  # fmt: skip
            self._stream.log(f"overlay/{frame.source}", self._encoded(picture))
            height, width = frame.image.shape[:2]
            where = f"world/base/cameras/{frame.source}"
            self._stream.log(where, self._transform(frame.base_from_camera))
            self._stream.log(
                where,
                rerun.Pinhole(
                    image_from_camera=frame.intrinsics, resolution=[width, height],
                    image_plane_distance=1.5,
                ),
            )  # fmt: skip

    def _transform(self, matrix: Float) -> Any:
        return self._rerun.Transform3D(translation=matrix[:3, 3], mat3x3=matrix[:3, :3])

    def _log_pose(self, output: FusedOutput) -> None:
        if output.pose is None:
            return
        self._stream.log("world/base", self._transform(output.pose.map_from_base))
        place = output.pose.map_from_base[:3, 3]
        if not self._trail or float(np.linalg.norm(place - self._trail[-1])) > TRAIL_STEP_M:
            self._trail = [*self._trail[-TRAIL_LENGTH:], place.copy()]
            strip = self._rerun.LineStrips3D([np.array(self._trail)], colors=[palette.FAINT])
            self._stream.log("world/trail", strip)

    def _log_objects(self, objects: Sequence[FusedObject]) -> None:
        if not objects and not self._had_objects:
            return
        self._had_objects = bool(objects)
        rerun = self._rerun
        colours = [palette.class_colour(item.class_name) for item in objects]
        half = np.array([item.size / 2.0 for item in objects]).reshape(-1, 3)
        centres = np.array([item.centre for item in objects]).reshape(-1, 3)
        turns = np.array(
            [[0.0, 0.0, np.sin(item.yaw / 2.0), np.cos(item.yaw / 2.0)] for item in objects]
        ).reshape(-1, 4)
        self._stream.log(
            "world/base/objects",
            rerun.Boxes3D(
                centers=centres, half_sizes=half, quaternions=turns, colors=colours,
                labels=[label_of(item) for item in objects],
            ),
        )  # fmt: skip
        velocities = np.array([item.velocity for item in objects]).reshape(-1, 3)
        self._stream.log(
            "world/base/velocities",
            rerun.Arrows3D(origins=centres, vectors=velocities, colors=colours),
        )

    def _log_target(self, output: FusedOutput) -> None:
        rerun, target = self._rerun, output.target
        if target.go and target.map_from_target is not None:
            place = target.map_from_target
            arrow = rerun.Arrows3D(
                origins=[place[:3, 3]], vectors=[place[:3, 0]], colors=[palette.GO],
                radii=0.08, labels=["target"],
            )  # fmt: skip
            self._stream.log("world/target", arrow)
        else:
            self._stream.log("world/target", rerun.Clear(recursive=False))
        # The probability moves at every tick; only a change of state is worth a line.
        state = f"{target.go} {target.reason} {target.text} {target.track_id}"
        if state != self._last_line:
            self._last_line = state
            level = rerun.TextLogLevel.INFO if target.go else rerun.TextLogLevel.WARN
            self._stream.log("target/log", rerun.TextLog(palette.target_line(target), level=level))


def import_rerun() -> Any:
    """The Rerun SDK.

    Raises:
        ViewerError: it is not installed; says how to mend it.
    """
    try:
        return importlib.import_module("rerun")
    except ImportError as error:
        raise ViewerError(f"{INSTALL} ({error})") from error


def arrange(cameras: Sequence[str]) -> Any:
    """The views: pictures at the left, the scene and the curves at the right."""
    views: Any = importlib.import_module("rerun.blueprint")
    pictures = [views.Spatial2DView(origin=f"overlay/{name}", name=name) for name in cameras]
    return views.Blueprint(
        views.Horizontal(
            views.Vertical(
                *pictures,
                views.Spatial2DView(origin="bird_eye", name="from above"),
                row_shares=[1.0] * len(pictures) + [1.6],
            ),
            views.Vertical(
                views.Spatial3DView(origin="world", name="scene"),
                views.TimeSeriesView(origin="trust", name="trust"),
                views.TimeSeriesView(origin="share", name="share"),
                views.TextLogView(origin="target", name="target"),
                row_shares=[2.2, 1.0, 1.0, 0.8],
            ),
        ),
        views.TimePanel(state="collapsed", timeline="ros_time"),
        collapse_panels=True,
    )
