"""The registry by itself: names, kinds, construction."""

from __future__ import annotations

import ast
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from studio.data.base import Data
from studio.errors import ConfigError, PluginError
from studio.export.formats.base import MeshFormat
from studio.geometry.base import Geometry
from studio.models.base import SceneModel
from studio.plugins.discovery import available, find
from studio.plugins.options import build
from studio.plugins.registry import KINDS, forget, register
from studio.plugins.sources import missing_imports, read_plugins
from studio.systems.base import System
from studio.systems.contract import check_data


@dataclass
class Box:
    size: int = 1


@pytest.fixture
def box_plugin() -> type:
    class BoxField(Data):
        """A box."""

        Config = Box

        def __init__(self, cfg: Box, *, run: object = None) -> None:
            self.cfg, self.run = cfg, run

    BoxField.__module__ = "made_by_the_test"
    register("data", "test-box")(BoxField)
    yield BoxField
    forget("made_by_the_test")


def test_build_fills_the_config(box_plugin: type) -> None:
    built = build("data", "test-box", {"size": 3}, key="data", parts={"run": "here"})
    assert (built.cfg, built.run) == (Box(3), "here")
    assert find("data", "test-box") is box_plugin
    assert "test-box" in available("data")


def test_build_names_the_key(box_plugin: type) -> None:
    with pytest.raises(ConfigError, match=r"'data.sise'[\s\S]*'data.size'"):
        build("data", "test-box", {"sise": 3}, key="data")


def test_same_class_may_register_again_but_not_another(box_plugin: type) -> None:
    register("data", "test-box")(box_plugin)
    with pytest.raises(PluginError, match=r"registered twice: by made_by_the_test.*and by tests?"):

        @register("data", "test-box")
        class Other:
            __module__ = "tests.other"


def test_unknown_names() -> None:
    with pytest.raises(PluginError, match=r"system.data_type is 'nothing-like-it'"):
        find("data", "nothing-like-it", key="system.data_type")
    with pytest.raises(PluginError, match="does not exist") as caught:
        register("gadget", "x")
    assert all(kind in str(caught.value) for kind in KINDS)


def test_options_are_given_by_name_in_a_mapping_or_both(box_plugin: type) -> None:
    assert build("data", "test-box", size=3).cfg == Box(3)
    assert build("data", "test-box", {"size": 2}, size="3").cfg == Box(3)
    with pytest.raises(ConfigError, match="'sise' is not an option"):
        build("data", "test-box", sise=3)
    with pytest.raises(ConfigError, match="there are no options here"):
        build("format", "glb", size=3)


def test_functions_are_built_with_their_options_bound() -> None:
    variances = build("noise-schedule", "linear", beta_start=0.1, beta_end=0.3)(3)
    assert variances.tolist() == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        ("exporter", "class Made: ...", r"is no Exporter.*inherit from studio\.export\.base\.Expo"),
        ("loss", "class Made: ...", "is no function"),
        ("geometry", "class Made(Geometry): ...", r"lacks colour, forward, sdf.*geometry\.base"),
        ("system", "class Made(System):\n def export(self): ...", "lacks prepare"),
        (
            "model",
            "class Made(SceneModel): ...",
            "lacks begin, bound, mesh, progress, render",
        ),
        ("format", "class Made(MeshFormat): ...", "lacks encode, suffix"),
        ("guidance", "def made(): ...\nMade = made", "is no Guidance"),
    ],
)
def test_a_plugin_that_lacks_something_is_refused_by_name(
    kind: str, source: str, said: str
) -> None:
    names: dict[str, Any] = {
        "Geometry": Geometry,
        "MeshFormat": MeshFormat,
        "SceneModel": SceneModel,
        "System": System,
    }
    exec(source, names)
    made = names["Made"]
    made.__module__ = "made_by_the_test"
    register(kind, "unfinished")(made)
    try:
        with pytest.raises(PluginError, match=rf"(?s)the {kind} 'unfinished' \(made_by.*{said}"):
            find(kind, "unfinished")
    finally:
        forget("made_by_the_test")


def test_a_system_refuses_data_that_it_does_not_read() -> None:
    with pytest.raises(ConfigError, match="(?s)cannot read data_type 'text'.*capture.*transforms"):
        system, data = find("system", "reconstruction"), find("data", "text")
        check_data("reconstruction", system, "text", data)


def test_plugin_without_config() -> None:
    class Bare(Data):
        pass

    Bare.__module__ = "made_by_the_test"
    register("data", "test-bare")(Bare)
    try:
        with pytest.raises(PluginError, match="no inner dataclass Config"):
            build("data", "test-bare")
    finally:
        forget("made_by_the_test")


def test_a_plugin_starts_from_its_defaults() -> None:
    for kind, name in (("model", "sdf"), ("geometry", "hash-sdf"), ("renderer", "neus-occupancy"),
                       ("exporter", "mesh"), ("guidance", "viewfusion-composable")):  # fmt: skip
        cls = find(kind, name)
        assert cls().cfg == cls.Config()


def test_source_is_read_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 now and then fails where two make a tree at once."""
    at_work, most, parse = [0], [0], ast.parse

    def slowly(source: str) -> ast.Module:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        time.sleep(0.002)
        at_work[0] -= 1
        return parse(source)

    monkeypatch.setattr(ast, "parse", slowly)
    with ThreadPoolExecutor(4) as crowd:
        for _ in range(20):
            crowd.submit(read_plugins, "x = 1", "here", "module")
            crowd.submit(missing_imports, "import os")
    assert most == [1]
