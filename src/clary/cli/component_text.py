"""How components and flavors are printed: the JSON that programs read, and the lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clary.cli import format as human
from clary.cli import output
from clary.cli.output import say
from clary.cli.stack_text import plain
from clary.stacks.flavors import KINDS, title_of

if TYPE_CHECKING:
    from clary.stacks.components import Component
    from clary.stacks.parts import Part

EXPLAINED = {
    "orchestrator": (
        "The orchestrator is where runs happen. The flavor sagemaker runs a flow as a SageMaker training job in one "
        "region of one account, under an execution role; its further options are the defaults of those jobs: instance "
        "type, volume, time limit, tags, spot, VPC. The flavor local runs a flow in the calling process. Every stack "
        "has one."
    ),
    "artifact_store": (
        "The artifact store keeps what runs record: their logs of calls, the values of checkpoints, the code that was "
        "sent. The flavor s3 is a bucket, or a folder in one; whoever may read it can follow and resume its runs. The "
        "flavor local is a folder of this machine, for runs in this process. Every stack has one."
    ),
    "container_registry": (
        "The container registry is where images of flows are pushed and where SageMaker pulls them from. The flavor "
        "aws is Amazon ECR. A stack needs one only if images are built for it; an image by its full name runs without."
    ),
    "image_builder": (
        "The image builder makes an image of what a flow says it needs. The flavor layers, the default, puts wheels "
        "into layers with no daemon; docker uses Docker or BuildKit; kaniko builds in a Kubernetes cluster; none "
        "builds nothing. A change of code alone builds no image with any of them."
    ),
    "secrets_manager": (
        "The secrets manager holds the secrets that stacks, images and jobs refer to as {{secrets.NAME.KEY}}. The job "
        "reads them itself, by its role: no request, record or log has them. The flavor aws is AWS Secrets Manager, "
        "the default of a sagemaker stack; ssm is the SSM Parameter Store; local is an encrypted file of this machine."
    ),
}
"""What each kind of component is for."""
_PLACE = ("region", "artifact_store", "container_registry")
"""What a line of a list shows of what a component provides."""


def item(part: Part) -> dict[str, Any]:
    """Return a component as JSON; whatever is secret in it is a reference."""
    made = part.component
    return {
        "id": made.id,
        "name": made.name,
        "kind": made.kind,
        "flavor": made.flavor,
        "options": made.options,
        "stacks": list(part.stacks),
        "created": made.created,
    }


def changed(part: Part, verb: str) -> None:
    """Print a component that was made or changed, with what to be warned of."""
    for warning in part.warnings:
        output.warn(warning)

    def text() -> None:
        say(f"{verb} {title_of(part.component.kind)}: {part.component.name} ({part.component.flavor})")
        output.rows(_details(part.component))

    output.item({**item(part), "warnings": list(part.warnings)}, text)


def print_part(part: Part, heading: Sequence[tuple[str, str]] = ()) -> None:
    """Print all of one component; ``heading`` are rows above."""
    made = part.component
    output.rows(
        [
            *heading,
            ("Name", made.name),
            ("ID", made.id),
            ("Kind", title_of(made.kind)),
            ("Flavor", made.flavor),
            ("Created", None if made.created is None else human.moment(made.created)),
            ("Stacks", ", ".join(part.stacks) or "none"),
        ]
    )
    if made.options:
        say()
        output.table(["OPTION", "VALUE"], [[name, plain(value)] for name, value in _details(made)])


def print_list(kind: str, parts: Sequence[Part], current: str) -> None:
    """Print the components of a kind; the one of the stack ``current`` is marked active."""
    if not parts:
        command = KINDS[kind].command
        say(f"There is no {title_of(kind)} yet; `clary {command} register NAME --flavor=FLAVOR` makes one.")
    for part in parts:
        made = part.component
        active = output.style(" (active)", "green") if current in part.stacks else ""
        stacks = f"stacks: {', '.join(part.stacks)}" if part.stacks else ""
        place = ", ".join(str(made.provides[field]) for field in _PLACE if made.provides.get(field))
        words = (f"{made.id}{active}", made.flavor, place, stacks)
        say(f"{output.style(made.name, bold=True)}: {'  '.join(filter(None, words))}")


def _details(made: Component) -> list[tuple[str, Any]]:
    """Return the options row by row, those inside of a mapping by their dotted names."""
    return [row for name, value in made.options.items() for row in _flat(name, value)]


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value and not any("." in str(key) for key in value):
        return [row for key, below in value.items() for row in _flat(f"{name}.{key}", below)]
    return [(name, plain(value))]
