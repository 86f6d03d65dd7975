"""A scripted AWS on loopback, and the product's way to it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from clary.sagemaker import session
from clary.sagemaker.session import Aws
from scripted_aws import ScriptedAws


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def opened() -> Iterator[list[Aws]]:
    """What a test puts in here is closed at its end."""
    places: list[Aws] = []
    yield places
    for place in places:
        place.close()


@pytest.fixture(scope="session")
def _service() -> Iterator[ScriptedAws]:
    with ScriptedAws().serving() as service:
        yield service


@pytest.fixture(scope="session")
def _place(_service: ScriptedAws) -> Iterator[Aws]:
    with pytest.MonkeyPatch.context() as patch:
        # One try a call: what happens after botocore's own retries is what is tested.
        patch.setattr(session, "ATTEMPTS", 1)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        place = Aws("eu-west-1", endpoint_url=_service.url)
        place.client("sagemaker")
        place.client("logs")
    yield place
    place.close()


@pytest.fixture
def scripted(_service: ScriptedAws) -> ScriptedAws:
    """The service, with nothing to say yet."""
    _service.forget()
    return _service


@pytest.fixture
def aws(_place: Aws, scripted: ScriptedAws) -> Aws:
    """The product's way to the scripted service; its clients are made once, for that takes half a second each."""
    return _place
