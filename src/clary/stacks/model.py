"""What a stack is: a named place to run, made of components. Plain data; the rules are checked when one is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

LOCAL = "local"
SAGEMAKER = "sagemaker"
SANDBOX = "sandbox"
"""Asked for, not kept: a sandbox stack is a sagemaker stack that points at the sandbox."""


@dataclass(frozen=True)
class Stack:
    """One stack, whole: runner, artifact store, container registry, credentials."""

    name: str
    type: str
    """``local`` (this process) or ``sagemaker``."""
    artifact_store: str
    """``s3://bucket/prefix``; for the local stack an absolute folder."""
    region: str | None = None
    execution_role: str | None = None
    container_registry: str | None = None
    """``<account>.dkr.ecr.<region>.amazonaws.com[/repository]``."""
    image: str | None = None
    """The image that runs flows which name none; None: the stack's default."""
    endpoint_url: str | None = None
    """AWS endpoint to use in place of the public ones."""
    credentials: str | None = None
    """``aws-profile:NAME``, ``aws-credentials-file:PATH`` (its profile ``default``), or None for the default chain.
    Never a secret."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Defaults of this stack for the typed job settings (``clary.sagemaker.settings.JobSettings``)."""

    def to_dict(self) -> dict[str, Any]:
        """Return the stack as plain data."""
        return asdict(self)


def local_stack(artifact_store: str) -> Stack:
    """Return the stack ``local``, which is always there: runs in this process, kept in a folder."""
    return Stack(name=LOCAL, type=LOCAL, artifact_store=artifact_store)
