"""The registry by itself: names, kinds, construction."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from studio.errors import ConfigError, PluginError
from studio.plugins.discovery import available, find
from studio.plugins.options import build
from studio.plugins.registry import KINDS, forget, register


@dataclass
class Box:
    size: int = 1


@pytest.fixture
def box_plugin() -> type:
    class BoxField:
        """A box."""

        Config = Box

        def __init__(self, cfg: Box, *, run: object = None) -> None:
            self.cfg, self.run = cfg, run

    BoxField.__module__ = "made_by_the_test"
    register("geometry", "test-box")(BoxField)
    yield BoxField
    forget("made_by_the_test")


def test_build_fills_the_config(box_plugin: type) -> None:
    built = build("geometry", "test-box", {"size": 3}, key="system.geometry", run="here")
    assert (built.cfg, built.run) == (Box(3), "here")
    assert find("geometry", "test-box") is box_plugin
    assert "test-box" in available("geometry")


def test_build_names_the_key(box_plugin: type) -> None:
    with pytest.raises(ConfigError, match=r"'system.geometry.sise'[\s\S]*'system.geometry.size'"):
        build("geometry", "test-box", {"sise": 3}, key="system.geometry")


def test_same_class_may_register_again_but_not_another(box_plugin: type) -> None:
    register("geometry", "test-box")(box_plugin)
    with pytest.raises(PluginError, match=r"registered twice: by made_by_the_test.*and by tests?"):

        @register("geometry", "test-box")
        class Other:
            __module__ = "tests.other"


def test_unknown_names() -> None:
    with pytest.raises(PluginError, match=r"system.data_type is 'nothing-like-it'"):
        find("data", "nothing-like-it", key="system.data_type")
    with pytest.raises(PluginError, match="does not exist") as caught:
        register("gadget", "x")
    assert all(kind in str(caught.value) for kind in KINDS)


def test_plugin_without_config() -> None:
    class Bare:
        pass

    Bare.__module__ = "made_by_the_test"
    register("renderer", "test-bare")(Bare)
    try:
        with pytest.raises(PluginError, match="no inner dataclass Config"):
            build("renderer", "test-bare")
    finally:
        forget("made_by_the_test")


def test_a_plugin_starts_from_its_defaults() -> None:
    for kind, name in (("model", "sdf"), ("geometry", "hash-sdf"), ("renderer", "neus-occupancy"),
                       ("exporter", "mesh"), ("guidance", "viewfusion-composable")):  # fmt: skip
        cls = find(kind, name)
        assert cls().cfg == cls.Config()
