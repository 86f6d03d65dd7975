"""What can be a flow or a checkpoint: judged when it is decorated, before anything could be recorded of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from clary.errors import UsageError

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


def check_flow(function: Any, name: str | None) -> None:
    """Refuse what cannot be a flow.

    A flow is named by its module and its name, so that the job finds it, and its inputs are kept by their names.
    Raises UsageError ``flow.not_a_function``, ``flow.bad_signature`` or ``flow.generator``.
    """
    if (reason := _no_function(function)) is not None:
        raise UsageError("flow.not_a_function", f"A flow is a function, and this is {reason}.", next_step=_FLOW_STEP)
    named = name or function.__name__
    if (reason := _unfindable(function)) is not None:
        raise UsageError(
            "flow.not_a_function", f"{named} cannot be a flow: it is {reason}.", next_step=_FLOW_STEP, field=named
        )
    if _is_generator(function):
        raise UsageError(
            "flow.generator",
            f"The flow {named} is a generator, which has no one value to keep.",
            next_step="Return a list; to tell how far it is, call progress().",
            field=named,
        )
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _BY_PLACE:
            raise UsageError(
                "flow.bad_signature",
                f"The flow {named} takes {_shown(parameter)} by place only; the inputs of a run are kept by name.",
                next_step="Take a list in place of *arguments, and leave “/” out of the parameters.",
                field=parameter.name,
            )


def check_named(name: str) -> None:
    """Refuse a run of a flow that has no name: UsageError ``flow.not_a_function``."""
    if name == "<lambda>":
        raise UsageError(
            "flow.not_a_function",
            "A lambda has no name by which its runs and its code could be found.",
            next_step="Make it with def, or name it: flow(name=…)(lambda: …).",
        )


def check_checkpoint(function: Any, name: str | None) -> None:
    """Refuse what cannot be a checkpoint: UsageError ``checkpoint.not_a_function`` or ``checkpoint.generator``."""
    if (reason := _no_function(function)) is not None:
        raise UsageError(
            "checkpoint.not_a_function",
            f"A checkpoint is a function, and this is {reason}.",
            next_step="Write @checkpoint directly above a def; @staticmethod goes above @checkpoint.",
        )
    first = next(iter(inspect.signature(function).parameters), None)
    if first in ("self", "cls") and (reason := _unfindable(function)) is not None:
        raise UsageError(
            "checkpoint.not_a_function",
            f"The checkpoint {name or function.__name__} is {reason}, whose object every call would keep.",
            next_step="Make it a function of the module, and give it what it needs as arguments.",
            field=name or function.__name__,
        )
    if _is_generator(function):
        raise UsageError(
            "checkpoint.generator",
            f"The checkpoint {name or function.__name__} is a generator, which has no one value to keep.",
            next_step="Return a list, or make each step a checkpoint of its own.",
            field=name or function.__name__,
        )


_FLOW_STEP = "Decorate a function of the module itself, made with def; the job finds it there by its name."


def _no_function(function: Any) -> str | None:
    """Return what the thing is, where it is no function."""
    if isinstance(function, (staticmethod, classmethod)):
        return f"a {type(function).__name__}"
    if isinstance(function, type):
        return f"the class {function.__name__}"
    if isinstance(function, functools.partial):
        return "a functools.partial, which has no name"
    if not callable(function) or not hasattr(function, "__name__"):
        return f"of the type {type(function).__name__}"
    return None


def _unfindable(function: Callable[..., Any]) -> str | None:
    """Return why a job could not find the function by its name."""
    if inspect.ismethod(function):
        return "a method of an object"
    holder, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    if holder and not holder.endswith("<locals>"):
        return f"a method of the class {holder.rpartition('.')[2]}"
    return None


def _is_generator(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _shown(parameter: inspect.Parameter) -> str:
    return f"*{parameter.name}" if parameter.kind is parameter.VAR_POSITIONAL else f"“{parameter.name}”"
