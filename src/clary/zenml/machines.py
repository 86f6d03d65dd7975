"""Which SageMaker machine has what ``ResourceSettings`` ask for: the smallest of two common families."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from clary.errors import UsageError
from clary.zenml.options import refuse


class Machine(NamedTuple):
    """One type: its vCPUs, its memory in GiB and its GPUs."""

    name: str
    cpus: int
    memory: int
    gpus: int = 0

    def has(self, cpus: float, memory: int, gpus: float) -> bool:
        """Tell whether it has as much, memory in bytes, and GPUs only where they are asked for."""
        enough = self.cpus >= cpus and self.memory * _GIB >= memory and self.gpus >= gpus
        return enough and bool(self.gpus) == bool(gpus)


MACHINES = (
    Machine("ml.m5.large", 2, 8),
    Machine("ml.m5.xlarge", 4, 16),
    Machine("ml.m5.2xlarge", 8, 32),
    Machine("ml.m5.4xlarge", 16, 64),
    Machine("ml.m5.12xlarge", 48, 192),
    Machine("ml.m5.24xlarge", 96, 384),
    Machine("ml.g5.xlarge", 4, 16, 1),
    Machine("ml.g5.2xlarge", 8, 32, 1),
    Machine("ml.g5.4xlarge", 16, 64, 1),
    Machine("ml.g5.8xlarge", 32, 128, 1),
    Machine("ml.g5.16xlarge", 64, 256, 1),
    Machine("ml.g5.12xlarge", 48, 192, 4),
    Machine("ml.g5.24xlarge", 96, 384, 4),
    Machine("ml.g5.48xlarge", 192, 768, 8),
)
"""From the smallest: the M5 family, and of the G5 family those with GPUs. Source: AWS's tables of instance types."""
_PREFIXES = "KMGTP"
_MEMORY = re.compile(rf"(\d+)([{_PREFIXES}])(i?)B")
_GIB = 1024**3


def machine_for(given: Mapping[str, Any]) -> str | None:
    """Return the first machine with as much as is asked for, None where nothing is.

    Raises UsageError ``zenml.bad_settings``, and ``zenml.not_available`` for what no machine here has.
    """
    wanted = {name: value for name, value in given.items() if value is not None}
    others = sorted(set(wanted) - {"cpu_count", "gpu_count", "memory"})
    if others:
        refuse(
            f"settings[resources].{others[0]}",
            "SageMaker has types of machines.",
            'Leave it out; a type is named by {"orchestrator": {"instance_type": "ml.…"}}.',
        )
    cpus, gpus = (_number(name, wanted.get(name, 0)) for name in ("cpu_count", "gpu_count"))
    memory = _bytes(wanted["memory"]) if "memory" in wanted else 0
    if not (cpus or gpus or memory):
        return None
    found = next((one for one in MACHINES if one.has(cpus, memory, gpus)), None)
    if found is None:
        refuse(
            "settings[resources]",
            "none of the machines that are looked through (M5, and G5 for GPUs) has that much.",
            'Name a type: {"orchestrator": {"instance_type": "ml.…"}}.',
        )
    return found.name


def _number(name: str, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return value
    raise _bad(f"settings[resources].{name} is {value!r}, which is no count.", "Give a number.")


def _bytes(value: Any) -> int:
    found = _MEMORY.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        base = 1024 if found[3] else 1000
        return int(int(found[1]) * base ** (1 + _PREFIXES.index(found[2])))
    raise _bad(f"settings[resources].memory is {value!r}, which is no amount.", 'Write for example "16GB" or "16GiB".')


def _bad(summary: str, step: str) -> UsageError:
    return UsageError("zenml.bad_settings", summary, next_step=step, field="settings")
