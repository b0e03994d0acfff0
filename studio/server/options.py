"""The options of a method that may be set from outside, what each may be, and its control.

Read from the source of the plugins that a config names; nothing is imported. What is not listed
here cannot be set, such as paths and weights.
"""

from __future__ import annotations

import enum
import functools
import importlib.util
import operator
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from studio.errors import ConfigError
from studio.io.yaml_text import Plain
from studio.plugins import discovery as plugins
from studio.plugins.beside import plugin_kind
from studio.plugins.defaults import Option, literal, options_of
from studio.plugins.parsing import convert
from studio.plugins.ranges import OneOf, Range, Registered

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
        *("resolution", "faces", "quads", "smooth", "keep_components"),
        *("height", "pivot", "front"),
        *("texture_size", "texture_source", "unwrap", "normal_map", "occlusion_map"),
        *("glb_textures", "turntable", "preview", "inspect"),
    ),
}
"""Options that may be set, by the group that they stand in."""
NEED = {"system.exporter.quads": "pyinstantmeshes"}
"""Packages without which an option is not there."""
LABELS = {
    "data.ratio": "Size in the picture",
    "data.fit": "What is sized",
    "data.elevation_deg": "Elevation of the camera",
    "system.reconstruction_type": "Model",
    "system.exporter.resolution": "Grid cells",
    "system.exporter.faces": "Triangles",
    "system.exporter.smooth": "Smoothing",
    "system.exporter.keep_components": "Loose parts that stay",
    "system.exporter.height": "Height in metres",
    "system.exporter.pivot": "At the origin",
    "system.exporter.front": "Front faces",
    "system.exporter.texture_size": "Texture, texels a side",
    "system.exporter.texture_source": "Colours from",
    "system.exporter.unwrap": "Cutting the texture",
    "system.exporter.glb_textures": "Pictures in GLB files",
    "system.exporter.turntable": "Turntable video",
    "system.exporter.preview": "Sheet of pictures",
    "system.exporter.inspect": "The mesh with its cameras, as a file",
}
"""What controls are called, where the option's own name would not do."""
WORDS = {
    "data.background": {
        "auto": "Found by itself",
        "alpha": "Transparency of the file",
        "border": "An even colour at the border",
        "rembg": "Any, by a network (rembg)",
        "none": "None: keep the picture",
    },
    "data.ratio": {"null": "Keep the picture's framing"},
    "data.elevation_deg": {"null": "Not known"},
    "data.fit": {"box": "Its box, centred", "breadth": "Its width"},
    "system.reconstruction_type": {"sdf": "Learned surface", "visual-hull": "Hull of outlines"},
    "system.exporter.pivot": {
        "auto": "Usual",
        "base": "Its base",
        "centre": "Its centre",
        "fitted": "As in the views",
    },
    "system.exporter.front": {"auto": "Usual", "+z": "+Z", "+x": "+X", "-z": "-Z", "-x": "-X"},
    "system.exporter.texture_source": {
        "auto": "Usual",
        "field": "The model",
        "views": "The pictures",
    },
    "system.exporter.glb_textures": {
        "png": "PNG, exact",
        "jpeg": "JPEG, smaller",
        "webp": "WebP, smallest",
    },
}
"""What values are called, where they are not called by themselves."""
HELP = {
    "system.exporter.faces": "Even ones, about as many or less; 0 keeps the small, uneven ones of "
    "the grid.",
    "system.exporter.smooth": "Rounds, before the triangles are made fewer.",
    "system.exporter.front": "The axis that its front, which the first picture shows, looks along "
    "in files of +Y up (GLB, OBJ, USDZ). Usual: +Z, as glTF and Unity have it; of a capture, as it "
    "lies there.",
    "system.exporter.pivot": "Engines turn the object around this point. Usual: the middle of its "
    "base; of a capture, the capture's own origin.",
    "system.exporter.glb_textures": "JPEG is read by all programs, WebP by Blender, three.js, "
    "Babylon and others.",
    "system.exporter.height": "0 keeps the size that views or capture give it; STL and 3MF count "
    "in millimetres.",
    "system.exporter.keep_components": "Share of the largest part's area below which loose parts "
    "go, unless the pictures' outlines need them; 0 keeps all.",
    "system.exporter.texture_source": "Pictures correct the colours that the model has learned. "
    "Usual: they do, where there are any.",
    "data.fit": "The longer side of the object's box, which is put in the middle, or its width, "
    "the picture's own middle staying where it is.",
}
"""What is said of options whose own words speak of what cannot be done here."""
MOST = {
    "system.guidance.steps": 1000,
    "system.exporter.resolution": 512,
    "system.exporter.faces": 500_000,
    "system.exporter.smooth": 100,
    "system.exporter.texture_size": 4096,
}
"""The service's own upper limits, where the options' are higher."""


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
        made = convert(given, _limited(self.kind, MOST.get(self.key)), self.key)
        if self._choices and made not in self._choices:
            raise ConfigError(f"{self.key} is {made!r}.", allowed=", ".join(self._choices))
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
            "label": label_of(self.key),
            "words": WORDS.get(self.key, {}),
            "default": self.default,
            "help": HELP.get(self.key, self.help),
            **_form(self.kind, MOST.get(self.key)),
            **({"kind": "choice", "choices": self._choices} if self._choices else {}),
        }


def label_of(key: str) -> str:
    """What the control of an option is called: "data.invert_masks" is "Invert masks"."""
    words = key.rpartition(".")[2].replace("_", " ")
    return LABELS.get(key, words[:1].upper() + words[1:])


def _limited(kind: Any, most: float | None) -> Any:
    """A type of numbers with the service's upper limit in place of a higher one."""
    if most is None:
        return kind
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return functools.reduce(
            operator.or_, (_limited(part, most) for part in typing.get_args(kind))
        )
    if typing.get_origin(kind) is list:
        return list[_limited(typing.get_args(kind)[0], most)]  # type: ignore[misc]
    if typing.get_origin(kind) is not Annotated:
        return kind
    inside, *limits = typing.get_args(kind)
    inside = _limited(inside, most)
    ours = [
        replace(limit, high=min(most, limit.high)) if isinstance(limit, Range) else limit
        for limit in limits
    ]
    return Annotated[(inside, *ours)]  # type: ignore[return-value]


def settings_of(content: Mapping[str, Any], takes: str) -> Iterator[Setting]:
    """The options of a config that may be set.

    Args:
        content: of the config.
        takes: what it is given: image, images, text or capture.
    """
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
            need = NEED.get(f"{group}.{option}")
            if option in options and (need is None or importlib.util.find_spec(need) is not None):
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
