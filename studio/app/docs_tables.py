"""The options of every plugin: on the terminal (`studio list NAME`) and as docs/options.md.

`python -m studio.app.docs_tables docs/options.md` writes the page.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import shutil
import sys
import textwrap
import types
import typing
from pathlib import Path
from typing import Any

from studio.config import ExperimentConfig, TrainerConfig
from studio.errors import PluginError
from studio.io.files import write_text
from studio.plugins import discovery as plugins
from studio.plugins.beside import beside_slots, plugin_kind
from studio.plugins.discovery import find
from studio.plugins.ranges import Limit, is_fixed
from studio.plugins.registry import KINDS, OPTIONLESS, config_class

HEADER = """\
# All options

Written by `make docs` from the dataclasses in the code; do not edit by hand.
"""

NOTES = {
    "loss": "Losses: in `system.loss`, `colour` is the weight of the loss of that name and "
    "`colour_norm` its option `norm`; `colour: {weight: 1.0, norm: l1}` says the same. Weights are "
    "numbers or [start step, first, last, end step]; 0 costs nothing. Beside the losses, "
    "`random_points` (512) says how many random points those take that need some, and "
    "`random_every` (1) in how many steps they have one turn."
}


def option_docs(cls: type) -> dict[str, str]:
    """The one-line text below each option of a dataclass, its bases included."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(tree, ast.ClassDef)  # a dataclass' source is a class
        for option, text in zip(tree.body, tree.body[1:], strict=False):
            if not isinstance(option, ast.AnnAssign) or not isinstance(option.target, ast.Name):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                texts[option.target.id] = " ".join(str(text.value.value).split())
    return texts


def table(cls: type) -> str:
    """A Markdown table of a dataclass' options: name, type, what is allowed, default, text."""
    texts = option_docs(cls)
    rows = ["| option | type | allowed | default | |", "| --- | --- | --- | --- | --- |"]
    kinds = typing.get_type_hints(cls, include_extras=True)
    for option in dataclasses.fields(cls):
        if option.name in beside_slots(cls):
            continue
        kind, text = kinds[option.name], texts.get(option.name, "")
        text += " *Fixed by the weights.*" if is_fixed(kind) else ""
        if option.name in [f"{slot}_type" for slot in beside_slots(cls)]:
            text += f" Its options stand beside this one: see {plugin_kind(option.name)} below."
        cells = [
            f"`{option.name.rstrip('_')}`",
            f"`{type_name(kind)}`",
            allowed(kind),
            _default(option),
            text,
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def print_options(name: str) -> None:
    """Print what the plugins of a name are, and their options.

    Raises:
        PluginError: if there is none.
    """
    rows = [row for row in plugins.listing() if row.name == name]
    if not rows:
        names = sorted({row.name for row in plugins.listing()})
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        raise PluginError(
            f"no plugin is called '{name}'.",
            allowed=None if near else ", ".join(names),
            hint=f"did you mean '{near[0]}'? `studio list` shows them all" if near else None,
        )
    for row in rows:
        print(f"{row.kind} '{row.name}': {row.summary or '(no description)'}  [{row.origin}]")
        config = config_class(find(row.kind, row.name))
        for cls in (config, *nested(config)):
            if cls is not config:
                print(f"\n{cls.__name__}: {(cls.__doc__ or '').splitlines()[0]}")
            _print_fields(cls)
        print()


def _print_fields(cls: type) -> None:
    texts, kinds = option_docs(cls), typing.get_type_hints(cls, include_extras=True)
    width = max(shutil.get_terminal_size((100, 20)).columns, 60)
    for option in dataclasses.fields(cls):
        kind = kinds[option.name]
        said = [type_name(kind), allowed(kind), "fixed by the weights" if is_fixed(kind) else ""]
        print(f"  {option.name} = {_default(option).strip('`') or 'none'}", end="")
        print(f"    ({'; '.join(part for part in said if part)})")
        text = texts.get(option.name, "")
        print(textwrap.indent(textwrap.fill(text, width - 6), "      ") if text else "")


def type_name(kind: Any) -> str:
    """An annotation without what it says of the values: list[float], str | None."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return type_name(inside[0])
    if origin is typing.Literal:
        return type(inside[0]).__name__
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_name(part) for part in inside)
    if origin is not None:
        return f"{origin.__name__}[{', '.join(type_name(part) for part in inside)}]"
    return "None" if kind is type(None) else getattr(kind, "__name__", str(kind))


def allowed(kind: Any) -> str:
    """The choices or ranges in an annotation."""
    inside = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(str(word) or "(empty)" for word in inside)
    found = [allowed(part) for part in inside if not isinstance(part, str)]
    found += [str(m) for m in getattr(kind, "__metadata__", ()) if isinstance(m, Limit)]
    return "; ".join(part for part in found if part)


def _default(option: dataclasses.Field[Any]) -> str:
    value = option.default
    if option.default_factory is not dataclasses.MISSING:
        value = option.default_factory()
    if value is dataclasses.MISSING:
        return "(required)"
    if dataclasses.is_dataclass(value):
        return "see below"
    return "" if value == "" else f"`{value!r}`"


def nested(cls: type) -> list[type]:
    """Dataclasses that are options of a dataclass, each once."""
    factories: list[Any] = [option.default_factory for option in dataclasses.fields(cls)]
    return [f for f in factories if isinstance(f, type) and dataclasses.is_dataclass(f)]


def document() -> str:
    """The whole page: the experiment, the trainer, then every built-in plugin by kind."""
    parts = [HEADER, "## Experiment\n", table(ExperimentConfig)]
    parts += ["\n## `trainer`\n", table(TrainerConfig)]
    for kind in KINDS:
        chosen = [p for p in plugins.listing() if p.kind == kind and p.module.startswith("studio.")]
        if kind in NOTES:
            parts.append(f"\n{NOTES[kind]}")
        for plugin in chosen:
            parts += [f"\n## {kind}: `{plugin.name}`\n", f"{plugin.summary}\n"]
            if kind in OPTIONLESS:
                parts.append("No options.")
                continue
            config = config_class(find(kind, plugin.name))
            parts.append(table(config) if dataclasses.fields(config) else "No options.")
            for inner in nested(config):
                summary = (inner.__doc__ or "").split("\n", 1)[0]
                parts += [f"\n{inner.__name__}: {summary}\n", table(inner)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/options.md"), document())
