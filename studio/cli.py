"""The command line: verbs, overrides, and the one path from a config to a mesh."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import studio
from studio import progress
from studio.console import check_text, guarded, say_stopped
from studio.errors import ConfigError, StudioError, Terminated
from studio.files import explained

VERBS = ("train", "validate", "test", "export")

EPILOG = """\
options of the experiment are words of the form key=value, with dotted keys:
  data.image=picture.png       any key of the YAML file, or of a plugin that it names
  trainer.max_steps=500        how long to train
  resume=last                  go on from the newest checkpoint of this experiment (or a path)
  use_timestamp=false          write to the fixed folder outputs/<name>/<tag>

--evaluate takes these words instead (protocols: studio, eschernet, syncdreamer, viewfusion):
  pred=... reference=...       two meshes, or two folders of views or pictures
  protocol=studio out=evaluation.json lpips=FOLDER match=name|order rotate_deg=0

--prepare nmr writes the NMR data set as tar shards for training:
  source=NMR_Dataset.zip out=FOLDER shards=16 percent=100 seed=0 withhold=car,chair lists=official

--filter-views ROOT writes valid_paths.json and invalid_paths.json for training:
  views=12 transparent=3 objects=LIST out=valid_paths.json move=../invalid processes=0

--visualise-epipolar FOLDER draws what two views of a capture see of each other:
  views=0,1 out=FOLDER side=32 level=2 points=6 at=x,y,... frames=48 tile=320

examples:
  python launch.py --config configs/epidiff-neus.yaml --train --export data.image=picture.png
  python launch.py --config configs/epidiff-neus.yaml --export resume=last
  python launch.py --evaluate pred=model.glb reference=truth.obj protocol=studio
  python launch.py --list
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(
        prog="launch.py",
        description="Pictures in, a textured mesh out; every step between is a plugin.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="the experiment, a YAML file")
    verbs = parser.add_argument_group("what to do (may be combined)")
    verbs.add_argument("--train", action="store_true", help="train, or fit to the input")
    verbs.add_argument("--validate", action="store_true", help="measure on validation data")
    verbs.add_argument("--test", action="store_true", help="measure on test data")
    verbs.add_argument("--export", action="store_true", help="write the mesh (or the weights)")
    looks = parser.add_argument_group("looking around (no config needed)")
    looks.add_argument("--list", action="store_true", help="list every plugin")
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
    parser.add_argument("--verbose", action="store_true", help="show tracebacks and all messages")
    parser.add_argument("--version", action="version", version=f"studio {studio.__version__}")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="see below")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words after the program's name; None takes them from `sys.argv`.

    Returns:
        The exit code: 0 when all went well, 2 after a user's mistake, 130 after Ctrl-C,
        143 after a termination signal.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in words
    progress.enabled = True
    with guarded():
        try:
            check_text(words)
            check_place()
            code = _dispatch(words)
            sys.stdout.flush()
            return code
        except StudioError as error:
            return _refuse(error, verbose)
        except OSError as error:
            if (clear := explained(error)) is None:
                raise
            return _refuse(clear, verbose)
        except (KeyboardInterrupt, Terminated) as stop:
            say_stopped("\nstopped.")
            return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def check_place() -> None:
    """Refuse to start in a working folder that is gone: every path counts from there.

    Raises:
        ConfigError: saying so.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "the working folder does not exist any more.", hint="cd to another one"
        ) from error


def _refuse(error: StudioError, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return 2


def _dispatch(words: list[str]) -> int:
    parser = make_parser()
    options, extra = parser.parse_known_intermixed_args(words)
    if options.list:
        from studio.listing import print_listing

        print_listing(verbose=options.verbose)
        return 0
    if options.doctor:
        from studio.doctor import print_report

        print_report()
        return 0
    from studio.config import check_overrides

    check_overrides([*extra, *options.overrides])
    verbs = [verb for verb in VERBS if getattr(options, verb)]
    if options.evaluate:
        if options.config is not None or verbs:
            raise ConfigError(
                "--evaluate stands alone.",
                allowed="--evaluate pred=... reference=... [protocol=...] [out=...]",
                hint="export first, then evaluate the exported file",
            )
        from studio.evaluate import run_evaluation

        return run_evaluation(options.overrides)
    if options.prepare:
        if options.config is not None or verbs:
            raise ConfigError("--prepare stands alone.", allowed="--prepare nmr source=... out=...")
        from studio.data.nmr_shards import run_prepare

        return run_prepare(options.overrides)
    if options.filter_views:
        if options.config is not None or verbs:
            raise ConfigError("--filter-views stands alone.", allowed="--filter-views ROOT")
        from studio.data.filter_views import run_filter

        return run_filter(options.filter_views, options.overrides)
    if options.visualise_epipolar:
        if options.config is not None or verbs:
            raise ConfigError(
                "--visualise-epipolar stands alone.", allowed="--visualise-epipolar FOLDER"
            )
        from studio.epipolar_pictures import run_pictures

        return run_pictures(options.visualise_epipolar, options.overrides)
    if options.config is None and not verbs and not options.overrides:
        parser.print_help()
        return 0
    if options.config is None:
        raise ConfigError(
            "--config is missing.", hint="name a YAML file, for example one of configs/"
        )
    if not verbs:
        raise ConfigError(
            "nothing to do with the config.",
            allowed="--train, --validate, --test, --export, or several of them",
        )
    return run_config(options.config, verbs, options.overrides, words, verbose=options.verbose)


def run_config(
    path: str,
    verbs: Sequence[str],
    overrides: Sequence[str],
    words: Sequence[str],
    *,
    verbose: bool = False,
) -> int:
    """Check the config, then carry out the verbs.

    Args:
        path: the YAML file.
        verbs: any of `VERBS`.
        overrides: `key=value` words.
        words: the whole command line, for cmd.txt and messages.
        verbose: let libraries talk.
    """
    from studio.config import load_experiment
    from studio.early_checks import check_early

    check_early(path, overrides)
    with progress.StageProgress("starting"):
        experiment = load_experiment(path, overrides)
        import pytorch_lightning  # noqa: F401  here, as it takes seconds

        from studio.experiment import Experiment

    return Experiment(experiment, ["launch.py", *words], verbose=verbose).run(verbs)
