"""``clary image``: what an image would be, the build, and what images in a registry are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clary.cli import image_options, image_text, output, params, state
from clary.cli.commands import Group
from clary.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.agent.imaging import Asked

_stack = click.option("--stack", "stack_name", metavar="NAME", help="Default: the one that a run would use.")
_image = click.argument("image", metavar="IMAGE")


def _asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what commands take that ask about an image which may not be there yet."""
    for decorate in reversed(
        (
            click.argument("target", metavar="[FILE.py:FLOW]", required=False),
            _stack,
            click.option(
                "--project",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                default=".",
                help="The project's folder, where no flow is named. Default: the current one.",
            ),
            click.option("--upgrade", is_flag=True, help="Look anew for newer packages, and for a newer base."),
            image_options.image_options,
        )
    ):
        command = decorate(command)
    return command


@click.group("image", cls=Group)
def image() -> None:
    """Plan, build, show, compare and verify images.

    An image is what a flow says (@flow(image=Image(…))), or [tool.clary.image] of the project, with the options here
    over it. IMAGE is a reference such as HOST/REPOSITORY:TAG; :TAG alone is one of the stack's repository.
    """


@image.command("plan")
@_asking
def plan(target: str | None, stack_name: str | None, project: Path, *, upgrade: bool, **values: Any) -> None:
    """Show what would be built: base, packages, layers, and how many bytes would move. Nothing is changed."""
    from clary.images import service

    asked, watching = _asked(target, stack_name, project, upgrade=upgrade, values=values)
    found = service.plan(asked.prepared, asked.site)
    watching.done()
    output.item(found.to_dict(), lambda: image_text.plan(found))


@image.command("build")
@_asking
@click.option("--force", is_flag=True, help="Build even if the image is in the registry.")
def build(
    target: str | None, stack_name: str | None, project: Path, *, upgrade: bool, force: bool, **values: Any
) -> None:
    """Build an image and push it, unless it is in the registry already."""
    from clary.images import service

    begun = time.monotonic()
    asked, watching = _asked(target, stack_name, project, upgrade=upgrade, values=values)
    for note in asked.prepared.notes:
        watching.note(note)
    found = service.ensure(asked.prepared, asked.site, asked.progress, force=force)
    watching.done()
    seconds = time.monotonic() - begun
    told = {"image": str(found.reference), "tag": str(asked.prepared.reference), "size": found.size}
    output.item(
        {**told, "uploaded": found.uploaded, "seconds": round(seconds, 3)}, lambda: image_text.built(found, seconds)
    )


@image.command("show")
@_image
@_stack
def show(image: str, stack_name: str | None) -> None:
    """Show an image in a registry: layers, packages, variables, and about how long a pull takes."""
    from clary.agent import imaging
    from clary.images import inspecting

    found = inspecting.show(*imaging.named(image, stack_name))
    output.item(found.to_dict(), lambda: image_text.seen(found))


@image.command("copy")
@_image
@_stack
@click.option("--repository", metavar="NAME", help="In the stack's registry. Default: the stack's.")
@click.option("--tag", metavar="TAG", help="There. Default: the one that IMAGE has.")
def copy(image: str, stack_name: str | None, repository: str | None, tag: str | None) -> None:
    """Copy an image as it is into the stack's registry: SageMaker's jobs pull from there alone.

    IMAGE is a reference, or a short name of a base such as python:3.12 or pytorch:2.8-gpu.
    """
    from dataclasses import asdict

    from clary.agent import imaging

    watching = image_text.Watching(quiet=state.current().json)
    found = imaging.copy(image, stack_name, repository, tag, watching)
    watching.done()
    output.item(asdict(found), lambda: image_text.copied(found))


@image.command("diff")
@click.argument("one", metavar="IMAGE")
@click.argument("other", metavar="IMAGE")
@_stack
def diff(one: str, other: str, stack_name: str | None) -> None:
    """Show what differs between two images: packages, variables, labels, layers."""
    from clary.agent import imaging
    from clary.images import inspecting

    before, after = (inspecting.show(*imaging.named(name, stack_name)) for name in (one, other))
    found = inspecting.differences(before, after)
    told = {
        kind: {name: {"before": pair[0], "after": pair[1]} for name, pair in changed.items()}
        for kind, changed in found.items()
    }
    output.item(
        {"before": before.digest, "after": after.digest, "differences": told}, lambda: image_text.differences(found)
    )


@image.command("verify")
@_image
@_stack
@click.pass_context
def verify(context: click.Context, image: str, stack_name: str | None) -> None:
    """Read an image to its last byte, and check that it is what it says. Exit code 1 if it is not."""
    from clary.agent import imaging
    from clary.agent.images import Told
    from clary.images import inspecting

    watching = image_text.Watching(quiet=state.current().json)
    found, problems = inspecting.verify(*imaging.named(image, stack_name), Told(watching))
    watching.done()
    told = {"image": found.reference, "digest": found.digest, "ok": not problems}
    output.item({**told, "problems": [vars(one) for one in problems]}, lambda: image_text.verified(found, problems))
    context.exit(1 if problems else 0)


@image.group("cache", cls=Group)
def cache() -> None:
    """See and prune the layers and wheels that builds keep on this machine."""


@cache.command("info")
def info() -> None:
    """Show how much is kept, and where."""
    kept, folder = _cache()
    found = kept.info()
    told = {"folder": str(folder), "layers": found.layers, "wheels": found.wheels, "size": found.size}

    def text() -> None:
        say(f"{folder}")
        image_text.holdings(found)

    output.item({**told, "oldest": found.oldest}, text)


@cache.command("prune")
@click.option("--older-than", type=params.Seconds(), metavar="TIME", help="Remove what was not used for so long (30d).")
@click.option("--max-size", "max_size", metavar="SIZE", help="Remove the least used until so much is left (5GB).")
@click.option("--all", "everything", is_flag=True, help="Remove everything that no build uses now.")
@click.option("--verify", "check", is_flag=True, help="Read every file, and remove what is damaged.")
def prune(older_than: float | None, max_size: str | None, *, everything: bool, check: bool) -> None:
    """Remove layers and wheels; a later build makes or fetches them again. Without options: unused for 30 days."""
    kept, _ = _cache()
    damaged = kept.verify() if check else []
    age = older_than
    if age is None and max_size is None and not check:
        age = 30 * 86400.0
    limit = 0 if everything else None if max_size is None else params.size(max_size)
    freed = kept.prune(max_bytes=limit, older_than=None if everything else age)
    from clary.files import size_text

    def text() -> None:
        if check:
            say(f"Damaged: {len(damaged)}")
        say(f"Removed {size_text(freed)}.")

    output.item({"freed": freed, "damaged": damaged}, text)


def _cache() -> Any:
    from clary import config
    from clary.images.layers.cache import LocalCache

    folder = config.home() / "images"
    return LocalCache(folder), folder


def _asked(
    target: str | None, stack_name: str | None, project: Path, *, upgrade: bool, values: dict[str, Any]
) -> tuple[Asked, image_text.Watching]:
    from clary.agent import imaging

    watching = image_text.Watching(quiet=state.current().json)
    given = image_options.given(values)
    asked = imaging.prepare(target, stack_name, given, project.resolve(), watching, upgrade=upgrade)
    return asked, watching
