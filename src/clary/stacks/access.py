"""A stack's way to AWS: the one place where the fields of a stack become a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clary.sagemaker.session import Aws
    from clary.stacks.model import Stack


def open_aws(stack: Stack) -> Aws:
    """Return the way to AWS of a sagemaker stack. Nothing is looked up or called until a client is needed."""
    from clary.sagemaker.session import Aws

    return Aws(
        stack.region,
        endpoint_url=stack.endpoint_url,
        endpoint_urls=stack.endpoint_urls,
        use_fips_endpoint=stack.use_fips_endpoint,
        credentials=stack.credentials,
        assume_role=stack.assume_role,
        external_id=stack.external_id,
    )
