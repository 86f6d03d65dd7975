"""Rules that the service enforces beyond its model: required in practice, and about several members at once.

One function a rule; ``RULES`` says which operation has which. A rule sees the whole request, takes nothing for granted
about its form (the model's own findings cover that), and yields what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from clary.sagemaker import processing_rules, shared_rules, training_rules
from clary.sagemaker.findings import Finding

Rule = Callable[[Mapping[str, Any]], Iterator[Finding]]

RULES: Mapping[str, Iterable[Rule]] = {
    "CreateTrainingJob": (*training_rules.RULES, *shared_rules.RULES),
    "CreateProcessingJob": (*processing_rules.RULES, *shared_rules.RULES),
}


def rule_findings(operation: str, request: Mapping[str, Any]) -> list[Finding]:
    """Return what breaks the rules of ``operation``; nothing for an operation that has none."""
    return [finding for rule in RULES.get(operation, ()) for finding in rule(request)]
