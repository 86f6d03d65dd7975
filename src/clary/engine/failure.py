"""Exceptions as records, and back: type, message, the useful frames, and the exception itself where it pickles."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from clary.artifacts import decode, encode, names
from clary.errors import (
    AwsError,
    ClaryError,
    DivergenceError,
    JournalError,
    PermissionDeniedError,
    RunFailedError,
    ThrottledError,
)
from clary.secrets.redaction import any_hidden, holds_hidden, mask, masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.journal.records import Record
    from clary.objects import ObjectStore

_OWN_CODE = str(Path(__file__).resolve().parents[1])
_PATHS = "__clary_calls__"
_LONGEST_TRACEBACK = 20_000


def describe(error: BaseException, store: ObjectStore) -> Record:
    """Return the exception as a record."""
    described: Record = {
        "type": type(error).__qualname__,
        "module": type(error).__module__,
        "message": mask(_message(error)),
        "frames": masked(useful_frames(error)),
        "traceback": mask(_text(error))[-_LONGEST_TRACEBACK:],
    }
    if isinstance(error, ClaryError):
        described["code"] = error.code
        described["next_step"] = mask(error.next_step)
    if _shows_hidden(error):
        return described  # the exception itself would carry the value into the record
    try:
        described["exception"] = encode(error, store)
        if type(decode(described["exception"], store)) is type(error):
            return described
    except ClaryError:
        pass  # its constructor takes other arguments than it keeps, as that of many
    try:
        described["parts"] = encode((error.args, vars(error)), store)
    except (ClaryError, TypeError):
        pass  # it is told by its type and message
    return described


def _shows_hidden(error: BaseException) -> bool:
    """Tell whether the exception holds the value of a secret, as far as its pickle or its texts show."""
    if not any_hidden():
        return False
    try:
        kept = pickle.dumps((error.args, vars(error)))
    except Exception:  # noqa: BLE001 - whatever the objects' own hooks raise: then its texts have to do
        kept = b""
    return holds_hidden(kept) or mask(_text(error)) != _text(error)


def rebuild(described: Record, store: ObjectStore) -> BaseException:
    """Return an exception like the recorded one, with the recorded traceback as its note."""
    found = _unpickled(described, store) or _put_together(described, store)
    if found is None:
        found = RunFailedError(
            "call.failed",
            f"{described['type']}: {described['message']}",
            next_step="See the traceback in the record: clary runs show RUN.",
        )
    found.add_note("Recorded traceback:\n" + described["traceback"])
    return found


def _unpickled(described: Record, store: ObjectStore) -> BaseException | None:
    try:
        error = decode(described["exception"], store)
    except (ClaryError, KeyError):
        return None
    return error if isinstance(error, BaseException) else None


def _put_together(described: Record, store: ObjectStore) -> BaseException | None:
    """Make the exception without its constructor, so that ``except`` clauses know it by its type."""
    try:
        kind = names.find(described["module"], described["type"])
        arguments, state = decode(described["parts"], store)
        error = kind.__new__(kind, *arguments)
        error.__dict__.update(state)
    except Exception:  # noqa: BLE001 - whatever the class does; there is another way to tell the failure
        return None
    return error if isinstance(error, BaseException) else None


def useful_frames(error: BaseException) -> list[str]:
    """Return ``file:line in function: code`` for the frames of the user's code, the innermost last.

    Of an error that comes from nowhere in it, all are returned, but for those of Clary's own, which say what to do.
    """
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith((_OWN_CODE, "<frozen"))]
    if not theirs and not isinstance(error, ClaryError):
        theirs = list(frames)
    return [
        f"{_shortened(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line or ''}".strip() for frame in theirs
    ]


def for_people(error: BaseException) -> str:
    """Return the traceback without the frames of Clary and of Python's import machinery, where others are left."""
    told = traceback.TracebackException.from_exception(error)
    waiting = [told]
    while waiting:
        one = waiting.pop()
        theirs = [frame for frame in one.stack if not frame.filename.startswith((_OWN_CODE, "<frozen"))]
        if theirs:
            one.stack[:] = theirs
        waiting += [other for other in (one.__cause__, one.__context__, *(one.exceptions or ())) if other is not None]
    return "".join(told.format())


def mark(error: BaseException, path: str) -> None:
    """Remember on the exception that the call at ``path`` failed with it."""
    try:
        error.__dict__.setdefault(_PATHS, []).append(path)
    except AttributeError:
        pass  # an exception without a dictionary; its call then stays recorded as failed


def failed_calls(error: BaseException) -> list[str]:
    """Return the paths of all calls whose failure the exception is, or was caused by."""
    found: list[str] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        found.extend(getattr(one, _PATHS, ()))
        waiting.extend(_behind(one))
    return sorted(set(found))


def cause_of(error: BaseException) -> str:
    """Return the cause of a failure, of those in the design: the user's code, unless Clary could not do its part."""
    if isinstance(error, PermissionDeniedError):
        return "permission"
    if isinstance(error, ThrottledError):
        return "throttled"
    if isinstance(error, RunFailedError) and "cause" in error.details:  # the job of an isolated call has died
        return str(error.details["cause"])
    if isinstance(error, (AwsError, JournalError)) and not isinstance(error, DivergenceError):
        return "internal"
    return "user_code"


def _behind(error: BaseException) -> Iterator[BaseException]:
    for other in (error.__cause__, error.__context__):
        if other is not None:
            yield other
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions


def _message(error: BaseException) -> str:
    try:
        return error.summary if isinstance(error, ClaryError) else str(error)
    except Exception:  # noqa: BLE001 - an exception whose own text fails must not hide the failure
        return "(the exception has no readable text)"


def _text(error: BaseException) -> str:
    lines = traceback.format_exception(error)
    return "".join(lines)


def _shortened(filename: str) -> str:
    """Return the path from the working directory or the last three parts, so that a frame fits a line."""
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return "/".join(path.parts[-3:])
