"""What holds for a run of a flow on a stack: the sources of ``clary.settings`` and what the flow and the stack say."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.settings import hidden, layers
from clary.settings.effective import Effective, differences, given, thawed
from clary.settings.layers import Layer
from clary.settings.options import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.agent.targets import FlowTarget
    from clary.agent.views import Observer
    from clary.flows import Flow
    from clary.stacks.model import Stack

_told: set[str] = set()
"""Notes about other tools' settings that this process has given; once is enough."""


def configured(target: FlowTarget, stack: Stack, observer: Observer | None) -> FlowTarget:
    """Return the target with what holds for a new run of it; raises ConfigError, naming the source that is wrong."""
    _tell(observer, layers.foreign_notes())
    return _with(target, Effective.of([*_of_stack(stack), *layers.ambient(), *_of_flow(target.flow)]))


def configured_again(
    target: FlowTarget,
    stack: Stack,
    spec: Mapping[str, Any] | None,
    observer: Observer | None,
    sent: Mapping[str, str] | None = None,
) -> FlowTarget:
    """Return the target with what holds for a further attempt of a run whose last one had the specification ``spec``.

    What was said for the run holds on, and what machine, folder and process said when it was started; the flow's
    options come with its code, the stack's with the stack, and what the target says for this attempt outranks all.
    ``sent`` are the variables of that attempt's job, with the secrets that the specification does not hold.

    Raises ConfigError ``run.secret_not_kept`` for a variable whose text is nowhere.
    """
    frozen = None if spec is None else thawed(spec)
    if spec is None or frozen is None:
        return configured(target, stack, observer)
    ambient = layers.ambient()
    frozen = hidden.put_back(frozen, ambient, sent or {}, spec["origins"])
    if observer is not None:
        for note in differences(frozen, ambient):
            observer.note(note)
    effective = Effective.of([*_of_stack(stack), *frozen, *_of_flow(target.flow)])
    for name in hidden.unknown(effective.layers):
        raise _not_kept(name)
    return _with(target, effective)


def of(target: FlowTarget, stack: Stack) -> Effective:
    """Return what holds for a target: what was found for it, or what a new run would take now."""
    found = target.effective or configured(target, stack, None).effective
    assert found is not None
    return found


def on_change(asked: str | None) -> str:
    """Return what a resume does about changed code: as asked, else as configured."""
    return asked or str(Effective.of(layers.ambient()).option("on_change").value)


def of_stack_alone(stack: Stack) -> Effective:
    """Return what would hold for a flow that says nothing, on a stack."""
    return Effective.of([*_of_stack(stack), *layers.ambient()])


def _not_kept(name: str) -> ConfigError:
    return ConfigError(
        "run.secret_not_kept",
        f"The run was started with a text for the variable {name} that looks like a secret, and so was not kept.",
        next_step=f'Give it again: CLARY_SETTINGS=\'{{"environment": {{"{name}": "…"}}}}\'; a text that refers to a '
        f"secret, {{{{secrets.NAME.{name}}}}}, is kept.",
        field=f"environment.{name}",
    )


def _with(target: FlowTarget, effective: Effective) -> FlowTarget:
    flow = target.flow.specified(effective.body)
    return replace(target, flow=flow, effective=effective)


def _of_stack(stack: Stack) -> list[Layer]:
    source = f"the stack {stack.name}"
    role = {"execution_role": stack.execution_role} if stack.execution_role else {}
    return [
        Layer("stack", given({"image": stack.image}, source), role, source),
        Layer("stack", {}, stack.settings, source),
    ]


def _of_flow(flow: Flow[Any, Any]) -> list[Layer]:
    said, call = flow.options, flow.call
    source = f"the flow {flow.name}"
    policy = None if said.retries is None else {name: getattr(said.retries, name) for name in _POLICY}
    image = None if said.image is None else checked("image", said.image, source)
    decorator = given({"stack": said.stack, "image": image, "cache": said.cache, "retries": policy}, source)
    wanted = None if call.image is None else checked("image", call.image, "this run")
    asked = given(
        {"stack": call.stack, "image": wanted, "cache": call.cache, "retries": call.retries}, "given for this run"
    )
    return [Layer("flow", decorator, said.settings, source), Layer("run", asked, call.settings, "this run")]


_POLICY = ("count", "delay", "backoff", "max_delay", "jitter")


def _tell(observer: Observer | None, notes: list[str]) -> None:
    for note in notes:
        if note in _told:
            continue
        _told.add(note)
        if observer is not None:
            observer.note(note)
        else:
            warnings.warn(note, stacklevel=4)
