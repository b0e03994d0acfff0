"""The task `evaluate`: one mesh or set of views against another, for data sets object by object."""

from __future__ import annotations

from dataclasses import dataclass

from studio.errors import ConfigError
from studio.evaluation import Judging, finite, measured
from studio.io.files import write_json
from studio.jobs.task import Outcome, Task, Work
from studio.plugins.registry import register


@register("task", "evaluate")
class Evaluate(Task):
    """Measure a mesh or a folder of views against another, as `studio evaluate` does."""

    @dataclass
    class Config(Judging):
        """What is judged, and how."""

        pred: str = ""
        """What is judged; empty: the first input."""
        reference: str = ""
        """What it is judged against; empty: the next input."""

    def __init__(self, cfg: Config) -> None:
        """Take the options."""
        self.cfg = cfg

    def run(self, work: Work) -> Outcome:
        """See `Task.run`; leaves evaluation.json."""
        cfg, given = self.cfg, list(work.inputs)
        pair = [name or (given.pop(0) if given else "") for name in (cfg.pred, cfg.reference)]
        if given or not all(pair):
            raise ConfigError(
                f"{len(work.inputs)} inputs are given.",
                allowed="two in all: what is judged, and what it is judged against",
            )
        found = measured(cfg, *pair)
        write_json(work.result / "evaluation.json", finite(found), parents=False)
        return Outcome(dict(found["metrics"]), list(found["warnings"]))
