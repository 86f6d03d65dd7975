"""A Kubernetes API server on loopback, as far as builds need one: Jobs, pods, their logs, Secrets and watches.

It speaks the real protocol: kubectl and the Python client both use it in the tests. Objects that are made are checked
strictly against Kubernetes' own schemas, roles are held, and it can be told to misbehave. What a pod does is a function
that the test gives.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import yaml

VERSION = "1.34"
"""Of the schemas that objects are checked against."""
Object: TypeAlias = dict[str, Any]
Play: TypeAlias = "Callable[[Stub, str], None]"
"""What the pod of this name does, from when it was made."""
_KINDS = {"jobs": ("batch/v1", "Job"), "pods": ("v1", "Pod"), "secrets": ("v1", "Secret")}
_PATH = re.compile(
    r"/(?:api/v1|apis/batch/v1)/namespaces/(?P<namespace>[^/]+)/(?P<kind>jobs|pods|secrets)"
    r"(?:/(?P<name>[^/]+))?(?P<log>/log)?"
)
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists", 410: "Expired"}
_PATIENCE = 20.0


def waits_for_ever(stub: Stub, pod: str) -> None:
    """Do nothing, as on a cluster without a free node."""


@dataclass
class Stub:
    """The server's state, and what a test may tell it to do."""

    play: Play = waits_for_ever
    rules: list[Object] | None = None
    """Of a Role: whatever they do not allow is forbidden. None: everything is allowed."""
    fault: Callable[[str, str, int], int | str | None] = lambda _verb, _resource, _number: None
    """Gives what goes wrong with a request, by verb, resource and how many of these there were before: a status, or
    ``drop`` (no reply, nothing done), ``lose`` (done, no reply), ``cut`` (a stream that ends after its first piece)."""
    makes_pods: bool = True
    lingers: bool = False
    """Whether a Job that is deleted stays, with its deletionTimestamp, until ``let_go``."""
    port: int = 0
    objects: dict[str, dict[str, Object]] = field(default_factory=lambda: {kind: {} for kind in _KINDS})
    made: list[Object] = field(default_factory=list)
    """Every object that a client made, as it was sent."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Verb and resource of each request."""
    logs: dict[str, list[str]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    _events: list[tuple[int, str, str, Object]] = field(default_factory=list)
    _version: int = 100
    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    _players: list[threading.Thread] = field(default_factory=list)

    # What plays and tests do.

    def schedule(self, pod: str, reason: str, message: str) -> None:
        """Let a pod wait for a node."""
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        self._set(pod, {"phase": "Pending", "conditions": [condition]})

    def hold(self, pod: str, reason: str, message: str) -> None:
        """Let a pod's container wait."""
        self._set(pod, {"phase": "Pending", **_container({"waiting": {"reason": reason, "message": message}})})

    def run(self, pod: str) -> None:
        """Let a pod run."""
        self._set(pod, {"phase": "Running", **_container({"running": {"startedAt": _now()}})})

    def say(self, pod: str, *lines: str) -> None:
        """Let a pod write lines to its log."""
        with self.changed:
            self.logs.setdefault(pod, []).extend(f"{_now(precise=True)} {line}" for line in lines)
            self.changed.notify_all()

    def end(self, pod: str, code: int, message: str = "", *, reason: str = "", evicted: str = "") -> None:
        """Let a pod end, and its Job with it."""
        state = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "message": message}
        status = {"phase": "Succeeded" if code == 0 else "Failed", **_container({"terminated": state})}
        self._set(pod, {**status, **({"reason": "Evicted", "message": evicted} if evicted else {})})
        self._end_job(pod, "Complete" if code == 0 else "Failed", "" if code == 0 else "BackoffLimitExceeded")

    def expire(self, pod: str) -> None:
        """Let a Job's deadline pass: its pod is deleted."""
        job = self._job_of(pod)
        self.remove("pods", pod)
        self._end(job, "Failed", "DeadlineExceeded")

    def remove(self, kind: str, name: str) -> None:
        """Take an object away."""
        with self.changed:
            gone = self.objects[kind].pop(name, None)
            if gone is not None:
                self._note("DELETED", kind, gone)

    def let_go(self) -> None:
        """Take the Jobs away that linger."""
        for name, job in list(self.objects["jobs"].items()):
            if job["metadata"].get("deletionTimestamp"):
                self.remove("jobs", name)

    def await_request(self, verb: str, resource: str) -> None:
        """Wait until a client has asked for something."""
        with self.changed:
            assert self.changed.wait_for(lambda: (verb, resource) in self.asked, _PATIENCE), (verb, resource)

    # What requests do.

    def create(self, kind: str, namespace: str, sent: Object) -> tuple[int, Object]:
        """Make an object as a client sends it."""
        import kubernetes_validate  # type: ignore[import-untyped]

        kubernetes_validate.validate(sent, VERSION, strict=True)
        assert sent["metadata"].get("namespace", namespace) == namespace
        with self.changed:
            name = sent["metadata"]["name"]
            if name in self.objects[kind]:
                return _status(409, f'{kind} "{name}" already exists')
            made = json.loads(json.dumps(sent))
            made["metadata"] |= {"namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": _now()}
            texts = made.pop("stringData", {})
            if texts:
                made["data"] = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
            self.made.append(sent)
            self._store("ADDED", kind, made)
            if kind == "jobs" and self.makes_pods:
                self._make_pod(made)
            return 201, made

    def delete(self, kind: str, name: str, policy: str) -> tuple[int, Object]:
        """Delete an object, and what belongs to it."""
        with self.changed:
            found = self.objects[kind].get(name)
            if found is None:
                return _status(404, f'{kind} "{name}" not found')
            if policy != "Orphan":
                for owned in ("pods", "secrets"):
                    for other, one in list(self.objects[owned].items()):
                        if any(owner["uid"] == found["metadata"]["uid"] for owner in _owners(one)):
                            self.remove(owned, other)
            if self.lingers:
                found["metadata"] |= {"deletionTimestamp": _now(), "finalizers": ["foregroundDeletion"]}
                self._store("MODIFIED", kind, found)
            else:
                self.remove(kind, name)
            return 200, found

    def listed(self, kind: str, selector: str) -> Object:
        """Return a list of objects with these labels."""
        with self.changed:
            found = [one for one in self.objects[kind].values() if _selected(one, selector)]
            group, name = _KINDS[kind]
            return {
                "apiVersion": group,
                "kind": f"{name}List",
                "metadata": {"resourceVersion": str(self._version)},
                "items": found,
            }

    def events(self, kind: str, selector: str, since: int, seconds: float) -> Iterator[Object]:
        """Yield the events of a watch, for so many seconds."""
        deadline = datetime.now(UTC).timestamp() + seconds
        while True:
            with self.changed:
                new = [one for one in self._events if one[0] > since]
                left = deadline - datetime.now(UTC).timestamp()
                if not new:
                    if left <= 0:
                        return
                    self.changed.wait(min(left, 0.2))
                    continue
            for version, event, of, document in new:
                since = version
                if of == kind and _selected(document, selector):
                    yield {"type": event, "object": document}

    def log_lines(self, pod: str, *, follow: bool) -> Iterator[str]:
        """Yield a log's lines, until the pod has ended."""
        told = 0
        while True:
            with self.changed:
                lines = self.logs.get(pod, [])[told:]
                over = not follow or pod not in self.objects["pods"] or _phase(self.objects["pods"][pod]) != "Running"
                if not lines and not over:
                    self.changed.wait(0.2)
                    continue
            told += len(lines)
            yield from lines
            if over and not lines:
                return

    def allows(self, verb: str, group: str, resource: str) -> bool:
        """Tell whether the rules allow a request."""
        return self.rules is None or any(
            verb in rule["verbs"] and group in rule["apiGroups"] and resource in rule["resources"]
            for rule in self.rules
        )

    def next_fault(self, verb: str, resource: str) -> int | str | None:
        """Note a request and return what goes wrong with it."""
        with self.changed:
            number = self._seen[verb, resource]
            self._seen[verb, resource] += 1
            self.asked.append((verb, resource))
            self.changed.notify_all()
        return self.fault(verb, resource, number)

    def _make_pod(self, job: Object) -> None:
        template = job["spec"]["template"]
        name = f"{job['metadata']['name']}-{uuid.uuid4().hex[:5]}"
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
        }
        labels = {**template["metadata"]["labels"], "job-name": owner["name"], "controller-uid": owner["uid"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": job["metadata"]["namespace"],
                "uid": str(uuid.uuid4()),
                "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self._store("ADDED", "pods", pod)
        player = threading.Thread(target=self._played, args=(name,), daemon=True)
        self._players.append(player)
        player.start()

    def _played(self, pod: str) -> None:
        mounted = [one["secret"] for one in self.objects["pods"][pod]["spec"].get("volumes", []) if "secret" in one]
        with self.changed:  # as the kubelet does, which starts nothing before its volumes are there
            ready = self.changed.wait_for(
                lambda: all(one["secretName"] in self.objects["secrets"] for one in mounted) or not self._has(pod),
                _PATIENCE,
            )
        if ready and self._has(pod):
            self.play(self, pod)

    def _has(self, pod: str) -> bool:
        return pod in self.objects["pods"]

    def _set(self, pod: str, status: Object) -> None:
        with self.changed:
            if self._has(pod):
                self.objects["pods"][pod]["status"] = status
                self._store("MODIFIED", "pods", self.objects["pods"][pod])

    def _job_of(self, pod: str) -> str:
        return str(self.objects["pods"][pod]["metadata"]["labels"]["job-name"])

    def _end_job(self, pod: str, kind: str, reason: str) -> None:
        if self._has(pod):
            self._end(self._job_of(pod), kind, reason)

    def _end(self, name: str, kind: str, reason: str) -> None:
        with self.changed:
            job = self.objects["jobs"].get(name)
            if job is not None:
                job["status"] = {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": ""}]}
                self._store("MODIFIED", "jobs", job)

    def _store(self, event: str, kind: str, document: Object) -> None:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        self.objects[kind][document["metadata"]["name"]] = document
        self._note(event, kind, document)

    def _note(self, event: str, kind: str, document: Object) -> None:
        self._version += event == "DELETED"
        self._events.append((self._version, event, kind, json.loads(json.dumps(document))))
        self.changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def log_message(self, *_args: Any) -> None:
        pass

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        split = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(split.query).items()}
        if (found := _DISCOVERY.get(split.path)) is not None:
            self._answer(200, found)
            return
        place = _PATH.fullmatch(split.path)
        if place is None:
            self._answer(*_status(404, f"the server could not find {split.path}"))
            return
        verb, resource = self._verb(place, query), place["kind"] + (place["log"] or "")
        fault = self.stub.next_fault(verb, resource)
        group = "batch" if place["kind"] == "jobs" else ""
        if fault == "drop":
            self._hang_up()
        elif isinstance(fault, int):
            self._answer(*_status(fault, f"told to answer {fault}"))
        elif not self.stub.allows(verb, group, resource):
            self._answer(*_status(403, f'{resource} is forbidden: User "u" cannot {verb} resource "{resource}"'))
        elif place["log"] or verb == "watch":
            self._stream(place, query, verb, cut=fault == "cut")
        else:
            status, document = self._do(place, query, json.loads(body) if body else {})
            self._hang_up() if fault == "lose" else self._answer(status, document)

    do_GET = do_POST = do_DELETE = do_PATCH = do_any  # noqa: N815 - the names that the base class asks for

    def _verb(self, place: re.Match[str], query: dict[str, str]) -> str:
        if self.command == "GET":
            watching = query.get("watch") in ("1", "true", "True")
            return "get" if place["name"] else "watch" if watching else "list"
        return {"POST": "create", "DELETE": "delete", "PATCH": "patch"}[self.command]

    def _do(self, place: re.Match[str], query: dict[str, str], body: Object) -> tuple[int, Object]:
        kind, name = place["kind"], place["name"]
        if self.command == "POST":
            return self.stub.create(kind, place["namespace"], body)
        if self.command == "DELETE":
            return self.stub.delete(kind, name, query.get("propagationPolicy") or body.get("propagationPolicy") or "")
        if name is None:
            return 200, self.stub.listed(kind, query.get("labelSelector", ""))
        found = self.stub.objects[kind].get(name)
        return (200, found) if found else _status(404, f'{kind} "{name}" not found')

    def _stream(self, place: re.Match[str], query: dict[str, str], verb: str, *, cut: bool) -> None:
        pieces: Iterator[bytes]
        if verb == "watch":
            seconds = float(query.get("timeoutSeconds") or _PATIENCE)
            since = int(query.get("resourceVersion") or 0)
            found = self.stub.events(place["kind"], query.get("labelSelector", ""), since, seconds)
            pieces = (json.dumps(event).encode() + b"\n" for event in found)
        elif place["name"] not in self.stub.logs and not self.stub.objects["pods"].get(place["name"]):
            self._answer(*_status(404, f'pods "{place["name"]}" not found'))
            return
        else:
            lines = self.stub.log_lines(place["name"], follow=query.get("follow") in ("true", "True"))
            stamped = query.get("timestamps") in ("true", "True")
            pieces = ((line if stamped else line.partition(" ")[2]).encode() + b"\n" for line in lines)
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if verb == "watch" else "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
            if cut:
                self._hang_up()
                return
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, document: Object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()


@contextmanager
def kubernetes_on_loopback() -> Iterator[Stub]:
    """Run the server for as long as the context lasts."""
    stub = Stub()
    handler = type("Handler", (_Handler,), {"stub": stub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_args: None  # type: ignore[method-assign]  # clients hang up as they like
    stub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def kubeconfig(stub: Stub, folder: Path, *, namespace: str = "builds") -> Path:
    """Write a kubeconfig with the contexts ``stub`` (its namespace) and ``other``."""
    path = folder / "kubeconfig"
    contexts = [
        {"name": "stub", "context": {"cluster": "stub", "user": "u", "namespace": namespace}},
        {"name": "other", "context": {"cluster": "stub", "user": "u"}},
    ]
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "stub",
        "clusters": [{"name": "stub", "cluster": {"server": f"http://127.0.0.1:{stub.port}"}}],
        "users": [{"name": "u", "user": {"token": "a-token"}}],
        "contexts": contexts,
    }
    path.write_text(yaml.safe_dump(document))
    return path


def _resources(group: str, *names: str) -> Object:
    every = [
        {"name": name, "namespaced": True, "kind": _KINDS[name][1], "singularName": "", "verbs": _VERBS}
        for name in names
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": every}


_VERBS = ["create", "delete", "get", "list", "watch"]
_BATCH = {"groupVersion": "batch/v1", "version": "v1"}
_DISCOVERY: dict[str, Object] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": _resources("v1", "pods", "secrets"),
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "batch", "versions": [_BATCH], "preferredVersion": _BATCH}],
    },
    "/apis/batch/v1": _resources("batch/v1", "jobs"),
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
}


def _status(code: int, message: str) -> tuple[int, Object]:
    reason = _REASONS.get(code, "InternalError")
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _container(state: Object) -> Object:
    return {"containerStatuses": [{"name": "kaniko", "state": state, "restartCount": 0, "ready": "running" in state}]}


def _phase(pod: Object) -> str:
    return str(pod["status"].get("phase"))


def _owners(one: Object) -> list[Object]:
    found: list[Object] = one["metadata"].get("ownerReferences") or []
    return found


def _selected(one: Object, selector: str) -> bool:
    labels = one["metadata"].get("labels") or {}
    pairs = (pair.partition("=") for pair in selector.split(",") if pair)
    return all(labels.get(name) == value for name, _, value in pairs)


def _now(*, precise: bool = False) -> str:
    now = datetime.now(UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if precise else "%Y-%m-%dT%H:%M:%SZ")
