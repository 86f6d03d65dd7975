"""A project as people have them: a blank and an umlaut in its path, git, a package with relative imports, odd names."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

FILES = {
    ".gitignore": "notes.txt\n",
    "notes.txt": "not to be sent",
    ".env": "PASSWORD=hunter2\n",
    "teil/__init__.py": "",
    "teil/größen.py": "def doppelt(zahl):\n    return 2 * zahl\n",
    "teil/läufe.py": """
        from __future__ import annotations

        import multiprocessing
        import os
        import subprocess
        import sys

        from clary import checkpoint, flow, save
        from . import größen


        @checkpoint
        def verdoppelt(zahl: int) -> int:
            return größen.doppelt(zahl)


        @flow
        def überblick(*, wort: str, zahlen: list[int] = [1, 2]) -> dict:
            for number in range(3000):
                print(f"line {number}")
            print("Grüße: 日本語 🎉")
            subprocess.run(["sh", "-c", "echo from a child"], check=True)
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                doubled = pool.map(größen.doppelt, zahlen)
            found = sorted(os.listdir("."))
            save("übersicht", found)
            sys.stdout.write("no newline at the end")
            return {"wort": wort, "found": found, "pool": doubled, "calls": verdoppelt.map(zahlen).results()}
    """,
    "fehlt.py": """
        import colorama_of_nobody_s_image
        from clary import flow

        @flow
        def f():
            return colorama_of_nobody_s_image.f()
    """,
    "fine.py": """
        import threading
        import time
        from pathlib import Path
        from clary import checkpoint, flow, save, wait

        @checkpoint
        def step(number, pause):
            time.sleep(pause)
            return number

        @checkpoint(cache=True)
        def breaks_once(marker):
            if not Path(marker).exists():
                Path(marker).touch()
                raise RuntimeError("the first time")
            return "kept"

        @flow
        def asks(marker: str):
            save("note", breaks_once(marker))
            return wait("go", bool)

        @flow
        def steps(count: int = 3, pause: float = 0.0):
            return [step(number, pause) for number in range(count)]

        @flow(instance_typ="ml.m5.large")
        def misspelt(): ...

        @flow(instance_count="two")
        def two(): ...

        @flow(environment={"A": "x" * 2000})
        def long_value(): ...

        @flow(environment={f"A{number}": "x" for number in range(200)})
        def many_values(): ...

        @flow(input_data={f"c{n}": "s3://bucket/x" for n in range(21)})
        def many_channels(): ...

        @flow(enable_network_isolation=True)
        def isolated(): ...

        number = 3
    """,
    "broken.py": "def f(:\n",
    "absent.py": "import not_there_at_all\n",
}


def make(folder: Path) -> Path:
    """Write the project below a folder and return its own."""
    root = folder / "mein Projekt ü"
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(root)], check=True, capture_output=True)
    return root
