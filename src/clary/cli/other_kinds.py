"""Kinds of components in ZenML's stacks that a stack of Clary does not have: one table for commands and options.

It loads nothing, for the root of the command line reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from clary.errors import ClaryError


class OtherKind(NamedTuple):
    """One of them."""

    instead: str
    """What to do here."""
    flags: tuple[str, ...] = ()
    """Its options of ``stack register``, beside its name."""


_IN_CODE = "Use it from the flow's own code; what it needs goes into the flow's image, its keys into `clary secrets`."
_SERVING = "Clary runs flows; to serve a model, call SageMaker's API from the last checkpoint."
OTHER_KINDS = {
    "alerter": OtherKind(
        "Call what should be told from the flow, as a checkpoint: it is told once however often a run goes on.",
        ("-al",),
    ),
    "annotator": OtherKind(_IN_CODE, ("-an",)),
    "data-validator": OtherKind(_IN_CODE, ("-dv",)),
    "deployer": OtherKind(_SERVING),
    "experiment-tracker": OtherKind(
        f"{_IN_CODE} What a flow `save`s is kept with the run and shown by `clary runs show`.", ("-e",)
    ),
    "feature-store": OtherKind(_IN_CODE, ("-f",)),
    "log-store": OtherKind("Logs are in CloudWatch and in the run: clary runs logs RUN."),
    "model-deployer": OtherKind(_SERVING, ("-d",)),
    "model-registry": OtherKind(_IN_CODE, ("-r",)),
    "service-connector": OtherKind(
        "Name the credentials in the orchestrator: clary orchestrator update NAME --credentials=aws-profile:PROFILE.",
        ("-sc", "--connector"),
    ),
    "step-operator": OtherKind(
        "Every run is a SageMaker job of its own: choose its machine by @flow(settings=…) or by the options of the "
        "orchestrator.",
        ("-s",),
    ),
}
"""By name, as a command group of ZenML."""


def no_such_kind(name: str, *, field: str | None = None) -> ClaryError:
    """Return the refusal of one of them: UsageError ``stack.no_such_component``, with what to do instead."""
    from clary.errors import UsageError
    from clary.stacks.flavors import KINDS

    return UsageError(
        "stack.no_such_component",
        f"A stack of Clary has no {name.replace('-', ' ')}; it has: "
        f"{', '.join(one.command for one in KINDS.values())}.",
        next_step=OTHER_KINDS[name].instead,
        field=field,
    )
