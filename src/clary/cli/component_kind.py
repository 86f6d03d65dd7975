"""Which kind of component a command is about: its group says so, and the commands are the same for every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clary.cli.commands import Group

if TYPE_CHECKING:
    from clary.stacks.flavors import Kind


class ComponentGroup(Group):
    """The commands of one kind of component."""

    def __init__(self, *args: Any, kind: Kind, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind


def current_kind() -> Kind:
    """Return the kind of component of the running command."""
    context: click.Context | None = click.get_current_context()
    while context is not None and not isinstance(context.command, ComponentGroup):
        context = context.parent
    assert context is not None
    assert isinstance(context.command, ComponentGroup)
    return context.command.kind
