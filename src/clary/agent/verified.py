"""What runs stand on (``clary.doctor.service.quick``), looked at when a stack is made, or else before its first run.

What was seen is remembered: a stack whose fields have changed since is looked at again.

What is remembered only saves the look. Where a bucket or role has gone since, the first write or CreateTrainingJob says
so, before anything is uploaded or paid for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING

from clary.control import database, settings
from clary.errors import ClaryError
from clary.stacks.model import LOCAL

if TYPE_CHECKING:
    from clary.stacks.model import Stack


def verify(stack: Stack) -> list[str]:
    """Look at the bucket and the role of a stack, and whether the role may be passed on; return warnings.

    Raises what ``clary.doctor.service.quick`` raises.
    """
    from clary.doctor.service import quick

    warnings = quick(stack)
    if stack.type != LOCAL:
        with contextlib.suppress(ClaryError), database.local().transaction() as connection:
            settings.put(connection, _mark(stack), stack.name)
    return warnings


def verify_once(stack: Stack) -> list[str]:
    """Do the same unless it was done before; return warnings."""
    with contextlib.suppress(ClaryError), database.local().reading() as connection:
        if settings.get(connection, _mark(stack)) is not None:
            return []
    return verify(stack)


def _mark(stack: Stack) -> str:
    """All that decides what is looked at, and by whom: every way from the stack to AWS, and the places it names."""
    decides = [
        stack.artifact_store,
        stack.region,
        stack.execution_role,
        stack.endpoint_url,
        sorted(stack.endpoint_urls.items()),
        stack.use_fips_endpoint,
        stack.credentials,
        stack.assume_role,
        stack.external_id,
    ]
    return "verified:" + hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]
