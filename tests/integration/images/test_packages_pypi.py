"""The public index itself, once: a lock and its wheels for a machine that this one is not."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

_PROGRAM = """\
import json, os, sys
from pathlib import Path
from clary.images.building import Python, Quiet
from clary.images.packages import fetching, locking, sources, store
from clary.images.platforms import Platform
folder = Path(sys.argv[1])
source = sources.read(["markupsafe==3.0.2", "idna==3.10"], folder)
python = Python("3.13", "python", libc="musl", libc_version=(1, 2), platform=Platform("arm64"))
lock = locking.lock(source, python, torch=None, cache=folder, environment=os.environ, progress=Quiet())
found = fetching.fetch(lock.wheels, store.wheel_store(folder), environment=os.environ, progress=Quiet(), source=source)
print(json.dumps({wheel.sha256: str(path) for wheel, path in found.items()}))
"""


def test_wheels_of_the_public_index_arrive_for_another_machine(tmp_path: Path) -> None:
    # In a process of its own, for tests reach no host but this one.
    done = subprocess.run([sys.executable, "-c", _PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found = {digest: Path(path) for digest, path in json.loads(done.stdout).items()}
    assert sorted(path.name for path in found.values()) == [
        "MarkupSafe-3.0.2-cp313-cp313-musllinux_1_2_aarch64.whl",
        "idna-3.10-py3-none-any.whl",
    ]
    libraries = [name for path in found.values() for name in zipfile.ZipFile(path).namelist() if name.endswith(".so")]
    assert libraries == ["markupsafe/_speedups.cpython-313-aarch64-linux-musl.so"]
