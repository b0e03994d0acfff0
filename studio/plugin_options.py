"""The options of a built-in plugin, read from its source: nothing is imported.

A plugin's `Config` is a dataclass inside its class, inherited from another one, or the name of one
in another module. What is found here equals what importing the plugin would show; where a class
comes from outside this package, nothing is said.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

from studio import plugins
from studio.beside import plugin_kind
from studio.plugin_sources import PluginInfo

Found = tuple[str, ast.ClassDef | ast.FunctionDef]
"""A class or function and the module that defines it."""


def option_defaults(plugin: PluginInfo) -> dict[str, ast.expr | None] | None:
    """Return a plugin's options with the source of their defaults, in order.

    None where they cannot be told without importing something.
    """
    fields = _option_fields(plugin)
    return None if fields is None else {name: node.value for name, node in fields.items()}


def named_beside(plugin: PluginInfo) -> list[str]:
    """Return the options that name a plugin whose options stand beside them."""
    fields = _option_fields(plugin) or {}
    return [n for n, node in fields.items() if ast.unparse(node.annotation) == "PluginBeside"]


def without_replaced(group: dict[str, Any], owner: PluginInfo, option: str, new: str) -> None:
    """Take the options of one plugin out of a group in which another is about to be named.

    Only for options that stand beside the name (`studio.ranges.Beside`); those that the new plugin
    has, too, stay. What cannot be told from the sources stays as well.

    Args:
        group: options of `owner` as they were given; changed.
        owner: the plugin whose group it is.
        option: the one that names the other plugin.
        new: its next value.
    """
    sources = option_defaults(owner) or {}
    kind = plugin_kind(option)
    if kind is None or option not in named_beside(owner):
        return
    old = str(group.get(option) or literal(sources.get(option)))
    found = [plugins.catalogue().lookup(kind, name) for name in (old, new)]
    names = [None if plugin is None else option_defaults(plugin) for plugin in found]
    if names[0] is None or names[1] is None:
        return
    for name in [n for n in group if n in names[0] and n not in names[1] and n not in sources]:
        del group[name]


def _option_fields(plugin: PluginInfo) -> dict[str, ast.AnnAssign] | None:
    if plugin.origin in plugins.catalogue().units:
        return None
    owner = _find(plugin.module, plugin.class_name)
    config = owner and _config_of(*owner)
    return _fields(*config) if config else None


def literal(default: ast.expr | None) -> object:
    """Return a default that is written as a plain value, None for others."""
    try:
        return None if default is None else ast.literal_eval(default)
    except ValueError:
        return None


@functools.cache
def _parsed(module: str) -> ast.Module | None:
    if module.split(".")[0] != plugins.PACKAGE_ROOT.name:
        return None
    base = plugins.PACKAGE_ROOT.parent.joinpath(*module.split("."))
    for path in (Path(f"{base}.py"), base / "__init__.py"):
        if path.is_file():
            return ast.parse(path.read_text(encoding="utf-8"))
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
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == "Config" and value is not None:
            return _named(module, value)
    for base in owner.bases:
        if (inherited := _named(module, base)) and (found := _config_of(*inherited)):
            return found
    return None


def _fields(module: str, config: ast.ClassDef | ast.FunctionDef) -> dict[str, ast.AnnAssign] | None:
    fields: dict[str, ast.AnnAssign] = {}
    if isinstance(config, ast.FunctionDef):
        return None
    for base in config.bases:
        inherited = _named(module, base)
        further = inherited and _fields(*inherited)
        if further is None:
            return None
        fields |= further
    for node in config.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if "ClassVar" not in ast.unparse(node.annotation):
                fields[node.target.id] = node
    return fields
