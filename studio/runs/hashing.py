"""Hashes of what a stage depends on: values, arrays, files, and the source of plugins."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.io.file_hash import file_hash
from studio.plugins import discovery as plugins
from studio.plugins.beside import plugin_kind
from studio.plugins.discovery import available, find
from studio.plugins.places import PACKAGE_ROOT, Unit
from studio.plugins.registry import GROUPS
from studio.version import __version__


def hash_of(*parts: Any) -> str:
    """A hash (16 hex digits) of values, config dataclasses, arrays, tensors and files.

    A `Path` stands for the bytes of the file, or of every file below the folder; a path that does
    not exist counts as such. Mappings do not depend on their order.

    Raises:
        TypeError: for a value whose content is not known.
    """
    digest = hashlib.sha256()
    for part in parts:
        _feed(digest, part)
    return digest.hexdigest()[:16]


def _feed(digest: hashlib._Hash, part: Any) -> None:
    label = "list" if isinstance(part, tuple) else type(part).__name__
    digest.update(f"<{label}>".encode())
    if part is None or isinstance(part, str | int | float | bool | bytes):
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    elif isinstance(part, Path):
        _feed_path(digest, part)
    elif isinstance(part, Mapping):
        for key in sorted(part, key=str):
            digest.update(repr(key).encode())
            _feed(digest, part[key])
    elif isinstance(part, list | tuple):
        for item in part:
            _feed(digest, item)
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        _feed(digest, {f.name: getattr(part, f.name) for f in dataclasses.fields(part)})
    elif hasattr(part, "detach"):  # a torch tensor, without importing torch
        _feed(digest, part.detach().cpu().float().numpy())
    elif hasattr(part, "tobytes"):
        digest.update(f"{part.shape}{part.dtype}".encode())
        digest.update(part.tobytes())
    else:
        raise TypeError(f"cannot hash a {type(part).__name__}")
    digest.update(b"</>")


def bits_hash(tensors: Mapping[str, Any]) -> str:
    """A hash (16 hex digits) of named torch tensors, by sums of their bits: a second for gigabytes.

    The same on every machine and device. It tells weights apart, not forgeries.
    """
    import torch

    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    content: dict[str, Any] = {}
    for name, tensor in tensors.items():
        bits = tensor.detach().contiguous().view(whole[tensor.element_size()]).flatten()
        sums = [int(part.sum(dtype=torch.int64)) for part in (bits, bits[::3])]
        content[name] = [str(tensor.dtype), list(tensor.shape), *sums]
    return hash_of(content)


def _feed_path(digest: hashlib._Hash, path: Path) -> None:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file() and not _is_bytecode(p)):
            digest.update(file.relative_to(path).as_posix().encode())
            _feed_path(digest, file)
    elif path.is_file():
        digest.update(file_hash(path))
    else:
        digest.update(f"missing {path}".encode())


def _is_bytecode(path: Path) -> bool:
    return path.parent.name == "__pycache__"


# --- source ---------------------------------------------------------------------------------------


def source_hash(options: Mapping[str, Any], *packages: str, classes: Iterable[type] = ()) -> str:
    """A hash of the code behind a stage: an edited plugin is not the one that made its result.

    Args:
        options: which name the plugins that decide the stage, nested ones included: `x_type`, and
            others such as `formats` by the name alone. The files of plugins outside this package
            count whole.
        packages: subpackages of `studio` that decide it, for example "guidance".
        classes: further classes that decide it, a system's own for one.
    """
    own = [PACKAGE_ROOT / package for package in packages]
    outside = [*_plugin_files(options), *(f for cls in classes for f in _files_outside(cls))]
    return hash_of(__version__, *own, *dict.fromkeys(outside))


def _plugin_files(options: Mapping[str, Any]) -> Iterator[Path]:
    for name, value in options.items():
        kind = plugin_kind(name)
        if kind and isinstance(value, str) and value:
            yield from _files_outside(find(kind, value))
        elif isinstance(value, Mapping):
            if name in GROUPS:
                named = [known for known in available(name) if value.get(known)]
                yield from (file for known in named for file in _files_outside(find(name, known)))
            yield from _plugin_files(value)
        else:
            yield from _files_named(value if isinstance(value, list) else [value])


def _files_named(names: list[Any]) -> Iterator[Path]:
    """Files of plugins outside this package that are called so, of whatever kind."""
    found = plugins.catalogue()
    for plugin in found.plugins:
        if plugin.name in names and plugin.origin in found.units:
            yield from _unit_files(found.units[plugin.origin])


def _files_outside(cls: type) -> Iterator[Path]:
    """Files and folders of a class and its bases that come from custom/ or from pip plugins."""
    for unit in plugins.catalogue().units.values():
        modules = [base.__module__ + "." for base in getattr(cls, "__mro__", (cls,))]
        if any(module.startswith(unit.module + ".") for module in modules):
            yield from _unit_files(unit)


def _unit_files(unit: Unit) -> Iterator[Path]:
    if unit.path:
        yield unit.path.parent if unit.path.name == "__init__.py" else unit.path
