"""Print every module over 500 lines and every function over 60; exit 1 when there is one (DESIGN §2)."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MODULE, FUNCTION = 500, 60


def offenders(folder: Path) -> list[str]:
    """Return a line for everything under the folder that has grown past the limits."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text()
        lines = text.count("\n")
        if lines > MODULE:
            found.append(f"{path}: {lines} lines, {MODULE} are the limit")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > FUNCTION:
                    found.append(f"{path}:{node.lineno}: {node.name} has {size} lines, {FUNCTION} are the limit")
    return found


if __name__ == "__main__":
    problems = offenders(Path("src"))
    print("\n".join(problems), end="\n" if problems else "")
    sys.exit(bool(problems))
