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
    scheduler_role: str | None = None
    """ARN of the role by which EventBridge Scheduler starts the next attempt of a suspended run."""
    endpoint_url: str | None = None
    """AWS endpoint to use in place of the public ones."""
    endpoint_urls: dict[str, str] = field(default_factory=dict)
    """Endpoints of single services by boto3's name of the service (``s3``, ``sts``); they win over ``endpoint_url``."""
    use_fips_endpoint: bool = False
    credentials: str | None = None
    """Where the caller's credentials come from, in a form of ``clary.sagemaker.credentials``, such as
    ``aws-profile:NAME``; None for the default chain. Never a secret itself."""
    assume_role: str | None = None
    """ARN of a role that those credentials assume; what it gives is renewed in time."""
    external_id: str | None = None
    """What the trust policy of ``assume_role`` may ask for."""
    synchronous: bool = True
    """Whether ``clary run`` follows a run to its end unless told otherwise."""
    secrets: dict[str, Any] = field(default_factory=dict)
    """The secrets manager: ``flavor`` (``aws``, ``ssm``, ``local``) and its options; empty: the flavor's default."""
    image_builder: dict[str, Any] = field(default_factory=dict)
    """The image builder: ``flavor`` and its options; empty: the default."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Defaults of this stack for the typed job settings (``clary.sagemaker.settings.JobSettings``)."""

    def to_dict(self) -> dict[str, Any]:
        """Return the stack as plain data."""
        return asdict(self)


def local_stack(artifact_store: str) -> Stack:
    """Return the stack ``local``, which is always there: runs in this process, kept in a folder."""
    return Stack(name=LOCAL, type=LOCAL, artifact_store=artifact_store)
