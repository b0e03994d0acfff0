"""The options of a built-in plugin, read from its source: no plugin is imported.

A plugin's `Config` is a dataclass inside its class, inherited from another one, or the name of one
in another module. What is found here equals what importing the plugin would show; where a class
comes from outside this package, nothing is said.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.io.yaml_text import Word
from studio.plugins import discovery as plugins
from studio.plugins.beside import plugin_kind
from studio.plugins.places import PACKAGE_ROOT
from studio.plugins.sources import PluginInfo, parsed

Found = tuple[str, ast.ClassDef | ast.FunctionDef]
"""A class or function and the module that defines it."""


LIGHT = ("typing", "pathlib", "studio.plugins.ranges")
"""Modules that are imported for the types of options."""


@dataclasses.dataclass(frozen=True)
class Option:
    """An option in the source of the dataclass that has it."""

    module: str
    annotation: ast.expr
    default: ast.expr | None
    help: str = ""
    """What is said of it, below it."""

    @property
    def kind(self) -> Any:
        """Its type, None where that cannot be told without importing something."""
        try:
            return _evaluated(self.module, self.annotation)
        except Exception:  # whatever a name that is not known here leads to
            return None

    @property
    def group(self) -> dict[str, Option] | None:
        """The options of the dataclass that is its type; None where it is no such class."""
        found = isinstance(self.annotation, ast.Name) and _named(self.module, self.annotation)
        return _fields(*found) if found else None


def options_of(plugin: PluginInfo) -> dict[str, Option] | None:
    """Return a plugin's options in order; None where they cannot be told without importing."""
    if plugin.origin in plugins.catalogue().units:
        return None
    owner = _find(plugin.module, plugin.class_name)
    config = owner and _config_of(*owner)
    return _fields(*config) if config else None


def named_beside(plugin: PluginInfo) -> list[str]:
    """Return the options that name a plugin whose options stand beside them."""
    options = options_of(plugin) or {}
    return [n for n, option in options.items() if ast.unparse(option.annotation) == "PluginBeside"]


def all_options(plugin: PluginInfo, given: Mapping[str, Any]) -> dict[str, Option] | None:
    """Return all options that may stand in a plugin's group, those of plugins beside included.

    Args:
        plugin: whose group it is.
        given: what the group holds, with the names of the plugins beside.

    Returns:
        The options by name; None where they cannot be told without importing.
    """
    options = options_of(plugin)
    for option in named_beside(plugin):
        assert options is not None
        named = given.get(option) or literal(options[option].default)
        name = named.text if isinstance(named, Word) else str(named)
        other = plugins.catalogue().lookup(plugin_kind(option) or "", name)
        further = None if other is None else options_of(other)
        if further is None:
            return None
        slot = option.removesuffix("_type")
        options = {n: o for n, o in options.items() if n != slot} | further
    return options


def class_value(plugin: PluginInfo, name: str) -> object:
    """Return a plain value that a plugin's class, or one that it inherits from, has by a name."""
    owners = [_find(plugin.module, plugin.class_name)]
    while owners:
        owner = owners.pop(0)
        if owner is None:
            continue
        if not isinstance(owner[1], ast.ClassDef):
            continue
        for node in owner[1].body:
            if _target(node) == name:
                return literal(getattr(node, "value", None))
        owners += [_named(owner[0], base) for base in owner[1].bases]
    return None


class _Names(dict[str, Any]):
    """What the names of a module stand for, as far as they are known without importing it."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:
        tree = _parsed(self.module)
        for node in tree.body if tree else ():
            if isinstance(node, ast.Assign | ast.AnnAssign) and _target(node) == name:
                return _evaluated(self.module, node.value) if node.value else None
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _imported(node.module, alias.name)
        raise KeyError(name)


def _target(node: ast.stmt) -> str:
    """The name that a statement gives a value to, "" for others."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _imported(module: str, name: str) -> Any:
    light = module in LIGHT
    return getattr(importlib.import_module(module), name) if light else _Names(module)[name]


def _evaluated(module: str, expression: ast.expr) -> Any:
    """The value of an expression that stands in a module of this package."""
    return eval(ast.unparse(expression), vars(builtins).copy(), _Names(module))


def literal(default: ast.expr | None) -> object:
    """Return a default that is written as a plain value, None for others."""
    try:
        return None if default is None else ast.literal_eval(default)
    except ValueError:
        return None


@functools.cache
def _parsed(module: str) -> ast.Module | None:
    if module.split(".")[0] != PACKAGE_ROOT.name:
        return None
    base = PACKAGE_ROOT.parent.joinpath(*module.split("."))
    for path in (Path(f"{base}.py"), base / "__init__.py"):
        if path.is_file():
            return parsed(path.read_text(encoding="utf-8"))
    return None


def _find(module: str, name: str) -> Found | None:
    """A class by the name that a module knows it under."""
    tree = _parsed(module)
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(node.module, alias.name)
    return None


def _named(module: str, expression: ast.expr) -> Found | None:
    """The class that `Name` or `Name.Config` stands for."""
    if isinstance(expression, ast.Name):
        return _find(module, expression.id)
    if isinstance(expression, ast.Attribute) and expression.attr == "Config":
        owner = _named(module, expression.value)
        return owner and _config_of(*owner)
    return None


def _config_of(module: str, owner: ast.ClassDef | ast.FunctionDef) -> Found | None:
    if isinstance(owner, ast.FunctionDef):
        last = owner.args.args[-1].annotation if owner.args.args else None
        return None if last is None else _named(module, last)
    for node in owner.body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            return module, node
        value = getattr(node, "value", None)
        if _target(node) == "Config" and value is not None:
            return _named(module, value)
    for base in owner.bases:
        if (inherited := _named(module, base)) and (found := _config_of(*inherited)):
            return found
    return None


def _fields(module: str, config: ast.ClassDef | ast.FunctionDef) -> dict[str, Option] | None:
    fields: dict[str, Option] = {}
    if isinstance(config, ast.FunctionDef):
        return None
    for base in reversed(config.bases):
        inherited = _named(module, base)
        further = inherited and _fields(*inherited)
        if further is None:
            return None
        fields |= further
    for node, below in zip(config.body, [*config.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if "ClassVar" not in ast.unparse(node.annotation):
                text = str(literal(below.value) or "") if isinstance(below, ast.Expr) else ""
                help = " ".join(text.split())
                fields[node.target.id] = Option(module, node.annotation, node.value, help)
    return fields
