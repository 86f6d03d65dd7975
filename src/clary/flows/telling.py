"""``progress()``: how far the code is, for whoever watches."""

from __future__ import annotations

from clary.engine.progress import board_of
from clary.engine.scope import current_scope
from clary.errors import UsageError
from clary.secrets.redaction import mask

LONGEST = 200
"""Characters of a message that are shown."""


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Tell how far the current call (or the flow's body) is, for ``clary run``, ``clary runs show`` and the like.

    Call it as often as you like: it is published once a second at most, kept by no record, and lost with the process.
    Where no flow runs the code it does nothing.

    Args:
        done: how much is done, in any unit.
        total: how much there is to do; None where that is not known.
        message: a few words, such as the name of the phase.

    Raises UsageError ``progress.no_number`` for what is no number.
    """
    for value in (done, total):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise UsageError(
                "progress.no_number",
                f"progress() takes numbers, not {value!r}.",
                next_step='Write for example progress(3, 10, "epoch 3").',
            )
    scope = current_scope.get()
    board = None if scope is None else board_of(scope.execution.journal)
    if scope is not None and board is not None:
        board.tell(scope.path, done, total, mask(str(message))[:LONGEST])
