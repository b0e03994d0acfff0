"""The words of the command line: flags, commands and what `--help` says."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from studio.errors import ConfigError
from studio.version import __version__

VERBS = ("train", "validate", "test", "export")
COMMANDS = {
    "run": "--config",
    "list": "--list",
    "doctor": "--doctor",
    "evaluate": "--evaluate",
    "prepare": "--prepare",
    "filter-views": "--filter-views",
    "epipolar": "--visualise-epipolar",
    "batch": "--batch",
    "ui": "--ui",
    "view": "--view",
}
"""The flag that each command stands for."""
NEEDS = {
    "run": ("a config, a YAML file or the name of one", "studio run epidiff-neus"),
    "prepare": ("the name of a data set", "studio prepare nmr source=NMR_Dataset.zip out=shards"),
    "filter-views": ("the folder of a views_release data set", "studio filter-views views_release"),
    "epipolar": ("the folder of a capture", "studio epipolar load/posed/car views=0,3"),
    "batch": (
        "a folder of pictures or captures, or a CSV or JSONL list",
        "studio batch pictures/ config=epidiff-neus",
    ),
    "view": (
        "the folder of a run, a job or a capture",
        "studio view outputs/epidiff-neus/default",
    ),
}
"""What has to be the first word of a command, and an example."""
EPILOG = """\
commands say the same as the flags (`run CONFIG` is `--config CONFIG`; where no verb is given, it
trains and exports):
  run CONFIG [--train] [--validate] [--test] [--export] [key=value ...]
  list [NAME]
  doctor
  evaluate pred=... reference=... [key=value ...]
  prepare DATASET source=... out=... [key=value ...]
  filter-views ROOT [key=value ...]
  epipolar FOLDER [key=value ...]
  batch INPUTS config=... [key=value ...]
  ui [key=value ...]
  view RUN [key=value ...]

options of the experiment are words of the form key=value, with dotted keys:
  data.image=picture.png       any key of the YAML file, or of a plugin that it names
  trainer.max_steps=500        how long to train
  resume=last                  go on from the newest checkpoint of this experiment (or a path)
  use_timestamp=false          write to the fixed folder outputs/<name>/<tag>

evaluate takes these words instead (protocols: studio, eschernet, syncdreamer, viewfusion):
  pred=... reference=...       two meshes, or two folders of views or pictures
  protocol=studio out=evaluation.json lpips=FOLDER match=name|order rotate_deg=0

prepare nmr writes the NMR data set as tar shards for training:
  source=NMR_Dataset.zip out=FOLDER shards=16 percent=100 seed=0 withhold=car,chair lists=official

filter-views ROOT writes valid_paths.json and invalid_paths.json for training:
  views=12 transparent=3 objects=LIST out=valid_paths.json move=../invalid processes=0

epipolar FOLDER draws what two views of a capture see of each other:
  views=0,1 out=FOLDER side=32 level=2 points=6 at=x,y,... frames=48 tile=320

batch INPUTS carries out many jobs, for a folder of pictures or captures, or a CSV or JSONL list:
  config=... out=outputs/batch task=make executor=local|ray address=auto workers=0 part=3/8 seed=0
  steps=0 seconds=0 timeout=0 retries=1 again=false, and options of the config with dotted keys

ui serves the web page, HTTP and MCP (extra `ui`; all words: docs/server.md):
  host=127.0.0.1 port=7860 jobs=outputs/jobs workers=0 password=... queue=16 keep=100 open=true

view RUN shows a run (while it is made, too), a job or a capture in a browser:
  host=127.0.0.1 port=8080 data_type=capture data.background=none (data.*: of a capture)

examples (`studio`, `python -m studio` and `python launch.py` are the same program):
  studio run epidiff-neus data.image=picture.png
  studio run epidiff-neus --export resume=last
  studio evaluate pred=model.glb reference=truth.obj protocol=studio
  studio batch pictures/ config=epidiff-neus out=outputs/mine
  python launch.py --config configs/epidiff-neus.yaml --train --export data.image=picture.png
  python launch.py --list
"""


class Parser(argparse.ArgumentParser):
    """Refuses words as the rest of the program does."""

    def error(self, message: str) -> NoReturn:
        """Refuse what is not understood.

        Raises:
            ConfigError: always.
        """
        for command, flag in COMMANDS.items():
            if command in NEEDS and message.startswith(f"argument {flag}: expected one"):
                raise _needs(command, flag)
        raise ConfigError(f"{message}.", hint="--help shows all flags and commands")


def make_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = Parser(
        prog="studio",
        description="Pictures in, a textured mesh out; every step between is a plugin.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="the experiment: a YAML file, or its name")
    verbs = parser.add_argument_group("what to do (may be combined)")
    verbs.add_argument("--train", action="store_true", help="train, or fit to the input")
    verbs.add_argument("--validate", action="store_true", help="measure on validation data")
    verbs.add_argument("--test", action="store_true", help="measure on test data")
    verbs.add_argument("--export", action="store_true", help="write the mesh (or the weights)")
    looks = parser.add_argument_group("looking around (no config needed)")
    looks.add_argument(
        "--list",
        metavar="NAME",
        nargs="?",
        const="",
        help="list every plugin, or the options of those of that name",
    )
    looks.add_argument("--doctor", action="store_true", help="tell what works on this machine")
    looks.add_argument(
        "--evaluate",
        action="store_true",
        help="measure pred=... against reference=..., meshes or folders of views, by protocol=...",
    )
    looks.add_argument(
        "--prepare", metavar="DATASET", choices=["nmr"], help="write a data set for training: nmr"
    )
    looks.add_argument(
        "--filter-views",
        metavar="ROOT",
        help="list the objects of a views_release folder that can be trained on",
    )
    looks.add_argument(
        "--visualise-epipolar",
        metavar="FOLDER",
        help="draw epipolar lines and SPAD's masks between two views of a capture, and a GIF",
    )
    looks.add_argument("--ui", action="store_true", help="serve the web page, HTTP and MCP")
    looks.add_argument(
        "--batch",
        metavar="INPUTS",
        help="carry out a config for every picture, capture or row of INPUTS",
    )
    looks.add_argument(
        "--view", metavar="RUN", help="show a run, a job or a capture in a browser, and follow it"
    )
    parser.add_argument("--verbose", action="store_true", help="show tracebacks and all messages")
    parser.add_argument("--version", action="version", version=f"studio {__version__}")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="see below")
    return parser


def check_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuse a flag that is none, with the nearest one that is; other words pass.

    Raises:
        ConfigError: for the first such word.
    """
    flags = [*dict.fromkeys(re.findall(r"--[a-z][a-z-]*", parser.format_usage()))]
    for flag in (word.partition("=")[0] for word in words if word.startswith("-")):
        near = difflib.get_close_matches(flag, flags, n=1, cutoff=0.8)
        raise ConfigError(
            f"'{flag}' is an option that does not exist.",
            allowed=f"{', '.join(flags)}, or words of the form key=value",
            hint=f"did you mean '{near[0]}'?" if near else "--help says what they do",
        )


def check_no_words(flag: str, words: Sequence[str]) -> None:
    """Refuse words beside a flag that takes none.

    Raises:
        ConfigError: naming the first one.
    """
    if words:
        raise ConfigError(f"{flag} takes no '{words[0]}'.", allowed=f"{flag} alone")


def in_flags(words: Sequence[str]) -> list[str]:
    """Say a command in flags: `run CONFIG x=y` is `--config CONFIG x=y --train --export`.

    Words that begin with no command stay as they are.

    Raises:
        ConfigError: if a command is none, or lacks what it is about.
    """
    if words and re.fullmatch(r"[a-z][a-z-]*", words[0]) and words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        raise ConfigError(
            f"'{words[0]}' is no command.",
            allowed=f"{', '.join(COMMANDS)}, or words of the form key=value",
            hint=f"did you mean '{near[0]}'?" if near else None,
        )
    if not words or words[0] not in COMMANDS:
        return list(words)
    command, rest = words[0], list(words[1:])
    if {"-h", "--help"} & set(rest):
        return ["--help"]
    if command in NEEDS and (not rest or rest[0].startswith("-") or _is_option(rest[0])):
        raise _needs(command, command)
    if command == "run" and not {f"--{verb}" for verb in VERBS} & set(rest):
        rest += ["--train", "--export"]
    return [COMMANDS[command], *rest]


def _is_option(word: str) -> bool:
    """Whether a word is of the form key=value, not the path of a file with = in its name."""
    return re.match(r"[\w.]+=", word) is not None and not Path(word).exists()


def _needs(command: str, said: str) -> ConfigError:
    what, example = NEEDS[command]
    return ConfigError(f"{said} needs {what}.", hint=f"for example: {example}")
