"""What the name of an instance type tells."""

from __future__ import annotations

import re

_GPU = re.compile(r"ml\.(?:p|g)\d[a-z0-9-]*\.")
"""The families P and G have NVIDIA's. Source: the table of SageMaker's instance types."""


def has_gpu(instance_type: str) -> bool:
    """Tell whether machines of a type have an NVIDIA GPU."""
    return _GPU.match(instance_type) is not None
