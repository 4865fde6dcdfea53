"""The fusion node: ROS topics in, the pipeline's answers out. Wiring only.

Callbacks enqueue; one worker thread owns the pipeline; the executor's thread never waits for it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from mm_fusion_ros.config import ConfigError, FusionConfig
from mm_fusion_ros.outputs import FusedOutput
from mm_fusion_ros.ros.assembly import Assembly, assemble
from mm_fusion_ros.ros.execution import run_node
from mm_fusion_ros.ros.inputs import Inputs
from mm_fusion_ros.ros.monitor import Monitor, Status
from mm_fusion_ros.ros.parameters import Parameters
from mm_fusion_ros.ros.pictures import Pictures
from mm_fusion_ros.ros.publishers import Publishers
from mm_fusion_ros.ros.worker import Arrival, Worker
from mm_fusion_ros.samples import Modality, Sample

# Not zero: the events executor never leaves a timer without a period.
AUTOSTART_S = 0.001
# Images and clouds: a queue of them is a delay, and the latest is what matters.
HEAVY = (Modality.CAMERA.value, Modality.LIDAR.value)

Success = TransitionCallbackReturn.SUCCESS
Failure = TransitionCallbackReturn.FAILURE


class FusionNode(LifecycleNode):
    """Fused objects, pose and target from every configured sensor.

    Args:
        make_pipeline: builds the pipeline when the node is configured.
        arguments: passed on to `rclpy` (name, parameter overrides, context).
    """

    def __init__(
        self,
        make_pipeline: Callable[[FusionConfig], Assembly] = assemble,
        **arguments: Any,
    ) -> None:
        super().__init__("fusion", **arguments)
        self._make_pipeline = make_pipeline
        self.parameters = Parameters(self)
        self.options = self.parameters.node_config()
        self._assembly: Assembly | None = None
        self._worker: Worker | None = None
        self._inputs: Inputs | None = None
        self._voice: Publishers | None = None
        self._pictures: Pictures | None = None
        self._monitor = Monitor(
            self, self.options.watchdog_s, status=self._status, withdraw=self._withdraw
        )
        self._jump = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=Duration(nanoseconds=1), min_backward=Duration(nanoseconds=-1),
                on_clock_change=True,
            ),
            post_callback=self._on_time,
        )  # fmt: skip
        if self.options.autostart:
            # Not here: loading a model takes a while, and a constructor must not block.
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._autostart = self.create_timer(AUTOSTART_S, self._start, clock=steady)

    # ------------------------------------------------------------------ lifecycle

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Reads the parameters, loads the model, opens the topics."""
        try:
            config = self.parameters.fusion_config()
            assembly = self._make_pipeline(config)
        except ConfigError as error:
            self._monitor.alarm(f"not configured: {error}")
            return Failure
        except Exception as error:  # noqa: BLE001 - a model may be anything; the process lives
            self._monitor.alarm(f"not configured: {type(error).__name__}: {error}")
            return Failure
        self._assembly = assembly
        self._voice = Publishers(self, self.options, config.grounding.resend_m)
        self._pictures = Pictures(self, config, self.options.base_frame)
        self._inputs = Inputs(
            self,
            config,
            self.options,
            offer=self._offer,
            on_change=self._wake,
            warn=self._monitor.note,
        )
        self._worker = Worker(
            assembly.pipeline,
            self._convert,
            self._on_output,
            ros_ns=self._now_ns,
            steady_ns=time.monotonic_ns,
            on_reject=self._monitor.note,
            on_error=self._monitor.failed,
            durations=assembly.stopwatch.summary,
            anchor=config.sync.anchor,
            depth={
                source.name: self.options.queue_depth
                for source in config.sources
                if source.modality in HEAVY
            },
            patience_ns=int(self.options.transform_patience_ms * 1e6),
        )
        self.parameters.locked = True
        return Success

    def on_activate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Starts the worker."""
        if self._worker is not None:
            # What was loaded lives as long as the node: the collector need not walk it every time.
            gc.collect()
            gc.freeze()
            self._worker.start()
            self._monitor.activate()
        return Success

    def on_deactivate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stops the worker, and withdraws the target."""
        self._stop()
        return Success

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Closes the topics; parameters may change again."""
        self._release()
        return Success

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """As deactivating and cleaning up."""
        self._stop()
        self._release()
        return Success

    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Gives everything back, so that the node can be configured again."""
        return self.on_shutdown(_state)

    def close(self) -> None:
        """Ends the worker; for the end of the process, when no transition is made."""
        self._monitor.close()
        self._end_worker()

    def _end_worker(self) -> None:
        if self._worker is not None and not self._worker.stop():
            self._monitor.note("fusion", "busy", "the worker did not end in time")

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() == Success:
            self.trigger_activate()

    def _stop(self) -> None:
        self._monitor.deactivate()
        self._end_worker()
        self._withdraw()

    def _release(self) -> None:
        for part in (self._inputs, self._voice, self._pictures, self._assembly):
            if part is not None:
                part.close()
        self._inputs = self._voice = self._pictures = None
        self._worker = self._assembly = None
        self.parameters.locked = False

    # ------------------------------------------------------------------ the executor's thread

    def _offer(self, source: str, message: Any) -> None:
        if self._worker is not None:
            self._worker.offer(source, message)

    def _wake(self) -> None:
        if self._worker is not None:
            self._worker.wake()

    def _on_time(self, jump: TimeJump) -> None:
        if jump.delta.nanoseconds < 0 and self._inputs is not None:
            self._inputs.transforms.clear()
        self._wake()

    def _withdraw(self) -> None:
        if self._voice is not None and rclpy.ok(context=self.context):
            self._voice.withdraw(self._now_ns())

    def _status(self) -> Status:
        if self._inputs is None or self._worker is None:
            return Status()
        arrivals = dict(self._inputs.arrivals)
        self._inputs.arrivals = dict.fromkeys(arrivals, 0)
        return Status(arrivals, self._worker.snapshot())

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # ------------------------------------------------------------------ the worker's thread

    def _convert(self, arrival: Arrival, patient: bool) -> Sample | None:
        inputs, pictures = self._inputs, self._pictures
        if inputs is None or pictures is None:
            return None
        sample = inputs.convert(arrival, patient)
        if sample is not None:
            pictures.keep(sample)
        return sample

    def _on_output(self, output: FusedOutput, latency_ns: int | None) -> None:
        publishers, pictures = self._voice, self._pictures
        if publishers is None or pictures is None or not rclpy.ok(context=self.context):
            return
        publishers.publish(output)
        self._monitor.answered(output, latency_ns)
        pictures.publish(output)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the node until SIGINT or SIGTERM."""
    run_node(FusionNode, args)


if __name__ == "__main__":
    main()
