"""Credentials from a file of their own: neither the environment nor a person's own profiles get in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.errors import ConfigError
from clary.sagemaker.session import Aws


def test_the_file_outranks_the_environment_and_the_default_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "config"
    own.write_text("[default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = other\n[profile other]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(own))
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "REAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "REAL")
    file = tmp_path / "keys"
    file.write_text("[default]\naws_access_key_id = planted\naws_secret_access_key = planted\n")
    aws = Aws("eu-central-1", credentials=f"aws-credentials-file:{file}")
    assert aws.credentials().access_key == "planted"
    assert aws.client("s3").meta.region_name == "eu-central-1"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sandbox start") as refused:
        Aws("eu-central-1", credentials=f"aws-credentials-file:{tmp_path / 'none'}").client("s3")
    assert refused.value.code == "aws.no_credentials_file"
