"""``clary COMPONENT flavor``: the flavors of a kind of component, and the options of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clary.cli import output
from clary.cli.commands import Group, Lazy
from clary.cli.component_kind import current_kind
from clary.cli.output import say
from clary.errors import ConfigError
from clary.stacks import flavors

if TYPE_CHECKING:
    from clary.stacks.flavors import Flavor

_ELSEWHERE = "clary.cli.elsewhere"


@click.group(
    "flavor",
    cls=Group,
    aliases={"show": "describe"},
    lazy_hidden={
        "register": Lazy(f"{_ELSEWHERE}:flavor_register", "Not here."),
        "delete": Lazy(f"{_ELSEWHERE}:flavor_delete", "Not here."),
    },
)
def flavor() -> None:
    """List and describe the flavors of this kind.

    Flavors come with packages: docs/reference/flavors.md shows how to offer one.
    """


@flavor.command("list")
def list_() -> None:
    """List the flavors that are installed, and the package that offers each."""
    kind = current_kind().name
    data = [_row(kind, name) for name in flavors.names(kind)]

    def text() -> None:
        output.table(
            ["FLAVOR", "PACKAGE", "MEANING"],
            [[row["name"], row["package"], row["summary"] or f"broken: {row['broken']}"] for row in data],
        )

    output.items(data, text)


@flavor.command("describe")
@click.argument("name", metavar="FLAVOR")
def describe(name: str) -> None:
    """Show what the flavor FLAVOR is and which options it takes."""
    kind = current_kind().name
    found = flavors.find(kind, name)
    data = {
        **_row(kind, name),
        "options": [
            {
                "name": option.name,
                "required": option.required,
                "meaning": option.meaning,
                "value": option.metavar,
                "aliases": list(option.aliases),
            }
            for option in found.options
        ],
        "further_options": _further(found),
        "refused": dict(found.refused),
    }
    output.item(data, lambda: _print(found, data["package"]))


def _row(kind: str, name: str) -> dict[str, Any]:
    """Return a flavor in one line; one that its package has got wrong is listed with the reason."""
    row = {"name": name, "kind": kind, "package": flavors.package_of(kind, name), "summary": None, "broken": None}
    try:
        return row | {"summary": flavors.find(kind, name).summary}
    except ConfigError as error:
        return row | {"broken": error.summary}


def _further(found: Flavor) -> list[str]:
    """Return the names beyond its own options that a flavor understands."""
    shown = {option.name for option in found.options} | {name for option in found.options for name in option.aliases}
    return [name for name in found.known() if name not in shown and name not in found.refused]


def _print(found: Flavor, package: str) -> None:
    output.rows([("Flavor", f"{found.name} ({flavors.title_of(found.kind)})"), ("Package", package)])
    say(found.summary)
    if found.options:
        say()
        output.table(
            ["OPTION", "VALUE", "NEEDED", "MEANING"],
            [
                [f"--{option.name}", option.metavar, "yes" if option.required else "", option.meaning]
                for option in found.options
            ],
        )
    else:
        say("It takes no options.")
    if also := [f"--{alias} is --{option.name}" for option in found.options for alias in option.aliases]:
        say(f"\nOther spellings: {', '.join(also)}.")
    if further := _further(found):
        say(
            click.wrap_text(
                f"\nFurther options, settings of jobs (docs/reference/job-settings.md): {', '.join(further)}.", 100
            )
        )
    if found.refused:
        say("\nOptions of other tools, and what to do instead:")
        for name, instead in found.refused.items():
            say(f"  --{name}: {instead}")
