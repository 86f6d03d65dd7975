"""The same work without handles: what the project may become, one flow at a time."""

from __future__ import annotations

from typing import Any

from clary import checkpoint, flow, load, log, save, wait

INVOICES: list[dict[str, Any]] = [
    {"number": "A-1", "customer": "North", "lines": [120.0, 80.0]},
    {"number": "A-2", "customer": "South", "lines": [2400.0]},
    {"number": "A-3", "customer": "North", "lines": [35.5, 14.5]},
]


@checkpoint(retries=2)
def fetch(month: str) -> list[dict[str, Any]]:
    """Get the invoices of a month."""
    print(f"fetching the invoices of {month}")
    return INVOICES


@checkpoint
def total(invoice: dict[str, Any]) -> float:
    """Add up the lines of an invoice."""
    amounts: list[float] = invoice["lines"]
    return sum(amounts)


@flow
def invoices(month: str, limit: float = 1000.0) -> dict[str, Any]:
    """Review the invoices of a month."""
    batch = fetch(month)
    totals = total.map(batch).results()
    suspects = [one["number"] for one, amount in zip(batch, totals, strict=True) if amount > limit]
    save("unusual", suspects)
    approved = not suspects or wait("approve", bool, question=f"Pay {', '.join(suspects)}?")
    held = [] if approved else load("unusual")
    log(invoices=len(totals), held=len(held))
    return {"sum": sum(totals), "held": held}
