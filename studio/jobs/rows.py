"""Lists of what is to be done: CSV and JSONL files, a job a row."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.config import ExperimentConfig, parse_config
from studio.errors import ConfigError, DataError
from studio.io.reading import MOST_TEXT, read_bytes, reading
from studio.io.yaml_text import Word
from studio.jobs.record import Job
from studio.plugins.parsing import unknown_key

LISTS = (".csv", ".jsonl")
OF_JOBS = ("config", "text", "label", "seed", "steps", "seconds", "timeout", "retries")
"""Columns that a job has, too."""
FILES = ("picture", "pictures", "capture", "pred", "reference")
"""Columns that name files; relative paths start from the list's folder."""
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
TOP = tuple(field.name for field in dataclasses.fields(ExperimentConfig))


def jobs_of_list(path: Path, base: Job) -> list[tuple[str, Job]]:
    """Read a list.

    Args:
        path: of a CSV file with a header (commas, semicolons or tabs between cells), or of a JSONL
            file with an object a line. Columns are those of `OF_JOBS` and `FILES`, and any option
            of the config with its dotted key; what a row leaves empty is as in `base`.
        base: see there.

    Returns:
        The jobs, each with its place in the list, for messages.

    Raises:
        DataError: if the file cannot be read.
        ConfigError: if a column or a value means nothing; names the line.
    """
    read = _csv if path.suffix.lower() == ".csv" else _jsonl
    placed = [(f"{path.name} line {line}", row) for line, row in read(path)]
    return [(where, _job(row, base, path, where)) for where, row in placed]


def _text(path: Path) -> str:
    """What a list says: UTF-8, or UTF-16 that begins with its mark, as spreadsheets write it."""
    content = read_bytes(path, MOST_TEXT)
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return content.decode("utf-16")
    return content.decode("utf-8-sig").removeprefix("\ufeff")


def _between_cells(text: str) -> str:
    """What stands between the cells: a comma, or what spreadsheets of other countries write."""
    header = text.lstrip().partition("\n")[0]
    return max(_NAMES, key=header.count)


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with reading(path, "CSV in UTF-8, or in UTF-16 with its mark, with a header"):
        text = _text(path)
        between = _between_cells(text)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=between, strict=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        first = reader.line_num
        rows = [(reader.line_num, row) for row in reader]
    _check_columns([name for name in columns if name], f"{path.name} line {first}")
    for line, row in rows:
        if None in row or None in row.values():
            raise DataError(
                f"{path.name} line {line} has {'more' if None in row else 'fewer'} cells than the "
                "header.",
                hint=f"a cell with {_NAMES[between]} in it needs quotes around it",
            )
        yield line, {key.strip(): value for key, value in row.items()}


def _jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with reading(path, "JSONL in UTF-8, or in UTF-16 with its mark"):
        lines = _text(path).split("\n")
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        with reading(f"{path} line {line}", "one JSON object a line", problem="is no JSON"):
            row = json.loads(text)
        if not isinstance(row, dict):
            raise DataError(f"{path.name} line {line} is no JSON object.", allowed='{"picture": …}')
        yield line, row


def _check_columns(names: Iterable[str], where: str) -> None:
    """Refuse columns that mean nothing, or that are there twice."""
    seen = set()
    for name in names:
        if name not in (*OF_JOBS, *FILES, *TOP) and "." not in name:
            raise ConfigError(
                f"{where}: {unknown_key(name, [*OF_JOBS, *FILES])}",
                hint="options of the config have dotted keys, as on the command line",
            )
        if name in seen:
            raise ConfigError(f"{where} has two columns '{name}'.")
        seen.add(name)


def _job(row: Mapping[str, Any], base: Job, path: Path, where: str) -> Job:
    """The job of a row."""
    given = {key: value for key, value in row.items() if value not in ("", None)}
    _check_columns(given, where)
    files = _files(given, path.resolve().parent, where)
    values = dataclasses.asdict(base)
    own = {key: _word(given[key]) for key in OF_JOBS if key in given}
    reference = files.pop("reference", [])
    if "pred" not in files and reference:
        given["task.reference"] = reference[0]
        reference = []
    inputs = [file for found in files.values() for file in found] + reference
    options = {k: v for k, v in given.items() if k not in (*OF_JOBS, *FILES)}
    values |= {"inputs": inputs, "options": {**base.options, **options}}
    job = parse_config(Job, {**values, **own}, key=where)
    return dataclasses.replace(job, label=job.label or _called(job, inputs))


def _files(row: Mapping[str, Any], folder: Path, where: str) -> dict[str, list[str]]:
    """The files of a row, by column."""
    found = {}
    for column in FILES:
        if column not in row:
            continue
        value = row[column]
        if isinstance(value, str) and value.startswith("[") and column == "pictures":
            value = Word(value).tree
        several = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in several) or "\0" in "".join(several):
            raise ConfigError(f"{where}: {column} is {value!r}.", allowed="paths")
        if len(several) > 1 and column != "pictures":
            raise ConfigError(f"{where}: {column} is {value!r}.", hint="several go to `pictures`")
        found[column] = [str(folder / str(one)) for one in several]
    given = [column for column in found if column not in ("pred", "reference")]
    if len(given) > 1:
        raise ConfigError(f"{where} has {' and '.join(given)}.", allowed="one of them")
    return found


def _word(value: Any) -> Any:
    return Word(value) if isinstance(value, str) else value


def _called(job: Job, inputs: list[str]) -> str:
    """What a row is called that has no label."""
    if not inputs:
        return job.text[:60]
    first = Path(inputs[0])
    return first.name if first.is_dir() else first.stem
