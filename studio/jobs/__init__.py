"""Pieces of work, each with a folder of its own that is its record, and what carries them out."""

from studio.jobs.executor import Executor
from studio.jobs.local import LocalExecutor
from studio.jobs.record import FINAL, Job, Phase, Record, State

__all__ = ["FINAL", "Executor", "Job", "LocalExecutor", "Phase", "Record", "State"]
