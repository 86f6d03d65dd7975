"""How long a container takes to start: from ``start`` to the first instruction of its command, and of user Python.

Run: ``.venv/bin/python bench/containers.py [ROUNDS]``
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from clary.sandbox.containers.image import Image, ensure_image
from clary.sandbox.containers.namespaces import NamespaceExecutor, find_mode
from clary.sandbox.model import ContainerSpec

COMMANDS = {
    "first instruction of a small program": ["/bin/date", "+%s.%N"],
    "first line of Python": ["python3", "-c", "import time; print(time.time())"],
}


class _Only:
    def __init__(self, image: Image) -> None:
        self._image = image

    def resolve(self, reference: str) -> Image:  # noqa: ARG002 - there is only one
        return self._image


def measure(executor: NamespaceExecutor, place: Path, words: list[str]) -> float:
    """Return the seconds from ``start`` to the time that the command itself prints."""
    (place / "ml").mkdir(parents=True)
    pieces: list[bytes] = []
    spec = ContainerSpec(
        job="bench",
        host="algo-1",
        hosts=["algo-1"],
        image="",
        entrypoint=words,
        arguments=None,
        environment={},
        opt_ml=place / "ml",
        scratch=place / "scratch",
        endpoint="http://127.0.0.1:4599",
        credentials=dict,
        memory_bytes=1 << 30,
    )
    began = time.time()
    executor.start(spec, pieces.append).wait()
    return float(b"".join(pieces)) - began


def main(rounds: int) -> None:
    """Print the median, the best and the worst of each command in milliseconds."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        image = ensure_image(Path(folder))
        mode, why = find_mode(image)
        if mode is None:
            sys.exit(f"no containers by namespaces here: {why}")
        executor = NamespaceExecutor(Path(folder), [_Only(image)], mode)
        for name, words in COMMANDS.items():
            times = [1000 * measure(executor, Path(folder, name, str(n)), words) for n in range(rounds)]
            print(f"{name}: median {statistics.median(times):.0f} ms, {min(times):.0f} to {max(times):.0f} ms")
        executor.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
