"""Artifacts in words: their lines in a table, and the page of one with its preview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.cli import output
from clary.cli.output import say
from clary.files import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clary.agent.artifacts import Artifact

_DIGITS = 12
"""Of a digest, in a list: enough to name it by."""


def listing(found: Sequence[Artifact]) -> None:
    """Print a table of artifacts."""
    body = [
        [one.name, one.kind, one.type, size_text(one.size), one.digest[:_DIGITS], _cut(one.preview)] for one in found
    ]
    headers = ("NAME", "KIND", "TYPE", "SIZE", "DIGEST", "PREVIEW")
    output.table(headers, body, widest={"NAME": output.LONGEST_NAME, "TYPE": output.LONGEST_NAME})


def page(one: Artifact) -> None:
    """Print everything known of one."""
    output.rows(
        [
            ("Name", one.name),
            ("Kind", one.kind),
            ("Type", one.type),
            ("Kept as", one.codec + (" (runs code when it is read: get it with --trust)" if one.needs_trust else "")),
            ("Size", size_text(one.size)),
            ("Digest", one.digest),
            ("Location", one.location or "in the run's record"),
        ]
    )
    say()
    _FORMS.get(one.shown.get("kind", "text"), _text)(one.shown)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _text(form: dict[str, Any]) -> None:
    say(form.get("text", ""))


def _metrics(form: dict[str, Any]) -> None:
    output.rows(list(form["values"].items()))


def _tree(form: dict[str, Any]) -> None:
    say(f"{form['type']} of {form['count']:,}")
    output.rows([(name, text) for name, text in form["items"]], indent="  ")
    _more(form["count"], len(form["items"]))


def _array(form: dict[str, Any]) -> None:
    output.rows([("Elements", form["dtype"]), ("Shape", str(tuple(form["shape"]))), ("First", form["values"])])


def _table(form: dict[str, Any]) -> None:
    rows, columns = form["count"]
    say(f"{rows:,} rows, {columns:,} columns")
    output.table([f"{name} ({kind})" for name, kind in form["columns"]], form["rows"])
    _more(rows, len(form["rows"]))


def _image(form: dict[str, Any]) -> None:
    output.rows(
        [
            ("Image", f"{form['format']}, {form['width']} x {form['height']} pixels"),
            ("Thumbnail", form.get("thumbnail")),
        ]
    )


def _files(form: dict[str, Any]) -> None:
    say(f"{form['count']:,} files, {size_text(form['size'])}")
    output.table(("FILE", "SIZE"), [[name, size_text(size)] for name, size in form["files"]])
    _more(form["count"], len(form["files"]))


def _more(count: int, told: int) -> None:
    if count > told:
        say(f"… and {count - told:,} more")


_FORMS: dict[str, Callable[[dict[str, Any]], None]] = {
    "metrics": _metrics,
    "tree": _tree,
    "array": _array,
    "table": _table,
    "image": _image,
    "files": _files,
}
