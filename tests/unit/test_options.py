"""Every option says what it may be, and nothing else is taken."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest

from studio.config import ExperimentConfig, TrainerConfig
from studio.errors import ConfigError
from studio.io.yaml_text import Word
from studio.plugins import discovery as plugins
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import (
    Installed,
    Length,
    Limit,
    OneOf,
    Range,
    Share,
    Steps,
    fixed,
    limits,
)
from studio.plugins.registry import KINDS, OPTIONLESS, config_class

WITH_OPTIONS = [kind for kind in KINDS if kind not in OPTIONLESS]


def _dataclasses() -> list[type]:
    """All dataclasses of options of this program, nested ones included."""
    from studio.app.epipolar_pictures import PictureConfig
    from studio.data.training.filter_views import FilterConfig
    from studio.data.training.nmr_shards import PrepareConfig
    from studio.evaluation.options import EvaluateConfig

    waiting: list[type] = [ExperimentConfig, TrainerConfig, FilterConfig, PrepareConfig]
    waiting += [PictureConfig, EvaluateConfig]
    for plugin in plugins.listing():
        if plugin.kind in WITH_OPTIONS:
            waiting.append(config_class(find(plugin.kind, plugin.name)))
    return _with_nested(waiting)


def _with_nested(classes: list[type]) -> list[type]:
    """Dataclasses, and those that are the types of their options."""
    found: list[type] = []
    waiting = list(classes)
    while waiting:
        cls = waiting.pop()
        if cls not in found:
            found.append(cls)
            kinds = typing.get_type_hints(cls)
            waiting += [kind for kind in kinds.values() if dataclasses.is_dataclass(kind)]  # type: ignore[misc]
    return found


@dataclasses.dataclass(frozen=True)
class Number:
    """A number in an annotation."""

    kind: type
    metadata: tuple[Any, ...] = ()
    in_list: bool = False


def _numbers(kind: Any, metadata: tuple[Any, ...] = (), in_list: bool = False) -> Iterator[Number]:
    """The numbers in an annotation, each with what it is annotated with."""
    own = [part for part in getattr(kind, "__metadata__", ()) if isinstance(part, Limit)]
    if any(not isinstance(part, Range | Length) for part in own):
        return  # it looks at the whole value
    if typing.get_origin(kind) is Annotated:
        yield from _numbers(kind.__origin__, metadata + kind.__metadata__, in_list)
    elif kind in (int, float):
        yield Number(kind, metadata, in_list)
    elif typing.get_origin(kind) is not Literal:
        listed = in_list or typing.get_origin(kind) in (list, tuple)
        for inner in typing.get_args(kind):
            yield from _numbers(inner, metadata, listed)


def _options() -> Iterator[tuple[type, str, Any]]:
    for cls in _dataclasses():
        kinds = typing.get_type_hints(cls, include_extras=True)
        for option in dataclasses.fields(cls):
            yield cls, option.name, kinds[option.name]


def test_every_number_has_a_range() -> None:
    """Numbers of lists, of optional values and of nested groups, too."""
    bare = [
        f"{cls.__qualname__}.{name}"
        for cls, name, kind in _options()
        for number in _numbers(kind)
        if not any(isinstance(part, Range) for part in number.metadata)
    ]
    assert not bare


def test_defaults_are_allowed() -> None:
    """A config of defaults passes the checks that given values pass."""
    for cls in _dataclasses():
        try:
            default = cls()
        except TypeError:  # an option without default
            continue
        assert parse_config(cls, default) is default


def _outside(number: type, limit: Range) -> list[float]:
    low = limit.low if limit.above and number is float else limit.low - 1
    beyond = [low, limit.high + 1] if limit.high < 2**53 else [low, limit.high * 2]
    return beyond + ([] if number is int else [math.nan, math.inf, -math.inf])


def test_numbers_out_of_range_are_refused() -> None:
    """Just outside of every range, and what is no finite number: key and range are named."""
    tried = 0
    for cls, name, kind in _options():
        for number in _numbers(kind):
            (limit,) = (part for part in number.metadata if isinstance(part, Range))
            for value in map(number.kind, _outside(number.kind, limit)):
                given = [value] if number.in_list else value
                with pytest.raises(ConfigError) as caught:
                    parse_config(cls, {name: given}, key="some.key")
                assert f"some.key.{name}" in str(caught.value)
                assert str(limit) in str(caught.value), (cls, name, value)
                tried += 1
    assert tried > 800


HOSTILE = (".nan", "nan", ".inf", "-.inf", "1e30", "-1e30", "1e400", "9" * 40, "many", "[1, 2]", "")


@pytest.mark.parametrize("kind", [*WITH_OPTIONS, "experiment"])
def test_no_number_takes_what_is_none(kind: str) -> None:
    """Typed words, for every number of every plugin: one sentence with its key, and what may be."""
    classes = [ExperimentConfig, TrainerConfig]
    if kind != "experiment":
        found = [plugin for plugin in plugins.listing() if plugin.kind == kind]
        classes = [config_class(find(kind, plugin.name)) for plugin in found]
    tried = 0
    for cls in _with_nested(classes):
        for name, annotation in typing.get_type_hints(cls, include_extras=True).items():
            plain = [number for number in _numbers(annotation) if not number.in_list]
            several = len(typing.get_args(annotation)) > 1 and "list[" in str(annotation)
            for word in HOSTILE if plain and not several else ():
                if not word and type(None) in typing.get_args(annotation):
                    continue
                with pytest.raises(ConfigError) as caught:
                    parse_config(cls, {name: Word(word)}, key="some.key")
                sentence, allowed, *more = str(caught.value).splitlines()
                assert sentence.startswith(f"some.key.{name} is "), sentence
                assert sentence.endswith(".") and "(str)" not in sentence, sentence
                assert allowed.startswith("  allowed: ") and not more, caught.value
                tried += 1
    assert tried > 40


def test_words_out_of_their_set_are_refused() -> None:
    """An unknown word is answered with all known ones."""
    sets = 0
    for cls, name, kind in _options():
        words = [limit.words for limit in limits(kind) if isinstance(limit, OneOf)]
        if typing.get_origin(kind) is Literal:
            words.append(typing.get_args(kind))
        for known in words:
            given = ["no such word"] if "list[" in str(kind) else "no such word"
            with pytest.raises(ConfigError) as caught:
                parse_config(cls, {name: given})
            assert all(str(word) in str(caught.value) for word in known)
            sets += 1
    assert sets > 60


@dataclasses.dataclass
class Plugin:
    """Options of somebody's plugin."""

    part: Share = 0.5
    pair: Annotated[list[Annotated[int, Range(0, 9)]], Length(2, 2)] = dataclasses.field(
        default_factory=lambda: [1, 2]
    )
    each: dict[str, Share] = dataclasses.field(default_factory=dict)
    perhaps: Steps | None = None
    free: float = 0.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"part": 1.5}, "p.part is 1.5.*0 to 1"),
        ({"pair": [1, 10]}, r"p.pair\[1\] is 10.*0 to 9"),
        ({"pair": [1]}, r"p.pair is \[1\].*2 items"),
        ({"each": {"a": -1}}, "p.each.a is -1.*0 to 1"),
        ({"perhaps": 0}, "p.perhaps is 0.*1 to 1000000000"),
        ({"free": math.nan}, "p.free is nan"),
        (Plugin(part=2.0), "p.part is 2.0.*0 to 1"),
    ],
)
def test_ranges_of_a_plugin_are_checked(given: Any, message: str) -> None:
    """Items of lists and dicts, optional values, lengths, and instances made in Python."""
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        parse_config(Plugin, given, key="p")


def test_what_a_plugin_says_nothing_of_is_free() -> None:
    """A number without a range may be any, infinity included; an empty optional is empty."""
    assert parse_config(Plugin, {"free": math.inf, "perhaps": None}).free == math.inf


def test_weights_fix_what_the_options_say() -> None:
    """The mark survives unions and literals, and is inherited."""
    from studio.guidance.viewfusion_interpolated.options import ViewFusionInterpolatedConfig
    from studio.guidance.zero123.options import Zero123Config

    assert set(fixed(Zero123Config)) == {
        *("prediction_type", "beta_schedule", "beta_options", "beta_start", "beta_end"),
        *("train_timesteps", "zero_terminal_snr", "scale_condition", "fourth_number"),
        *("null_token", "picture_tokens", "resolution"),
    }
    assert fixed(ViewFusionInterpolatedConfig) == fixed(Zero123Config)


ALLOWED: list[tuple[str, str, dict[str, list[str]]]] = [
    ("data", "posed-images", {"count": ["0", "3"], "centre": ["masks"]}),
    ("data", "capture", {"holdout": ["0", "2", "8"], "bound": ["null", "0.3"]}),
    ("data", "epidiff-views", {"background": ["white", "random_gray", "0", "0.5", "1"]}),
    ("data", "epidiff-views", {"reference": ["-1", "64"]}),
    ("guidance", "epidiff", {"k_near_views": ["1", "16"], "guidance_scale": ["0", "1", "7.5"]}),
    ("guidance", "viewfusion-composable", {"steps": ["0"], "clip_low": ["-1"]}),
    (
        "guidance",
        "viewfusion-interpolated",
        {"order": ["spin", "path", "[]", "[[0, 30], [90, -20, 1.5]]"], "window_deg": ["0", "1000"]},
    ),
    ("geometry", "implicit-sdf", {"semi_axes": ["[0.5]", "[1, 2, 3]"]}),
    ("renderer", "neus-occupancy", {"sharpness_limit": ["[]", "[0, 100, 1000]"]}),
]


@pytest.mark.parametrize(("kind", "name", "options"), ALLOWED, ids=lambda x: str(x)[:40])
def test_special_values_are_taken(kind: str, name: str, options: dict[str, list[str]]) -> None:
    """0 for none or all, -1, and the several forms that an option may have."""
    for option, words in options.items():
        for word in words:
            parse_config(config_class(find(kind, name)), {option: Word(word)})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("devices", {"auto": "auto", "-1": -1, "2": 2, "[0, 1]": [0, 1], "0,1": "0,1"}),
        ("precision", {"32": "32", "bf16": "bf16", "16-mixed": "16-mixed"}),
        ("accelerator", {"cuda": "cuda", "gpu": "gpu"}),
        ("strategy", {"ddp": "ddp"}),
    ],
)
def test_forms_of_the_trainers_options(option: str, words: dict[str, Any]) -> None:
    for word, meant in words.items():
        value = getattr(parse_config(TrainerConfig, {option: Word(word)}), option)
        assert value == meant and type(value) is type(meant)


def test_a_config_of_python_is_checked_where_a_plugin_is_made() -> None:
    from studio.data.conditions.single_image import SingleImageData
    from studio.ops.hash_grid import HashGridLayout

    with pytest.raises(ConfigError, match="resolution is 0"):
        SingleImageData(SingleImageData.Config(image="x.png", resolution=0))
    with pytest.raises(ConfigError, match="levels is 0"):
        HashGridLayout(levels=0)


def test_options_that_belong_together_are_refused_with_their_key() -> None:
    with pytest.raises(ConfigError, match=r"^system.renderer.importance is 7, in 4 rounds\."):
        build("renderer", "neus", {"importance": 7, "rounds": 4}, key="system.renderer")
    with pytest.raises(ConfigError, match=r"^data.weights is given, and so is start\."):
        parse_config(
            config_class(find("guidance", "zero123")), {"weights": "a", "start": "b"}, key="data"
        )
    with pytest.raises(ConfigError, match=r"^system.renderer.background.far is 0.05\."):
        given = {"background": {"far": 0.05}}
        build("renderer", "neus-occupancy", given, key="system.renderer")


def test_words_are_those_of_the_tables() -> None:
    """Words that stand beside the option, since what knows them loads torch."""
    from studio.data.training.eschernet_eval_frames import SetName
    from studio.data.training.eschernet_eval_sets import SETS
    from studio.evaluation.options import EvaluateConfig
    from studio.metrics.protocols import PROTOCOLS
    from studio.runs.trainer import PRECISIONS

    assert typing.get_args(SetName) == tuple(SETS)
    assert typing.get_args(typing.get_type_hints(EvaluateConfig)["protocol"]) == tuple(PROTOCOLS)
    assert set(typing.get_args(typing.get_type_hints(TrainerConfig)["precision"])) == set(
        PRECISIONS
    )


def test_words_that_need_a_package_are_refused_without_it() -> None:
    words = Installed({"csv": (), "paper": ("no_such_package",), "json": ("nor_this", "json")})
    assert words.holds("csv") and words.holds("json")
    assert not words.holds("paper") and not words.holds("ink")
    assert str(words) == "csv, paper (pip install no_such_package), json (pip install nor_this)"
