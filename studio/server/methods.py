"""What the service can do: the program's configs, each with what it takes and what it lets one set.

Read from the YAML files; nothing is imported for it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config import read_experiment
from studio.errors import ConfigError, WeightsError
from studio.guidance.hub import locate
from studio.guidance.known_words import KnownWords, known_words
from studio.guidance.licences import licence_of
from studio.io import shipped
from studio.plugins import discovery as plugins
from studio.plugins.defaults import class_value
from studio.server.options import Setting, settings_of

TAKES = {"single-image": "image", "images": "images", "text": "text", "posed-images": "capture"}
"""By the name of the data plugin; the others read a capture."""
WEIGHTS = ("weights", "base", "vae_weights", "unet_start", "encoder_start", "text_start")

MOST_STEPS = 100_000
"""Of a fit."""


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
    words: KnownWords | None = None
    """That its weights know, where they say so; of methods that take a text."""

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


_listing = threading.Lock()


def methods() -> dict[str, Method]:
    """Return every config that makes an object of what a visitor may bring, by its name."""
    with _listing:  # whoever comes while it is read waits for it
        return _methods()


@functools.cache
def _methods() -> dict[str, Method]:
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
    asked = str(content.get("trainer", {}).get("max_steps", 1000))
    steps = 0 if asked == "null" else int(asked)  # null: known when the pictures are
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
        settings=tuple(settings_of(content, takes)),
        steps=steps,
        words=_words(system.get(kind, {})) if takes == "text" and there["there"] else None,
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
            place = place or locate(text)
            locate(text)
        except WeightsError:
            missing.append(text)
    plugin = plugins.catalogue().lookup(kind, method)
    released = str((plugin and class_value(plugin, "released_licence")) or "")
    licence = licence_of(str(place), released) if place else released or "not stated"
    if not named:
        return {
            "there": True,
            "note": "no weights needed: it learns from the pictures alone",
        }, "none needed"
    if missing:
        note = f"{', '.join(missing)}: not on this machine; its owner can fetch it"
        return {"there": False, "note": note}, licence
    return {"there": True, "note": ""}, licence


def _words(options: Mapping[str, Any]) -> KnownWords | None:
    """The words that the weights which a config names know."""
    for option in WEIGHTS:
        if options.get(option):
            folder = locate(str(options[option]))
            if folder.is_dir() and (found := known_words(folder)) is not None:
                return found
    return None


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


def usual_steps(name: str) -> int:
    """Return the steps of the fit that a method takes by itself; 0 where there is none such."""
    method = methods().get(name)
    return method.steps if method else 0
