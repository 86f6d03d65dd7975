"""Images as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.cli import format as human
from clary.cli import output
from clary.cli.output import say
from clary.cli.progress_line import ProgressLine
from clary.files import size_text
from clary.images.pulling import pull_text

if TYPE_CHECKING:
    from clary.agent.imaging import Copied
    from clary.agent.views import ProgressView
    from clary.images.building import Built
    from clary.images.inspecting import Problem, Seen
    from clary.images.layers.cache import Holdings
    from clary.images.service import Plan

_SHOWN = 12
"""Characters of a digest."""


class Watching:
    """Prints how an image comes along; nothing where JSON is printed."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._line = ProgressLine()

    def note(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            self._line.clear()
            say(f"  {text}")

    def progress(self, lines: tuple[ProgressView, ...]) -> None:
        """Print how much is through."""
        if not self._quiet:
            for line in lines:
                self._line.show(line)

    def done(self) -> None:
        """Take the line away."""
        if not self._quiet:
            self._line.clear()


def plan(found: Plan) -> None:
    """Print what a build would do."""
    output.rows(
        [
            ("Image", found.reference),
            ("Builder", found.builder),
            ("Base", found.base),
            ("Python", found.python),
            ("Packages", _packages(found.packages)),
            ("Size", pull_text(found.size) if found.size else None),
        ]
    )
    for note in found.notes:
        say(f"  {note}")
    say()
    if found.layers:
        body = [[layer.name, size_text(layer.size), layer.where] for layer in found.layers]
        output.table(["LAYER", "SIZE", "WHERE"], body)
        say()
    say(_outlook(found))


def _outlook(found: Plan) -> str:
    if found.builder == "none":
        return "Nothing is built: the base is used as it is; packages travel with the job."
    if found.exists:
        return "It is in the registry: a build does nothing."
    if not found.layers:
        return f"A build would make it with {found.builder}."
    moved = f"fetch {size_text(found.download)} and " if found.download else ""
    lent = f", and {size_text(found.lend)} of the base where the registry does not lend them" if found.lend else ""
    return f"A build would {moved}push about {size_text(found.upload)}{lent}."


def _packages(packages: tuple[str, ...]) -> str | None:
    if not packages:
        return None
    more = f" and {len(packages) - 6} more" if len(packages) > 6 else ""
    return f"{', '.join(packages[:6])}{more}"


def built(found: Built, seconds: float) -> None:
    """Print an image that is in its registry."""
    sent = "built and pushed" if found.uploaded is None else f"{size_text(found.uploaded)} pushed"
    moved = "nothing to push" if found.uploaded == 0 else sent
    say(f"{output.style('✓', 'green')} {found.reference}")
    say(f"  {pull_text(found.size)}, {moved}; took {human.duration(seconds)}")


def copied(found: Copied) -> None:
    """Print an image that was copied."""
    moved = f"{size_text(found.uploaded)} pushed" if found.uploaded else "nothing to push"
    say(f"{output.style('✓', 'green')} {found.tag}")
    say(f"  {found.image}")
    say(f"  {pull_text(found.size)}, {moved}")


def seen(found: Seen) -> None:
    """Print an image."""
    output.rows(
        [
            ("Image", found.reference),
            ("Digest", found.digest),
            ("Type", found.media_type),
            ("Platform", found.platform),
            ("Size", pull_text(found.size)),
            ("Entry point", " ".join(found.entrypoint) or None),
            ("Command", " ".join(found.command) or None),
            ("User", found.user or None),
            ("Folder", found.workdir if found.workdir != "/" else None),
        ]
    )
    _table("Packages", found.packages)
    _table("Variables", found.environment)
    _table("Labels", found.labels)
    say()
    body = [[_short(layer.digest), size_text(layer.size), layer.made_by[:70]] for layer in found.layers]
    output.table(["LAYER", "SIZE", "MADE BY"], body)


def _table(title: str, values: Mapping[str, str]) -> None:
    if values:
        say()
        say(output.style(title, bold=True))
        output.rows(((name, value or '""') for name, value in sorted(values.items())), indent="  ")


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHOWN]


def differences(found: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> None:
    """Print what differs between two images."""
    if not found:
        say("They are the same.")
        return
    for kind, changed in found.items():
        say(output.style(kind.capitalize(), bold=True))
        for name, (before, after) in changed.items():
            shown = _short(name) if kind == "layers" else name
            if before is None:
                say(f"  {output.style('+', 'green')} {shown}  {_value(after)}")
            elif after is None:
                say(f"  {output.style('-', 'red')} {shown}  {_value(before)}")
            else:
                say(f"    {shown}  {_value(before)} → {_value(after)}")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{size_text(int(value['size']))}  {str(value['made_by'])[:60]}".rstrip()
    return str(value)


def verified(found: Seen, problems: list[Problem]) -> None:
    """Print whether an image is what it says."""
    if not problems:
        say(f"{output.style('✓', 'green')} {found.reference}")
        say(f"  {found.digest}: every layer is there, whole, and unpacks to what the configuration says.")
    for one in problems:
        say(f"{output.style('✗', 'red')} {one.where}: {one.problem}")


def holdings(found: Holdings) -> None:
    """Print what the cache of layers holds."""
    output.rows(
        [
            ("Layers", found.layers),
            ("Wheels", found.wheels),
            ("Size", size_text(found.size)),
            ("Unused since", human.moment(found.oldest) if found.oldest else None),
        ]
    )
