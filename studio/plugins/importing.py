"""Importing the code of plugins, so that nothing they do at their top ends or harms the program."""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from studio.errors import PluginError
from studio.plugins.places import CUSTOM_PACKAGE, Unit
from studio.plugins.sources import read_source


def import_unit(unit: Unit) -> None:
    """Import a custom or pip unit; raises whatever its code raises.

    Raises:
        PluginError: if its source cannot be read.
    """
    with _staying_alive(), resting_collector():
        _check_readable(unit)
        if unit.module.startswith(f"{CUSTOM_PACKAGE}.") and unit.path is not None:
            _import_custom(unit, unit.path)
        else:
            importlib.import_module(unit.module)


@contextlib.contextmanager
def resting_collector() -> Iterator[None]:
    """Import large packages within: the garbage collector would look through them in vain.

    Modules, classes and functions stay. Looking for garbage among them, again and again while there
    are more and more of them, takes a fifth of the time of their import.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                gc.freeze()  # with the next line: what is there now counts as old, unlooked at
                gc.unfreeze()
            gc.enable()


def reason_of(error: BaseException, file: str = "") -> str:
    """Why a plugin does not load, in one line."""
    if isinstance(error, SyntaxError):
        return f"{file or Path(error.filename or '?').name}, line {error.lineno}: {error.msg}"
    if isinstance(error, RecursionError | MemoryError):
        return f"{file or 'its source'} is nested too deeply for Python"
    if isinstance(error, SystemExit):
        return f"it ends the program when it is imported (exit code {error.code})"
    if isinstance(error, OSError) and error.strerror:
        return f"{file or error.filename} cannot be read: {error.strerror}"
    text = str(error).split("\n", 1)[0] or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return f"{file or 'its source'} is not UTF-8 (byte {error.start + 1}: {error.reason})"
    if type(error) is ValueError and file:
        return f"{file} cannot be read: {text}"
    plain = isinstance(error, ImportError | PluginError)
    return text if plain else f"{type(error).__name__}: {text}"


def _import_file(module: str, path: Path, search: list[str] | None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(module, path, submodule_search_locations=search)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[module]
        raise
    return loaded


def _import_custom(unit: Unit, path: Path) -> None:
    parent = sys.modules.setdefault(CUSTOM_PACKAGE, ModuleType(CUSTOM_PACKAGE))
    parent.__path__ = []
    if unit.module in sys.modules:
        return
    if path.is_file():
        _import_file(unit.module, path, None)
        return
    init = path / "__init__.py"
    if init.is_file():
        _import_file(unit.module, init, [str(path)])
    else:  # a folder of loose files: each is imported, and they may import each other relatively
        package = ModuleType(unit.module)
        package.__path__ = [str(path)]
        sys.modules[unit.module] = package
    for file in unit.files():
        if file != init and "register(" in read_source(file):
            inner = ".".join(file.relative_to(path).with_suffix("").parts)
            importlib.import_module(f"{unit.module}.{inner}")


def _check_readable(unit: Unit) -> None:
    """Refuse what Python may import although it cannot be listed: its source has to be read."""
    for path in unit.files():
        try:
            read_source(path)
        except (ValueError, OSError) as error:
            raise PluginError(reason_of(error, path.name)) from error


@contextlib.contextmanager
def _staying_alive() -> Iterator[None]:
    """Let `os._exit` raise SystemExit in this process, as `sys.exit` does; open what is closed."""
    ours, leave = os.getpid(), os._exit
    streams = {number: os.dup(number) for number in (1, 2) if _is_open(number)}

    def refuse(status: int) -> NoReturn:
        if os.getpid() != ours:  # a forked child ends as it wants to
            leave(status)
        raise SystemExit(status)

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave
        for number, copy in streams.items():
            if not _is_open(number):
                os.dup2(copy, number)
            os.close(copy)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
