"""Checks side by side, each with a time limit: an endpoint that never answers must not keep a person waiting.

The threads are daemons of our own, not a pool's: a pool waits at exit for work that hangs, and a request that is under
way cannot be called back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from clary.doctor.findings import Check, Finding, Result, Status, failed, from_error, unchecked
from clary.errors import ClaryError

if TYPE_CHECKING:
    from clary.doctor.subject import Subject

LIMIT = 5.0
"""Seconds that each check has; all start at once."""

T = TypeVar("T")


def run(
    checks: Sequence[Check],
    subject: Subject,
    *,
    limit: float = LIMIT,
    tell: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Run the checks at once and return their results in the order of the checks, without those that do not apply.

    What has found nothing within ``limit`` seconds could not be checked. ``tell`` hears of each result as it comes, in
    the calling thread.
    """
    began = time.monotonic()
    answers: queue.SimpleQueue[tuple[Check, Finding | None]] = queue.SimpleQueue()

    def start(check: Check) -> None:
        _thread(lambda: answers.put((check, _looked(check, subject))), check.name)

    for check in checks:
        start(check)
    open_checks = {check.name: check for check in checks}
    found: dict[str, Result] = {}
    while open_checks:
        try:
            check, finding = answers.get(timeout=max(began + limit - time.monotonic(), 0))
        except queue.Empty:
            check = next(iter(open_checks.values()))
            finding = unchecked(f"There was no answer within {limit:g} seconds.", fix="Try again; check the network.")
        del open_checks[check.name]
        if finding is not None:
            found[check.name] = Result(check, _weighed(check, finding), time.monotonic() - began)
            if tell is not None:
                tell(found[check.name])
    return [found[check.name] for check in checks if check.name in found]


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Return what the calls return, made at once; raises the error of the first that raised one."""
    outcomes: list[tuple[T | None, BaseException | None]] = [(None, None)] * len(calls)

    def make(number: int) -> None:
        try:
            outcomes[number] = (calls[number](), None)
        except BaseException as error:  # noqa: BLE001 it is raised again in the caller's thread
            outcomes[number] = (None, error)

    threads = [_thread(lambda number=number: make(number), "call") for number in range(len(calls))]  # type: ignore[misc]
    for thread in threads:
        thread.join()
    for _, error in outcomes:
        if error is not None:
            raise error
    return [value for value, _ in outcomes]  # type: ignore[misc]  # all are there: none raised


def _thread(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=f"clary-doctor-{name}", daemon=True)
    thread.start()
    return thread


def _looked(check: Check, subject: Subject) -> Finding | None:
    try:
        return check.look(subject)
    except ClaryError as error:
        return from_error(error)
    except Exception as error:  # noqa: BLE001 one check that breaks must not hide what the others found
        return unchecked(f"The check itself broke: {type(error).__name__}: {error}", fix="Please report this.")


def _weighed(check: Check, finding: Finding) -> Finding:
    if check.vital and finding.status is Status.UNCHECKED:
        return failed(finding.summary, finding.fix, finding.statements)
    return finding
