"""What the job leaves for ``DescribeTrainingJob``: ``/opt/ml/output/failure``, the cause first.

SageMaker keeps the first 1,024 characters as FailureReason, behind ``AlgorithmError: ``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.secrets.redaction import mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMIT = 900
"""Characters that certainly arrive: 1,024 less the service's own words."""


def compose(cause: str, summary: str, frames: Sequence[str] = ()) -> str:
    """Return ``<cause>: <summary>`` and as many of the innermost frames as fit, outermost first; secrets are masked."""
    head = " ".join(mask(f"{cause}: {summary}").split())[:600]
    kept: list[str] = []
    left = LIMIT - len(head) - 1
    for frame in reversed(frames):
        line = "  " + " ".join(mask(frame).split())[:200]
        if len(line) + 1 > left:
            break
        kept.append(line)
        left -= len(line) + 1
    return "\n".join([head, *reversed(kept)]) + "\n"


def write(opt_ml: Path, text: str) -> None:
    """Leave the text for the platform; a folder that cannot be written is no reason to fail differently."""
    try:
        (opt_ml / "output").mkdir(parents=True, exist_ok=True)
        (opt_ml / "output" / "failure").write_text(text, errors="replace")
    except OSError:
        pass
