"""A fusion node in a process of its own, around a pipeline whose inference takes a while.

    python node_process.py SECONDS_OF_INFERENCE [--ros-args ...]

Prints "ticking" once it infers.
"""

from __future__ import annotations

import sys

from scripted_pipeline import ScriptedPipeline

from mm_fusion_ros.config import FusionConfig
from mm_fusion_ros.outputs import FusedOutput
from mm_fusion_ros.ros.assembly import Assembly
from mm_fusion_ros.ros.execution import run_node
from mm_fusion_ros.ros.fusion_node import FusionNode


class SlowPipeline(ScriptedPipeline):
    """Ticks from the start, by the clock, and says so."""

    def next_deadline_ns(self) -> int | None:
        return self._deadline_ns or 0

    def tick(self, now_ns: int) -> FusedOutput | None:
        print("ticking", flush=True)
        return super().tick(now_ns)


def make(config: FusionConfig) -> Assembly:
    """The pipeline."""
    return Assembly(SlowPipeline(config, inference_s=float(sys.argv[1])))


if __name__ == "__main__":
    run_node(lambda: FusionNode(make), [sys.argv[0], *sys.argv[2:]])
