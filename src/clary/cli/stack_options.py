"""Options that several ``clary stack`` commands share, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clary.cli.commands import Command
from clary.cli.other_kinds import OTHER_KINDS, no_such_kind
from clary.stacks.draft import FOREIGN, Wish, parse_extra, read_file, wish
from clary.stacks.flavors import KINDS

if TYPE_CHECKING:
    from clary.stacks.model import Stack

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_NO_VERIFY = "Do not look whether the bucket and the role are there, and may be used."


class ComposeCommand(Command):
    """A command whose ``-o`` names the orchestrator, as in ZenML; how to print is ``--output`` only."""

    output_flags = ("--output",)


def plain_options(command: Decorated) -> Decorated:
    """Add the options of a stack's own fields, with hyphens or underscores."""
    for option in reversed(_PLAIN):
        command = option(command)
    return command


def _both(name: str, *, help: str, metavar: str, **more: Any) -> Callable[[Decorated], Decorated]:  # noqa: A002
    spellings = dict.fromkeys([f"--{name}", f"--{name.replace('-', '_')}"])
    return click.option(*spellings, name.replace("-", "_"), metavar=metavar, help=help, **more)


_PLAIN = (
    _both("artifact-store", metavar="URI", help="sagemaker: s3://BUCKET/PREFIX. local: a folder."),
    _both(
        "container-registry",
        metavar="URI",
        help="ACCOUNT.dkr.ecr.REGION.amazonaws.com[/REPOSITORY], or the repository's ARN.",
    ),
    _both("region", metavar="REGION", help="The AWS region."),
    _both("execution-role", metavar="ARN", help="The role that jobs run under."),
    _both("instance-type", metavar="TYPE", help="The instance of flows that name none, such as ml.m5.xlarge."),
    _both("image", metavar="IMAGE", help="The image of flows that name none."),
    _both("endpoint-url", metavar="URL", help="An endpoint to use in place of AWS's public ones."),
    _both(
        "credentials",
        metavar="SOURCE",
        help="aws-profile:NAME, aws-environment:ID_VARIABLE:SECRET_VARIABLE, aws-secret:NAME or "
        "aws-credentials-file:PATH. Default: the AWS chain.",
    ),
)
_EXTRA = click.option(
    "--extra",
    multiple=True,
    metavar="TARGET.FIELD=VALUE",
    help="Any option of a component; the value is YAML. May be repeated, e.g. "
    "orchestrator.volume_size_in_gb=100, orchestrator.tags.team=ml.",
)


def creation_options(command: Decorated) -> Decorated:
    """Add every option that makes a stack."""
    options = (
        click.option("--type", "type", type=str, metavar="TYPE", help="local, sagemaker or sandbox. Default: local."),
        click.option(
            "--file", "-f", "file", type=click.Path(path_type=Path), metavar="FILE", help="A stack file, YAML."
        ),
        plain_options,
        _both("image-builder", metavar="FLAVOR", help="layers, docker, kaniko or none."),
        _both("secrets-manager", metavar="FLAVOR", help="aws, ssm or local."),
        _EXTRA,
        click.option(
            "--async/--no-async", "run_async", default=None, help="`clary run` does not follow a run unless told to."
        ),
        click.option("--activate/--no-activate", default=None, help="Make it the current stack, or do not."),
        click.option("--verify/--no-verify", default=None, help=_NO_VERIFY),
        *(click.option(f"--{name.replace('_', '-')}", name, hidden=True) for name in ("sandbox", *FOREIGN)),
    )
    for option in reversed(options):
        command = option(command)
    return command


def wished(name: str | None, options: Mapping[str, Any]) -> Wish:
    """Return what the options of ``creation_options`` ask for, a file included."""
    given = dict(options)
    file, extra = given.pop("file"), given.pop("extra")
    given["async"] = given.pop("run_async")
    given["extra"] = parse_extra(extra) if extra else None
    return wish(name, given, read_file(file) if file else None)


def extra_option(command: Decorated) -> Decorated:
    """Add ``--extra``."""
    return _EXTRA(command)


def component_options(command: Decorated) -> Decorated:
    """Add the options that name registered components, with ZenML's short ones."""
    short = {
        "orchestrator": "-o",
        "artifact_store": "-a",
        "container_registry": "-c",
        "image_builder": "-i",
        "secrets_manager": "-x",
    }
    for kind in reversed(list(KINDS)):
        spellings = dict.fromkeys([short[kind], f"--{KINDS[kind].command}", f"--{kind}"])
        command = click.option(*spellings, kind, metavar="NAME", help=f"A {KINDS[kind].command} by name.")(command)
    for name, other in OTHER_KINDS.items():
        spellings = dict.fromkeys([*other.flags, f"--{name}", f"--{name.replace('-', '_')}"])
        command = click.option(
            *spellings, name.replace("-", "_"), hidden=True, expose_value=False, callback=_refuse_kind
        )(command)
    return command


def _refuse_kind(_ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        field = str(param.name)
        raise no_such_kind(field.replace("_", "-"), field=field)


def no_verify_option(command: Decorated) -> Decorated:
    """Add ``--no-verify``."""
    return click.option("--no-verify", is_flag=True, help=_NO_VERIFY)(command)


def verify(stack: Stack) -> list[str]:
    """Look at what a stack's runs stand on; imported when it is used."""
    from clary.agent.verified import verify as look

    return look(stack)
