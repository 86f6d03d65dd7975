"""Builds with a real Docker engine, pushed to a real registry, looked at by skopeo and run."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from clary.errors import ClaryError
from clary.image import Image
from clary.images import added, oci
from clary.images.builders import dockerfile
from clary.images.builders.docker import Docker
from clary.images.builders.dockerignore import Ignored
from clary.images.building import CODE, VENV, Built, Order
from clary.images.reference import Reference
from clary.images.registry.auth import Login
from clary.images.registry.client import Registry
from clary.images.registry.http import Http
from clary.images.registry.registries import Registries
from docker_engine import CLIENT, Engine
from patience import until
from registry_server import PASSWORD, USER, with_passwords

pytestmark = pytest.mark.timeout(180)
SECRET = "a-most-secret-value"
INDEX = "UV_DEFAULT_INDEX"
ODD_PLACE = '/srv/it\'s "odd" $x.py'


class Told:
    """Keeps what a build tells; calls ``at`` with each line."""

    def __init__(self, at: Callable[[str], None] = lambda _text: None) -> None:
        self.lines: list[str] = []
        self._at = at

    def stage(self, text: str) -> None:
        self.lines.append(text)
        self._at(text)

    def transfer(self, name: str, done: int, total: int) -> None:
        pass


def order(engine: Engine, project: Path, image: Image, **changes: Any) -> Order:
    name = f"team/{hashlib.sha256(str(project).encode()).hexdigest()[:12]}"
    target = Reference(engine.registry, name, "clary-0123")
    path = f"{VENV}/bin:/usr/local/bin:/usr/bin:/bin"
    cache = project.with_name(f"{project.name}-cache")
    said = Order(
        image,
        project,
        engine.base,
        target,
        engine.python,
        copies=added.copies(image, project, cache),
        code=added.code(project, cache) if image.code else None,
        environment={"PATH": path},
    )
    return replace(said, **changes)


def build(engine: Engine, wanted: Order, told: Told | None = None, **options: Any) -> Built:
    with Registries() as registries:
        usual = {"program": CLIENT, "network": "host", "environment": engine.environment, "registries": registries}
        usual["images"] = images(wanted)
        return Docker(**{**usual, **options}).build(wanted, told or Told())


def images(wanted: Order) -> Path:
    """Return where the wheels of an order lie."""
    return wanted.project.with_name(f"{wanted.project.name}-images")


def run(engine: Engine, built: Built, *words: str) -> str:
    """Run a container of what was pushed, with another program where words are given."""
    name = f"{built.reference.host}/{built.reference.repository}@{built.reference.digest}"
    program = ["--entrypoint", words[0]] if words else []
    return engine.docker("run", "--rm", "--network", "none", *program, name, *words[1:])


def config(engine: Engine, built: Built) -> dict[str, Any]:
    name = f"{built.reference.host}/{built.reference.repository}@{built.reference.digest}"
    found: dict[str, Any] = json.loads(engine.docker("image", "inspect", name, "--format", "{{json .Config}}"))
    return found


def test_an_image_is_built_pushed_and_runs(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "data $HOME").mkdir()
    (tmp_path / "data $HOME" / "one file.txt").write_text("one")
    (tmp_path / "data $HOME" / "link").symlink_to("one file.txt")
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "odd").write_text("odd")
    (tmp_path / "flow.py").write_text("print('flow')\n")
    (tmp_path / ".env").write_text(SECRET)
    odd = 'a"b\\c$HOME ${X} \n second\tline é\\'
    image = Image(
        copy={"data $HOME": "/srv/data ${dir}", "run.sh": "/usr/bin/run", "odd": ODD_PLACE},
        code=True,
        entrypoint=["python3", "-c", "import os; print(repr(os.environ['ODD']), os.getcwd(), os.getuid())"],
        workdir="/srv/work dir",
        user="1000:1000",
    )
    labels = {"b": 'v "q" $X \\ \n n', "a.b/c": "1"}
    wanted = order(engine, tmp_path, image, labels=labels, tags=["latest"])
    wanted = replace(wanted, environment={**wanted.environment, "ODD": odd})
    built = build(engine, wanted)

    raw = engine.look(wanted.target)
    assert built.reference == wanted.target.at(oci.digest_of(raw))
    assert oci.read_manifest(raw).media_type == oci.DOCKER_MANIFEST
    assert engine.look(wanted.target.tagged("latest")) == raw
    assert built.size == oci.read_manifest(raw).size
    said = config(engine, built)
    assert said["Labels"] == {"of": "base", **labels}
    assert said["Entrypoint"] == list(image.entrypoint or ())
    assert run(engine, built) == f"{odd!r} /srv/work dir 1000"
    assert run(engine, built, "run") == "ran"
    assert run(engine, built, "cat", "/srv/data ${dir}/link") == "one"
    assert run(engine, built, "cat", ODD_PLACE) == "odd"
    assert run(engine, built, "python3", f"{CODE}/flow.py") == "flow"
    listed = run(engine, built, "find", "/srv", "/opt", "/mnt", "/tmp", "-type", "f").splitlines()
    assert sorted(listed) == [
        *(f"{CODE}/{name}" for name in ("data $HOME/one file.txt", "flow.py", "odd", "run.sh")),
        "/srv/data ${dir}/one file.txt",
        ODD_PLACE,
    ]


def test_the_same_order_is_built_from_the_cache(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    wanted = order(engine, tmp_path, Image(copy={"a": "/opt/a"}))
    assert build(engine, wanted).reference == build(engine, wanted).reference


def wheel(name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr(f"{name}/__init__.py", "def main():\n    print('greetings')\n")
        made.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        made.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{name}-1.0.dist-info/entry_points.txt", f"[console_scripts]\ngreet = {name}:main\n")
        made.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return packed.getvalue()


class _Index(http.server.BaseHTTPRequestHandler):
    content = b""

    def do_GET(self) -> None:
        wanted = base64.b64encode(f"somebody:{SECRET}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    do_HEAD = do_GET  # noqa: N815 - the name that the base class asks for

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def lock() -> Iterator[tuple[bytes, str]]:
    """A lock of one package, on an index that wants a password; and the index with it."""
    content = wheel("greetings")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Index", (_Index,), {"content": content}))
    thread = threading.Thread(target=functools.partial(server.serve_forever, 0.05), daemon=True)
    thread.start()
    place = f"127.0.0.1:{server.server_address[1]}"
    hashed, file = hashlib.sha256(content).hexdigest(), "greetings-1.0-py3-none-any.whl"
    text = (
        'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "greetings"\nversion = "1.0"\n'
        f'wheels = [{{ name = "{file}", url = "http://{place}/simple/{file}", '
        f'hashes = {{ sha256 = "{hashed}" }} }}]\n'
    )
    try:
        yield text.encode(), f"http://somebody:{SECRET}@{place}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_packages_come_from_the_lock_and_secrets_leave_no_trace(
    engine: Engine, tmp_path: Path, lock: tuple[bytes, str]
) -> None:
    text, index = lock
    image = Image(secrets={INDEX: "{{secrets.a.b}}"})
    told = Told()
    wanted = order(engine, tmp_path, image, lock=text, secrets={INDEX: index}, base_user="worker")
    built = build(engine, wanted, told)
    assert run(engine, built, "greet") == "greetings"
    assert run(engine, built, "python", "-c", "import greetings, sys; print(sys.prefix)") == VENV
    assert run(engine, built, "id", "-un") == "worker", "who ran the base runs the image"
    assert run(engine, built, "find", "/mnt", "/tmp", "/root", "/run", "-type", "f") == ""
    name = f"{built.reference.host}/{built.reference.repository}@{built.reference.digest}"
    assert SECRET not in engine.docker("history", "--no-trunc", name) + json.dumps(config(engine, built))
    assert SECRET not in "\n".join(told.lines)


def test_without_the_secret_the_index_is_not_read(engine: Engine, tmp_path: Path, lock: tuple[bytes, str]) -> None:
    with pytest.raises(ClaryError) as caught:
        build(engine, order(engine, tmp_path, Image(), lock=lock[0]))
    assert caught.value.code == "image.build_failed"
    assert "401" in caught.value.summary


def test_a_package_that_is_another_is_refused(engine: Engine, tmp_path: Path, lock: tuple[bytes, str]) -> None:
    text, index = lock
    other = _with_other_hash(text)
    with pytest.raises(ClaryError) as caught:
        build(engine, order(engine, tmp_path, Image(), lock=other, secrets={INDEX: index}))
    assert caught.value.code == "image.build_failed"
    assert "ash mismatch" in caught.value.summary
    assert SECRET not in str(caught.value) + json.dumps(caught.value.details)


def _with_other_hash(lock: bytes) -> bytes:
    start = lock.index(b'sha256 = "') + len(b'sha256 = "')
    return lock[:start] + b"0" * 64 + lock[start + 64 :]


def test_the_plain_dockerfile_makes_the_same_without_buildkit(
    engine: Engine, tmp_path: Path, lock: tuple[bytes, str]
) -> None:
    """What Kaniko is given needs nothing but a Dockerfile's oldest words: the engine's first builder carries it out."""
    from clary.images.builders.context import pack
    from clary.images.builders.sources import sources_of

    text, index = lock
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    wanted = order(engine, tmp_path, Image(copy={"a": "/opt/a b", "b": ODD_PLACE}), lock=text)
    open_text = text.replace(b"http://127", index.split("127")[0].encode() + b"127")  # it cannot be given secrets
    wanted = replace(wanted, lock=open_text, environment={**wanted.environment, "ODD": "a\n$b"})
    sources = sources_of(wanted, tmp_path / "uv", images(wanted), buildkit=False, addresses={})
    pack(sources.entries, tmp_path / "context.tar.gz", compressed=True)
    name = f"{engine.registry}/plain:{tmp_path.name.lower()}"
    words = ["build", "--network", "host", "--tag", name, "--build-arg", f"{dockerfile.NEWLINE}=\n", "-"]
    _classic(engine, words, (tmp_path / "context.tar.gz").read_bytes())
    ran = engine.docker("run", "--rm", "--network", "none", name, "sh", "-c", 'greet; cat "/opt/a b"; printf %s "$ODD"')
    assert ran == "greetings\naa\n$b"
    assert engine.docker("run", "--rm", "--network", "none", name, "cat", ODD_PLACE) == "b"
    found = engine.docker("run", "--rm", "--network", "none", name, "find", "/mnt", "-type", "f")
    assert found == "", "uv is in the stage that was thrown away"


def _classic(engine: Engine, words: list[str], stdin: bytes) -> None:
    environment = {**engine.environment, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run([CLIENT, *words], input=stdin, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


class TestOwnDockerfile:
    """A Dockerfile of somebody's own is built as it is."""

    def test_it_is_taken_with_its_context_and_secrets(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "Dockerfile").write_text(
            f"FROM {engine.registry}/{engine.base.repository}@{engine.base.digest}\nARG WHO=me\n"
            "RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN | head -c 6 > /taken; cat /run/secrets/TOKEN\n"
            "COPY . /all\nENV WHO=$WHO\n"
        )
        (tmp_path / "kept.txt").write_text("kept")
        (tmp_path / ".env").write_text(SECRET)
        (tmp_path / "left.txt").write_text("left")
        (tmp_path / "empty").mkdir()
        (tmp_path / ".dockerignore").write_text("left.txt\n")
        image = Image(dockerfile="docker/Dockerfile", context=".", secrets={"TOKEN": "{{secrets.a.b}}"})
        wanted = order(
            engine, tmp_path, image, base=None, python=None, secrets={"TOKEN": SECRET}, labels={"l": "$x\ny"}
        )
        told = Told()
        built = build(engine, wanted, told)
        assert run(engine, built, "cat", "/taken") == SECRET[:6]
        listed = run(engine, built, "find", "/all").splitlines()
        assert sorted(listed) == sorted(
            [
                "/all",
                *(f"/all/{name}" for name in (".dockerignore", "docker", "docker/Dockerfile", "empty", "kept.txt")),
            ]
        )
        said = config(engine, built)
        assert "WHO=me" in said["Env"]
        assert said["Labels"] == {"of": "base", "l": "$x\ny"}
        assert SECRET not in "\n".join(told.lines)
        assert any("***" in line for line in told.lines), "it was printed by the build, and masked"

    def test_one_outside_of_its_context_is_taken(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "a").write_text("a")
        (tmp_path / "app" / "#é").write_text("a name that needs a long header, and comes first")
        (tmp_path / "Dockerfile").write_text(f"FROM {engine.registry}/base/python@{engine.base.digest}\nCOPY a /a\n")
        image = Image(dockerfile="Dockerfile", context="app")
        built = build(engine, order(engine, tmp_path, image, base=None, python=None))
        assert run(engine, built, "cat", "/a") == "a"

    def test_a_failing_step_is_told_with_its_last_lines(self, engine: Engine, tmp_path: Path) -> None:
        base = f"{engine.registry}/base/python@{engine.base.digest}"
        (tmp_path / "Dockerfile").write_text(f"FROM {base}\nRUN echo this goes wrong; false\n")
        with pytest.raises(ClaryError) as caught:
            build(engine, order(engine, tmp_path, Image(dockerfile="Dockerfile"), base=None, python=None))
        assert caught.value.code == "image.build_failed"
        assert "this goes wrong" in caught.value.summary
        assert len(caught.value.summary.splitlines()) <= 16

    def test_what_it_ignores_is_what_docker_ignores(self, engine: Engine, tmp_path: Path) -> None:
        """The engine's own reading of .dockerignore is the oracle of ours."""
        names = [
            "a.txt",
            "b.md",
            "x/a.txt",
            "x/b.md",
            "x/y/a.txt",
            "x/y/c.pyc",
            "z/q.log",
            "z/keep.log",
            "#odd",
            "te[1]",
        ]
        for name in names:
            (tmp_path / "ctx" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "ctx" / name).write_text(name)
        (tmp_path / "ctx" / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        for lines in IGNORES:
            (tmp_path / "ctx" / ".dockerignore").write_text("\n".join(lines) + "\n")
            theirs = {name for name in _exported(engine, tmp_path / "ctx") if name in names}
            ignored = Ignored(lines)
            assert {one for one in names if not ignored.verdict(one)} == theirs, lines


def _exported(engine: Engine, context: Path) -> set[str]:
    """Return the files of the image that the engine builds of a folder, without running it."""
    environment = {**engine.environment, "DOCKER_BUILDKIT": "1"}
    command = [CLIENT, "build", "--output", "type=tar,dest=-", str(context)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        return {one.name for one in tar if one.isreg()}


IGNORES: list[list[str]] = [
    ["*.txt"],
    ["**/*.txt", "!x/y/a.txt"],
    ["x", "!x/b.md"],
    ["/x/y/", "./a.txt"],
    ["*/*.md", "x/y/../a.txt"],
    ["**", "!z/*.log", "z/q*"],
    ["?.md", "[x-y]/a.txt", "[^a].txt"],
    ["z/**/keep.log", "x/**"],
    ["# a comment", "", "  b.md  "],
    ["#odd", "te\\[1\\]", "**/y"],
    ["*", "!x"],
    ["*", "!x", "x/*", "!x/y"],
]


ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


class Elsewhere(Registries):
    """Registries of which Amazon ECR's is another one on this machine, as in the local SageMaker."""

    def __init__(self, origin: str, login: Login | None = None) -> None:
        super().__init__()
        self._place = Registry(Http(origin, Known(login)))

    def open(self, reference: Reference) -> Registry:
        return self._place if reference.host == ECR else super().open(reference)


@dataclass
class Known:
    """One login."""

    login: Login | None

    def current(self) -> Login | None:
        return self.login

    renew = current


class TestSignIn:
    """Registries that ask who one is, and that are not where their name says."""

    def test_a_registry_is_reached_at_its_address(self, engine: Engine, tmp_path: Path) -> None:
        with Elsewhere(f"http://{engine.registry}") as registries:
            wanted = order(engine, tmp_path, Image(entrypoint=["id"]))
            assert wanted.base is not None
            wanted = replace(wanted, base=replace(wanted.base, host=ECR), target=replace(wanted.target, host=ECR))
            built = build(engine, wanted, registries=registries)
        assert built.reference.host == ECR
        assert built.reference.digest == oci.digest_of(engine.look(wanted.target))

    def test_a_login_is_used_and_not_kept(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "registry").mkdir()
        (tmp_path / "project").mkdir()
        home = tmp_path / "home"
        home.mkdir()
        environment = {**engine.environment, "HOME": str(home), "DOCKER_CONFIG": str(home / ".docker")}
        with with_passwords(tmp_path / "registry") as server:
            wanted = order(engine, tmp_path / "project", Image(entrypoint=["id"]))
            wanted = replace(wanted, target=replace(wanted.target, host=ECR))
            with Elsewhere(server.origin, Login(USER, PASSWORD)) as registries:
                built = build(engine, wanted, registries=registries, environment=environment)
                assert built.reference.host == ECR
            with Elsewhere(server.origin) as nobody, pytest.raises(ClaryError) as caught:
                build(engine, wanted, registries=nobody, environment=environment)
        assert caught.value.code == "image.push_denied"
        assert list(home.iterdir()) == [], "nothing is written for the user"


class TestRefusals:
    """What stands in the way is told, with what to do."""

    def test_without_docker(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(ClaryError) as caught:
            build(engine, order(engine, tmp_path, Image()), program="no-such-docker")
        assert caught.value.code == "image.no_docker"
        assert "layers" in caught.value.next_step

    def test_without_an_engine(self, engine: Engine, tmp_path: Path) -> None:
        environment = {**engine.environment, "DOCKER_HOST": f"unix://{tmp_path}/none"}
        with pytest.raises(ClaryError) as caught:
            build(engine, order(engine, tmp_path, Image()), environment=environment)
        assert caught.value.code == "image.docker_unreachable"
        assert "Cannot connect" in caught.value.summary

    def test_a_new_client_without_buildx(self, engine: Engine, tmp_path: Path) -> None:
        program = _program(tmp_path / "docker", 'case "$1" in version) echo 28.2.2;; *) exit 1;; esac')
        with pytest.raises(ClaryError) as caught:
            build(engine, order(engine, tmp_path / "p", Image()), program=str(program))
        assert caught.value.code == "image.no_buildkit"
        assert "28.2.2" in caught.value.summary

    def test_a_base_that_is_not_there(self, engine: Engine, tmp_path: Path) -> None:
        wanted = order(engine, tmp_path, Image())
        assert wanted.base is not None
        with pytest.raises(ClaryError) as caught:
            build(engine, replace(wanted, base=wanted.base.at("sha256:" + "0" * 64)))
        assert caught.value.code == "image.build_failed"
        assert "not found" in caught.value.summary

    def test_ctrl_c_ends_the_engines_program(self, engine: Engine, tmp_path: Path) -> None:
        base = f"{engine.registry}/base/python@{engine.base.digest}"
        (tmp_path / "Dockerfile").write_text(
            f"FROM {base}\nRUN echo begun; python3 -c 'import time; time.sleep(300)'\n"
        )

        def interrupts(text: str) -> None:
            if text.endswith(" begun"):
                raise KeyboardInterrupt

        wanted = order(engine, tmp_path, Image(dockerfile="Dockerfile"), base=None, python=None)
        with pytest.raises(KeyboardInterrupt):
            build(engine, wanted, Told(interrupts))
        until(
            lambda: not any("time.sleep(300)" in command for command in _commands()), "the end of the engine's program"
        )


def _commands() -> list[str]:
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(one.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def _program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_through_buildx_the_image_is_asked_for_in_dockers_types(engine: Engine, tmp_path: Path) -> None:
    """No buildx comes with Debian 12: a stand-in takes buildx's own options, and builds and pushes with the engine."""
    (tmp_path / "project").mkdir()
    program = _program(
        tmp_path / "docker",
        f"""case "$1 $2" in "version "*) exec {CLIENT} "$@";; "buildx version") echo v0.30;; "buildx build")
  shift 2
  printf '%s\\n' "$@" > {tmp_path}/asked
  exec python3 {tmp_path}/stand_in.py "$@";; *) exit 1;; esac""",
    )
    (tmp_path / "stand_in.py").write_text(
        "import json, re, subprocess, sys\n"
        "taken, passed, words = {}, [], iter(sys.argv[1:])\n"
        "for word in words:\n"
        "    if word in ('--output', '--metadata-file', '--allow', '--builder'):\n"
        "        taken[word] = next(words)\n"
        "    elif not word.startswith(('--provenance', '--sbom')):\n"
        "        passed.append(word)\n"
        f"subprocess.run(['{CLIENT}', 'build', *passed], check=True)\n"
        "tag = passed[passed.index('--tag') + 1]\n"
        f"said = subprocess.run(['{CLIENT}', 'push', tag], check=True, capture_output=True, text=True).stdout\n"
        "digest = re.search(r'sha256:[0-9a-f]{64} size', said)[0].split()[0]\n"
        "open(taken['--metadata-file'], 'w').write(json.dumps({'containerimage.digest': digest}))\n"
    )
    wanted = order(engine, tmp_path / "project", Image(entrypoint=["id"]))
    built = build(engine, wanted, program=str(program), buildx_builder="mine")
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[asked.index("--output") + 1] == "type=image,push=true,oci-mediatypes=false"
    assert {"--provenance=false", "--sbom=false"} <= set(asked)
    assert asked[asked.index("--platform") + 1] == "linux/amd64"
    assert asked[asked.index("--builder") + 1] == "mine"
    assert built.reference.digest == oci.digest_of(engine.look(wanted.target))


def test_an_image_of_another_type_is_refused(engine: Engine, tmp_path: Path) -> None:
    """An engine that pushes OCI, as newer ones do by default, is found out by asking the registry."""
    from clary.images.builders.pushed import verified

    raw = json.loads(engine.look(engine.base))
    raw["mediaType"] = oci.OCI_MANIFEST
    raw["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"
    for layer in raw["layers"]:
        layer["mediaType"] = oci.OCI_LAYER
    index = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": []}
    with Registries() as registries:
        registry = registries.open(engine.base)
        digest = registry.put_manifest("base/python", "oci", json.dumps(raw).encode(), oci.OCI_MANIFEST)
        described = {"mediaType": oci.OCI_MANIFEST, "digest": digest, "size": len(json.dumps(raw))}
        platform = {"platform": {"os": "linux", "architecture": "amd64"}}
        listed = json.dumps({**index, "manifests": [{**described, **platform}]}).encode()
        for_all = registry.put_manifest("base/python", "index", listed, oci.OCI_INDEX)
        for tag, told in (("oci", digest), ("index", for_all)):
            with pytest.raises(ClaryError) as caught:
                verified(engine.base.tagged(tag), told, registry)
            assert caught.value.code == "image.wrong_manifest", tag
        with pytest.raises(ClaryError) as caught:
            verified(engine.base.tagged("oci"), for_all, registry)
        assert caught.value.code == "image.not_pushed"
