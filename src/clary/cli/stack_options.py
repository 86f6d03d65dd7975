"""Options that several ``clary stack`` commands share, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clary.cli.commands import Command
from clary.stacks.draft import FOREIGN, OPTIONS, Wish, parse_extra, read_file, wish
from clary.stacks.flavors import KINDS

if TYPE_CHECKING:
    from clary.stacks.model import Stack

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

NO_VERIFY = "Do not look whether the bucket and the role exist."


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
        click.option("--verify/--no-verify", default=None, help=NO_VERIFY),
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
    for flags in _OTHER_KINDS:
        command = click.option(*flags, hidden=True, expose_value=False, callback=_refuse_kind)(command)
    return command


_OTHER_KINDS = (
    ("-s", "--step_operator", "--step-operator"),
    ("-e", "--experiment_tracker", "--experiment-tracker"),
    ("-al", "--alerter"),
    ("-dv", "--data_validator", "--data-validator"),
    ("-f", "--feature_store", "--feature-store"),
    ("-d", "--model_deployer", "--model-deployer"),
    ("-r", "--model_registry", "--model-registry"),
    ("-an", "--annotator"),
    ("-sc", "--connector"),
)
"""Components of ZenML's stacks that a stack of Clary does not have."""


def _refuse_kind(_ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    from clary.errors import UsageError

    if value is None:
        return
    kind = str(param.name).replace("_", " ")
    step = (
        "Leave it out: credentials are part of the orchestrator, --credentials=aws-profile:NAME."
        if kind == "connector"
        else "Leave it out: use that tool from the flow's own code."
    )
    raise UsageError(
        "stack.no_such_component",
        f"A stack of Clary has no {kind}; it has: {', '.join(one.command for one in KINDS.values())}.",
        next_step=step,
        field=str(param.name),
    )


def verify(stack: Stack) -> list[str]:
    """Look at the places that a stack names; imported when it is used."""
    from clary.stacks.verify import verify as look

    return look(stack)


def plain_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``plain_options`` that were given."""
    return {name: options[name] for name in OPTIONS if options.get(name) is not None}
