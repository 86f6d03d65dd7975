"""What tests with containers have in common: the sandbox's own image, and the best way of making a container here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clary.sandbox.containers.image import Image
    from clary.sandbox.containers.namespaces import Mode


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    from clary.sandbox.containers.image import ensure_image

    return ensure_image(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def mode(image: Image) -> Mode:
    from clary.sandbox.containers.namespaces import find_mode

    found, why = find_mode(image)
    if found is None:
        pytest.skip(f"no namespaces here: {why}")
    return found
