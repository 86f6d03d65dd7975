"""STS. Who one is anybody may ask, whatever policies say."""

from __future__ import annotations

from clary.sandbox.iam.table.common import ROLE, has
from clary.sandbox.iam.table.spec import Key, Need, Rows, Tagged, text, texts

_KEYS = (
    Key("sts:ExternalId", text("ExternalId")),
    Key("sts:RoleSessionName", text("RoleSessionName")),
    Key("sts:SourceIdentity", text("SourceIdentity")),
    Key("sts:TransitiveTagKeys", texts("TransitiveTagKeys")),
    Tagged("Tags"),
)

ROWS: Rows = {
    "GetCallerIdentity": [],
    "AssumeRole": [
        Need("sts:AssumeRole", ROLE, text("RoleArn"), _KEYS),
        Need("sts:TagSession", ROLE, text("RoleArn"), (Tagged("Tags"),), when=has("Tags")),
    ],
    "GetAccessKeyInfo": [Need("sts:GetAccessKeyInfo")],
}
