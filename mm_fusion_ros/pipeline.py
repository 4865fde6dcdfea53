"""The whole path on one page: samples in, one fused answer a tick out.

    pipeline.push(sample, now_ns)      # as samples come
    pipeline.next_deadline_ns()        # when to tick
    pipeline.tick(now_ns)              # objects, pose, target, and why each sensor is believed

The live node, bag replay, the simulator and the evaluation all drive this object. It imports no
ROS, reads no clock, and with the inline scheduler is deterministic: the same pushes and ticks give
the same output, bit for bit, on one backend and machine. One thread owns it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.grounding.target import TargetKeeper
from mm_fusion_ros.localization.enu import LocalPlane
from mm_fusion_ros.localization.fallback import OdometryFallback
from mm_fusion_ros.localization.filter import PoseFilter
from mm_fusion_ros.localization.motion import MotionBuffer
from mm_fusion_ros.localization.odometry import LidarOdometry
from mm_fusion_ros.outputs import FusedObject, FusedOutput, ObstacleGrid
from mm_fusion_ros.perception.agreement import Comparisons, agreement, turned_image
from mm_fusion_ros.perception.ahead import LiftAhead
from mm_fusion_ros.perception.detector import NOTHING, Detections, Detector
from mm_fusion_ros.perception.evidence import Evidence, Feature, obstacle_points
from mm_fusion_ros.perception.features import CameraFeature, LidarFeature, PlacedCameras
from mm_fusion_ros.perception.obstacle_memory import ObstacleMemory
from mm_fusion_ros.perception.obstacles import obstacle_grid
from mm_fusion_ros.perception.tracking import Tracker, may_move
from mm_fusion_ros.reliability.gate import Gate
from mm_fusion_ros.samples import (
    CameraFrame,
    Command,
    Float,
    GpsFix,
    ImuSample,
    LidarScan,
    Modality,
    OdometrySample,
    Sample,
    modality_of,
)
from mm_fusion_ros.scheduling import Inline, Pending, Scheduler, Stopwatch
from mm_fusion_ros.sensors.camera import CameraIntake, PreparedImage
from mm_fusion_ros.sensors.gps import GpsIntake
from mm_fusion_ros.sensors.imu import ImuIntake
from mm_fusion_ros.sensors.language import CommandIntake
from mm_fusion_ros.sensors.lidar import LidarIntake, PreparedScan
from mm_fusion_ros.sensors.odometry import OdometryIntake
from mm_fusion_ros.sensors.rejection import Rejected
from mm_fusion_ros.sync.synchronizer import DeadlineSynchronizer, TickSet, Verdict

log = logging.getLogger(__name__)
SEEING = (Modality.CAMERA, Modality.LIDAR)
SAME_INSTANT_NS = 5_000_000
"""A camera and a lidar this near are one instant, however the robot moves."""


class Pipeline:
    """Synchronizes, encodes, fuses, localizes and grounds; see the module's description.

    Args:
        config: everything; checked by `config.load` or `config.from_dict`.
        detector: the networks; without them cameras and lidars give obstacles and trust only.
        scheduler: who encodes; inline by default.
        stopwatch: times the stages; none by default.
        lidar_odometry: makes odometry from scans, for when no topic gives any; none by default.
        keep_up: answers only the newest instant that is due: where a tick takes longer than a
            sweep, answering every one would make each later than the one before.
    """

    def __init__(
        self,
        config: FusionConfig,
        *,
        detector: Detector | None = None,
        scheduler: Scheduler | None = None,
        stopwatch: Stopwatch | None = None,
        lidar_odometry: Callable[[], LidarOdometry] | None = None,
        keep_up: bool = False,
    ) -> None:
        self.config = config
        self._detector = detector
        self._scheduler = scheduler or Inline()
        self._stopwatch = stopwatch or Stopwatch()
        self._sources = frozenset(source.name for source in config.sources)

        self._camera_intake = CameraIntake(config.camera)
        self._lidar_intake = LidarIntake(config.lidar)
        self._gps_intake = GpsIntake(config.gps)
        self._odometry_intake = OdometryIntake(config.odometry)
        self._imu_intake = ImuIntake()
        self._command_intake = CommandIntake(config.command)

        self._synchronizer: DeadlineSynchronizer[Evidence | None] = DeadlineSynchronizer(
            config.sources, config.sync
        )
        self._gate = Gate(config.sources, config.reliability)
        self._motion = MotionBuffer()
        self._filter = PoseFilter(config.localization)
        self._fallback = OdometryFallback(
            config.localization.lidar_odometry,
            is_expected=any(s.modality == Modality.ODOMETRY.value for s in config.sources),
            make=lidar_odometry,
        )
        self._keep_up = keep_up
        self._ahead = LiftAhead(self._scheduler, self._place)
        self._tracker = Tracker(config.tracking)
        self._obstacle_memory = ObstacleMemory(config.obstacles)
        self._keeper = TargetKeeper(config.grounding, config.command)
        self._comparisons = Comparisons(
            self._scheduler, self._stopwatch.timed("compare", agreement)
        )
        self._epoch = 0
        self._frame = self._motion.frame
        self._rejected: dict[str, Counter[str]] = {}
        self._complained: set[tuple[str, str, str]] = set()

    def push(self, sample: Sample, now_ns: int, *, ahead: bool = True) -> None:
        """Takes one sample; bad ones are counted by reason and never raise.

        Args:
            sample: of a configured source.
            now_ns: when it arrived, on the clock that stamps the samples [ns].
            ahead: encodes it now if the next tick will take it, not at the tick.
        """
        try:
            with self._stopwatch.measure(f"push_{modality_of(sample).value}"):
                self._push(sample, now_ns, ahead)
        except Rejected as rejected:
            self.reject(sample.source, rejected.reason, rejected.detail)
        except Exception as error:  # noqa: BLE001 - one sensor's failure must not stop the others
            self._failed(sample.source, "exception", error)

    def reject(self, source: str, reason: str, detail: str = "") -> None:
        """Counts a message that never became a sample."""
        self._rejected.setdefault(source, Counter())[reason] += 1
        self._gate.reject(source)
        log.debug("%s: %s: %s", source, reason, detail)

    def _failed(self, source: str, where: str, error: Exception) -> None:
        """Counts an exception, and logs it once for each cause, not for each message."""
        self.reject(source, where, repr(error))
        cause = (source, where, type(error).__name__)
        if cause not in self._complained:
            self._complained.add(cause)
            log.error("%s: %s", source, where, exc_info=error)

    def next_deadline_ns(self) -> int | None:
        """When to call `tick` [ns]; in the past when a tick is due. Ask again after each push."""
        return self._synchronizer.next_deadline_ns()

    def tick(self, now_ns: int) -> FusedOutput | None:
        """The fused answer of the oldest instant that is due, or None.

        One that keeps up answers the newest and passes over the others.
        """
        due = self._synchronizer.tick(now_ns)
        newer = due
        while newer is not None and self._keep_up and self._is_due(now_ns):
            newer = self._synchronizer.tick(now_ns)
            due = newer or due
        self._follow_clock()
        if due is None:
            return None
        with self._stopwatch.measure("tick"):
            return self._answer(due, now_ns)

    def _is_due(self, now_ns: int) -> bool:
        deadline_ns = self._synchronizer.next_deadline_ns()
        return deadline_ns is not None and deadline_ns <= now_ns

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Samples by source and fate: accepted, emitted, and each reason for a drop."""
        result = {name: dict(counts) for name, counts in self._synchronizer.counters().items()}
        for name, reasons in self._rejected.items():
            for reason, count in reasons.items():
                of_source = result.setdefault(name, {})
                of_source[reason] = of_source.get(reason, 0) + count
        return result

    @property
    def plane(self) -> LocalPlane | None:
        """The `map` frame on earth; None before the first accepted fix."""
        return self._filter.plane

    def reset(self) -> None:
        """Forgets all that was seen; keeps the counters."""
        self._synchronizer.reset()
        self._forget()

    def close(self) -> None:
        """Ends what runs in threads of its own; the owner closes what it gave."""
        self._fallback.close()

    def _forget(self) -> None:
        self._ahead.reset()
        self._comparisons.reset()
        self._gate.reset()
        self._fallback.reset()
        self._motion.reset()
        self._filter.reset()
        self._tracker.reset()
        self._obstacle_memory.reset()
        self._keeper.reset()

    def _follow_clock(self) -> None:
        """Where the clock jumped back, everything begins anew, all at once."""
        if self._synchronizer.epoch != self._epoch:
            self._epoch = self._synchronizer.epoch
            self._forget()

    def _follow_odometry(self) -> None:
        """What was kept in another odometry frame than the one of now is where it never was."""
        if self._motion.frame != self._frame:
            self._frame = self._motion.frame
            self._tracker.reset()
            self._obstacle_memory.reset()
            self._keeper.lose_place()

    def _push(self, sample: Sample, now_ns: int, ahead: bool) -> None:
        if sample.source not in self._sources:
            raise Rejected("unknown_source", f"{sample.source!r} is not among the sources")

        # Validate: what is wrong is refused before it touches any state.
        sample, quality, evidence = self._validated(sample)

        # Synchronize: a stamp that cannot be used ends here, counted.
        verdict = self._synchronizer.push(sample.source, sample.stamp_ns, evidence, now_ns)
        self._follow_clock()
        if verdict is not Verdict.ACCEPTED:
            return
        stamp_ns = self._synchronizer.stamp_of(sample.source, sample.stamp_ns, now_ns)
        sample = replace(sample, stamp_ns=stamp_ns)
        waits = evidence is not None and evidence.prepared is None
        self._gate.observe(
            sample.source, stamp_ns, quality, self._motion.moving(stamp_ns), more_follows=waits
        )

        # Use at once what need not wait for the tick.
        if evidence is not None:
            if ahead:
                self._encode_early(evidence, sample)
            self._register(evidence, stamp_ns)
        elif isinstance(sample, OdometrySample):
            self._hear(sample)
        elif isinstance(sample, GpsFix):
            self._filter.push_gps(sample)
        elif isinstance(sample, Command):
            self._keeper.command(sample)

    def _validated(self, sample: Sample) -> tuple[Sample, Mapping[str, float], Evidence | None]:
        """The sample as its room accepts it, its quality figures, and what may be encoded of it.

        Raises:
            Rejected: it cannot be used.
        """
        if isinstance(sample, CameraFrame):
            return sample, self._camera_intake.check(sample), Evidence(frame=sample)
        if isinstance(sample, LidarScan):
            scan, quality = self._lidar_intake.accept(sample, self._motion.twist)
            return sample, quality, Evidence(prepared=scan)
        if isinstance(sample, GpsFix):
            return *self._gps_intake.accept(sample), None
        if isinstance(sample, OdometrySample):
            return *self._odometry_intake.accept(sample), None
        if isinstance(sample, ImuSample):
            return *self._imu_intake.accept(sample), None
        return self._command_intake.accept(sample), {}, None

    def _register(self, evidence: Evidence, stamp_ns: int) -> None:
        """Gives a scan to the lidar odometry, and takes the poses that it has ready."""
        if isinstance(evidence.prepared, PreparedScan):
            for pose in self._fallback.push(evidence.prepared.points, stamp_ns):
                self._move(pose)

    def _hear(self, sample: OdometrySample) -> None:
        if self._fallback.hear():
            # Poses came from the lidar until now, in a frame of its own.
            self._motion.reset()
            self._filter.reset()
        self._move(sample)

    def _move(self, sample: OdometrySample) -> None:
        self._motion.push(sample)
        self._filter.push_odometry(sample)

    def _encode(self, evidence: Evidence, source: str) -> None:
        """Has the sample encoded, unless it is already."""
        if evidence.frame is not None and evidence.prepared is None:
            with self._stopwatch.measure("prepare_camera"):
                image, quality = self._camera_intake.prepare(evidence.frame)
            # One that was knocked is used as it must stand now, by what the lidar sees.
            turn = self._gate.turn(source, evidence.frame.stamp_ns)
            evidence.prepared = turned_image(image, turn)
            self._gate.note_figures(source, quality)
        prepared, detector = evidence.prepared, self._detector
        if detector is None or evidence.feature is not None:
            return

        def encode() -> Feature:
            if isinstance(prepared, PreparedImage):
                with self._stopwatch.measure("encode_camera"):
                    return detector.encode_camera(prepared, source)
            assert prepared is not None
            with self._stopwatch.measure("encode_lidar"):
                return detector.encode_lidar(prepared, source)

        evidence.feature = self._scheduler.submit(encode)

    def _encode_early(self, evidence: Evidence, sample: Sample) -> None:
        """Encodes on arrival what the next tick will take; of a fast camera, no other frame."""
        if not self._synchronizer.is_wanted(sample.source, sample.stamp_ns):
            return
        self._encode(evidence, sample.source)
        if self._detector is None:
            return
        if isinstance(evidence.prepared, PreparedScan):
            points = evidence.prepared.points
            evidence.obstacles = self._scheduler.submit(lambda: self._grid_of(points))
        tick_ns = self._synchronizer.expected_stamp_ns()
        if isinstance(sample, CameraFrame) and tick_ns is not None:
            tick_from_base = self._motion.base_from_base(tick_ns, sample.stamp_ns)
            feature = cast(Pending[CameraFeature], evidence.feature)
            self._ahead.offer(sample.source, sample.stamp_ns, feature, tick_from_base)

    def _place(self, cameras: Sequence[CameraFeature]) -> PlacedCameras:
        assert self._detector is not None
        with self._stopwatch.measure("place"):
            return self._detector.place(cameras)

    def _answer(self, due: TickSet[Evidence | None], now_ns: int) -> FusedOutput:
        tick_ns = due.stamp_ns
        self._follow_odometry()

        # Collect the features that belong to this instant; a sensor that failed is left out.
        cameras: list[CameraFeature] = []
        lidars: list[LidarFeature] = []
        scans: list[tuple[Evidence, Float]] = []
        used: dict[str, int] = {}
        for name, entry in due.entries.items():
            # All that nobody encoded yet at once, before any of them is waited for.
            if entry.payload is not None:
                try:
                    self._encode(entry.payload, name)
                except Exception as error:  # noqa: BLE001 - it is left out, the others are not
                    self._failed(name, "exception", error)
        for name, entry in due.entries.items():
            if entry.payload is None:
                used[name] = entry.age_ns
                continue
            feature = self._feature_of(name, entry.payload)
            tick_from_base = self._motion.base_from_base(tick_ns, entry.stamp_ns)
            if feature is not None:
                self._gate.note_epistemic(name, feature.epistemic)
            if isinstance(feature, CameraFeature):
                cameras.append(replace(feature, tick_from_base=tick_from_base))
            elif isinstance(feature, LidarFeature):
                lidars.append(replace(feature, tick_from_base=tick_from_base))
            if isinstance(entry.payload.prepared, PreparedScan):
                scans.append((entry.payload, tick_from_base))
            if feature is not None or self._detector is None:
                used[name] = entry.age_ns

        # Compare: whether cameras and lidars see the same world, as of the tick before.
        self._note_agreement(now_ns)
        stamps = {name: entry.stamp_ns for name, entry in due.entries.items()}
        for lidar in lidars[:1]:
            self._compare(cameras, lidar, stamps, now_ns)

        # Believe: what is plainly broken has no say while another sensor works.
        seeing = [camera.source for camera in cameras] + [lidar.source for lidar in lidars]
        believed = self._gate.believed(seeing, now_ns)
        doubted = any(lidar.source not in believed for lidar in lidars)
        weight = {name: self._gate.trust(name, now_ns) for name in believed}
        cameras = [camera for camera in cameras if camera.source in believed]
        lidars = [lidar for lidar in lidars if lidar.source in believed]

        # Fuse: objects in base_link at the tick, then with ids and velocities.
        detections = self._detect(cameras, lidars, stamps, weight, now_ns)
        odom_from_base = self._motion.odom_from_base(tick_ns)
        with self._stopwatch.measure("track"):
            objects = self._tracker.update(detections.objects, odom_from_base, tick_ns)

        # Localize.
        pose = self._filter.estimate(tick_ns)

        # Judge: how far each source is believed, and why.
        reliability = self._gate.judge(
            now_ns,
            used_age_ns=used,
            object_shares=detections.share,
            aleatoric_m2=detections.aleatoric_m2,
            pose_shares=self._filter.shares(),
            gps=self._filter.gps_reliability(now_ns),
        )

        # Ground: the one thing to do next, or why not.
        trust = {name: r.trust for name, r in reliability.items() if r.modality in SEEING}
        target = self._keeper.update(objects, pose, tick_ns, trust)
        return FusedOutput(
            stamp_ns=tick_ns,
            objects=objects,
            reliability=reliability,
            pose=pose,
            target=target,
            obstacles=self._obstacles(scans, cameras, odom_from_base, tick_ns, objects, doubted),
            by_deadline=due.by_deadline,
        )

    def _note_agreement(self, now_ns: int) -> None:
        for camera, pending in self._comparisons.take().items():
            try:
                value = pending.result()
            except Exception as error:  # noqa: BLE001 - one sensor's failure must not stop the others
                self._failed(camera, "comparison_failed", error)
                continue
            if value is not None:
                self._gate.note_alignment(camera, value, now_ns)

    def _compare(
        self, cameras: list[CameraFeature], lidar: LidarFeature, stamps_ns: Mapping[str, int],
        now_ns: int,
    ) -> None:  # fmt: skip
        """Begins to find out how well each camera agrees with a lidar."""
        for camera in cameras:
            pair_ns = stamps_ns[camera.source], stamps_ns[lidar.source]
            # Without odometry nobody knows how the robot turned between the two.
            placed = all(self._motion.odom_from_base(stamp_ns) is not None for stamp_ns in pair_ns)
            known = placed or abs(pair_ns[0] - pair_ns[1]) <= SAME_INSTANT_NS
            if known and self._gate.is_comparable(camera.source, lidar.source, now_ns):
                self._comparisons.begin(camera, lidar)

    def _feature_of(self, name: str, evidence: Evidence) -> Feature | None:
        """The encoded sample; encoded now if nobody did before; None if that failed."""
        if self._detector is None:
            return None
        try:
            return evidence.feature.result() if evidence.feature else None
        except Exception as error:  # noqa: BLE001 - one sensor's failure must not stop the others
            self._failed(name, "encoder_failed", error)
            return None

    def _detect(
        self,
        cameras: list[CameraFeature],
        lidars: list[LidarFeature],
        stamps_ns: Mapping[str, int],
        trust: Mapping[str, float],
        now_ns: int,
    ) -> Detections:
        if self._detector is None:
            return NOTHING
        try:
            with self._stopwatch.measure("fuse"):
                placed = self._ahead.take(cameras, stamps_ns)
                apart = self._gate.apart([camera.source for camera in cameras], now_ns)
                return self._detector.detect(cameras, lidars, placed, trust, apart)
        except Exception as error:  # noqa: BLE001 - without objects now, the next tick may succeed
            self._failed(self.config.sync.anchor, "fusion_failed", error)
            return NOTHING

    def _obstacles(
        self, scans: list[tuple[Evidence, Float]], cameras: list[CameraFeature],
        odom_from_base: Float | None, tick_ns: int, objects: Sequence[FusedObject], doubted: bool,
    ) -> ObstacleGrid | None:  # fmt: skip
        """The grid of all scans at the tick, and of what is remembered where they see nothing.

        What moves, and what a lidar shows that is not believed, is not remembered.
        """
        points = obstacle_points(scans, cameras)
        if points is None:
            return None
        # One scan at the tick has had it made already.
        grid = self._grid_of(points) if isinstance(points, np.ndarray) else points.result()
        with self._stopwatch.measure("remember"):
            moving = [each for each in objects if may_move(each)]
            return self._obstacle_memory.complete(
                grid, odom_from_base, tick_ns, moving=moving, learn=not doubted
            )

    def _grid_of(self, points: NDArray[np.floating]) -> ObstacleGrid:
        with self._stopwatch.measure("obstacles"):
            return obstacle_grid(points, self.config.obstacles)
