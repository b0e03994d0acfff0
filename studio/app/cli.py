"""The command line: commands, flags, and the one path from a config to a mesh."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from studio import progress
from studio.app.console import check_text, guarded, say_stopped
from studio.app.parser import VERBS, check_flags, check_no_words, in_flags, make_parser
from studio.errors import ConfigError, StudioError, Terminated
from studio.io.files import explained
from studio.io.paths import existing


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


def program() -> list[str]:
    """The words that started the program: studio, python -m studio or python launch.py."""
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        return ["python", "-m", "studio"]
    return ["studio"] if name.startswith("studio") else ["python", "launch.py"]


def _dispatch(words: list[str]) -> int:
    parser = make_parser()
    options, extra = parser.parse_known_intermixed_args(in_flags(words))
    check_flags(parser, extra)
    if options.list is not None or options.doctor:
        check_no_words("--doctor" if options.doctor else "--list", options.overrides)
    if options.list:
        from studio.app.docs_tables import print_options

        print_options(options.list)
        return 0
    if options.list is not None:
        from studio.app.listing import print_listing

        print_listing(verbose=options.verbose)
        return 0
    if options.doctor:
        from studio.app.doctor import print_report

        print_report()
        return 0
    from studio.plugins.overrides import check_overrides

    check_overrides([*extra, *options.overrides])
    verbs = [verb for verb in VERBS if getattr(options, verb)]

    def alone(usage: str, hint: str | None = None) -> None:
        if options.config is not None or verbs:
            raise ConfigError(f"{usage.split()[0]} stands alone.", allowed=usage, hint=hint)

    if options.evaluate:
        alone(
            "--evaluate pred=... reference=... [protocol=...] [out=...]",
            hint="export first, then evaluate the exported file",
        )
        from studio.evaluation.record import run_evaluation

        return run_evaluation(options.overrides)
    if options.prepare:
        alone("--prepare nmr source=... out=...")
        from studio.data.training.nmr_shards import run_prepare

        return run_prepare(options.overrides)
    if options.filter_views:
        alone("--filter-views ROOT")
        from studio.data.training.filter_views import run_filter

        return run_filter(options.filter_views, options.overrides)
    if options.batch:
        alone("--batch INPUTS config=... out=...")
        from studio.app.batch import run_batch

        return run_batch(options.batch, options.overrides)
    if options.visualise_epipolar:
        alone("--visualise-epipolar FOLDER")
        existing(Path(options.visualise_epipolar))
        from studio.app.epipolar_pictures import run_pictures

        return run_pictures(options.visualise_epipolar, options.overrides)
    if options.ui:
        alone("--ui host=... port=... jobs=...")
        from studio.server.run import run_ui

        return run_ui(options.overrides)
    if options.view:
        alone("--view RUN [port=8080]")
        existing(Path(options.view))
        from studio.live.view import run_view

        return run_view(options.view, options.overrides)
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
        path: the YAML file, or the name of one.
        verbs: any of `VERBS`.
        overrides: `key=value` words.
        words: the whole command line, for cmd.txt and messages.
        verbose: let libraries talk.
    """
    from studio.app.early_checks import check_early
    from studio.config import load_experiment
    from studio.io.shipped import config_file

    file = config_file(path)
    check_early(file, overrides, verbs=verbs)
    with progress.StageProgress("starting"):
        experiment = load_experiment(file, overrides)
        from studio.app.experiment import Experiment

    return Experiment(experiment, verbs, [*program(), *words], verbose=verbose).run()
