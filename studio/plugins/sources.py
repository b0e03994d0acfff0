"""Plugins in source text: what a file registers and imports, without running it."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.io.reading import read_text

MOST_SOURCE = 1 << 20
"""Bytes of a plugin's file."""


@dataclass(frozen=True)
class PluginInfo:
    """One registered class or function, as its source text declares it."""

    kind: str
    name: str
    summary: str
    origin: str
    """Where it comes from, for people: ``studio/geometry/neus_mlp.py`` or ``custom/my-method``."""
    module: str
    """Module whose import registers the class."""
    class_name: str
    bases: tuple[str, ...] = ()
    """Names of the classes that it inherits from, without their modules."""
    error: str = ""
    """Why it cannot be used; empty when nothing is known against it."""


def sanitise(name: str) -> str:
    """A valid Python module name for any name: ``my-method 2`` -> ``my_method_2``."""
    clean = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{clean}" if clean[:1].isdigit() else clean


def _register_arguments(decorator: ast.expr) -> tuple[str, str] | None:
    if not isinstance(decorator, ast.Call) or len(decorator.args) != 2:
        return None
    function = decorator.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    values = [a.value for a in decorator.args if isinstance(a, ast.Constant)]
    if called != "register" or len(values) != 2:
        return None
    return str(values[0]), str(values[1])


PARSING = threading.Lock()
"""Held while source becomes a tree: Python 3.11 fails where two threads do that at a time."""


def parsed(source: str) -> ast.Module:
    """The tree of a piece of source, in whatever thread.

    Raises:
        SyntaxError: if the source is not Python.
        RecursionError, MemoryError: if it is nested too deeply.
    """
    with PARSING:
        return ast.parse(source)


def read_plugins(source: str, origin: str, module: str) -> list[PluginInfo]:
    """The plugins that a piece of source declares.

    Raises:
        SyntaxError: if the source is not Python.
        RecursionError, MemoryError: if it is nested too deeply.
    """
    found = []
    for node in ast.walk(parsed(source)):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if names := _register_arguments(decorator):
                summary = (ast.get_docstring(node) or "").strip().split("\n", 1)[0]
                bases = tuple(
                    ast.unparse(base).rpartition(".")[2] for base in getattr(node, "bases", ())
                )
                found.append(PluginInfo(*names, summary, origin, module, node.name, bases))
    return found


def missing_imports(source: str) -> list[str]:
    """Packages that the module imports at its top and that are not installed (nothing is run)."""
    names = []
    for node in parsed(source).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    tops = dict.fromkeys(name.partition(".")[0] for name in names)
    return [t for t in tops if t not in sys.modules and importlib.util.find_spec(t) is None]


def read_source(path: Path) -> str:
    """The text of a source file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is a pipe or device, of more than a megabyte, or not UTF-8.
    """
    return read_text(path, MOST_SOURCE)


def python_files(folder: Path) -> Iterator[Path]:
    """Every Python file below a folder, hidden and cached ones left out."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if not any(p == "__pycache__" or p.startswith(".") for p in parts):
            yield path
