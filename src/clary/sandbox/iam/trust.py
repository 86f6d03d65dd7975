"""Whether a service may assume a role: the role's trust policy, weighed with where the service acts from."""

from __future__ import annotations

from clary.sandbox.iam.evaluate import Names, Policies, ResourcePolicy, decide
from clary.sandbox.iam.policy import Access, MalformedPolicy, parse


def trusts(document: str | None, service: str, role: str, *, source_arn: str) -> bool:
    """Return whether a trust policy lets a service (``sagemaker.amazonaws.com``) assume the role.

    ``source_arn`` is what the service acts for, such as the job; policies use it and its account against confused
    deputies (``aws:SourceArn``, ``aws:SourceAccount``).
    """
    account = role.split(":", 5)[4]
    source_account = source_arn.split(":", 5)[4]
    context = {
        "aws:sourcearn": (source_arn,),
        "aws:sourceaccount": (source_account,),
        "aws:principalisawsservice": ("true",),
        "aws:principalservicename": (service,),
    }
    try:
        policy = parse(document or "{}", "trust policy")
    except MalformedPolicy:
        return False
    own = ResourcePolicy(policy, account, decides=True)
    access = Access("sts:AssumeRole", role, context)
    return decide(access, Names(account, service=service), Policies(), own).allowed
