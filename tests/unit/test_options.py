"""Every option says what it may be, and nothing else is taken."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest

from studio import plugins
from studio.config import ExperimentConfig, TrainerConfig
from studio.errors import ConfigError
from studio.options import parse_config
from studio.ranges import Length, OneOf, Range, Share, Steps, fixed, limits
from studio.registry import KINDS, config_class, find


def _dataclasses() -> list[type]:
    """All dataclasses of options of this program, nested ones included."""
    from studio.data.filter_views import FilterConfig
    from studio.data.nmr_shards import PrepareConfig
    from studio.epipolar_pictures import PictureConfig
    from studio.evaluation import EvaluateConfig

    found: list[type] = []
    waiting: list[type] = [ExperimentConfig, TrainerConfig, FilterConfig, PrepareConfig]
    waiting += [PictureConfig, EvaluateConfig]
    for plugin in plugins.listing():
        if plugin.kind in KINDS and plugin.module.startswith("studio."):
            waiting.append(config_class(find(plugin.kind, plugin.name)))
    while waiting:
        cls = waiting.pop()
        if cls not in found:
            found.append(cls)
            kinds = typing.get_type_hints(cls)
            waiting += [kind for kind in kinds.values() if dataclasses.is_dataclass(kind)]  # type: ignore[misc]
    return found


def _numbers(kind: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[type, tuple[Any, ...]]]:
    """The int and float types in an annotation, each with what it is annotated with."""
    if typing.get_origin(kind) is Annotated:
        yield from _numbers(kind.__origin__, metadata + kind.__metadata__)
    elif kind in (int, float):
        yield kind, metadata
    elif typing.get_origin(kind) is not Literal:
        for inner in typing.get_args(kind):
            yield from _numbers(inner, metadata)


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
        for _, metadata in _numbers(kind)
        if not any(isinstance(part, Range) for part in metadata)
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
        for number, metadata in _numbers(kind):
            (limit,) = (part for part in metadata if isinstance(part, Range))
            for value in _outside(number, limit):
                given = [number(value)] if "list[" in str(kind) else number(value)
                with pytest.raises(ConfigError) as caught:
                    parse_config(cls, {name: given}, key="some.key")
                assert f"some.key.{name}" in str(caught.value)
                assert str(limit) in str(caught.value), (cls, name, value)
                tried += 1
    assert tried > 800


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
            assert all(word in str(caught.value) for word in known)
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
        *("prediction_type", "beta_schedule", "beta_start", "beta_end", "train_timesteps"),
        *("zero_terminal_snr", "scale_condition", "fourth_number", "null_token", "resolution"),
    }
    assert fixed(ViewFusionInterpolatedConfig) == fixed(Zero123Config)
