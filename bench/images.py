"""Images by Clary, buildah with pip, and BuildKit with uv, side by side: ``python bench/images.py [--write]``.

Each is given the same base and the same packages, and pushes to the same registry on loopback, a new repository each
time. Rounds are interleaved. It needs Debian's docker-registry, skopeo, umoci, buildah and debootstrap, for the last
docker.io, and the rights of root. ``--scratch`` keeps the base, whose making takes a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from results import report, table

from docker_engine import CLIENT, dockerd
from registry_server import docker_registry

SETS = {
    "small": ["requests", "pydantic", "boto3"],
    "ds": ["numpy", "pandas", "scikit-learn", "pyarrow", "boto3"],
}
"""Packages by name of the set."""
PYTHON = "3.11"
"""Of Debian 12."""


@dataclass(frozen=True)
class Scene:
    """What all contenders share."""

    registry: str
    scratch: Path
    base: str
    """The base image's name, by its digest."""
    engine: str | None
    """The socket of a Docker engine, if there is one."""


def run(command: list[str], *, environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def make_base(scratch: Path) -> Path:
    """Return a folder with the base: Debian 12, its Python and pip, and this machine's certificates."""
    layout = scratch / "base"
    if not (layout / "index.json").exists():
        root = scratch / "root"
        packages = "python3-minimal,python3-pip,ca-certificates"
        run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)])
        for name in ("var/cache/apt/archives", "var/lib/apt/lists", "dev"):
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir()
        for file in ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf"):
            if Path("/", file).exists():
                shutil.copyfile(Path("/", file), root / file)
        run(["umoci", "init", "--layout", str(layout)])
        run(["umoci", "new", "--image", f"{layout}:latest"])
        run(["umoci", "insert", "--image", f"{layout}:latest", str(root), "/"])
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        run(["umoci", "config", "--image", f"{layout}:latest", "--architecture", "amd64", "--os", "linux",
             "--config.env", path, "--config.cmd", "/usr/bin/python3"])  # fmt: skip
    return layout


@contextmanager
def scene(scratch: Path) -> Iterator[Scene]:
    """Start a registry with the base in it, and an engine where there is one."""
    with ExitStack() as started:
        layout = make_base(scratch)
        folder = Path(started.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
        server = started.enter_context(docker_registry(folder))
        name = f"{server.host}/base/python"
        copy = ["skopeo", "--insecure-policy", "copy", "--format", "v2s2", "--dest-tls-verify=false"]
        run([*copy, f"oci:{layout}:latest", f"docker://{name}:{PYTHON}"])
        told = json.loads(run(["skopeo", "inspect", "--tls-verify=false", f"docker://{name}:{PYTHON}"]))
        has_engine = Path(CLIENT).exists() and shutil.which("dockerd") is not None
        socket = str(started.enter_context(dockerd(folder / "docker"))) if has_engine else None
        yield Scene(server.host, folder, f"{name}@{told['Digest']}", socket)


@dataclass(frozen=True)
class Outcome:
    """One build and push."""

    seconds: float
    size: int
    """Bytes of the image, compressed."""
    peak: int = 0
    """Bytes of memory at the peak, where it was measured."""


def by_clary(scene: Scene, packages: list[str], repository: str, home: Path, *, code: int | None = None) -> Outcome:
    """Build with ``layers`` in a process of its own; the seconds are those of the work, without Python's start."""
    project = scene.scratch / "project"
    project.mkdir(exist_ok=True)
    (project / "main.py").write_text(f"print({code})\n")
    said = {"base": scene.base, "requirements": packages, "code": code is not None}
    command = [sys.executable, __file__, "--worker", json.dumps([said, scene.registry, repository, str(home)])]
    told = json.loads(run(command, folder=project).splitlines()[-1])
    return Outcome(told["seconds"], told["size"], told["peak"])


def worker(said: dict[str, object], host: str, repository: str, home: str) -> None:
    """Build one image, and print how it went."""
    import resource

    from clary.images import service
    from clary.images.building import Quiet
    from clary.images.preparing import prepare
    from clary.images.registry.registries import Registries
    from clary.images.site import Site
    from clary.images.spec import parsed

    begun = time.perf_counter()
    site = Site(registries=Registries(), home=Path(home), host=host, repository=repository)
    built = service.ensure(prepare(parsed(said), Path.cwd(), site, Quiet()), site, Quiet())
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "size": built.size, "uploaded": built.uploaded, "peak": peak}))


def by_buildah(scene: Scene, packages: list[str], repository: str) -> Outcome:
    """Build with buildah and pip, cold: no layer and no package is kept from before."""
    folder = Path(tempfile.mkdtemp(dir=scene.scratch))
    (folder / "requirements.txt").write_text("\n".join(packages) + "\n")
    install = "pip install --no-cache-dir --break-system-packages -r /tmp/requirements.txt"
    (folder / "Dockerfile").write_text(f"FROM {scene.base}\nCOPY requirements.txt /tmp/\nRUN {install}\n")
    places = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "overlay"]
    name = f"{scene.registry}/{repository}:1"
    build = ["build", "--isolation", "chroot", "--tls-verify=false", "--format", "docker", "-t", name, str(folder)]
    begun = time.perf_counter()
    run(["buildah", *places, *build])
    run(["buildah", *places, "push", "--tls-verify=false", name])
    seconds = time.perf_counter() - begun
    size = _size(name)
    run(["buildah", *places, "rmi", "--all", "--force"])
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(seconds, size)


def by_buildkit(scene: Scene, packages: list[str], repository: str, *, warm: bool) -> Outcome:
    """Build with BuildKit and uv; ``warm`` keeps uv's cache mount from before, and changes a line before it."""
    assert scene.engine is not None
    environment = {"DOCKER_HOST": f"unix://{scene.engine}", "DOCKER_BUILDKIT": "1"}
    folder = Path(tempfile.mkdtemp(dir=scene.scratch))
    from uv import find_uv_bin

    shutil.copyfile(find_uv_bin(), folder / "uv")
    (folder / "uv").chmod(0o755)
    (folder / "requirements.txt").write_text("\n".join(packages) + "\n")
    mounts = "--mount=type=cache,target=/root/.cache/uv --mount=type=bind,target=/mnt"
    install = "/mnt/uv pip install --system --break-system-packages --native-tls -r /mnt/requirements.txt"
    (folder / "Dockerfile").write_text(
        f"FROM {scene.base}\nENV MARK={repository}\nENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\n"
        f"RUN {mounts} {install}\n"
    )
    if not warm:
        run([CLIENT, "builder", "prune", "--all", "--force"], environment=environment)
    name = f"{scene.registry}/{repository}:1"
    begun = time.perf_counter()
    run([CLIENT, "build", "--network", "host", "-t", name, str(folder)], environment=environment)
    run([CLIENT, "push", name], environment=environment)
    seconds = time.perf_counter() - begun
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(seconds, _size(name))


def _size(name: str) -> int:
    raw = json.loads(run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]))
    return int(raw["config"]["size"]) + sum(int(layer["size"]) for layer in raw["layers"])


def one_round(scene: Scene, name: str, number: int) -> dict[str, Outcome]:
    """Let every contender build the set once."""
    packages = SETS[name]
    home = scene.scratch / f"home-{name}-{number}"
    place = f"{name}/{number}"

    found: dict[str, Callable[[], Outcome]] = {
        "Clary, cold": lambda: by_clary(scene, packages, f"{place}/clary", home),
        "Clary, warm, new repository": lambda: by_clary(scene, packages, f"{place}/warm", home),
        "Clary, unchanged": lambda: by_clary(scene, packages, f"{place}/warm", home),
        "Clary, with code": lambda: by_clary(scene, packages, f"{place}/warm", home, code=number * 2),
        "Clary, code-only change": lambda: by_clary(scene, packages, f"{place}/warm", home, code=number * 2 + 1),
        "buildah with pip, cold": lambda: by_buildah(scene, packages, f"{place}/buildah"),
    }
    if scene.engine is not None:
        found["BuildKit with uv, cold"] = lambda: by_buildkit(scene, packages, f"{place}/cold", warm=False)
        found["BuildKit with uv, warm cache mount"] = lambda: by_buildkit(scene, packages, f"{place}/kit", warm=True)
    outcomes = {}
    for who, act in found.items():
        outcomes[who] = act()
        print(f"{name} {number}: {who}: {outcomes[who].seconds:.2f} s", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    return outcomes


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--write", action="store_true", help="keep the result in RESULTS.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*json.loads(options.worker))
        return
    with tempfile.TemporaryDirectory() as temporary:
        scratch = options.scratch or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        with scene(scratch) as place:
            rounds = {name: [one_round(place, name, n) for n in range(options.rounds)] for name in options.sets}
    report("images", "python bench/images.py --write", "\n\n".join(_body(name, rounds[name]) for name in rounds))


def _body(name: str, rounds: list[dict[str, Outcome]]) -> str:
    def median(who: str) -> float:
        return statistics.median(one[who].seconds for one in rounds)

    cold, warm = median("Clary, cold"), median("Clary, warm, new repository")
    rows = []
    for who in rounds[0]:
        seconds = [one[who].seconds for one in rounds]
        against = warm if "warm" in who else cold
        times = "" if who.startswith("Clary") else f"{median(who) / against:.1f}"
        peak = max(one[who].peak for one in rounds)
        rows.append(
            [
                who,
                f"{median(who):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})",
                times,
                f"{rounds[0][who].size / 1e6:.0f} MB",
                f"{peak / 2**20:.0f} MiB" if peak else "",
            ]
        )
    packages = ", ".join(SETS[name])
    header = ["build and push", "median (range)", "times Clary's", "image", "peak memory"]
    note = f"{packages}, on Debian 12 with its Python; {len(rounds)} rounds. Cold fetches from the package index."
    return f"### {name}\n\n{table(header, rows)}\n\n{note}"


if __name__ == "__main__":
    main()
