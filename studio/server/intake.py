"""From a request to a job, and from a job to what is asked of it: the same for HTTP and for MCP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from studio.errors import ConfigError, DataError, StudioError
from studio.jobs import Job, Phase, Record
from studio.plugins import discovery as plugins
from studio.plugins.defaults import class_value
from studio.server import light
from studio.server.answers import Refusal
from studio.server.converting import convert
from studio.server.desk import Desk
from studio.server.forms import Asked
from studio.server.helper import Helper
from studio.server.methods import Method, method_named, methods
from studio.server.report import FORMATS, Words
from studio.server.settings import ServerConfig
from studio.server.uploads import MOST_PICTURES, given_name, keep_capture, keep_picture, label

UNPACKED = 4
"""Times the size of an upload that may come out of an archive."""
LONGEST_SIDE = 2048
"""Pixels of a picture that is kept; a larger one is scaled down, as methods use 1,024 at most."""
MADE = "made"
"""Folder of a job for formats that were asked for."""
WANTED = {
    "image": "one picture",
    "images": f"one to {MOST_PICTURES} pictures",
    "text": "a text",
    "capture": "one zip of a capture's folder",
}


class Sent(Protocol):
    """A file that was sent."""

    filename: str | None
    file: BinaryIO


class Intake:
    """What is done for a visitor, whichever way he asks.

    Args:
        config: the service's options.
        desk: where jobs are.
        helper: process for what takes a moment.
    """

    def __init__(self, config: ServerConfig, desk: Desk, helper: Helper) -> None:
        self.config, self.desk, self.helper = config, desk, helper

    def methods(self) -> list[dict[str, Any]]:
        """Return what can be asked for; `pace`: seconds beside the fit and a step, once known."""
        told = []
        for method in methods().values():
            pace = self.desk.measured.pace(Job(config=method.name, options=PREVIEWS))
            known = None if pace is None else {"beside": pace[0], "step": pace[1]}
            told.append({**method.shown, "pace": known})
        return told

    def formats(self) -> list[dict[str, Any]]:
        """Return the kinds of mesh files that can be had."""
        told = []
        for row in plugins.listing():
            if row.kind == "format" and not row.error:
                suffix = str(class_value(row, "suffix") or f".{row.name}")
                told.append({"name": row.name, "suffix": suffix, "help": row.summary})
        return told

    def submit(self, visitor: str, wanted: Asked, files: Sequence[Sent]) -> Record:
        """Make a job of what was sent, once it is known that it can be done.

        Raises:
            StudioError: if it cannot, in words.
            Refusal: if the queue is full.
        """
        method = method_named(wanted.method)
        options = method.options(wanted.options)
        _check_brought(method, wanted, files)
        with self.desk.draft(visitor) as record:
            names, notes = self._keep(record, method, files)
            notes += self._judge(record, method, options, wanted.text, names)
            first = Path(next(iter(names.values()), "")).stem
            called = label(wanted.label) or label(wanted.text) or first
            job = Job(
                config=method.name,
                inputs=list(names),
                text=wanted.text if method.takes == "text" else "",
                options={**options, **formats_for(options), **PREVIEWS},
                seed=wanted.seed,
                steps=wanted.steps,
                seconds=wanted.seconds,
                timeout=self.config.minutes * 60,
                label=called,
            )
            self.desk.hand_in(record, job, names, notes)
        return record

    def prepare(
        self, given: Mapping[str, Any], files: Sequence[Sent]
    ) -> tuple[list[bytes], list[str]]:
        """Return the picture(s), as PNG files, that a method will be shown, and remarks.

        Of a text there are remarks alone.

        Raises:
            StudioError: if one cannot be used.
        """
        given = dict(given)
        method = method_named(str(given.pop("method", "")))
        text = str(given.pop("text", "") or "")
        options = given.pop("options", None) or given
        if not isinstance(options, dict):
            raise ConfigError(f"options is a {type(options).__name__}.", allowed="a JSON object")
        options = method.options({k if "." in k else f"data.{k}": v for k, v in options.items()})
        if method.takes == "capture":
            raise ConfigError(f"{method.name} takes {WANTED[method.takes]}: nothing is prepared.")
        _check_brought(method, Asked(text=text), files)
        with self.desk.scratch() as record:
            names, notes = self._keep(record, method, files)
            if method.takes == "text":
                return [], self._judge(record, method, options, text, names)
            paths = [str(record.folder / name) for name in names]
            with _called(record, names):
                pictures, more = self.helper(light.prepare, method.name, options, paths)
            words = _words(record, names)
            return pictures, [words(note) for note in (*notes, *more)]

    def mesh(self, record: Record, kind: str) -> tuple[Path, str]:
        """Return a file of the finished mesh in a format, and what to call it.

        Raises:
            Refusal: if there is no mesh yet, or no such format.
            StudioError: if it cannot be written.
        """
        known = {row["name"]: row["suffix"] for row in self.formats()}
        if kind not in known:
            raise Refusal(404, f"'{kind[:20]}' is no format.", allowed=", ".join(known))
        if record.state.phase != Phase.DONE:
            raise Refusal(409, "the mesh is not finished yet.", hint="Follow the job until it is.")
        title = label(record.job.label) or "model"
        there = record.result / f"model{known[kind]}"
        parts = [there.with_suffix(s) for s in (".mtl",)]
        if there.is_file() and not any(part.is_file() for part in parts):
            return there, f"{title}{known[kind]}"
        out = record.folder / MADE / "model"
        made = [out.with_suffix(known[kind]), Path(f"{out}.{kind}.zip")]
        for path in made:
            if path.is_file():
                return path, f"{title}{_tail(path, kind)}"
        try:
            path = Path(self.helper(convert, str(record.result), kind, str(out), title))
        except StudioError as error:
            raise type(error)(Words(record)(str(error))) from error
        return path, f"{title}{_tail(path, kind)}"

    # --- parts ----------------------------------------------------------------------------------

    def _keep(
        self, record: Record, method: Method, files: Sequence[Sent]
    ) -> tuple[dict[str, str], list[str]]:
        """Write what was sent below names of ours.

        Returns:
            its sender's names by ours, and what he should know.
        """
        record.inputs.mkdir(parents=True)
        names: dict[str, str] = {}
        notes: list[str] = []
        for i, sent in enumerate(files):
            name = given_name(sent.filename)
            if method.takes == "capture":
                most = UNPACKED * self.config.most_bytes
                path = keep_capture(sent.file, record.inputs / "capture", most)
            else:
                place = record.inputs / str(i)
                path, size = keep_picture(sent.file, name, place, self.config.most_megapixels)
                if max(size) > LONGEST_SIDE:
                    with _called(record, {path.relative_to(record.folder).as_posix(): name}):
                        path = Path(self.helper(light.shrink, str(path), LONGEST_SIDE))
                    was = f"{size[0]}x{size[1]}"
                    notes.append(f"{name} was scaled down from {was} to {LONGEST_SIDE} px.")
            names[path.relative_to(record.folder).as_posix()] = name
        return names, notes

    def _judge(
        self,
        record: Record,
        method: Method,
        options: Mapping[str, Any],
        text: str,
        names: Mapping[str, str],
    ) -> list[str]:
        if any(key.startswith("system.") for key in options):
            self.helper(light.check_export, method.name, dict(options))
        if method.takes == "text":
            return [] if method.words is None else method.words.notes(text)
        paths = [str(record.folder / name) for name in names]
        with _called(record, names):
            most = self.config.most_megapixels
            return self.helper(light.judge, method.name, dict(options), paths, most)  # type: ignore[no-any-return]


PREVIEWS = {"task.previews": True}
"""Meshes on the way, for the page."""
MORE = ("quads", "normal_map", "occlusion_map")
"""Of the exporter: what other formats can hold and a GLB file, from which they are made, does not
give back."""


def formats_for(options: Mapping[str, Any]) -> dict[str, Any]:
    """Formats that have to be written with the job, as they cannot be made from its GLB file."""
    if not any(options.get(f"system.exporter.{name}") for name in MORE):
        return {}
    return {FORMATS: ["glb", "ply", "obj", "usdz"]}


@contextlib.contextmanager
def _called(record: Record, names: Mapping[str, str]) -> Iterator[None]:
    """Let messages speak of files as their sender does."""
    try:
        yield
    except StudioError as error:
        raise type(error)(_words(record, names)(str(error))) from error


def _words(record: Record, names: Mapping[str, str]) -> Words:
    """Messages on files, and on the copies that stand in for them, by their sender's names."""
    looked = {str(Path(name).with_suffix(light.LOOK)): given for name, given in names.items()}
    return Words(record, {**names, **looked})


def _check_brought(method: Method, wanted: Asked, files: Sequence[Sent]) -> None:
    """Refuse what a method does not take.

    Raises:
        DataError: saying what it takes.
    """
    count, takes = len(files), method.takes
    most = {"images": MOST_PICTURES, "text": 0}.get(takes, 1)
    if takes == "text" and not wanted.text.strip():
        raise DataError(f"{method.name} takes a text, and none is given.", allowed="a few words")
    if takes != "text" and wanted.text.strip():
        raise DataError(f"{method.name} takes no text.", allowed=WANTED[takes])
    if not min(1, most) <= count <= most:
        given = "nothing is" if not count else f"{count} file{'s are' if count > 1 else ' is'}"
        raise DataError(f"{given} given to {method.name}.", allowed=WANTED[takes])


def _tail(path: Path, kind: str) -> str:
    return f".{kind}.zip" if path.suffix == ".zip" else path.suffix
