"""One mesh or set of views against another, under a named protocol."""

from studio.evaluation.judge import evaluate, measured
from studio.evaluation.options import Judging
from studio.evaluation.record import finite

__all__ = ["Judging", "evaluate", "finite", "measured"]
