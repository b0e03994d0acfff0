"""Early checks: a user's usual mistakes, reported before torch is loaded.

Loading torch, Lightning and diffusers takes seconds; a misspelt option, one out of its range, an
empty text, a missing picture, folder or weights, and an uneven background need none of them.
Nothing is refused here that the full checks allow: what cannot be told is left to them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.captures.even_background import ADVICE, check_shows_something
from studio.config import ExperimentConfig, in_file, read_experiment
from studio.errors import ConfigError, DataError, PluginError, WeightsError
from studio.guidance.hub import locate
from studio.io.paths import existing
from studio.io.picture_files import opened
from studio.io.yaml_text import Plain, Word
from studio.plugins import discovery as plugins
from studio.plugins.beside import plugin_kind
from studio.plugins.defaults import Option, all_options, class_value, literal
from studio.plugins.discovery import unknown
from studio.plugins.parsing import convert, parse_config, unknown_key
from studio.plugins.sources import PluginInfo
from studio.runs.trainer import check_precision

WEIGHTS = ("weights", "base", "vae_weights", "unet_start", "encoder_start", "text_start")
"""Options of guidance that name files, folders or repositories."""


def check_early(
    path: str | Path | None, overrides: Sequence[str] = (), *, inputs: bool = True
) -> None:
    """Check what can be checked without torch.

    Args:
        path: the YAML file.
        overrides: `key=value` words over it.
        inputs: look at the text, picture or folder that is given, too.

    Raises:
        StudioError: for the first mistake.
    """
    content = read_experiment(path, overrides)
    try:
        names = [f.name for f in dataclasses.fields(ExperimentConfig)]
        groups = list(_groups(content, names, ""))
        own = {k: v for k, v in content.items() if k not in ("data", "system")}
        _check_trainer(parse_config(ExperimentConfig, own), groups)
        for group in groups:
            _check_values(group.options, group.given, group.key)
    except (ConfigError, PluginError) as error:
        raise type(error)(f"{error}{in_file(path, error, overrides)}") from error
    for group in groups:
        if group.key == "data" and inputs:
            _check_data(group)
        if group.kind == "guidance":
            _check_weights(group)
    checkpoint = _text(content.get("checkpoint"))
    if checkpoint and not Path(checkpoint).exists():
        raise WeightsError(f"the checkpoint {checkpoint} does not exist.")


@dataclasses.dataclass(frozen=True)
class Group:
    """The options of one plugin in a config."""

    key: str
    kind: str
    name: str
    given: Mapping[str, Any]
    options: Mapping[str, Option]
    plugin: PluginInfo

    def text(self, option: str) -> str:
        """The text of an option, its default where it is not given, "" where it has none."""
        default = literal(self.options[option].default) if option in self.options else None
        text = _text(self.given.get(option, default))
        return "" if text == "???" else text


def _groups(given: Mapping[str, Any], names: list[str] | None, key: str) -> Iterator[Group]:
    """Every plugin that a config names, from the top down; unknown options are refused."""
    prefix = f"{key}." if key else ""
    for option in given:
        if names is not None and option not in names:
            raise unknown_key(f"{prefix}{option}", names)
    for option in given:
        kind = plugin_kind(option)
        name = _text(given[option])
        if kind is None or not name:
            continue
        plugin = plugins.catalogue().lookup(kind, name)
        if plugin is None:
            if not plugins.catalogue().unclear:
                raise unknown(kind, name, key=f"{prefix}{option}")
            continue  # a custom plugin may still register it when it is imported
        slot = option.removesuffix("_type")
        value = given.get(slot)
        value = value.tree if isinstance(value, Word) else value
        inner: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        options = all_options(plugin, inner)
        names_there = None if options is None else list(options)
        yield Group(f"{prefix}{slot}", kind, name, inner, options or {}, plugin)
        yield from _groups(inner, names_there, f"{prefix}{slot}")


def _text(value: Any) -> str:
    if value is None or (isinstance(value, Plain) and value.value is None):
        return ""
    with contextlib.suppress(ConfigError):
        return str(convert(value, str, ""))
    return ""


def _check_values(options: Mapping[str, Option], given: Mapping[str, Any], key: str) -> None:
    """Refuse values that the types of their options do not allow, as far as these are known."""
    for name, value in given.items():
        if (option := options.get(name)) is None or plugin_kind(f"{name}_type"):
            continue
        value = value.tree if isinstance(value, Word) and option.group else value
        if option.group and isinstance(value, Mapping):
            for inner in value:
                if inner not in option.group:
                    raise unknown_key(f"{key}.{name}.{inner}", list(option.group))
            _check_values(option.group, value, f"{key}.{name}")
        elif option.kind is not None:
            convert(value, option.kind, f"{key}.{name}")


def _check_trainer(experiment: ExperimentConfig, groups: Sequence[Group]) -> None:
    for group in groups:
        can = class_value(group.plugin, "precisions") if group.kind == "system" else None
        if isinstance(can, tuple):
            check_precision(experiment.trainer.precision, group.name, can)


def _check_data(group: Group) -> None:
    """Say what is missing: a text, a picture, a folder."""
    if group.name == "text" and not group.text("text").strip():
        raise DataError("data.text is not given.", hint='Add data.text="a red car".')
    if group.name == "single-image" and not group.text("image"):
        raise DataError("data.image is not given.", hint="Add data.image=<picture>.")
    image, root = group.text("image"), group.text("root")
    if image and "image" in group.options:
        _check_background(group, Path(image))
    if root and "root" in group.options and "://" not in root:
        existing(Path(root))


def _check_background(group: Group, image: Path) -> None:
    """Refuse a picture that cannot be opened, of one colour, or whose background is not even."""
    method = group.text("background")
    with opened(image) as picture:
        picture.load()
        if method not in ("auto", "border") or picture.mode[0] in "IF":  # of 16 or 32 bits
            return
        rgba = np.asarray(picture.convert("RGBA")).transpose(2, 0, 1).astype(np.float32) / 255
    if method == "auto" and (rgba[3] < 0.5).mean() >= 1e-3:
        return
    try:
        check_shows_something(rgba[:3], float(group.text("tolerance")))
    except DataError as error:
        raise DataError(str(error), hint=ADVICE) from error


def _check_weights(group: Group) -> None:
    if group.text("allow_download").lower() in ("true", "yes", "on", "1"):
        return
    for option in WEIGHTS:
        if option in group.options and (text := group.text(option)):
            try:
                locate(text)
            except WeightsError as error:
                raise WeightsError(f"{group.key}.{option}: {error}") from error
