"""References, masking and signatures hold for whatever comes."""

from __future__ import annotations

import datetime as dt
import io
import string
from unittest import mock

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials as Theirs
from hypothesis import given
from hypothesis import strategies as st

from clary.errors import ValidationError
from clary.runtime.signing import Credentials, signed_headers
from clary.secrets import redaction, references
from clary.secrets.names import KEY, NAME
from clary.secrets.references import Reference

ANY_REFERENCE = st.builds(Reference, st.from_regex(NAME, fullmatch=True), st.from_regex(KEY, fullmatch=True))
BETWEEN = st.text().filter(lambda text: not references.has(text) and "{{" not in text)
LETTERS = st.text("ab{}", min_size=redaction.SHORTEST, max_size=9)


@given(st.lists(st.tuples(BETWEEN, ANY_REFERENCE, st.sampled_from(["", " ", "\t ", "\n"]))), BETWEEN, st.text())
def test_every_reference_is_found_and_filled_in(parts: list[tuple[str, Reference, str]], end: str, value: str) -> None:
    text = "".join(f"{before}{{{{{blank}secrets.{one.name}.{one.key}{blank}}}}}" for before, one, blank in parts) + end
    assert references.find(text) == [one for _, one, _ in parts]
    assert references.filled(text, lambda _: value) == "".join(before + value for before, _, _ in parts) + end


@given(st.text("{} secrt.ab\n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = references.find(text)
    except ValidationError:
        assert references.has(text)
    else:
        assert bool(found) == references.has(text)


@given(
    st.lists(LETTERS, min_size=1, max_size=3), st.text("ab{}\n", max_size=60), st.lists(st.integers(1, 7), max_size=40)
)
def test_a_value_is_masked_however_its_text_is_cut(values: list[str], text: str, cuts: list[int]) -> None:
    kept = io.StringIO()
    with redaction.hidden(values):
        stream = redaction.MaskedStream(kept)
        rest = f"{text}{values[0]}{text}"
        for cut in [*cuts, len(rest)]:
            stream.write(rest[:cut])
            rest = rest[cut:]
        stream.write(rest)
        stream.finish()
    shown = kept.getvalue().replace(redaction.MASK, "\0")
    assert not [value for value in values if value in shown]


HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Amz-Target", "X-Other", "x-Small"]),
    st.text(string.ascii_letters + string.digits + " ;=/.-", min_size=1).map(str.strip).filter(bool),
)
PATH = st.lists(st.text(string.ascii_letters + string.digits + "-_.~ ü+", min_size=1).filter(lambda x: set(x) != {"."}))
WORD = st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=60)


@given(
    origin=st.sampled_from(
        [
            "https://secretsmanager.eu-west-1.amazonaws.com",
            "http://127.0.0.1:8123",
            "https://h:443",
            "http://H.x:80",
            "http://[::1]:9",
        ]
    ),
    path=PATH,
    headers=HEADERS,
    body=st.binary(max_size=200),
    keys=st.tuples(WORD, WORD, st.none() | WORD),
    moment=st.datetimes(dt.datetime.fromisoformat("2020-01-01"), dt.datetime.fromisoformat("2099-01-01")).map(
        lambda one: one.replace(microsecond=0)
    ),
    service=st.sampled_from(["secretsmanager", "ssm"]),
)
def test_requests_are_signed_as_botocore_signs_them(
    origin: str,
    path: list[str],
    headers: dict[str, str],
    body: bytes,
    keys: tuple[str, str, str | None],
    moment: dt.datetime,
    service: str,
) -> None:
    url = f"{origin}/{'/'.join(path)}"
    now = moment.replace(tzinfo=dt.UTC)
    ours = signed_headers(url, headers, body, Credentials(*keys), region="eu-west-1", service=service, now=now)

    request = AWSRequest("POST", url, data=body)
    request.headers = HTTPHeaders.from_dict(headers)
    with mock.patch.object(auth, "get_current_datetime", return_value=moment):
        auth.SigV4Auth(Theirs(*keys), service, "eu-west-1").add_auth(request)
    assert {name.lower(): value for name, value in ours.items()} == {
        name.lower(): value for name, value in request.headers.items()
    }
