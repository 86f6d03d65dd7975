"""What a first submit stands on (``clary.doctor.service.quick``): looked at once for each stack, then remembered here.

A stack whose fields have changed since is looked at again.

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

if TYPE_CHECKING:
    from clary.stacks.model import Stack


def verify_once(stack: Stack) -> list[str]:
    """Look at the bucket and the role of a stack unless that was done before; return warnings.

    Raises what ``clary.doctor.service.quick`` raises.
    """
    mark = _mark(stack)
    with contextlib.suppress(ClaryError), database.local().reading() as connection:
        if settings.get(connection, mark) is not None:
            return []
    from clary.doctor.service import quick

    warnings = quick(stack)
    with contextlib.suppress(ClaryError), database.local().transaction() as connection:
        settings.put(connection, mark, stack.name)
    return warnings


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
