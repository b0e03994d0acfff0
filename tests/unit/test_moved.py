"""Plugins written for the last version find what they import."""

from __future__ import annotations

import importlib
import sys

import pytest

from studio import plugins
from studio.moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_is_the_new_module(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(FutureWarning, match=f"{old} is {MOVED[old]} now"):
        found = importlib.import_module(old)
    new = importlib.import_module(MOVED[old])
    assert found is new
    assert new.__name__ == MOVED[old]
    assert new.__spec__ is not None and new.__spec__.name == MOVED[old]


def test_what_old_plugins_import() -> None:
    with pytest.warns(FutureWarning):
        sys.modules.pop("studio.registry", None)
        from studio.registry import build, find, register  # type: ignore[import-not-found]
    assert (build, find, register) == (plugins.build, plugins.find, plugins.register)
