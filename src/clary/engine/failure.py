"""Exceptions as records, and back: type, message, the useful frames, the exception itself and those behind it.

What does not pickle is kept in parts. In the same form exceptions come from the process of a call.
"""

from __future__ import annotations

import errno
import os
import pickle
import traceback
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Callable, Iterator

    from clary.journal.records import Record
    from clary.objects import ObjectStore

MEMBER = "• "
"""What a line among the frames begins with that names one of several exceptions of a group; its frames are indented."""
_STANDARD_LIBRARY = Path(traceback.__file__).parent
_NOT_THEIRS = (
    f"{Path(__file__).resolve().parents[1]}{os.sep}",
    f"{_STANDARD_LIBRARY / 'asyncio'}{os.sep}",
    f"{_STANDARD_LIBRARY / 'concurrent'}{os.sep}",
    "<frozen",
)
"""What the names of files begin with whose frames tell people nothing of their own code."""
_PATHS = "__clary_calls__"
_FRAMES = "__clary_frames__"
_LONGEST_MESSAGE = 10_000
_TRACEBACK_HEAD, _TRACEBACK_TAIL = 5_000, 15_000
"""Characters of a traceback that are kept: a large text hides the frames above it, deep frames those below."""
_MOST_MEMBERS, _MEMBER_FRAMES = 5, 5
"""Of a group's exceptions, those that are shown, and the innermost frames of each."""
_LONGEST_MEMBER = 200
"""Characters of each of several exceptions in the message of their group."""
_MOST_BEHIND = 5
"""Exceptions that are kept of a chain of causes."""
_DEEPEST_GROUP = 20


@dataclass(frozen=True)
class _Form:
    """How the objects in exceptions are kept."""

    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]
    refuses: Callable[[BaseException], bool]
    """Tells of an exception that is to be kept by its texts only."""


def describe(error: BaseException, store: ObjectStore) -> Record:
    """Return the exception as a record."""
    described: Record = {
        **_named(error),
        "frames": masked(useful_frames(error)),
        "traceback": _without_middle(mask("".join(traceback.format_exception(error)))),
    }
    if isinstance(error, ClaryError):
        described["code"] = error.code
        described["next_step"] = mask(error.next_step)
    return described | _kept(error, _as_values(store))


def rebuild(described: Record, store: ObjectStore) -> BaseException:
    """Return an exception like the recorded one, with the recorded traceback as its note."""
    found = _restored_or_told(described, _as_values(store))
    _set_frames(found, described["frames"])
    _add_note(found, "Recorded traceback:\n" + described["traceback"])
    return found


def to_send(error: BaseException) -> Record:
    """Return the exception as what pickles, for another process on this machine."""
    described: Record = {
        **_named(error),
        "frames": useful_frames(error),
        "traceback": _without_middle(mask(for_people(error))),
        **_kept(error, _BY_PICKLE),
    }
    if _restored(described, _BY_PICKLE) is None:
        described |= _kept(_plain_one(error), _BY_PICKLE)
    return described


def received(described: Record) -> BaseException:
    """Return the exception that another process has sent, with its traceback there as its note."""
    found = _restored_or_told(described, _BY_PICKLE)
    _set_frames(found, described["frames"])
    _add_note(found, "In the call's own process:\n" + described["traceback"])
    return found


def _as_values(store: ObjectStore) -> _Form:
    return _Form(lambda value: encode(value, store), lambda kept: decode(kept, store), _shows_hidden)


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception:  # noqa: BLE001 - whatever the objects' own hooks raise
        import cloudpickle  # where there is none, the value cannot be sent

        return bytes(cloudpickle.dumps(value))


_BY_PICKLE = _Form(_pickled, pickle.loads, lambda _error: False)


def _named(error: BaseException) -> Record:
    kind = type(error)
    return {"type": kind.__qualname__, "module": kind.__module__, "message": _bounded(mask(_message(error)))}


def _kept(error: BaseException, form: _Form, above: tuple[BaseException, ...] = ()) -> Record:
    """Return what the exception is made of anew, with those behind it; ``above`` are those that it is behind of."""
    if form.refuses(error):
        return {}  # the exception itself would carry the value into the record
    return {**_itself(error, form, above), **_chain(error, form, above)}


def _itself(error: BaseException, form: _Form, above: tuple[BaseException, ...]) -> Record:
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    if not any(map(_is_chained, members)):  # pickle leaves out what is behind an exception
        try:
            kept = form.dump(error)
            if type(form.load(kept)) is type(error):
                return {"exception": kept}
        except Exception:  # noqa: BLE001, S110 - its constructor takes other arguments than it keeps, as that of many
            pass
    parts: Record = {}
    with suppress(Exception):  # else it is told by its type and message
        arguments = (error.message,) if isinstance(error, BaseExceptionGroup) else error.args
        parts["parts"] = form.dump((arguments, vars(error)))
    if members and len(above) < _DEEPEST_GROUP:
        parts["members"] = [_link(one, form, (*above, error)) for one in members]
    return parts


def _is_chained(error: BaseException) -> bool:
    """Tell whether anything is behind the exception, or behind one of its members."""
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one.__cause__ is not None or one.__context__ is not None or one.__suppress_context__:
            return True
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return False


def _chain(error: BaseException, form: _Form, above: tuple[BaseException, ...]) -> Record:
    chain: Record = {"suppressed": True} if error.__suppress_context__ else {}
    if len(above) >= _MOST_BEHIND:
        return chain
    above = (*above, error)
    cause, context = error.__cause__, error.__context__
    if cause is not None and not _is_among(cause, above):
        chain["caused_by"] = _link(cause, form, above)
    if context is not None and context is not cause and not _is_among(context, above):
        chain["context"] = _link(context, form, above)
    return chain


def _link(error: BaseException, form: _Form, above: tuple[BaseException, ...]) -> Record:
    return {**_named(error), **_kept(error, form, above)}


def _is_among(error: BaseException, others: tuple[BaseException, ...]) -> bool:
    return any(error is one for one in others)


def _shows_hidden(error: BaseException) -> bool:
    """Tell whether the exception holds the value of a secret, as far as its pickle or its texts show."""
    if not any_hidden():
        return False
    try:
        kept = pickle.dumps((error.args, vars(error)))
    except Exception:  # noqa: BLE001 - whatever the objects' own hooks raise: then its texts have to do
        kept = b""
    text = "".join(traceback.format_exception(error))
    return holds_hidden(kept) or mask(text) != text


def _restored_or_told(described: Record, form: _Form) -> BaseException:
    found = _restored(described, form)
    if found is not None:
        return found
    return RunFailedError(
        "call.failed",
        f"{described['type']}: {described['message']}",
        next_step="See the traceback in the record: clary runs show RUN.",
    )


def _restored(described: Record, form: _Form) -> BaseException | None:
    """Return the exception with what is behind it; None where it is told by its texts only."""
    found = _unpickled(described, form)
    if found is None:
        found = _group(described, form) if "members" in described else _put_together(described, form)
    if found is None:
        return None
    if "caused_by" in described:
        _set(found, "__cause__", _restored_or_told(described["caused_by"], form))
        _set(found, "__context__", found.__cause__)
    if "context" in described:
        _set(found, "__context__", _restored_or_told(described["context"], form))
    if "suppressed" in described:
        _set(found, "__suppress_context__", True)  # noqa: FBT003 - the attribute's value
    return found


def _unpickled(described: Record, form: _Form) -> BaseException | None:
    try:
        error = form.load(described["exception"])
    except Exception:  # noqa: BLE001 - its class has gone, or it is kept in parts
        return None
    return error if isinstance(error, BaseException) else None


def _put_together(described: Record, form: _Form) -> BaseException | None:
    """Make the exception without its constructor, so that ``except`` clauses know it by its type."""
    try:
        kind = names.find(described["module"], described["type"])
        arguments, state = form.load(described["parts"])
        error = kind.__new__(kind, *arguments)
        built_in = next(base for base in kind.__mro__ if base.__module__ == "builtins")
        with suppress(Exception):
            built_in.__init__(error, *arguments)  # it sets what Python's own have, such as the code of SystemExit
        error.__dict__.update(state)
    except Exception:  # noqa: BLE001 - whatever the class does; there is another way to tell the failure
        return None
    return error if isinstance(error, BaseException) else None


def _group(described: Record, form: _Form) -> BaseException | None:
    """Make a group of members that are made anew, of Python's own class where its own has gone."""
    members = [_restored_or_told(one, form) for one in described["members"]]
    kind: Any = BaseExceptionGroup
    arguments, state = (described["message"],), {}
    with suppress(Exception):
        arguments, state = form.load(described["parts"])
        kind = names.find(described["module"], described["type"])
    try:
        group: BaseException = BaseExceptionGroup.__new__(kind, *arguments, members)
        group.__dict__.update(state)
    except Exception:  # noqa: BLE001 - whatever the class does; there is another way to tell the failure
        return None
    return group


def _plain_one(error: BaseException) -> BaseException:
    """Return an exception that tells of one which cannot be sent."""
    kind = RuntimeError if isinstance(error, Exception) else BaseException
    return kind(f"{type(error).__name__}: {_bounded(mask(_message(error)))}")


def _set(error: BaseException, name: str, value: object) -> None:
    """Set an attribute of a class that may refuse it, such as a frozen dataclass."""
    object.__setattr__(error, name, value)


def _add_note(error: BaseException, note: str) -> None:
    notes = getattr(error, "__notes__", None)
    _set(error, "__notes__", [*notes, note] if isinstance(notes, list) else [note])


def _set_frames(error: BaseException, frames: list[str]) -> None:
    """Keep the frames of an exception that was raised elsewhere: its traceback does not have them."""
    _set(error, _FRAMES, frames)


def useful_frames(error: BaseException) -> list[str]:
    """Return ``file:line in function: code`` for the frames of the user's code, the innermost last.

    Those of what was raised elsewhere follow; and those of a group's exceptions, each under a line that names it where
    there are several. Of an error that comes from nowhere in the user's code, all are returned, but for those of
    Clary's own, which say what to do.
    """
    frames = _own_frames(error)
    if isinstance(error, BaseExceptionGroup) and not _frames_elsewhere(error):
        frames += _frames_of_members(error)
    if not frames and not isinstance(error, ClaryError):
        return [_frame_line(frame) for frame in traceback.extract_tb(error.__traceback__)]
    return frames


def _own_frames(error: BaseException) -> list[str]:
    theirs = [_frame_line(frame) for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame)]
    return [*theirs, *_frames_elsewhere(error)]


def _frames_elsewhere(error: BaseException) -> list[str]:
    found: list[str] = getattr(error, "__dict__", {}).get(_FRAMES, [])
    return found


def _frames_of_members(group: BaseExceptionGroup[BaseException]) -> list[str]:
    count = sum(1 for _ in _leaves(group))
    if count == 1:
        return [line for above, leaf in _leaves(group) for one in (*above, leaf) for line in _own_frames(one)]
    lines: list[str] = []
    for above, leaf in islice(_leaves(group), _MOST_MEMBERS):
        frames = [f"  {line}" for one in (*above, leaf) for line in _own_frames(one)]
        if frames:  # else the message of the group says all of it
            lines += [MEMBER + _leaf_line(leaf), *frames[-_MEMBER_FRAMES:]]
    if lines and count > _MOST_MEMBERS:
        lines.append(f"{MEMBER}{count - _MOST_MEMBERS:,} more")
    return lines


def _leaves(
    group: BaseExceptionGroup[BaseException],
) -> Iterator[tuple[tuple[BaseException, ...], BaseException]]:
    """Yield what a group is of, groups in it resolved, each behind the groups in it that it is of."""
    waiting: list[tuple[tuple[BaseException, ...], BaseException]] = [((), one) for one in reversed(group.exceptions)]
    while waiting:
        above, one = waiting.pop()
        if isinstance(one, BaseExceptionGroup) and not _frames_elsewhere(one):
            waiting += [((*above, one), member) for member in reversed(one.exceptions)]
        else:
            yield above, one


def _leaf_line(leaf: BaseException) -> str:
    """Return the type and the message of one of several exceptions in a short line."""
    text = " ".join(mask(f"{type(leaf).__qualname__}: {_own_message(leaf)}").split())
    return text if len(text) <= _LONGEST_MEMBER else f"{text[:_LONGEST_MEMBER]}…"


def _is_theirs(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith(_NOT_THEIRS)


def _frame_line(frame: traceback.FrameSummary) -> str:
    return f"{_shortened(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line or ''}".strip()


def for_people(error: BaseException) -> str:
    """Return the traceback without the frames of Clary and of Python's machinery, where others are left."""
    told = traceback.TracebackException.from_exception(error)
    waiting = [told]
    while waiting:
        one = waiting.pop()
        theirs = [frame for frame in one.stack if _is_theirs(frame)]
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
    """Return the cause of a failure, of those in the design: the user's code, unless Clary could not do its part.

    That of a group is the cause of all its exceptions.
    """
    if isinstance(error, BaseExceptionGroup):
        causes = {cause_of(member) for member in error.exceptions}
        return causes.pop() if len(causes) == 1 else "user_code"
    if isinstance(error, PermissionDeniedError):
        return "permission"
    if isinstance(error, ThrottledError):
        return "throttled"
    if isinstance(error, RunFailedError) and "cause" in error.details:  # the job of an isolated call has died
        return str(error.details["cause"])
    if isinstance(error, (AwsError, JournalError)) and not isinstance(error, DivergenceError):
        return "internal"
    return "out_of_memory" if _is_out_of_memory(error) else "user_code"


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell whether the exception says that Python, the kernel or CUDA (through PyTorch) has no more memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):
        return type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in _message(error)
    return isinstance(error, MemoryError)


def _behind(error: BaseException) -> Iterator[BaseException]:
    for other in (error.__cause__, error.__context__):
        if other is not None:
            yield other
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions


def _message(error: BaseException) -> str:
    """Return the exception's text, that of a group with what it is of."""
    text = _own_message(error)
    if not isinstance(error, BaseExceptionGroup):
        return text
    leaves = [leaf for _, leaf in islice(_leaves(error), _MOST_MEMBERS + 1)]
    if len(leaves) == 1:
        return f"{text}: {type(leaves[0]).__qualname__}: {_own_message(leaves[0])}"
    shown = "; ".join(map(_leaf_line, leaves[:_MOST_MEMBERS]))
    return f"{text}: {shown}" + ("; …" if len(leaves) > _MOST_MEMBERS else "")


def _own_message(error: BaseException) -> str:
    try:
        return error.summary if isinstance(error, ClaryError) else str(error)
    except Exception:  # noqa: BLE001 - an exception whose own text fails must not hide the failure
        return "(the exception has no readable text)"


def _bounded(text: str) -> str:
    left_out = len(text) - _LONGEST_MESSAGE
    return text if left_out <= 0 else f"{text[:_LONGEST_MESSAGE]}… ({left_out:,} more characters)"


def _without_middle(text: str) -> str:
    left_out = len(text) - _TRACEBACK_HEAD - _TRACEBACK_TAIL
    if left_out <= 0:
        return text
    return f"{text[:_TRACEBACK_HEAD]}\n… ({left_out:,} more characters)\n{text[-_TRACEBACK_TAIL:]}"


def _shortened(filename: str) -> str:
    """Return the path from the working directory or the last three parts, so that a frame fits a line."""
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return "/".join(path.parts[-3:])
