"""Reads invoices, has the unusual ones approved by a person, and writes a report. Runs on Clary, in Kitaru's shape."""

import sys

from clary.kitaru import checkpoint, current_execution_id, flow, load, log, save, wait

INVOICES = [
    {"number": "A-1", "customer": "North", "lines": [120.0, 80.0]},
    {"number": "A-2", "customer": "South", "lines": [2400.0]},
    {"number": "A-3", "customer": "North", "lines": [35.5, 14.5]},
]


@checkpoint(type="tool_call", retries=2)
def fetch(month: str) -> list[dict]:
    """Get the invoices of a month."""
    print(f"fetching the invoices of {month}")
    return INVOICES


@checkpoint
def total(invoice: dict) -> float:
    """Add up the lines of an invoice."""
    return sum(invoice["lines"])


@checkpoint
def unusual(invoices: list[dict], totals: list[float], limit: float) -> list[str]:
    """Find the invoices above a limit."""
    found = [one["number"] for one, amount in zip(invoices, totals, strict=True) if amount > limit]
    save("held back", found, type="context")
    return found


@checkpoint
def report(totals: list[float], approved: bool) -> dict:
    """Write what is paid and what is held back."""
    held = [] if approved else load(current_execution_id(), "held back")
    log(invoices=len(totals), held=len(held))
    return {"sum": sum(totals), "held": held}


@flow
def invoices(month: str, limit: float = 1000.0) -> dict:
    """Review the invoices of a month."""
    batch = fetch(month)
    totals = total.map(batch)
    suspects = unusual(batch, totals, limit)
    approved = True
    if suspects.load():
        approved = wait(schema=bool, name="approve", question=f"Pay {', '.join(suspects.load())}?", timeout=0)
    return report(totals, approved)


if __name__ == "__main__":
    handle = invoices.run(sys.argv[1] if len(sys.argv) > 1 else "May")
    print(handle.exec_id, handle.status)
