"""Whether the places that a stack names exist: looked at once for each bucket and role, then remembered here.

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

    Raises what ``clary.stacks.verify.verify`` raises.
    """
    mark = _mark(stack)
    with contextlib.suppress(ClaryError), database.local().reading() as connection:
        if settings.get(connection, mark) is not None:
            return []
    from clary.stacks.verify import verify

    warnings = verify(stack)
    with contextlib.suppress(ClaryError), database.local().transaction() as connection:
        settings.put(connection, mark, stack.name)
    return warnings


def _mark(stack: Stack) -> str:
    decides = [stack.artifact_store, stack.region, stack.execution_role, stack.endpoint_url, stack.credentials]
    return "verified:" + hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]
