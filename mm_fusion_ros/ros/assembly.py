"""The pipeline as the live node runs it: shipped weights, encoders in threads, stages timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.inference.model_folder import ModelFolder
from mm_fusion_ros.localization.odometry import LidarOdometry
from mm_fusion_ros.perception.detector import Detector
from mm_fusion_ros.pipeline import Pipeline
from mm_fusion_ros.ros.worker import Owned
from mm_fusion_ros.scheduling import Stopwatch, Threads

ENCODER_THREADS = 2


def nothing() -> None:
    """Closes nothing."""


@dataclass(frozen=True, eq=False)
class Assembly:
    """A pipeline with what was made for it.

    Attributes:
        stopwatch: times its stages.
        close: ends its threads; called when the pipeline is no longer used.
    """

    pipeline: Owned
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    close: Callable[[], None] = nothing


def assemble(config: FusionConfig) -> Assembly:
    """Loads the weights and puts everything together.

    Raises:
        ModelError: the model folder is incomplete or was altered; the file is named.
        BackendError: a network cannot be loaded.
    """
    stopwatch = Stopwatch(time.monotonic_ns)
    detector = Detector(ModelFolder.open(config.perception.model), config.perception)
    threads = Threads(ENCODER_THREADS)
    pipeline = Pipeline(
        config,
        detector=detector,
        scheduler=threads,
        stopwatch=stopwatch,
        lidar_odometry=LidarOdometry,
        keep_up=True,
    )

    def close() -> None:
        threads.close()
        pipeline.close()
        detector.close()

    return Assembly(pipeline, stopwatch, close)
