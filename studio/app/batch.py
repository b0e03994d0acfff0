"""`studio batch INPUTS`: checks its words before torch is loaded; `studio.jobs` does the work."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from studio.app.early_checks import check_early
from studio.config import ExperimentConfig, parse_config, read_experiment
from studio.errors import ConfigError, PluginError, StudioError
from studio.io import shipped
from studio.io.yaml_text import Word
from studio.jobs.batch import ALL_DONE, SOME_FAILED, Batch, Part
from studio.jobs.executor import Changed, Executor
from studio.jobs.items import Item, collect
from studio.jobs.record import Job, Phase
from studio.jobs.rows import LISTS
from studio.jobs.task import OWN
from studio.plugins import discovery as plugins
from studio.plugins.defaults import class_value, options_of
from studio.plugins.overrides import check_overrides
from studio.plugins.parsing import unknown_key
from studio.plugins.ranges import Range, Seed, StepsOrZero
from studio.progress import StageProgress


@dataclass
class BatchConfig:
    """Words of `studio batch INPUTS`; others are options of the config, with dotted keys."""

    config: str = ""
    """A YAML file, or the name of one."""
    out: str = "outputs/batch"
    """Folder of the batch: a folder an item, results.jsonl, index.html."""
    task: str = "make"
    """What is done with every item."""
    executor: Literal["local", "ray"] = "local"
    """local: processes of this machine; ray: a cluster."""
    address: str = ""
    """Of a Ray cluster; auto joins the one that this machine is part of; empty starts one here."""
    workers: Annotated[int, Range(0, 100_000)] = 0
    """Jobs at a time; 0: one a graphics card, else one of one thread a core."""
    part: str = ""
    """A slice of the items, such as 3/8; auto: this task of a SLURM array; empty: all."""
    seed: Seed = 0
    """Of all noise, the same for every item."""
    steps: StepsOrZero = 0
    """Of every fit; 0: as many as the config says."""
    seconds: Annotated[float, Range(0, 1e9)] = 0.0
    """Most wall seconds of every fit; 0: as many as the config says."""
    timeout: Annotated[float, Range(0, 1e9)] = 0.0
    """Wall seconds after which an item is given up; 0: never."""
    retries: Annotated[int, Range(0, 100)] = 1
    """Further attempts at an item whose process died."""
    again: bool = False
    """Try once more what has failed or was cancelled in an earlier run."""


SHARED = ("task", "seed", "steps", "seconds", "timeout", "retries")
TOP = tuple(field.name for field in fields(ExperimentConfig))


def run_batch(inputs: str, words: Sequence[str]) -> int:
    """Carry out a batch.

    Args:
        inputs: a folder of pictures or captures, or a CSV or JSONL list.
        words: `key=value` words: the keys of `BatchConfig`, and options of the config.

    Returns:
        The exit code: 0 if every item has its result, 3 if some have failed.

    Raises:
        StudioError: if a word, the list or the config cannot be used; nothing is written then.
    """
    cfg, options = read_words(words)
    part = Part.parse(cfg.part)
    config = config_name(cfg.config)
    base = Job(config=config, options=options, **{name: getattr(cfg, name) for name in SHARED})
    rows_may_say = Path(inputs).suffix.lower() in LISTS
    if config or not rows_may_say:
        check([Item("", base)])
    with StageProgress("reading the list"):
        items = collect(Path(inputs), base, takes)
        items = [_settled(item) for item in items]
        check(items, options)
    if cfg.executor == "ray" and importlib.util.find_spec("ray") is None:
        raise PluginError("executor=ray needs Ray.", hint="pip install 'studio3d[ray]'")
    batch = Batch(items, Path(cfg.out), part, again=cfg.again)
    states = batch.run(functools.partial(make_executor, cfg))
    return summed_up(batch, states)


def read_words(words: Sequence[str]) -> tuple[BatchConfig, dict[str, Any]]:
    """Tell the words of the batch from the options of the config.

    Raises:
        ConfigError: if a word is neither.
    """
    check_overrides(words)
    names = [field.name for field in fields(BatchConfig)]
    own: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for word in words:
        key, value = word.split("=", 1)
        if key in names:
            own[key] = Word(value)
        elif "." in key or key in TOP:
            options[key] = value
        else:
            raise unknown_key(key, names)
    return parse_config(BatchConfig, own), options


def config_name(config: str) -> str:
    """A config as a job names it: the program's own by name, others by their absolute path."""
    if not config:
        return ""
    file = shipped.config_file(config).resolve()
    own = (shipped.ROOT / "configs").resolve()
    if own in file.parents:
        return file.relative_to(own).with_suffix("").as_posix()
    return str(file) if file.is_file() else config


def _settled(item: Item) -> Item:
    """An item whose own config, if its row named one, is found wherever the job is done."""
    named = config_name(item.job.config)
    return replace(item, job=replace(item.job, config=named))


def check(items: Sequence[Item], typed: Collection[str] = ()) -> None:
    """Check every config of the items with the options that are given to it, without torch.

    Args:
        items: what is to be done.
        typed: keys of the options that the command gives to all: no row is blamed for them.

    Raises:
        StudioError: for the first mistake, with its place in the list.
    """
    checked = set()
    for item in items:
        job, words = item.job, _words(item.job)
        own = [key for key in job.options if key.startswith(OWN)]
        if (key := (job.task, job.config, *own, *words)) in checked:
            continue
        checked.add(key)
        with _placed(item, typed):
            _check_task(job.task, own)
            if carries_config(job):
                _check_config(job.config, words)


@contextlib.contextmanager
def _placed(item: Item, typed: Collection[str]) -> Iterator[None]:
    """Name the item's place in the list in a refusal, unless it refuses a word of the command."""
    try:
        yield
    except StudioError as error:
        refused = str(error).lstrip("'")
        if not item.where or any(refused.startswith(key) for key in typed):
            raise
        raise type(error)(f"{item.where}: {error}") from error


def _check_config(config: str, words: Sequence[str]) -> None:
    if not config:
        raise ConfigError(
            "config=... has to be given.", hint="a YAML file or the name of one: epidiff-neus"
        )
    check_early(shipped.config_file(config), words, inputs=False)


def _check_task(task: str, own: Sequence[str]) -> None:
    """Refuse a task that does not exist, and options that it has not."""
    plugin = plugins.catalogue().lookup("task", task)
    if plugin is None and not plugins.catalogue().unclear:
        raise plugins.unknown("task", task, key="task")
    if plugin is None:
        plugins.find("task", task, key="task")  # one that shows up on import only, or none
    known = None if plugin is None else options_of(plugin)
    for key in own:
        if known is not None and key.removeprefix(OWN).split(".")[0] not in known:
            raise unknown_key(key, list(known))


def _words(job: Job) -> list[str]:
    """A job's options as they would be typed; only texts can be."""
    return [
        f"{key}={value}"
        for key, value in job.options.items()
        if not key.startswith(OWN) and isinstance(value, str)
    ]


def carries_config(job: Job) -> bool:
    """Whether a job's task does what a config says; of those of others nothing is known."""
    plugin = plugins.catalogue().lookup("task", job.task)
    return plugin is not None and class_value(plugin, "carries_config") is True


def takes(job: Job) -> str:
    """The name of the option that says what is brought to a job's config: image, root, text, ..."""
    if not carries_config(job) or not job.config:
        return ""
    content = read_experiment(shipped.config_file(job.config), _words(job))
    plugin = plugins.catalogue().lookup("data", str(content.get("data_type", "")))
    if plugin is None:
        return ""
    return str(class_value(plugin, "brought") or "")


def make_executor(cfg: BatchConfig, changed: Changed) -> Executor:
    """The executor that the words name."""
    if cfg.executor == "ray":
        from studio.jobs.ray import RayExecutor

        return RayExecutor(cfg.address, cfg.workers, changed, tasks=(cfg.task,))
    from studio.jobs.local import LocalExecutor

    return LocalExecutor(cfg.workers, changed, tasks=(cfg.task,))


def summed_up(batch: Batch, states: Counter[str]) -> int:
    """Say what came of it; returns the exit code."""
    done, total = states[Phase.DONE], len(batch.items)
    print(f"{done} of {total} done", end="")
    print("".join(f", {n} {phase}" for phase, n in states.items() if phase != Phase.DONE), end="")
    left = total - sum(states.values())
    print(f", {left} without a state: the same command goes on" if left else "")
    bad = [row for row in batch.log.rows.values() if row["state"] != Phase.DONE]
    for row in bad[:5]:
        print(f"  {row['name']}: {(row['error'] or row['state']).splitlines()[0]}")
    if bad:
        more = f"  ... and {len(bad) - 5} more in {batch.log.path}; " if len(bad) > 5 else "  "
        print(f"{more}again=true tries them once more")
    print(batch.out / "index.html")
    return ALL_DONE if done == total else SOME_FAILED
