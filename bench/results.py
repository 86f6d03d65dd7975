"""Keep the benchmarks' last results in RESULTS.md: each benchmark owns the section with its name."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = """# Measured

Each section is written by the command in its heading, on the machine that it names. Figures are medians; ratios are
measured side by side in one run.
"""


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(name: str, command: str, body: str) -> None:
    """Print a section; with ``--write`` among the arguments, replace it in RESULTS.md too."""
    print(body)
    if "--write" not in sys.argv:
        return
    section = f"\n<!-- {name} -->\n\n## `{command}`\n\n{machine()}\n\n{body}\n\n<!-- end of {name} -->\n"
    text = RESULTS.read_text() if RESULTS.exists() else _HEAD
    start, end = text.find(f"\n<!-- {name} -->"), text.find(f"<!-- end of {name} -->\n")
    if start >= 0 and end >= 0:
        text = text[:start] + section + text[end + len(f"<!-- end of {name} -->\n") :]
    else:
        text += section
    RESULTS.write_text(text)


def machine() -> str:
    """Return one line about this machine and day."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}."
    )
