"""What the rules of settings look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from clary.sagemaker.findings import Finding, Severity
from clary.sagemaker.reading import broken, doubtful

if TYPE_CHECKING:
    from clary.sagemaker.settings_model import JobSettings


class Use(StrEnum):
    """What will run with the settings, where that is known."""

    ANY = "any"
    FLOW = "flow"
    """Its progress is in its record, and it needs S3."""
    CALL = "call"
    """One call of an isolated checkpoint, which says what starts on its hosts; else as a flow."""
    CONTAINER = "container"
    """A plain container: all it keeps is what SageMaker carries to S3."""


@dataclass(frozen=True)
class Judged:
    """What a rule looks at."""

    settings: JobSettings
    given: Mapping[str, Any]
    """What was set, without the defaults."""
    use: Use
    whole: bool
    """Whether nothing else will be set."""

    def lacking(self, path: str, *, why: str, next_step: str) -> Finding:
        """Return the finding for a setting that another needs: a warning where a further layer can still bring it."""
        return Finding(
            path,
            "null",
            "needed by another setting",
            f"{path} is missing: {why}",
            next_step,
            severity=Severity.ERROR if self.whole else Severity.WARNING,
        )

    def unless_supplied(self, other: str, path: str, value: Any, **words: str) -> Finding:
        """Return an error, or a warning where a further layer can still set the ``other`` that it turns on."""
        return (broken if self.whole or other in self.given else doubtful)(path, value, **words)


Rule = Callable[[Judged], Iterator[Finding]]
