"""The part of `launch` and `launch_ros` that the launch files use, for machines without them.

Names, keyword arguments and which of them are required are those of the real packages (launch 3,
launch_ros 0.26); anything else raises as the real ones do. Nothing is started: an evaluated
description lists what would be.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class LaunchContext:
    """What substitutions are performed against.

    Attributes:
        launch_configurations: arguments by name.
        environment: variables that the launch sets, and those it starts with.
        shares: package name to its share folder.
        folder: of the launch file being evaluated.
        started: nodes and processes, in order.
        declared: arguments, by the file that declares them.
    """

    launch_configurations: dict[str, str]
    environment: dict[str, str]
    shares: Mapping[str, Path]
    folder: Path
    started: list[Any] = field(default_factory=list)
    handlers: list[Any] = field(default_factory=list)
    declared: dict[str, list[Any]] = field(default_factory=dict)


def perform(value: Any, context: LaunchContext) -> str:
    """A text, a substitution, or a list of them, as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable):
        return "".join(perform(part, context) for part in value)
    return str(value.perform(context))


class LaunchConfiguration:
    def __init__(self, variable_name: Any, *, default: Any = None) -> None:
        self._name, self._default = variable_name, default

    def perform(self, context: LaunchContext) -> str:
        if self._name in context.launch_configurations:
            return context.launch_configurations[self._name]
        if self._default is None:
            raise KeyError(f"launch configuration '{self._name}' does not exist")
        return perform(self._default, context)


class EnvironmentVariable:
    def __init__(self, name: Any, *, default_value: Any = None) -> None:
        self._name, self._default = name, default_value

    def perform(self, context: LaunchContext) -> str:
        if self._name in context.environment:
            return context.environment[self._name]
        if self._default is None:
            raise KeyError(f"environment variable '{self._name}' does not exist")
        return perform(self._default, context)


class PathJoinSubstitution:
    def __init__(self, substitutions: Iterable[Any]) -> None:
        self._parts = list(substitutions)

    def perform(self, context: LaunchContext) -> str:
        return str(Path(*(perform(part, context) for part in self._parts)))


class PythonExpression:
    def __init__(self, expression: Any, python_modules: Any = None) -> None:
        self._expression = expression

    def perform(self, context: LaunchContext) -> str:
        return str(eval(perform(self._expression, context), {}))


class ThisLaunchFileDir:
    def perform(self, context: LaunchContext) -> str:
        return str(context.folder)


class FindPackageShare:
    def __init__(self, package: Any) -> None:
        self._package = package

    def perform(self, context: LaunchContext) -> str:
        return str(context.shares[perform(self._package, context)])


class IfCondition:
    def __init__(self, predicate_expression: Any) -> None:
        self._expression = predicate_expression

    def evaluate(self, context: LaunchContext) -> bool:
        text = perform(self._expression, context).strip().lower()
        if text not in ("true", "false", "1", "0"):
            raise ValueError(f"condition expression '{text}' is no truth value")
        return text in ("true", "1")


class Action:
    def __init__(self, *, condition: Any = None) -> None:
        self.condition = condition

    def visit(self, context: LaunchContext) -> None:
        if self.condition is None or self.condition.evaluate(context):
            self.execute(context)

    def execute(self, context: LaunchContext) -> None:
        raise NotImplementedError


class DeclareLaunchArgument(Action):
    def __init__(
        self,
        name: str,
        *,
        default_value: Any = None,
        description: str | None = None,
        choices: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name, self.default_value = name, default_value
        self.description, self.choices = description, choices

    def execute(self, context: LaunchContext) -> None:
        context.declared.setdefault(str(context.folder), []).append(self)
        if self.name not in context.launch_configurations:
            if self.default_value is None:
                raise RuntimeError(f"required launch argument '{self.name}' was not provided")
            context.launch_configurations[self.name] = perform(self.default_value, context)
        value = context.launch_configurations[self.name]
        if self.choices is not None and value not in self.choices:
            raise RuntimeError(f"'{self.name}' is '{value}'; allowed are {self.choices}")


class SetEnvironmentVariable(Action):
    def __init__(self, name: Any, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        context.environment[perform(self._name, context)] = perform(self._value, context)


class ExecuteProcess(Action):
    def __init__(self, *, cmd: Iterable[Any], output: str = "log", condition: Any = None) -> None:
        super().__init__(condition=condition)
        self._cmd = list(cmd)

    def execute(self, context: LaunchContext) -> None:
        self.command = [perform(part, context) for part in self._cmd]
        self.environment = dict(context.environment)
        context.started.append(self)


class ParameterValue:
    def __init__(self, value: Any, *, value_type: type | None = None) -> None:
        self._value, self._type = value, value_type

    def evaluate(self, context: LaunchContext) -> Any:
        text = perform(self._value, context)
        if self._type is bool:
            return {"true": True, "false": False}[text.lower()]
        return text if self._type is None else self._type(text)


class Node(Action):
    def __init__(
        self,
        *,
        executable: Any,
        package: Any = None,
        name: Any = None,
        namespace: Any = None,
        exec_name: Any = None,
        parameters: Any = None,
        remappings: Any = None,
        ros_arguments: Any = None,
        arguments: Any = None,
        output: str = "log",
        emulate_tty: bool = False,
        condition: Any = None,
    ) -> None:
        super().__init__(condition=condition)
        self._given = (package, executable, name, namespace)
        self._parameters = list(parameters or [])
        self._remappings = list(remappings or [])
        self._ros_arguments = list(ros_arguments or [])

    def execute(self, context: LaunchContext) -> None:
        self.package, self.executable, self.name, self.namespace = (
            perform(given or "", context) for given in self._given
        )
        self.parameters: dict[str, Any] = {}
        self.files: list[Path] = []
        for entry in self._parameters:
            if isinstance(entry, Mapping):
                self.parameters |= {
                    key: value.evaluate(context)
                    if isinstance(value, ParameterValue)
                    else value
                    if isinstance(value, (bool, int, float, str))
                    else perform(value, context)
                    for key, value in entry.items()
                }
            else:
                self.files.append(Path(perform(entry, context)))
        self.remappings = {
            perform(source, context): perform(target, context)
            for source, target in self._remappings
        }
        self.ros_arguments = [perform(part, context) for part in self._ros_arguments]
        self.environment = dict(context.environment)
        context.started.append(self)


class LifecycleNode(Node):
    def __init__(self, *, name: Any, namespace: Any, **kwargs: Any) -> None:
        super().__init__(name=name, namespace=namespace, **kwargs)


class OpaqueFunction(Action):
    def __init__(self, *, function: Any, args: Any = (), kwargs: Any = None) -> None:
        super().__init__()
        self._function = function

    def execute(self, context: LaunchContext) -> None:
        for action in self._function(context) or []:
            action.visit(context)


class Shutdown(Action):
    def __init__(self, *, reason: str = "reason not given", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason


class OnProcessExit:
    def __init__(self, *, target_action: Any = None, on_exit: Any) -> None:
        self.target_action, self.on_exit = target_action, on_exit


class RegisterEventHandler(Action):
    def __init__(self, event_handler: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.event_handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        context.handlers.append(self.event_handler)


class PythonLaunchDescriptionSource:
    def __init__(self, launch_file_path: Any) -> None:
        self.path = launch_file_path


class IncludeLaunchDescription(Action):
    def __init__(
        self, launch_description_source: Any, *, launch_arguments: Any = None, condition: Any = None
    ) -> None:
        super().__init__(condition=condition)
        self._source = launch_description_source
        self._arguments = list(launch_arguments or [])

    def execute(self, context: LaunchContext) -> None:
        path = Path(perform(self._source.path, context))
        included = [perform(name, context) for name, _ in self._arguments]
        for name, value in self._arguments:
            context.launch_configurations[perform(name, context)] = perform(value, context)
        inner = evaluate_into(path, context)
        unknown = set(included) - {argument.name for argument in inner}
        if unknown:
            raise RuntimeError(f"{path.name} declares no arguments {sorted(unknown)}")


class LaunchDescription:
    def __init__(self, initial_entities: Iterable[Any] | None = None) -> None:
        self.entities = list(initial_entities or [])


def installed() -> dict[str, types.ModuleType]:
    """The stand-in as modules, by the names under which launch files import them."""
    modules = {
        "launch": (LaunchContext, LaunchDescription),
        "launch.actions": (
            DeclareLaunchArgument,
            ExecuteProcess,
            IncludeLaunchDescription,
            OpaqueFunction,
            RegisterEventHandler,
            SetEnvironmentVariable,
            Shutdown,
        ),
        "launch.conditions": (IfCondition,),
        "launch.event_handlers": (OnProcessExit,),
        "launch.launch_description_sources": (PythonLaunchDescriptionSource,),
        "launch.substitutions": (
            EnvironmentVariable,
            LaunchConfiguration,
            PathJoinSubstitution,
            PythonExpression,
            ThisLaunchFileDir,
        ),
        "launch_ros": (),
        "launch_ros.actions": (LifecycleNode, Node),
        "launch_ros.parameter_descriptions": (ParameterValue,),
        "launch_ros.substitutions": (FindPackageShare,),
    }
    made = {}
    for name, members in modules.items():
        made[name] = types.ModuleType(name)
        for member in members:
            setattr(made[name], member.__name__, member)
    return made


def evaluate_into(path: Path, context: LaunchContext) -> list[DeclareLaunchArgument]:
    """Evaluates a launch file; gives the arguments that it declares itself."""
    names: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    before = {name: sys.modules.get(name) for name in installed()}
    sys.modules.update(installed())
    try:
        exec(compile(path.read_text(), str(path), "exec"), names)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    folder, context.folder = context.folder, path.parent
    description = names["generate_launch_description"]()
    for entity in description.entities:
        entity.visit(context)
    context.folder = folder
    return [entity for entity in description.entities if isinstance(entity, DeclareLaunchArgument)]


def evaluate(
    path: Path, shares: Mapping[str, Path], environment: Mapping[str, str], **arguments: str
) -> LaunchContext:
    """What `ros2 launch PATH name:=value ...` would start."""
    context = LaunchContext(dict(arguments), dict(environment), shares, path.parent)
    evaluate_into(path, context)
    return context
