"""A bad parameter, at start or live, is refused with field, value and range; the node lives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.context import Context
from rclpy.parameter import Parameter

from mm_fusion_ros.ros.fusion_node import FusionNode


class Control:
    """What `ros2 param` and `ros2 lifecycle` do, from another node."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def call(self, name: str, kind: Any, request: Any) -> Any:
        service = self._client.node.create_client(kind, f"/fusion/{name}")
        assert service.wait_for_service(timeout_sec=10.0), f"no service {name}"
        future = service.call_async(request)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(20.0), f"no answer from {name}"
        return future.result()

    def set(self, **values: Any) -> tuple[bool, str]:
        parameters = [
            Parameter(name.replace("__", "."), value=value).to_parameter_msg()
            for name, value in values.items()
        ]
        request = SetParametersAtomically.Request(parameters=parameters)
        result = self.call("set_parameters_atomically", SetParametersAtomically, request).result
        return result.successful, result.reason

    def state(self) -> str:
        return str(self.call("get_state", GetState, GetState.Request()).current_state.label)

    def change(self, transition: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call("change_state", ChangeState, request).success)


@pytest.fixture
def control(client: Any) -> Control:
    return Control(client)


@pytest.fixture
def start(
    context: Context, run: Callable[..., Any], scripted: Callable[..., Any]
) -> Callable[..., FusionNode]:
    def start(**parameters: Any) -> FusionNode:
        overrides = [Parameter(name.replace("__", "."), value=v) for name, v in parameters.items()]
        node = FusionNode(scripted, context=context, parameter_overrides=overrides)
        run(node)
        return node

    return start


def problem(node: FusionNode) -> str:
    return "; ".join(node.parameters.problems.values())


def test_every_parameter_has_a_description_and_its_range(
    start: Callable[..., FusionNode], control: Control
) -> None:
    node = start(autostart=False)
    names = [name for name in node._parameters if not name.startswith(("use_sim", "start_type"))]
    request = DescribeParameters.Request(names=names)
    found = control.call("describe_parameters", DescribeParameters, request).descriptors
    by_name = {descriptor.name: descriptor for descriptor in found}
    assert all(descriptor.description for descriptor in found)
    (bounds,) = by_name["grounding.stand_off_m"].floating_point_range
    assert (bounds.from_value, bounds.to_value) == (0.1, 20.0)
    (bounds,) = by_name["sync.capacity"].integer_range
    assert (bounds.from_value, bounds.to_value) == (2, 10_000)
    assert "events" in by_name["executor"].additional_constraints


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"grounding.stand_off_m": -3.0}, ("grounding.stand_off_m", "-3.0", "0.1", "20.0")),
        ({"sync.capacity": 1}, ("sync.capacity", "1", "2", "10000")),
        ({"sync.zero_stamp": "maybe"}, ("sync.zero_stamp", "maybe", "reject, arrival_time")),
        ({"sync.anchor": "radar"}, ("sync.anchor", "radar", "lidar")),
        ({"grounding.stand_off_m": "far"}, ("grounding.stand_off_m", "far", "0.1 to 20.0")),
        ({"image_transport": "theora"}, ("image_transport", "theora", "raw, compressed")),
        ({"grounding.stand_off_m": float("nan")}, ("grounding.stand_off_m", "nan")),
        ({"config": "/nowhere.yaml"}, ("config", "/nowhere.yaml", "No such file")),
    ],
)
def test_a_bad_parameter_at_start_fails_configuring_and_the_node_lives(
    start: Callable[..., FusionNode],
    client: Any,
    control: Control,
    given: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    client.listen("/diagnostics", DiagnosticArray)
    start(**{name.replace(".", "__"): value for name, value in given.items()})
    assert client.wait(lambda: bool(client.heard["/diagnostics"]))
    assert client.wait(
        lambda: "not configured" in client.heard["/diagnostics"][-1].status[0].message
    )
    status = client.heard["/diagnostics"][-1].status[0]
    assert status.level == DiagnosticStatus.ERROR
    for word in words:
        assert word in status.message
    assert control.state() == "unconfigured"


def test_what_was_bad_at_start_can_be_mended_and_configured(
    start: Callable[..., FusionNode], control: Control, scripted: Any
) -> None:
    start(grounding__stand_off_m=-3.0, autostart=False)
    assert not control.change(Transition.TRANSITION_CONFIGURE)
    assert control.set(grounding__stand_off_m=2.0) == (True, "")
    assert control.change(Transition.TRANSITION_CONFIGURE)
    assert scripted.pipeline.config.grounding.stand_off_m == 2.0


def test_a_bad_value_live_is_refused_and_nothing_of_the_change_is_applied(
    start: Callable[..., FusionNode], control: Control
) -> None:
    node = start(autostart=False)
    successful, reason = control.set(grounding__stand_off_m=2.0, sync__anchor="radar")
    assert not successful
    assert "sync.anchor" in reason and "radar" in reason and "lidar" in reason
    assert node.get_parameter("grounding.stand_off_m").value == 1.5
    successful, reason = control.set(tracking__gate_m=99.0)
    assert not successful
    for word in ("tracking.gate_m", "99", "0.1", "20"):
        assert word in reason


def test_contradicting_parameters_are_refused_together(
    start: Callable[..., FusionNode], control: Control
) -> None:
    start(autostart=False)
    successful, reason = control.set(obstacles__min_height_m=2.5)
    assert not successful and "max_height_m" in reason
    assert control.set(obstacles__min_height_m=2.5, obstacles__max_height_m=3.0)[0]


def test_while_it_is_configured_a_parameter_says_how_it_can_be_changed(
    start: Callable[..., FusionNode], control: Control, scripted: Any
) -> None:
    start()
    assert scripted.made.wait(10.0)
    successful, reason = control.set(grounding__stand_off_m=2.0)
    assert not successful and "clean it up first" in reason
    assert control.change(Transition.TRANSITION_DEACTIVATE)
    assert control.change(Transition.TRANSITION_CLEANUP)
    assert control.set(grounding__stand_off_m=2.0)[0]
    assert control.change(Transition.TRANSITION_CONFIGURE)
    assert control.change(Transition.TRANSITION_ACTIVATE)
    assert control.state() == "active"
    assert scripted.pipeline.config.grounding.stand_off_m == 2.0


def test_parameters_go_over_the_file_and_the_file_over_the_defaults(
    start: Callable[..., FusionNode], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("grounding: {stand_off_m: 3.0, lost_s: 4.0}\n")
    start(config=str(path), grounding__stand_off_m=2.5)
    assert scripted.made.wait(10.0)
    grounding = scripted.pipeline.config.grounding
    # From the parameter, from the file, and the default.
    assert (grounding.stand_off_m, grounding.lost_s, grounding.resend_m) == (2.5, 4.0, 0.25)


@pytest.mark.parametrize("text", ["sources: 3\n", "nonsense: {}\n", "a: [b\n", "\x00"])
def test_a_broken_file_fails_configuring_with_its_name(
    start: Callable[..., FusionNode], control: Control, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    node = start(config=str(path))
    assert control.state() == "unconfigured"
    assert "broken.yaml" in problem(node)


def test_the_lifecycle_runs_round_and_the_topics_come_and_go(
    start: Callable[..., FusionNode], control: Control, client: Any, scripted: Any
) -> None:
    start(autostart=False)
    assert control.state() == "unconfigured"
    for _ in range(2):
        assert control.change(Transition.TRANSITION_CONFIGURE)
        assert control.change(Transition.TRANSITION_ACTIVATE)
        client.until(lambda: client.node.count_publishers("/fusion/objects") == 1, lambda: None)
        assert control.change(Transition.TRANSITION_DEACTIVATE)
        assert control.change(Transition.TRANSITION_CLEANUP)
    assert control.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert control.call("get_state", GetState, GetState.Request()).current_state.id == (
        State.PRIMARY_STATE_FINALIZED
    )


def test_a_set_of_single_parameters_reports_each(
    start: Callable[..., FusionNode], control: Control
) -> None:
    start(autostart=False)
    parameters = [
        Parameter("grounding.stand_off_m", value=2.0).to_parameter_msg(),
        Parameter("grounding.min_probability", value=7.0).to_parameter_msg(),
    ]
    results = control.call(
        "set_parameters", SetParameters, SetParameters.Request(parameters=parameters)
    ).results
    assert [result.successful for result in results] == [True, False]
