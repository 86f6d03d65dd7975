from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from clary.errors import ConfigError
from clary.images.building import Python, Wheel
from clary.images.layers.cache import LocalCache
from clary.images.layers.packages import package_layers, rest_key, wheel_key
from clary.images.layers.splitting import split
from clary.images.layers.venv import Venv
from unpacked import SITE, unpacked
from wheel_maker import Draft

VENV = Venv(Python("3.11", "/usr/bin/python3.11"))


class Index:
    """Has wheels, and counts how often it is asked for them."""

    def __init__(self, folder: Path, drafts: Sequence[Draft]) -> None:
        made = [draft.write(folder) for draft in drafts]
        self._places = {wheel.sha256: wheel.path for wheel in made if wheel.path}
        self.wheels = [replace(wheel, path=None) for wheel in made]
        self.asked: list[list[str]] = []

    def fetch(self, wheels: Sequence[Wheel]) -> Mapping[Wheel, Path]:
        self.asked.append([wheel.name for wheel in wheels])
        return {wheel: self._places[wheel.sha256] for wheel in wheels}


def _large(name: str, version: str = "1.0") -> Draft:
    noise = bytes((number * number) % 251 for number in range(40_000))
    return Draft(name=name, version=version, files={f"{name}/x": noise + version.encode()}, level=0)


def test_large_wheels_apart_and_the_rest_together(tmp_path: Path) -> None:
    index = Index(tmp_path / "index", [_large("torch"), Draft(name="click"), _large("numpy"), Draft(name="attrs")])
    cache = LocalCache(tmp_path / "cache")

    with cache.use() as use:
        layers = package_layers(split(index.wheels, threshold=20_000), VENV, use, index.fetch)

    assert [layer.name for layer in layers] == ["numpy 1.0", "torch 1.0", "2 packages"]
    assert f"{SITE}/numpy/x" in unpacked(layers[0]).files
    assert f"{SITE}/click-1.0.dist-info/RECORD" in unpacked(layers[2]).files
    assert "opt/clary/venv/bin/python" in unpacked(layers[2]).links
    assert index.asked == [["numpy", "torch", "attrs", "click"]]


def test_a_new_version_costs_one_layer(tmp_path: Path) -> None:
    index = Index(tmp_path / "index", [_large("torch"), _large("numpy"), _large("numpy", "2.0"), Draft(name="click")])
    torch, old, new, click = index.wheels
    cache = LocalCache(tmp_path / "cache")

    with cache.use() as use:
        before = package_layers(split([torch, old, click], threshold=20_000), VENV, use, index.fetch)
    with cache.use() as use:
        after = package_layers(split([torch, new, click], threshold=20_000), VENV, use, index.fetch)
        package_layers(split([torch, new, click], threshold=20_000), VENV, use, index.fetch)

    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True]
    assert index.asked == [["numpy", "torch", "click"], ["numpy"]]


def test_layers_that_are_kept_are_still_held_against_one_another(tmp_path: Path) -> None:
    drafts = [_large("alpha"), _large("beta")]
    for draft in drafts:
        draft.files["tests/x.py"] = draft.name.encode()
    index = Index(tmp_path / "index", drafts)
    with LocalCache(tmp_path / "cache").use() as use:
        for wheel in index.wheels:
            package_layers(split([wheel], threshold=20_000), VENV, use, index.fetch)

        with pytest.raises(ConfigError, match=r"alpha 1.0 and beta 1.0") as caught:
            package_layers(split(index.wheels, threshold=20_000), VENV, use, index.fetch)

    assert caught.value.code == "image.wheels_clash"


def test_no_packages_are_an_environment(tmp_path: Path) -> None:
    with LocalCache(tmp_path).use() as use:
        (layer,) = package_layers(split([]), VENV, use, lambda wheels: {})

    assert layer.name == "environment"


def test_a_wheel_that_vanishes_is_told(tmp_path: Path) -> None:
    wheel = Wheel("gone", "1.0", "gone-1.0-py3-none-any.whl", "0" * 64, 1)

    with LocalCache(tmp_path).use() as use, pytest.raises(ConfigError) as caught:
        package_layers(split([wheel]), VENV, use, lambda wheels: {wheel: tmp_path / "gone"})

    assert caught.value.code == "image.bad_wheel"


def test_keys_differ_where_the_bytes_would() -> None:
    wheel = Wheel("a", "1", "a-1-py3-none-any.whl", "0" * 64, 1)
    venvs = [
        VENV,
        replace(VENV, prefix="/elsewhere"),
        replace(VENV, python=Python("3.12", "/usr/bin/python3.11")),
    ]
    rest = [*venvs, replace(VENV, system_packages=True), replace(VENV, python=Python("3.11", "/usr/local/bin/python"))]

    assert len({wheel_key(wheel, venv) for venv in venvs}) == 3
    assert wheel_key(wheel, rest[3]) == wheel_key(wheel, VENV)
    assert len({rest_key([wheel], venv) for venv in rest}) == 5
    assert wheel_key(replace(wheel, path=Path("/x"), size=7, url="u"), VENV) == wheel_key(wheel, VENV)
