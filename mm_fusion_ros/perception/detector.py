"""Encode each sample when it comes, fuse at the tick, and read the objects off the grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import PerceptionConfig
from mm_fusion_ros.geometry import apply
from mm_fusion_ros.inference.backend import Backend
from mm_fusion_ros.inference.backends import BACKENDS
from mm_fusion_ros.inference.model_folder import ModelError, ModelFolder
from mm_fusion_ros.outputs import CLASSES, COLOURS, UNKNOWN_COLOUR, FusedObject
from mm_fusion_ros.perception import late, maps
from mm_fusion_ros.perception.decode import (
    Calibration,
    Found,
    calibrated_log_variance,
    covariances,
    decode,
)
from mm_fusion_ros.perception.features import (
    Array,
    CameraFeature,
    Familiar,
    LidarFeature,
    PlacedCameras,
    any_covered,
    predicted_variance,
)
from mm_fusion_ros.perception.grid import (
    FEATURE_CELLS,
    RASTER,
    STRIDE,
    LiftGeometry,
    lift_geometry,
    rasterize,
)
from mm_fusion_ros.perception.painting import paint
from mm_fusion_ros.perception.rays import ray_planes
from mm_fusion_ros.perception.regions import cut
from mm_fusion_ros.perception.second_look import (
    NO_COLOUR,
    Judgement,
    Looks,
    judge,
    moved_along_rays,
)
from mm_fusion_ros.perception.window import Window
from mm_fusion_ros.samples import Float
from mm_fusion_ros.sensors.camera import PreparedImage
from mm_fusion_ros.sensors.lidar import PreparedScan

GRAPHS = ("camera_encoder", "camera_grid", "lidar_encoder", "fusion", "regions")
NEEDED: Mapping[str, set[str]] = {
    "camera_encoder": {"image", "rays", "picture", "features", "unfamiliar"},
    "camera_grid": {"features", "pixel", "log_depth", "valid", "grid", "answer"},
    "lidar_encoder": {"raster", "grid", "answer", "unfamiliar"},
    "fusion": {"trust", "output", "share"},
    "regions": {"crops", "about", "classes", "colours"},
}
"""Inputs and outputs that every model has."""
FIRST_LOOK = 0.3
"""What the grid gives less than this part of the wanted probability, no image can mend."""
LEAST_TRUST = 0.01
"""What is there is never believed less: with a trust of 0 it would count as missing."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What one tick's cameras and lidars say together.

    Attributes:
        objects: most probable first, in base_link at the tick, without track ids.
        share: source name to its part in the objects; sums to 1 where there are objects or,
            without any, over the cells.
        aleatoric_m2: source name to the mean position variance [m^2] that it alone predicts
            where the objects are; absent without objects.
        found, looks: what they were judged by: all that the grid gave, in its places, and what
            each image says of it; in another order and of more objects.
    """

    objects: tuple[FusedObject, ...]
    share: Mapping[str, float]
    aleatoric_m2: Mapping[str, float]
    found: Found | None = None
    looks: Mapping[str, Looks] = field(default_factory=dict)


NOTHING = Detections((), {}, {})


@dataclass(frozen=True, eq=False)
class _Said:
    """What some sensors say on the grid: objects, shares by cell, and what calibrates them.

    Attributes:
        found, share, calibration: of the objects.
        placed, lidar: the sensors on the grid; None where there are none.
        believed: (FEATURE_CELLS, FEATURE_CELLS), the highest trust in any that sees a cell.
    """

    found: Found
    share: Array
    calibration: Calibration
    placed: PlacedCameras | None = None
    lidar: LidarFeature | None = None
    believed: Array = field(default_factory=lambda: np.zeros((), np.float32))


class Detector:
    """The shipped network: one backend for each of its graphs.

    Raises:
        ModelError: the folder's manifest does not name a graph, or a graph is of another version.
        BackendError: a graph cannot be loaded.
    """

    def __init__(
        self, folder: ModelFolder, config: PerceptionConfig,
        calibration: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Loads the graphs; another calibration than the manifest's is for who fits one."""
        self._config = config
        calibration = folder.manifest.calibration if calibration is None else calibration
        kind = BACKENDS[config.backend]
        self._graphs: dict[str, Backend] = {}
        # Without a fusion on the grid, what the modalities find is combined.
        self._late = folder.manifest.inputs.get("fusion") == "late"
        for name in GRAPHS:
            if name == "fusion" and self._late:
                continue
            graph = kind(folder.path(f"{name}.onnx"), config.threads)
            graph.activate()
            missing = NEEDED[name] - graph.inputs.keys() - graph.outputs.keys()
            if missing:
                raise ModelError(
                    f"{folder.root}: {name}.onnx has no {', '.join(sorted(missing))}: it was "
                    "exported by another version of this package; export the model again"
                )
            self._graphs[name] = graph
        self._calibration = {
            subset: Calibration.from_dict(calibration.get(subset, {}))
            for subset in ("camera", "lidar", "both")
        }
        self._familiar = {
            name: Familiar(**calibration.get("familiar", {}).get(name, {}))
            for name in ("camera", "lidar")
        }
        inputs = {} if self._late else self._graphs["fusion"].inputs
        # What stands in for a modality that is not there, by its channels.
        self._channels = {name: int(spec.shape[1] or 1) for name, spec in inputs.items()}
        # Such a strategy gives, where one modality is alone, what that one says: it need not run.
        self._alone_stands = self._late or {"by_camera", "by_lidar"} <= inputs.keys()

    def close(self) -> None:
        """Frees the networks."""
        for graph in self._graphs.values():
            graph.deactivate()

    def encode_camera(self, image: PreparedImage, source: str = "camera") -> CameraFeature:
        """Runs the camera encoder; needs neither the tick nor any other sensor."""
        height, width = image.image.shape[:2]
        rays = ray_planes(image.intrinsics, image.base_from_camera, (width, height))
        # Where there is no picture, nothing is familiar.
        picture = np.zeros((1, 1, *rays.shape[1:]), np.float32)
        x0, y0, x1, y1 = image.valid
        picture[:, :, -(-y0 // STRIDE) : y1 // STRIDE, -(-x0 // STRIDE) : x1 // STRIDE] = 1.0
        result = self._graphs["camera_encoder"].infer(
            {"image": image.image[None], "rays": rays[None], "picture": picture}
        )
        epistemic = self._familiar["camera"].epistemic(float(result["unfamiliar"][0]))
        return CameraFeature(source, result["features"], image, epistemic)

    def encode_lidar(self, scan: PreparedScan, source: str = "lidar") -> LidarFeature:
        """Rasterises the points and runs the lidar encoder."""
        result = self._graphs["lidar_encoder"].infer({"raster": rasterize(scan.points)[None]})
        # Of a scan that met nothing, it is known that it says nothing.
        distance = float(result["unfamiliar"][0]) if len(scan.points) else 0.0
        epistemic = self._familiar["lidar"].epistemic(distance)
        return LidarFeature(source, result["grid"], result["answer"], scan, epistemic)

    def detect(
        self,
        cameras: Sequence[CameraFeature],
        lidars: Sequence[LidarFeature],
        placed: PlacedCameras | None = None,
        trust: Mapping[str, float] | None = None,
        apart: Collection[str] = (),
    ) -> Detections:
        """Fuses what is there; with neither cameras nor lidars there is nothing.

        Args:
            cameras: any number, of different sources.
            lidars: any number; several are merged into one cloud first.
            placed: what `place` made of the same cameras; None makes it now.
            trust: how far each source is believed, 0..1; fully where nothing is said.
            apart: cameras that see the world in another place than the lidars do. What they find
                alone and what the others find is matched and combined, as late fusion does.
        """
        # A scan that met nothing says nothing.
        lidars = [lidar for lidar in lidars if len(lidar.scan.points)]
        if not cameras and not lidars:
            return NOTHING
        sources = [camera.source for camera in cameras] + [lidar.source for lidar in lidars]
        trust = {name: max((trust or {}).get(name, 1.0), LEAST_TRUST) for name in sources}
        odd = [each for each in cameras if lidars and (self._late or each.source in apart)]
        rest = [each for each in cameras if each not in odd]
        if odd:
            # That both are doubted where they contradict each other is no reason to believe in
            # nothing: how far each is doubted counts against the other.
            highest = max(trust.values())
            trust = {name: value / highest for name, value in trust.items()}
        said = [self._said(rest, lidars, None if odd else placed, trust)]
        if odd:
            said.append(self._said(odd, [], None if rest else placed, trust))
            said.append(self._combined(said[1], said[0]))
        found, share, calibration = said[-1].found, said[-1].share, said[-1].calibration
        looks = self._look(found, cameras)
        if calibration.depth_weight and looks:
            found = moved_along_rays(found, looks, calibration.depth_weight, trust)
            looks = self._look(found, cameras)
        judgement = judge(found.class_logits, looks, calibration, trust)

        rows = np.flatnonzero(judgement.probability >= self._config.score_threshold)
        rows = rows[np.argsort(-judgement.probability[rows], kind="stable")]
        lifts: dict[str, LiftGeometry] = {}
        variance: dict[str, float] = {}
        names = [lidar.source for lidar in lidars]
        for part in said:
            lifts |= part.placed.lifts if part.placed else {}
            variance |= predicted_variance(found.cells[rows], part.placed, part.lidar, names)
        support = self._support(found.cells, share, judgement, lifts, lidars)
        return Detections(
            _objects(found, judgement, calibration, support, rows),
            self._shares(judgement.probability[rows], support, rows, share, cameras, lidars),
            variance,
            found,
            looks,
        )

    def _said(
        self, cameras: Sequence[CameraFeature], lidars: Sequence[LidarFeature],
        placed: PlacedCameras | None, trust: Mapping[str, float],
    ) -> _Said:  # fmt: skip
        """What these say, fused on the grid; there is at least one.

        Args:
            cameras, lidars: any number.
            placed: the cameras on the grid, or None to place them now.
            trust: in each source.
        """
        placed = (placed or self.place(cameras)) if cameras else None
        merged = self._merge(lidars) if lidars else None
        believed = np.zeros((2, FEATURE_CELLS, FEATURE_CELLS), np.float32)
        if placed:
            believed[0] = _over_cells(placed.lifts, trust)
        if lidars:
            believed[1] = sum(trust[n] * part for n, part in _by_points(lidars).items())
        output, share = self._fuse(cameras, placed, merged, believed)
        calibration = self._calibration[
            "both" if cameras and lidars else "camera" if cameras else "lidar"
        ]
        least = FIRST_LOOK * self._config.score_threshold
        found = decode(output, calibration, least, self._config.max_objects)
        return _Said(found, share, calibration, placed, merged, believed.max(axis=0))

    def _combined(self, alone: _Said, rest: _Said) -> _Said:
        """What cameras say that were not fused with the rest, and what that says, together."""
        by_camera, by_rest = (np.maximum(each.believed, LEAST_TRUST) for each in (alone, rest))
        found, share = late.found_by_both(
            (alone.found, rest.found),
            (alone.calibration, rest.calibration),
            (by_camera, by_rest),
            rest.share,
            self._config.max_objects,
        )
        # Logits and variances are calibrated by now; a late model is, on top of that.
        calibration = self._calibration["both"]
        if not self._late:
            calibration = calibration.without_grid()
        return _Said(found, share, calibration)

    def _points(
        self, cameras: Sequence[CameraFeature], lidar: LidarFeature | None
    ) -> dict[str, Array]:
        """What a fusion is fed with that reads painted points."""
        points = lidar.scan.points if lidar else np.zeros((0, 4), np.float32)
        shape = (self._channels["paint"], RASTER, RASTER)
        painted = paint(points, cameras) if cameras else np.zeros(shape, np.float32)
        return {"raster": rasterize(points)[None], "paint": painted[None]}

    def _fuse(
        self, cameras: Sequence[CameraFeature], placed: PlacedCameras | None,
        lidar: LidarFeature | None, believed: Array,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Output maps (maps.PACKED, ...) and shares (2, ...) on all feature cells.

        Args:
            cameras: any number.
            placed: the same on the grid, if there are any.
            lidar: all lidars as one, if there are any.
            believed: (2, FEATURE_CELLS, FEATURE_CELLS), trust of both; 0 where nothing is seen.
        """
        present = (believed > 0.0).astype(np.float32)
        # Where no camera sees, the lidars alone speak, or nobody.
        output = lidar.answer[0].copy() if lidar else maps.unseen()
        if self._alone_stands and (placed is None or lidar is None):
            if placed:
                inside = output[placed.window.of_maps]
                seen = present[0][placed.window.of_cells] > 0.0
                np.copyto(inside, placed.answer[0], where=seen)
            return output, present

        window = placed.window if placed else Window()
        given = {"trust": believed[None]}
        if lidar:
            given |= {"lidar": lidar.grid, "by_lidar": lidar.answer}
        feeds = {name: np.ascontiguousarray(each[window.of_maps]) for name, each in given.items()}
        if placed:
            feeds |= {"camera": placed.grid, "by_camera": placed.answer}
        if "paint" in self._channels:
            feeds |= self._points(cameras, lidar)
        cells = feeds["trust"].shape[2:]
        fused = self._graphs["fusion"].infer(
            {
                name: feeds[name] if name in feeds else np.zeros((1, count, *cells), np.float32)
                for name, count in self._channels.items()
            }
        )
        output[window.of_maps], present[window.of_maps] = fused["output"][0], fused["share"][0]
        return output, present

    def _lift(self, camera: CameraFeature) -> LiftGeometry:
        image = camera.image
        height, width = image.image.shape[:2]
        x0, y0, x1, y1 = image.valid
        return lift_geometry(
            image.intrinsics,
            camera.tick_from_base @ image.base_from_camera,
            (float(x0), float(y0), float(x1), float(y1)),
            (width, height),
        )

    def place(self, cameras: Sequence[CameraFeature]) -> PlacedCameras:
        """Lifts the images of at least one camera onto the grid, where they lie at the tick."""
        lifts = {camera.source: self._lift(camera) for camera in cameras}
        window = Window.around(any_covered(lifts)) if self._alone_stands else Window()
        geometry = {
            name: np.stack([getattr(lift, name)[window.of_cells] for lift in lifts.values()])
            for name in ("pixel", "log_depth", "valid")
        }
        features = np.concatenate([camera.features for camera in cameras])
        result = self._graphs["camera_grid"].infer({"features": features, **geometry})
        return PlacedCameras(lifts, window, result["grid"], result["answer"])

    def _look(self, found: Found, cameras: Sequence[CameraFeature]) -> dict[str, Looks]:
        """What each image shows where the objects are."""
        looks: dict[str, Looks] = {}
        for camera in cameras:
            looks[camera.source] = said = Looks.blind(len(found))
            image, intrinsics, valid = camera.image.sharpest()
            base_from_camera = camera.tick_from_base @ camera.image.base_from_camera
            regions = cut(image, intrinsics, base_from_camera, valid, found.boxes)
            if len(regions.rows):
                judged = self._graphs["regions"].infer(
                    {"crops": regions.crops, "about": regions.about}
                )
                said.classes[regions.rows] = np.exp(judged["classes"].astype(np.float64))
                said.in_view[regions.rows] = True
                said.claimed[regions.rows] = regions.claimed
                said.colours[regions.rows] = np.exp(judged["colours"].astype(np.float64))
                if "depth" in judged:
                    said.depth[regions.rows] = judged["depth"]
                said.eye[:] = base_from_camera[:2, 3]
        return looks

    def _merge(self, lidars: Sequence[LidarFeature]) -> LidarFeature:
        """One feature for all lidars; only several, or a scan of another instant, cost a run."""
        first = lidars[0]
        if len(lidars) == 1 and np.allclose(first.tick_from_base, np.eye(4), atol=1e-4):
            return first
        clouds = []
        for lidar in lidars:
            points = lidar.scan.points.copy()
            points[:, :3] = apply(lidar.tick_from_base, points[:, :3])
            clouds.append(points)
        return self.encode_lidar(replace(first.scan, points=np.concatenate(clouds)), first.source)

    def _support(
        self, cells: NDArray[np.int64], share: Array, judgement: Judgement,
        lifts: Mapping[str, LiftGeometry], lidars: Sequence[LidarFeature],
    ) -> dict[str, Float]:  # fmt: skip
        """By source, (n,) its part in each object: half for where it is, half for what it is.

        Where it is, is said by its cell, in which a modality's share is divided among the sources
        that see it. What it is, is said by the cell as well, and by the second look.
        """
        x, y = (cells // maps.FINER).T
        by_camera, by_lidar = share[:, x, y].astype(np.float64)
        seeing = {name: lift.covered[x, y].astype(np.float64) for name, lift in lifts.items()}
        count = np.maximum(sum(seeing.values(), start=np.zeros(len(cells))), 1.0)
        where = {name: by_camera * each / count for name, each in seeing.items()}
        where |= {name: by_lidar * part for name, part in _by_points(lidars).items()}
        looks = judgement.shares
        left = 1.0 - 0.5 * sum(looks.values(), start=np.zeros(len(cells)))
        return {name: left * each + 0.5 * looks.get(name, 0.0) for name, each in where.items()}

    @staticmethod
    def _shares(
        probability: Float, support: Mapping[str, Float], rows: NDArray[np.int64], share: Array,
        cameras: Sequence[CameraFeature], lidars: Sequence[LidarFeature],
    ) -> dict[str, float]:  # fmt: skip
        """Each source's part in this output: over the objects, by their probability."""
        result = {name: float(probability @ each[rows]) for name, each in support.items()}
        if sum(result.values()) <= 0.0:
            by_camera, by_lidar = (float(value) for value in share.mean(axis=(1, 2)))
            result = {camera.source: by_camera / len(cameras) for camera in cameras}
            result |= {name: by_lidar * part for name, part in _by_points(lidars).items()}
        total = sum(result.values())
        return {name: value / total if total else 0.0 for name, value in result.items()}


def _over_cells(lifts: Mapping[str, LiftGeometry], trust: Mapping[str, float]) -> Array:
    """(FEATURE_CELLS, FEATURE_CELLS), the mean trust of the images that see each cell; else 0."""
    seen = np.stack([lift.covered for lift in lifts.values()]).astype(np.float32)
    each = np.array([trust[name] for name in lifts], np.float32)
    mean: Array = np.tensordot(each, seen, 1) / np.maximum(seen.sum(axis=0), 1.0)
    return mean


def _by_points(lidars: Sequence[LidarFeature]) -> dict[str, float]:
    """Each lidar's part in what all of them say: by the points that it gave."""
    counts = {lidar.source: len(lidar.scan.points) for lidar in lidars}
    total = max(sum(counts.values()), 1)
    return {name: count / total for name, count in counts.items()}


def _objects(
    found: Found, judgement: Judgement, calibration: Calibration, support: Mapping[str, Float],
    rows: NDArray[np.int64],
) -> tuple[FusedObject, ...]:  # fmt: skip
    """Those objects, in that order."""
    spread = covariances(
        calibrated_log_variance(
            found.log_variance, found.centre, judgement.probability, calibration
        ),
        found.centre,
    )
    colours = (*COLOURS, UNKNOWN_COLOUR)
    assert NO_COLOUR == -1  # the last of them
    return tuple(
        FusedObject(
            track_id=-1,
            class_name=CLASSES[judgement.kind[row]],
            class_probability=float(judgement.probability[row]),
            colour=colours[judgement.colour[row]],
            colour_probability=float(judgement.colour_probability[row]),
            centre=found.centre[row],
            size=found.size[row],
            yaw=float(found.yaw[row]),
            velocity=np.zeros(3),
            position_covariance=spread[row],
            support={name: float(each[row]) for name, each in support.items() if each[row] > 0.0},
            classes=dict(zip(CLASSES, judgement.classes[row].tolist(), strict=True)),
            colours=dict(zip(COLOURS, judgement.colours[row].tolist(), strict=True)),
        )
        for row in rows.tolist()
    )
