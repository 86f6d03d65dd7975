"""``clary iam``: the least policies that a stack's people, programs and roles need."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import click

from clary.cli import output
from clary.cli.commands import Choice, Group
from clary.cli.output import say

KINDS = ("execution", "agent", "submitter", "scheduler", "builder")
"""As ``clary.sagemaker.permissions.KINDS``; written here so that help loads no more than it shows. A test compares."""


@click.group("iam", cls=Group)
def iam() -> None:
    """Print the least IAM policies for a stack."""


@iam.command("policy")
@click.argument("kind", type=Choice(KINDS), metavar="KIND")
@click.option("--stack", "stack_name", metavar="NAME", help="The stack; the current one if left out.")
@click.option("--isolated", is_flag=True, help="Let flows run isolated checkpoints: in jobs that they ask for.")
@click.option("--trust", is_flag=True, help="Print the trust policy of the role instead.")
def policy(kind: str, stack_name: str | None, isolated: bool, trust: bool) -> None:
    """Print the least policy of KIND, filled with the stack's own ARNs, as JSON that IAM takes.

    KIND is execution (the role that jobs run under), submitter (who runs and follows flows), agent (the same for a
    server, with schedules), scheduler (the role that wakes suspended runs) or builder (who pushes images). Nothing in
    AWS is asked or changed:

    \b
      clary iam policy execution > policy.json
      aws iam put-role-policy --role-name ROLE --policy-name clary --policy-document file://policy.json
    """
    from clary.sagemaker import permissions
    from clary.stacks.scope import scope_of
    from clary.stacks.service import resolve

    stack = resolve(stack_name)
    scope = replace(scope_of(stack), isolated=isolated)
    documents = {"policy": permissions.policy(kind, scope), "trust_policy": permissions.trust(kind, scope)}
    data: dict[str, Any] = {"kind": kind, "stack": stack.name, **documents}
    shown = documents["trust_policy" if trust else "policy"]
    output.item(data, lambda: say(json.dumps(shown, indent=2)))
