"""Where in an image files may be put. Pure."""

from __future__ import annotations

LINKED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "var/run", "var/lock")
"""Folders that are links in most images: a layer with such a folder would put an empty one in the link's place."""
MOUNTED = ("opt/ml", "proc", "sys", "dev")
"""Folders that are mounted over when a container starts: what lies in the image is not seen."""


def problem(place: str) -> str | None:
    """Return why nothing can be put at an absolute place of an image; None where it can."""
    inside = place.lstrip("/")
    for folder in LINKED:
        if inside == folder or inside.startswith(f"{folder}/"):
            return f"/{folder} is a link in most images; name the folder that it leads to, such as /usr/{folder}"
    for folder in MOUNTED:
        if inside == folder or inside.startswith(f"{folder}/"):
            return f"/{folder} is mounted over when the container starts"
    return None
