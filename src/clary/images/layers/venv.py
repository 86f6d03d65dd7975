"""The environment that packages go to in an image: its places, and the few files that make it one. Pure.

``python -m venv`` would make the same, less the scripts that activate it, which containers need not: PATH is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

from clary.images.building import VENV, Python


@dataclass(frozen=True)
class Venv:
    """A virtual environment in an image."""

    python: Python
    """The base's interpreter, which it uses."""
    system_packages: bool = False
    """Whether what lies beside the base's interpreter can be imported too, as in images that bring PyTorch."""
    prefix: str = VENV
    """Its absolute path in the image."""

    @property
    def site_packages(self) -> str:
        """Where modules go, relative to the prefix."""
        return f"lib/python{self.python.version}/site-packages"

    @property
    def executable(self) -> str:
        """The absolute path of its interpreter, which programs name in their first line."""
        return f"{self.prefix}/bin/python"

    @property
    def links(self) -> dict[str, str]:
        """Its symbolic links, relative to the prefix, and where they lead."""
        return {
            "bin/python": self.python.executable,
            "bin/python3": "python",
            f"bin/python{self.python.version}": "python",
            "lib64": "lib",
        }

    @property
    def settings(self) -> bytes:
        """What ``pyvenv.cfg`` says. Source: the documentation of ``site`` and ``venv``."""
        home = self.python.executable.rpartition("/")[0]
        system = str(self.system_packages).lower()
        text = f"home = {home}\ninclude-system-site-packages = {system}\nversion = {self.python.version}\n"
        return text.encode()
