"""What a pyproject.toml asks for. Its extras and groups are known by their names in the form that packages' have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clary.images.packages.documents import strings, table
from clary.images.packages.requirement_files import normalized

_DEV = "dev"
"""The group that uv's older ``dev-dependencies`` are."""


def required(document: Mapping[str, Any], extras: Iterable[str] = (), groups: Iterable[str] = ()) -> list[str]:
    """Return the requirements of a project with its extras and groups, as they are written."""
    found = strings(table(document, "project").get("dependencies"))
    for extra in extras:
        found += of_extra(document, extra)
    for group in groups:
        found += of_group(document, group)
    return found


def of_extra(document: Mapping[str, Any], extra: str) -> list[str]:
    """Return what an extra asks for; nothing where there is none of that name."""
    known = table(document, "project", "optional-dependencies")
    return [one for name in known if normalized(name) == normalized(extra) for one in strings(known[name])]


def of_group(document: Mapping[str, Any], group: str) -> list[str]:
    """Return what a group asks for, the groups that it includes too; nothing where there is none of that name."""
    found: list[str] = []
    left, seen = [normalized(group)], set()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        for entry in _entries(document, name):
            if isinstance(entry, str):
                found.append(entry)
            elif isinstance(entry, dict) and isinstance(entry.get("include-group"), str):
                left.append(normalized(entry["include-group"]))
    return found


def group_names(document: Mapping[str, Any]) -> list[str]:
    """Return the names of a project's groups, as they are written."""
    older = [_DEV] if "dev-dependencies" in table(document, "tool", "uv") else []
    return [*table(document, "dependency-groups"), *older]


def is_dynamic(document: Mapping[str, Any], field: str) -> bool:
    """Tell whether a field of ``[project]`` is what its backend computes."""
    return field in strings(table(document, "project").get("dynamic"))


def _entries(document: Mapping[str, Any], group: str) -> list[Any]:
    """Return what stands in a group."""
    groups = table(document, "dependency-groups")
    lists = [groups[name] for name in groups if normalized(name) == group]
    if group == _DEV:
        lists.append(table(document, "tool", "uv").get("dev-dependencies"))
    return [entry for entries in lists if isinstance(entries, list) for entry in entries]
