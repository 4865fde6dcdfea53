"""The log of a run becomes a page."""

from __future__ import annotations

import json
from pathlib import Path

from mm_fusion_ros.training import curves


def entry(stage: str, step: int, **terms: float) -> str:
    return json.dumps({"stage": stage, "step": step, "samples_per_s": 9.5, **terms})


def test_every_stage_has_a_chart_with_every_term(tmp_path: Path) -> None:
    lines = [entry("lidar", 50 * n, heat=9.0 / n, total=10.0 / n) for n in range(1, 5)]
    lines += [entry("camera", 50, heat=2.0, total=2.5)]
    (tmp_path / curves.LOG).write_text("\n".join(lines), encoding="utf-8")
    text = curves.write(tmp_path).read_text(encoding="utf-8")
    assert text.count("<svg") == 2 and "<h2>lidar</h2>" in text and "<h2>camera</h2>" in text
    assert "heat 2.250" in text and "total 2.500" in text and "200 steps" in text


def test_steps_that_were_done_twice_count_once(tmp_path: Path) -> None:
    path = tmp_path / curves.LOG
    again = [entry("lidar", 50, total=3.0), entry("lidar", 100, total=2.0)]
    path.write_text("\n".join([*again, entry("lidar", 100, total=1.0)]), encoding="utf-8")
    assert [(e["step"], e["total"]) for e in curves.read(path)["lidar"]] == [(50, 3.0), (100, 1.0)]
