"""How the sandbox's process and its callers meet: files of the data folder, the address of the administrative API."""

from __future__ import annotations

STATE = "state.json"
"""What a running sandbox says of itself."""
LOCK = "sandbox.lock"
TOKEN = "admin-token"  # noqa: S105 - the name of a file
LOG = "sandbox.log"
PREFIX = "/_clary/"
"""Paths of the administrative API begin so."""
TOKEN_HEADER = "X-Clary-Token"  # noqa: S105 - the name of a header
OFF, ENFORCE = "off", "enforce"
IAM_MODES = (OFF, ENFORCE)
"""Whether IAM policies are weighed: ``--iam`` of the start."""
SIMULATIONS = frozenset({"SimulatePrincipalPolicy", "SimulateCustomPolicy"})
"""Operations of IAM that moto lacks."""
