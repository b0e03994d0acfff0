"""Discovery of plugins: what exists is read from source, code is imported only when it is used.

Three places are searched: the ``studio`` package itself, the ``custom/`` folder and the pip entry
points of the group ``studio.plugins``. A plugin is a class under a literal decorator,
``@register("kind", "name")``; listing needs no import because the source is read with ``ast``.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass, field, replace
from typing import Any

from studio.errors import PluginError, Terminated
from studio.plugins import registry
from studio.plugins.importing import import_unit, reason_of, resting_collector
from studio.plugins.places import (
    CUSTOM_PACKAGE,
    Unit,
    builtin_units,
    custom_units,
    entry_point_units,
)
from studio.plugins.sources import (
    PluginInfo,
    missing_imports,
    read_plugins,
    read_source,
)


@dataclass
class Catalogue:
    """Every plugin found, and every unit that failed, by origin."""

    plugins: list[PluginInfo] = field(default_factory=list)
    units: dict[str, Unit] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    tracebacks: dict[str, str] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)
    """Origins that may register more than their source shows."""

    def lookup(self, kind: str, name: str) -> PluginInfo | None:
        """The plugin of that kind and name, or None.

        Raises:
            PluginError: if two places register the same name.
        """
        matches = [p for p in self.plugins if (p.kind, p.name) == (kind, name)]
        if len(matches) > 1:
            raise registry.duplicate_error(kind, name, matches[0].origin, matches[1].origin)
        return matches[0] if matches else None

    def fail(self, origin: str, reason: str, trace: str = "") -> None:
        """Remember why a unit cannot be used."""
        self.failures[origin] = reason
        self.tracebacks[origin] = trace

    def failure_lines(self) -> list[str]:
        """One line for each plugin that did not load, for "unknown type" errors and --list."""
        return [f"{origin} failed to load: {why}" for origin, why in self.failures.items()]


# --- what there is ------------------------------------------------------------------------------


def _read_unit(catalogue: Catalogue, unit: Unit, *, trusted: bool) -> None:
    """Add a unit's plugins; what its source shows to be broken is recorded, not raised."""
    if not trusted:
        catalogue.units[unit.origin] = unit
        if unit.path is None:
            catalogue.unclear.add(unit.origin)
    for path in unit.files():
        try:
            source = read_source(path)
            if trusted and "register(" not in source:
                continue
            plugins = read_plugins(source, unit.origin, unit.module)
            missing = [] if trusted else missing_imports(source)
        except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
            catalogue.fail(unit.origin, reason_of(error, path.name))
            continue
        if not trusted and source.count("register(") > len(plugins):
            catalogue.unclear.add(unit.origin)
        if missing:
            catalogue.fail(unit.origin, f"No module named '{missing[0]}' ({path.name})")
        for odd in (p.kind for p in plugins if p.kind not in registry.KINDS):
            catalogue.fail(unit.origin, f"plugin kind {odd!r} does not exist ({path.name})")
        catalogue.plugins += plugins


@functools.cache
def catalogue() -> Catalogue:
    """Every plugin that source text shows, read once a process; nothing is imported."""
    found = Catalogue()
    for unit in builtin_units():
        _read_unit(found, unit, trusted=True)
    clashes: dict[str, str] = {}
    for unit in [*custom_units(), *entry_point_units()]:
        if unit.module in clashes:
            other = clashes[unit.module]
            found.fail(str(unit.path), f"its module name {unit.module} is taken by {other}")
            continue
        clashes[unit.module] = unit.origin
        _read_unit(found, unit, trusted=False)
    return found


def listing() -> list[PluginInfo]:
    """Every plugin, sorted, each with the reason when it is known not to work."""
    found = catalogue()
    rows = []
    for plugin in found.plugins:
        twins = [p for p in found.plugins if (p.kind, p.name) == (plugin.kind, plugin.name)]
        error = found.failures.get(plugin.origin, "")
        if len(twins) > 1:
            error = "the name is taken twice: " + " and ".join(t.origin for t in twins)
        rows.append(replace(plugin, error=error))
    return sorted(rows, key=lambda p: (p.kind, p.name, p.origin))


# --- importing ----------------------------------------------------------------------------------


def load_unit(unit: Unit) -> None:
    """Import a custom or pip unit; a failure is remembered under its origin, not raised."""
    found = catalogue()
    try:
        import_unit(unit)
        found.failures.pop(unit.origin, None)
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # sys.exit, too: a plugin does not end the program
        registry.forget(unit.module)  # half a plugin is none
        found.fail(unit.origin, reason_of(error), traceback.format_exc())


def load_all() -> None:
    """Import every custom and pip plugin, so that every failure is known by its reason."""
    for unit in list(catalogue().units.values()):
        load_unit(unit)


def load(plugin: PluginInfo) -> None:
    """Import the module that registers the plugin.

    Raises:
        PluginError: if a custom or pip plugin does not import; the reason is in the message.
    """
    found = catalogue()
    unit = found.units.get(plugin.origin)
    if unit is None:
        with resting_collector():
            importlib.import_module(plugin.module)
        return
    load_unit(unit)
    if reason := found.failures.get(plugin.origin):
        trace = found.tracebacks.get(plugin.origin, "")
        raise PluginError(
            f"the {plugin.kind} '{plugin.name}' comes from {plugin.origin}, "
            f"which failed to load: {reason}",
            hint="install what is missing or correct the plugin (--verbose shows the traceback)",
        ) from (RuntimeError(trace) if trace else None)


def reset() -> None:
    """Forget what was found, so that the next look reads the folders again (for tests)."""
    catalogue.cache_clear()
    registry.forget(CUSTOM_PACKAGE)
    for name in [n for n in sys.modules if n.startswith(f"{CUSTOM_PACKAGE}.")]:
        del sys.modules[name]


# --- looking up -----------------------------------------------------------------------------------


def find(kind: str, name: str, *, key: str | None = None) -> Any:
    """Return the plugin class (or function) `name` of `kind`, importing its module if needed.

    Args:
        kind: one of `KINDS`.
        name: the name given in YAML.
        key: the config key that asked for it, named in the error.

    Raises:
        PluginError: if there is none; names the near misses and the plugins that failed to import.
            If it lacks what its kind has to have.
    """
    found = catalogue().lookup(kind, name)
    if (kind, name) not in registry.classes and found is not None:
        load(found)
    if (kind, name) not in registry.classes:
        load_all()  # a name that is not literal in the source shows up on import only
    if (kind, name) not in registry.classes:
        raise unknown(kind, name, key=key)
    cls = registry.classes[kind, name]
    registry.check_contract(kind, name, cls)
    return cls


def heirs(kind: str, base: type) -> list[str]:
    """Names of the plugins of a kind whose classes inherit from `base`; all of them are imported.

    Those that do not load are left out.
    """
    found = []
    for name in available(kind):
        with contextlib.suppress(PluginError, ImportError):
            if issubclass(find(kind, name), base):
                found.append(name)
    return found


def name_of(kind: str, cls: type) -> str:
    """The name under which a plugin class is registered.

    Raises:
        PluginError: if it is not.
    """
    for (known, name), other in registry.classes.items():
        if known == kind and other is cls:
            return name
    raise PluginError(
        f"{registry.origin(cls)} is not a registered {kind} plugin.",
        hint=f'put @register("{kind}", "<name>") above it',
    )


def unknown(kind: str, name: str, *, key: str | None = None) -> PluginError:
    """The error for a plugin that does not exist: near misses, and plugins that do not load."""
    if kind not in registry.KINDS:
        near = difflib.get_close_matches(kind, registry.KINDS, n=1)
        return PluginError(
            f"plugin kind '{kind}' does not exist.",
            allowed=", ".join(registry.KINDS),
            hint=f"did you mean '{near[0]}'?" if near else None,
        )
    names = available(kind)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hints = [f"did you mean '{near[0]}'?"] if near else []
    hints += [f"({line})" for line in catalogue().failure_lines()]
    where = f"{key} is '{name}'" if key else f"'{name}'"
    return PluginError(
        f"{where}, which is not a registered {kind} plugin.",
        allowed=", ".join(names) or "none is registered",
        hint="\n  ".join(hints) or None,
    )


def available(kind: str) -> list[str]:
    """Return the names of all plugins of a kind, sorted, without importing any of them."""
    found = {entry.name for entry in catalogue().plugins if entry.kind == kind}
    return sorted(found | {name for k, name in registry.classes if k == kind})
