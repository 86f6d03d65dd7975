"""Objects in S3, through obstore: one small native client that works alike in the job and on a laptop."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from datetime import timedelta
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from clary.errors import AwsError, ClaryError, NotFoundError, PermissionDeniedError, Retry, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from clary.objects import Credentials

PUT_PATIENCE = 120.0
"""Seconds for which a write is tried again through outages before it is given up."""
_PAGE = 1000
"""Keys of a listing that are asked for at once: as many as S3 gives (ListObjectsV2, MaxKeys)."""
_READ_PAUSES = (0.1, 0.4, 1.6)
"""Seconds before a read is tried again. Where nothing answers at all, a person should hear of it soon."""
_PART = 8 << 20
"""Bytes of one part of an upload or a download."""
_PARTS_AT_ONCE = 4
"""Parts of one object under way at once: enough for a gigabit, and little to hold."""
_MOST_PARTS = 9_000
"""Of an upload; S3 takes 10,000."""
_ABSENT: Any = object()
"""Stands for an object that is not there."""
_NO_BUCKET = "NoSuchBucket"
_NOT_GIVEN = "External AWS credential provider"
"""How the client's error begins when the provider raised one."""
_EXPIRED = frozenset({"ExpiredToken", "TokenRefreshRequired"})
_UNKNOWN = frozenset({"InvalidAccessKeyId"})
"""S3's codes for keys that are past their end, and for keys that were taken away, as in a rotation."""
_CREDENTIALS_HOST = "169.254.170.2"
"""Where a container's role is asked for; must never go through a proxy."""


class S3Store:
    """Objects under ``s3://bucket/prefix``."""

    immediate = False

    def __init__(
        self,
        root: str,
        *,
        region: str | None,
        endpoint: str | None,
        credentials: Credentials | None,
        patience: float = 0.0,
    ) -> None:
        _keep_credentials_off_the_proxy()
        self.root = root.rstrip("/")
        self.bucket, _, self.prefix = self.root.removeprefix("s3://").partition("/")
        self._region = region
        self._endpoint = endpoint
        self._credentials = credentials
        self._patience = patience
        self._not_given: ClaryError | None = None
        self._renewing = threading.Lock()
        self._s3: Any = self._new_client()

    def _new_client(self) -> Any:
        """Make a client, which has asked for no credentials yet.

        Without a provider it asks the container's address for the role's, and again when less than five minutes of
        them are left.
        """
        from obstore import store

        config: dict[str, Any] = {"region": self._region} if self._region else {}
        if self._endpoint:
            config["endpoint"] = self._endpoint
        return store.S3Store(
            self.bucket,
            prefix=self.prefix or None,
            config=config,  # type: ignore[arg-type]  # a TypedDict that is built step by step
            client_options={
                "allow_http": bool(self._endpoint and self._endpoint.startswith("http://")),
                "timeout": timedelta(seconds=60),
                "connect_timeout": timedelta(seconds=5),
            },
            retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
            credential_provider=self._given if self._credentials else None,  # type: ignore[arg-type]  # likewise
        )

    def get(self, key: str) -> bytes | None:
        """Return the object's bytes, or None when there is none."""
        found = self._fetch("GetObject", key, lambda: bytes(self._s3.get(key).bytes()))
        return None if found is _ABSENT else found

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None when there is none."""
        found = self._fetch("GetObject", key, lambda: self._size(key))  # HEAD asks for the same right
        return None if found is _ABSENT else found

    def put(self, key: str, data: bytes) -> None:
        """Store the object, replacing what was there."""
        self._persist(key, lambda: self._s3.put(key, data))

    def create(self, key: str, data: bytes) -> bool:
        """Store the object if the key is free; False asks the caller to read it (see ``ObjectStore.create``)."""
        from obstore import exceptions

        def attempt() -> bool:
            try:
                self._s3.put(key, data, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
            return True

        return bool(self._persist(key, attempt))

    def put_stream(self, key: str, chunks: Callable[[], Iterable[bytes | memoryview]], size: int) -> None:
        """Store what the chunks are together, in parts. What ``chunks`` raises ends the upload and is raised."""
        part = max(_PART, -(-size // _MOST_PARTS))
        raised: list[BaseException] = []

        def watched() -> Iterator[bytes | memoryview]:
            try:
                yield from chunks()
            except BaseException as error:
                raised.append(error)  # the client would turn it into words
                raise

        def attempt() -> None:
            try:
                self._s3.put(key, watched(), chunk_size=part, max_concurrency=_PARTS_AT_ONCE)
            except Exception:
                if raised:
                    raise raised[0] from None
                raise

        self._persist(key, attempt)

    def get_stream(self, key: str) -> Generator[bytes | memoryview, None, None] | None:
        """Return the object's bytes in chunks, or None when there is none. Some are fetched ahead."""
        size = self.size(key)
        return None if size is None else self._chunks(key, size)

    def put_file(self, key: str, path: Path) -> None:
        """Store a file, streamed in parts."""
        part = max(_PART, -(-path.stat().st_size // _MOST_PARTS))
        self._persist(key, lambda: self._s3.put(key, path, chunk_size=part, max_concurrency=_PARTS_AT_ONCE))

    def get_file(self, key: str, path: Path) -> bool:
        """Write the object to ``path``; False when there is none."""
        arriving = path.with_name(path.name + ".part")

        def fetch() -> bool:
            stream = self._s3.get(key).stream(min_chunk_size=4 << 20)
            with arriving.open("wb") as file:
                for chunk in stream:
                    file.write(chunk)
            return True

        if self._fetch("GetObject", key, fetch) is _ABSENT:
            return False
        arriving.replace(path)
        return True

    def delete(self, key: str) -> None:
        """Take the object away; nothing happens where there is none."""
        self._fetch("DeleteObject", key, lambda: self._s3.delete(key))

    def keys(self, prefix: str, *, after: str | None = None) -> Iterator[str]:
        """Yield keys under the folder ``prefix`` in order; only those that sort behind the key ``after``."""
        while True:
            page = self._fetch("ListBucket", prefix, partial(self._page, prefix, after))
            for item in page:
                yield (after := str(item["path"]))
            if len(page) < _PAGE:
                return

    def folders(self, prefix: str) -> list[str]:
        """Return the names directly under the folder ``prefix`` that have objects below them, in order."""
        listed = self._fetch("ListBucket", prefix, lambda: self._s3.list_with_delimiter(prefix.rstrip("/")))
        paths = [] if listed is _ABSENT else listed["common_prefixes"]
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths)

    def url(self, key: str) -> str:
        """Return the object's ``s3://`` URL."""
        return f"{self.root}/{key}"

    def _chunks(self, key: str, size: int) -> Generator[bytes | memoryview, None, None]:
        """Yield an object's chunks in order; each is a request of its own, so one that breaks off costs little."""
        from concurrent.futures import ThreadPoolExecutor

        begins = iter(range(0, size, _PART))
        with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="clary-read") as pool:
            ahead = deque(pool.submit(self._part, key, start, size) for start in islice(begins, _PARTS_AT_ONCE))
            try:
                while ahead:
                    part = ahead.popleft().result()
                    yield part
                    del part  # while the next is awaited, this one need not be held
                    ahead.extend(pool.submit(self._part, key, start, size) for start in islice(begins, 1))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _part(self, key: str, start: int, size: int) -> memoryview:
        end = min(size, start + _PART)
        part = self._fetch("GetObject", key, lambda: self._s3.get_range(key, start=start, end=end))
        if part is _ABSENT:
            raise _failed("GetObject", self.url(key), "the object went away while it was read")
        return memoryview(part)

    def _persist(self, key: str, attempt: Callable[[], Any]) -> Any:
        """Run a write through outages: what is not refused for good is tried again until the patience ends."""
        deadline = time.monotonic() + PUT_PATIENCE
        pause = 0.1
        while True:
            try:
                done = self._ask("PutObject", key, attempt)
            except ClaryError as error:
                if error.retry is Retry.NO or time.monotonic() + pause > deadline:
                    raise
            else:
                if done is _ABSENT:
                    raise self._no_bucket()
                return done
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _size(self, key: str) -> int:
        from obstore import exceptions

        try:
            return int(self._s3.head(key)["size"])
        except exceptions.BaseError as error:
            if _status(str(error)) != 400:
                raise
            # The answer to a HEAD has no body, and so no reason; a GET says what is wrong.
            return int(self._s3.get(key).meta["size"])

    def _page(self, prefix: str, after: str | None) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = next(iter(self._s3.list(prefix, offset=after, chunk_size=_PAGE)), ())
        return found

    def _fetch(self, action: str, key: str, call: Callable[[], Any]) -> Any:
        """Run a read. The client tries again itself when a reply begins badly, but not when it breaks off half-way."""
        deadline = time.monotonic() + self._patience
        for number in count():
            try:
                return self._ask(action, key, call)
            except ClaryError as error:
                if error.retry is not Retry.LATER:
                    raise
                soon = number < len(_READ_PAUSES) and error.code != "aws.unreachable"
                if not soon and time.monotonic() > deadline:
                    raise
            time.sleep(_READ_PAUSES[min(number, len(_READ_PAUSES) - 1)])
        raise AssertionError  # it counts without end

    def _ask(self, action: str, key: str, call: Callable[[], Any]) -> Any:
        """Run one request; ``_ABSENT`` when the object is not there. All else, a missing bucket too, is an error.

        An answer that the keys have expired, or are not known any more, is met once with new ones.
        """
        from obstore import exceptions

        client = self._s3
        try:
            return self._answer(action, key, call)
        except exceptions.BaseError as error:
            if _code(str(error)) not in _EXPIRED | _UNKNOWN:
                raise self._told(action, key, error) from error
        self._renew(client)
        try:
            return self._answer(action, key, call)
        except exceptions.BaseError as error:
            raise self._told(action, key, error) from error

    def _answer(self, action: str, key: str, call: Callable[[], Any]) -> Any:
        from obstore import exceptions

        try:
            return call()
        except (exceptions.NotFoundError, FileNotFoundError) as error:
            if _NO_BUCKET in str(error):
                raise self._no_bucket() from error
            return _ABSENT
        except OSError as error:
            raise _failed(action, self.url(key), str(error)) from error

    def _told(self, action: str, key: str, error: Exception) -> ClaryError:
        """Return the error to show for what the client raised."""
        from obstore import exceptions

        text = str(error)
        if _NOT_GIVEN in text and self._not_given is not None:
            return self._not_given
        if _NO_BUCKET in text:  # a listing says so in a general error
            return self._no_bucket()
        if _code(text) in _EXPIRED | _UNKNOWN:
            return _stale(action, self.url(key), expired=_code(text) in _EXPIRED, in_job=self._credentials is None)
        refused = isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
        if refused or _status(text) in (401, 403):  # a listing says so in a general error, too
            return _denied(action, self.url(key))
        return _failed(action, self.url(key), text)

    def _given(self) -> Mapping[str, object]:
        """Give the client keys. It turns every error of this into words; the error itself is kept for ``_told``."""
        assert self._credentials is not None
        try:
            return self._credentials()
        except ClaryError as error:
            self._not_given = error
            raise

    def _renew(self, used: Any) -> None:
        """Let the next request sign with new credentials; ``used`` is the client whose keys were not taken."""
        with self._renewing:
            if self._s3 is not used:
                return  # another thread was quicker
            if self._credentials is not None:
                self._credentials.renew()
            self._s3 = self._new_client()

    def _no_bucket(self) -> NotFoundError:
        return NotFoundError(
            "store.bucket_not_found",
            f"The bucket “{self.bucket}” does not exist, or not in this region.",
            next_step="Check the stack's artifact store, or make the bucket.",
            field="artifact_store",
            details={"bucket": self.bucket},
        )


def _stale(action: str, url: str, *, expired: bool, in_job: bool) -> ClaryError:
    if in_job:
        step, retry = "Run it again: the role's credentials are asked for anew in every attempt.", Retry.LATER
    else:
        step, retry = "Renew the credentials and run the command again.", Retry.NO
    if expired:
        code, summary = "aws.expired_credentials", "The AWS credentials have expired"
    else:
        code, summary = "aws.invalid_credentials", "S3 does not know the access key"
    return PermissionDeniedError(code, f"{summary} (s3:{action} on {url}).", next_step=step, retry=retry)


def _denied(action: str, url: str) -> ClaryError:
    return PermissionDeniedError(
        "aws.access_denied",
        f"s3:{action} on {url} is not allowed for these credentials.",
        next_step=f"Grant s3:{action} on the artifact store to the role or user that runs this.",
        details={"action": f"s3:{action}", "resource": url},
    )


def _failed(action: str, url: str, text: str) -> ClaryError:
    if "SlowDown" in text or _status(text) == 503:
        return ThrottledError("aws.throttled", f"S3 asks for less ({action} on {url}).", next_step="Try again shortly.")
    if "error sending request" in text:
        return AwsError(
            "aws.unreachable",
            f"S3 cannot be reached for {url}: nothing answers at {_address(text)}.",
            next_step="Check the network and the stack's endpoint; an endpoint on this machine must be started first.",
            retry=Retry.LATER,
            details={"endpoint": _address(text)},
        )
    return AwsError(
        "store.unavailable",
        f"{action} on {url} did not succeed: {_first_line(text)}",
        next_step="Check the network and the endpoint, then try again.",
        retry=Retry.LATER,
        details={"reason": text[:2000]},
    )


def _code(text: str) -> str | None:
    """Return the code of S3's answer in the client's message."""
    found = re.search(r"<Code>(\w+)</Code>", text)
    return found.group(1) if found else None


def _status(text: str) -> int | None:
    """Return the HTTP status in the client's message."""
    found = re.search(r"status code: (\d{3})", text)
    return int(found.group(1)) if found else None


def _address(text: str) -> str:
    """Return scheme and host of the request that obstore's message names."""
    found = re.search(r"https?://[^/\s]+", text)
    return found.group() if found else "the endpoint"


def _first_line(text: str) -> str:
    """Return the useful part of obstore's message, which goes on with the client's whole configuration."""
    return text.split("\n", 1)[0][:300]


def _keep_credentials_off_the_proxy() -> None:
    for name in ("no_proxy", "NO_PROXY"):
        listed = os.environ.get(name, "")
        if _CREDENTIALS_HOST not in listed:
            os.environ[name] = f"{listed},{_CREDENTIALS_HOST}".lstrip(",")
