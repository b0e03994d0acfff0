"""Configs: merging, near misses, types, early checks, and configs that run again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from studio.config import ExperimentConfig, load_experiment, parse_config, plain, save_experiment
from studio.errors import ConfigError, PluginError
from studio.io import yaml_text
from studio.io.yaml_text import Word
from studio.ops.schedule import Schedule
from studio.plugins.beside import plugin_kind


@dataclass
class Inner:
    steps: int = 5


@dataclass
class Outer:
    lr: float = 0.1
    names: list[str] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)


def test_defaults_are_kept_and_values_converted() -> None:
    parsed = parse_config(Outer, {"lr": "1e-3", "inner": {"steps": 7}})
    assert parsed == Outer(lr=1e-3, inner=Inner(7))
    assert isinstance(parsed.inner, Inner)


def test_nothing_after_the_equals_sign_is_an_empty_text_list_or_group(project: Path) -> None:
    assert load_experiment("tiny.yaml", ["exp_root_dir="]).exp_root_dir == ""
    assert parse_config(Outer, {"names": None}).names == []
    load_experiment("tiny.yaml", ["system=null"])
    with pytest.raises(ConfigError, match="seed is empty"):
        load_experiment("tiny.yaml", ["seed="])


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ({"lrr": 1}, ["'a.b.lrr' is not an option", "did you mean 'a.b.lr'", "lr, names, inner"]),
        ({"inner": {"stpes": 1}}, ["'a.b.inner.stpes'", "did you mean 'a.b.inner.steps'"]),
        (
            {"inner": {"steps": "many"}},
            ["a.b.inner.steps is 'many', which is not a", "a whole number"],
        ),
        ({"inner": 3}, ["a.b.inner"]),
        (7, ["a.b is 7", "group of options"]),
    ],
)
def test_mistakes_name_the_full_key(given: object, texts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(Outer, given, key="a.b")  # type: ignore[arg-type]
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("guidance_type", "guidance"),
        ("coarse_geometry_type", "geometry"),
        ("colour_type", None),
        ("guidance", None),
    ],
)
def test_plugin_kind(option: str, kind: str | None) -> None:
    assert plugin_kind(option) == kind


def test_overrides_reach_plugins(project: Path) -> None:
    experiment = load_experiment("tiny.yaml", ["system.lr=0.5", "trainer.max_steps=3", "tag=x"])
    assert experiment.system == {
        "lr": 0.5,
        "width": 16,
        "nan_at": -1,
        "nan_gradient": False,
        "signal_at": -1,
        "signal": 2,
    }
    assert (experiment.trainer.max_steps, experiment.tag) == (3, "x")


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["system.lrr=1"], ["'system.lrr'", "did you mean 'system.lr'"]),
        (["system.lr=fast"], ["system.lr is 'fast'", "which is not a number"]),
        (["trainer.max_step=1"], ["did you mean 'trainer.max_steps'"]),
        (["trainer.max_steps=0"], ["trainer.max_steps is 0", "1 to 1000000000"]),
        (["seed.x=1"], ["seed"]),
        (["name.x=1"], ["name is 'tiny', which has no options"]),
        (["name=a/b"], ["name is 'a/b'", "folder name"]),
        (["trainer.logger=paper"], ["csv, tensorboard", "wandb"]),
        (["system_type="], ["system_type is not set"]),
        (["data.missing=perhaps"], ["data.missing is 'perhaps'"]),
    ],
)
def test_mistakes_in_the_whole_config(project: Path, words: list[str], texts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment("tiny.yaml", words)
    for text in texts:
        assert text in str(caught.value)


def test_unknown_plugin_names_the_key_and_the_near_miss(project: Path) -> None:
    with pytest.raises(PluginError, match=r"system_type is 'tinny'[\s\S]*did you mean 'tiny'"):
        load_experiment("tiny.yaml", ["system_type=tinny"])


def test_missing_file_names_neighbours(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"tny\.yaml does not exist[\s\S]*tiny\.yaml"):
        load_experiment("tny.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [1", r"line \d+, column \d+ is not valid YAML"),
        ("- a\n- b\n", "holds a list"),
        ("", "system_type is not set"),
    ],
)
def test_broken_yaml(project: Path, text: str, message: str) -> None:
    Path("bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_experiment("bad.yaml")


def test_saved_config_runs_again(project: Path) -> None:
    experiment = load_experiment("tiny.yaml", ["system.lr=0.5", "resume=last"])
    save_experiment(experiment, Path("saved.yaml"))
    again = load_experiment("saved.yaml")
    assert plain(again) == {**plain(experiment), "resume": None}
    assert yaml.safe_load(Path("saved.yaml").read_text())["system"]["width"] == 16


def test_every_option_of_the_experiment_is_documented() -> None:
    from studio.app.docs_tables import option_docs, table

    texts = option_docs(ExperimentConfig)
    assert all(texts.get(name) for name in plain(ExperimentConfig()))
    assert "| `seed` | `int` | 0 to 4294967295 | `0` |" in table(ExperimentConfig)


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (3, 100, 3.0),
        ([10, 0.0, 1.0, 20], 5, 0.0),
        ([10, 0.0, 1.0, 20], 15, 0.5),
        ([10, 0.0, 1.0, 20], 25, 1.0),
        ([10, 0.0, 1.0, 10], 10, 1.0),
    ],
)
def test_schedule(value: object, step: int, expected: float) -> None:
    assert Schedule.parse(value)(step) == pytest.approx(expected)


@pytest.mark.parametrize("value", ["fast", [1, 2], [20, 0, 1, 10], True, None])
def test_schedule_refuses(value: object) -> None:
    with pytest.raises(ConfigError, match="loss.mask is"):
        Schedule.parse(value, "loss.mask")


# --- texts --------------------------------------------------------------------------------------

TEXTS = [
    "03001627", "1e5", "on", "yes", "no", "true", "12:30", "1:30", "1.10", "0123", "007", "00123",
    "0x10", "1_000", "null", "~", ".5", "1.", "nan", "-", "a red car #1", "#1", "[a]", "{a}", "&a",
    "*a", "!a", "@home", "%", "`x`", "a: b", "a red car: with stripes", "- a", "| x", "> x", "?",
    "what's that", 'a "red" car', "${HOME}", "a ${red} car", "/d/run #3", "2020-01-01", "ünï", "=",
    "  two  blanks ", "a, b", "\\d", "\ttab", "two\nlines", "🚗", "x" * 300,
]  # fmt: skip
TYPED = [text for text in TEXTS if not set(text) & set('/\\*?"|<>') and len(text) < 200]


@dataclass
class Texts:
    one: str = ""
    some: list[str] = field(default_factory=list)
    maybe: str | None = None
    path: Path = Path("x")
    either: str | int = 0
    kind: Literal["auto", "1e5", 3] = "auto"
    anything: Any = None
    number: float = 0.0
    count: int = 0
    truth: bool = False


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_on_the_command_line_is_what_was_typed(text: str, tmp_path: Path) -> None:
    options = parse_config(Texts, {"one": Word(text), "path": Word(text)})
    assert options.one == text and type(options.one) is str
    assert options.path == Path(text)
    saved = yaml_text.write(plain(options))
    again = parse_config(Texts, yaml_text.read(saved))
    assert again == options
    assert str(yaml.safe_load(saved)["one"]) == text or text in ("null", "~")


@pytest.mark.parametrize("text", TYPED)
def test_the_experiments_own_texts(project: Path, text: str) -> None:
    experiment = load_experiment("tiny.yaml", [f"tag={text}", f"name={text}"])
    assert (experiment.tag, experiment.name) == (text, text)
    save_experiment(experiment, Path("saved.yaml"))
    assert load_experiment("saved.yaml").tag == text


@pytest.mark.parametrize(
    "text", ["03001627", "1e5", "on", "12:30", "1.10", "0123", "2020-01-01", "1_000", "+1", "0o7"]
)
def test_unquoted_words_of_a_file_are_texts_where_texts_are_wanted(text: str) -> None:
    content = yaml_text.read(f"one: {text}\nsome: [{text}, a]\nmaybe: {text}\npath: {text}")
    options = parse_config(Texts, content)
    assert options == Texts(one=text, some=[text, "a"], maybe=text, path=Path(text))


def test_lists_of_texts_on_the_command_line() -> None:
    given = Word("[03211117, on, 'a, b', c #1.png, \"#2\", 1e5]")
    wanted = ["03211117", "on", "a, b", "c #1.png", "#2", "1e5"]
    assert parse_config(Texts, {"some": given}).some == wanted


def test_quotes_around_a_whole_word_are_no_part_of_it() -> None:
    assert parse_config(Texts, {"one": Word("'1e5'")}).one == "1e5"
    assert parse_config(Texts, {"one": Word('"a" or "b"')}).one == '"a" or "b"'


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("maybe: null", Texts(maybe=None)),
        ("either: 3", Texts(either=3)),
        ("either: 03", Texts(either="03")),
        ("kind: 1e5", Texts(kind="1e5")),
        ("kind: 3", Texts(kind=3)),
        (
            "anything: [1e5, on, 03, 12:30, '1', null, 0x10]",
            Texts(anything=[1e5, True, "03", "12:30", "1", None, 16]),
        ),  # noqa: E501
        ("number: 1e5", Texts(number=1e5)),
        ("number: -.inf", Texts(number=-float("inf"))),
        ("count: 007", Texts(count=7)),
        ("count: 1_000", Texts(count=1000)),
        ("truth: on", Texts(truth=True)),
    ],
)
def test_other_types_take_what_yaml_means(options: str, wanted: Texts) -> None:
    assert parse_config(Texts, yaml_text.read(options)) == wanted
    key, _, word = options.partition(": ")
    assert parse_config(Texts, {key: Word(word)}) == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("count: 1:2:3", "count is '1:2:3'"),
        ("count: 1e3", "count is 1e3, which is not a whole number in digits"),
        ("count: 1e30", "count is 1e30, which is not a whole number in digits"),
        ("count: 1.5", "count is 1.5, which is not a whole number"),
        ("count: nan", "count is 'nan', which is not a whole number"),
        ("count: true", "count is true, which is not a whole number"),
        ("count: 1.0", "allowed: a whole number"),
        ("number: 1:30.5", "number is '1:30.5'"),
        ("number: .nan", "number is nan"),
        ("number: nan", "number is nan"),
        ("anything: [1, .nan]", r"anything\[1\] is nan"),
        ("truth: 2", "truth is 2"),
        ("kind: other", "auto, 1e5, 3"),
        ("one: [a]", r"one is \['a'\]"),
        ("some: a", "some is 'a'"),
    ],
)
def test_other_types_refuse_what_they_are_not(options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(Texts, yaml_text.read(options))


def test_seconds_are_no_seed(project: Path) -> None:
    with pytest.raises(ConfigError, match="seed is '1:2:3'"):
        load_experiment("tiny.yaml", ["seed=1:2:3"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 100_000, "levels of nesting"),
        ("a: " + "{a: " * 5000, "levels of nesting"),
        ("a: &a [x]\n" + "".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 10)}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)), "too many values"),  # noqa: E501
        ("a: &a [*a]", "too many values"),
        ("tag: 1\ntag: 2", "the key tag is given twice"),
        ("tag: !!python/object/apply:os.system [ls]", "an object of the kind"),
        ('tag: "caf\\uDCE9"', "a text is not UTF-8"),
        ("? [a]\n: b", "a key is not a word"),
    ],
)  # fmt: skip
def test_odd_yaml_is_refused(project: Path, text: str, message: str) -> None:
    Path("odd.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_experiment("odd.yaml")
    assert len(str(caught.value)) < 300


def test_anchors_and_merged_groups() -> None:
    content = yaml_text.read("a: &a {x: 1, y: 03}\nb: {<<: *a, x: on}\nc: *a")
    assert content == {"a": {"x": "1", "y": "03"}, "b": {"x": "on", "y": "03"}, "c": content["a"]}


def test_too_many_dots_are_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="too many dots"):
        load_experiment("tiny.yaml", [".".join(["a"] * 5000) + "=1"])
