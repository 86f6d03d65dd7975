"""Amazon S3 as an artifact store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.stacks.flavors import Flavor, Option
from clary.stacks.forms import credentials_problem, store_problem

_KEYS = "Name a source of credentials instead: --credentials=aws-profile:NAME, or a secret with aws-secret:NAME."
_CLIENT = "Name the endpoint with the orchestrator's endpoint_url or endpoint_urls; the rest is botocore's own files."


def _provide(options: Mapping[str, Any]) -> dict[str, Any]:
    provided = {"artifact_store": options["path"].rstrip("/")}
    if "authentication_secret" in options:
        provided["credentials"] = f"aws-secret:{options['authentication_secret']}"
    if "credentials" in options:
        provided["credentials"] = options["credentials"]
    return provided


ARTIFACT_STORE = Flavor(
    "artifact_store",
    "s3",
    "Keeps runs, values and code in an S3 bucket.",
    (
        Option("path", "s3://BUCKET/PREFIX.", store_problem, required=True, metavar="s3://BUCKET/PREFIX"),
        Option(
            "credentials", "A source of credentials, such as aws-profile:NAME.", credentials_problem, metavar="SOURCE"
        ),
        Option(
            "authentication_secret",
            "A local secret that holds the keys; the same as credentials=aws-secret:NAME.",
            metavar="NAME",
        ),
    ),
    _provide,
    refused={
        "key": _KEYS,
        "secret": _KEYS,
        "token": _KEYS,
        "client_kwargs": _CLIENT,
        "config_kwargs": _CLIENT,
        "s3_additional_kwargs": "Set the bucket's default encryption, or output_kms_key in the job settings.",
    },
)
