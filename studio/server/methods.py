"""What the service can do: the program's configs, each with what it takes and what it lets one set.

Read from the YAML files and, for options, from the source of the plugins that they name; nothing is
imported for it. What is not listed here cannot be set from outside, such as paths and weights.
"""

from __future__ import annotations

import enum
import functools
import importlib.util
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from studio.config import read_experiment
from studio.errors import ConfigError, WeightsError
from studio.guidance.hub import resolve
from studio.guidance.licences import licence_of
from studio.io import shipped
from studio.io.yaml_text import Plain
from studio.plugins import discovery as plugins
from studio.plugins.beside import plugin_kind
from studio.plugins.defaults import Option, class_value, literal, options_of
from studio.plugins.options import convert
from studio.plugins.ranges import OneOf, Range, Registered

TAKES = {"single-image": "image", "images": "images", "text": "text", "posed-images": "capture"}
"""By the name of the data plugin; the others read a capture."""
WEIGHTS = ("weights", "base", "vae_weights", "unet_start", "encoder_start", "text_start")

PICTURE = ("background", "tolerance", "holes", "ratio", "fit", "elevation_deg")
CAPTURE = ("background", "tolerance", "holes", "masks", "invert_masks", "centre", "up", "bound")
SHOWN = {
    "data": {
        "image": PICTURE,
        "images": PICTURE,
        "text": (),
        "capture": (*CAPTURE, "holdout", "count"),
    },
    "system": ("reconstruction_type", "flat_base"),
    "system.guidance": ("steps", "guidance_scale", "cfg_scale", "sampler"),
    "system.exporter": (
        *("resolution", "faces", "smooth", "height", "unwrap", "texture_size"),
        *("turntable", "preview", "inspect"),
    ),
}
"""Options that may be set, by the group that they stand in."""
MOST = {
    "system.guidance.steps": 1000,
    "system.exporter.resolution": 512,
    "system.exporter.faces": 500_000,
    "system.exporter.smooth": 100,
    "system.exporter.texture_size": 4096,
}
"""The service's own upper limits, where the options' are higher."""
MOST_STEPS = 100_000
"""Of a fit."""


@dataclass(frozen=True)
class Setting:
    """An option that may be set."""

    key: str
    default: Any
    kind: Any
    help: str

    def value(self, given: Any) -> Any:
        """Return a given value as the option wants it.

        Raises:
            ConfigError: if it is of another type, or out of range.
        """
        if given is None:
            given = Plain("null")
        elif isinstance(given, bool):
            given = Plain(str(given).lower())
        elif not isinstance(given, int | float | str):
            raise ConfigError(f"{self.key} is a {type(given).__name__}.", allowed=self._words)
        if isinstance(given, str) and len(given) > 100:
            raise ConfigError(f"{self.key} is a text of {len(given)} characters.")
        made = convert(given, self.kind, self.key)
        if self._choices and made not in self._choices:
            raise ConfigError(f"{self.key} is {made!r}.", allowed=", ".join(self._choices))
        most = MOST.get(self.key)
        if most is not None and isinstance(made, int | float) and made > most:
            raise ConfigError(f"{self.key} is {made}.", allowed=f"at most {most} on this server")
        return made

    @property
    def _words(self) -> str:
        return "a number, a word, true, false or null"

    @property
    def _choices(self) -> list[str]:
        """The words that a closed set has here, empty for numbers."""
        if kind := plugin_kind(self.key.rpartition(".")[2]):
            return plugins.available(kind)
        found = list(_form(self.kind, None).get("choices", ()))
        without = importlib.util.find_spec("rembg") is None
        return [word for word in found if not (word == "rembg" and without)]

    @property
    def shown(self) -> dict[str, Any]:
        """What a page has to know of it."""
        return {
            "key": self.key,
            "default": self.default,
            "help": self.help,
            **_form(self.kind, MOST.get(self.key)),
            **({"kind": "choice", "choices": self._choices} if self._choices else {}),
        }


@dataclass(frozen=True)
class Method:
    """A config that can be asked for."""

    name: str
    title: str
    summary: str
    takes: str
    method: str
    scale: str
    licence: str
    weights: Mapping[str, Any]
    settings: tuple[Setting, ...]
    steps: int

    @property
    def shown(self) -> dict[str, Any]:
        """What `GET /api/methods` tells of it."""
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "takes": self.takes,
            "method": self.method,
            "scale": self.scale,
            "licence": self.licence,
            "weights": dict(self.weights),
            "options": [setting.shown for setting in self.settings],
            "steps": self.steps,
        }

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return given options, each checked.

        Raises:
            ConfigError: if one is not there for this method, or its value cannot be used.
        """
        known = {setting.key: setting for setting in self.settings}
        for key in given:
            if key not in known:
                raise ConfigError(
                    f"'{str(key)[:80]}' cannot be set for {self.name} on this server.",
                    allowed=", ".join(known) or "none",
                )
        return {key: known[key].value(value) for key, value in given.items()}


@functools.lru_cache(maxsize=1)
def methods() -> dict[str, Method]:
    """Return every config that makes an object of what a visitor may bring, by its name."""
    found = {}
    for name in shipped.config_names():
        if name.startswith("train/"):
            continue
        content = read_experiment(shipped.config_file(name))
        if content.get("system_type") in ("image-to-3d", "reconstruction"):
            found[name] = _method(name, content)
    order = sorted(found.values(), key=lambda m: (m.scale != "nano", not m.weights["there"]))
    return {method.name: method for method in order}


def _method(name: str, content: Mapping[str, Any]) -> Method:
    takes = TAKES.get(str(content["data_type"]), "capture")
    system = content.get("system", {})
    kind = "guidance" if content["system_type"] == "image-to-3d" else "geometry"
    method = str(system.get(f"{kind}_type", ""))
    scale = "official" if name.startswith("official/") else "nano" if kind == "guidance" else ""
    there, licence = _weights(kind, method, system.get(kind, {}))
    summary = _summary(shipped.config_file(name))
    steps = int(str(content.get("trainer", {}).get("max_steps", 1000)))
    plugin = plugins.catalogue().lookup(kind, method)
    title = (plugin.summary if plugin else method).split(":")[0]
    return Method(
        name=name,
        title=title if kind == "guidance" else name,
        summary=summary,
        takes=takes,
        method=method,
        scale=scale,
        licence=licence,
        weights=there,
        settings=tuple(_settings(content, takes)),
        steps=steps,
    )


def _summary(path: Path) -> str:
    """The first words of a config's comment."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or text.startswith(("python ", "weights:")):
            break
        lines.append(text)
    return " ".join(lines)


def _weights(kind: str, method: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Whether what a config names is there, and its licence."""
    named = [str(options[option]) for option in WEIGHTS if options.get(option)]
    missing, place = [], None
    for text in named:
        try:
            place = place or resolve(text)
            resolve(text)
        except WeightsError:
            missing.append(text)
    plugin = plugins.catalogue().lookup(kind, method)
    released = str((plugin and class_value(plugin, "released_licence")) or "")
    licence = licence_of(str(place), released) if place else released or "not stated"
    if not named:
        return {"there": True, "note": "needs none"}, "none needed"
    if missing:
        note = f"{', '.join(missing)}: not on this machine; its owner can fetch it"
        return {"there": False, "note": note}, licence
    return {"there": True, "note": ""}, licence


# --- options ------------------------------------------------------------------------------------


def _settings(content: Mapping[str, Any], takes: str) -> Iterator[Setting]:
    system = content.get("system", {})
    groups = {
        "data": ("data", content["data_type"], content.get("data", {})),
        "system": ("system", content["system_type"], system),
        "system.guidance": ("guidance", system.get("guidance_type"), system.get("guidance", {})),
        "system.exporter": (
            "exporter",
            system.get("exporter_type", "mesh"),
            system.get("exporter", {}),
        ),
    }
    for group, (kind, name, given) in groups.items():
        shown: Any = SHOWN[group]
        names = shown[takes] if isinstance(shown, Mapping) else shown
        plugin = plugins.catalogue().lookup(kind, str(name)) if name else None
        options = (options_of(plugin) if plugin else None) or {}
        for option in names:
            if option in options:
                yield _setting(f"{group}.{option}", options[option], given.get(option, ...))


def _setting(key: str, option: Option, given: Any) -> Setting:
    default = literal(option.default) if given is ... else given
    kind = option.kind
    if given is not ...:
        default = convert(given, kind, key)
    return Setting(key, default, kind, option.help)


def _form(kind: Any, most: float | None) -> dict[str, Any]:
    """What a control for values of a type looks like."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        form = _form(inside[0], most)
        for limit in kind.__metadata__:
            if isinstance(limit, Range):
                high = limit.high if most is None else min(most, limit.high)
                form |= {"low": limit.low, "high": high, "above": limit.above}
            if isinstance(limit, OneOf):
                form = {"kind": "choice", "choices": list(limit.words)}
            if isinstance(limit, Registered):
                form = {"kind": "choice", "choices": plugins.available(limit.kind)}
        return form
    if origin is Literal:
        return {"kind": "choice", "choices": list(inside)}
    if type(None) in inside:
        (first, *_) = [part for part in inside if part is not type(None)]
        return {**_form(first, most), "nullable": True}
    if inside:  # the first of several types
        return _form(inside[0], most)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"kind": "choice", "choices": [member.value for member in kind]}
    return {"kind": {bool: "boolean", int: "integer", float: "number"}.get(kind, "text")}


def method_named(name: str) -> Method:
    """Return a method.

    Raises:
        ConfigError: if there is none of that name, or its weights are not there.
    """
    known = methods()
    if name not in known:
        there = [method.name for method in known.values() if method.weights["there"]]
        raise ConfigError(f"there is no method '{name[:80]}'.", allowed=", ".join(there))
    method = known[name]
    if not method.weights["there"]:
        raise ConfigError(f"{name} cannot be used here: {method.weights['note']}.")
    return method
