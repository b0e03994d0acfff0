"""The executor of a Ray cluster: the same jobs, on as many machines as there are.

Machines share the file system: a job's folder, its inputs and what configs name by paths have to
lie at the same place everywhere. An actor is one warm worker on one core or graphics card; Ray
decides where. Jobs that are lost with a machine are done again on another one.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.jobs.attempt import attempt, gave_up, warm_up
from studio.jobs.executor import Changed
from studio.jobs.pool import BUSY_SECONDS, GRACE_SECONDS, Piece, Pool
from studio.jobs.ray_cluster import environment, joined
from studio.jobs.record import FINAL, Phase, Record
from studio.jobs.task import Shelf
from studio.runs.lock import NAME

LOOK_SECONDS = 0.2
"""Between two looks at what actors do."""
HIRE_SECONDS = 2.0
"""Between two looks at how many the cluster has room for."""
MOST_LOSSES = 20
"""How often a job is done again whose machine was lost."""


class Worker:
    """What an actor is: a process that carries out one job after another.

    Args:
        tasks: see `studio.jobs.worker.Worker`.
        place: working folder of the one who started the cluster.
    """

    def __init__(self, tasks: Sequence[str], place: str) -> None:
        from studio import progress
        from studio.runs.trainer import quiet_libraries, show_own_messages

        with contextlib.suppress(OSError):
            os.chdir(place)
        quiet_libraries()
        show_own_messages()
        progress.enabled = True
        warm_up(tasks)
        self.shelf = Shelf()

    def where(self) -> tuple[str, str, int]:
        """Node, host and process, once it can work."""
        import platform

        import ray

        return ray.get_runtime_context().get_node_id(), platform.node(), os.getpid()

    def do(self, folder: str, device: str) -> str:
        """Carry a job out; returns its phase, or "busy"."""
        import gc

        try:
            return attempt(Record(folder), device=device, shelf=self.shelf) or "busy"
        finally:
            gc.collect()


@dataclass(eq=False)
class Hand:
    """An actor as the executor sees it.

    Attributes:
        actor: its handle.
        starts: reference that is there once it can work.
        at: node, host, process.
        piece: what it works on.
        does: reference to the phase of that.
        asked: when that was asked to end.
    """

    actor: Any
    starts: Any
    at: tuple[str, str, int] = ("", "", 0)
    piece: Piece | None = None
    does: Any = None
    asked: float = field(default=0.0)
    seen: int = 0


class RayExecutor(Pool):
    """Carries jobs out on a Ray cluster; see `studio.jobs.executor.Executor`.

    Args:
        address: of the cluster; auto: the one that this machine is part of; empty: one that is
            started here and ends with this process.
        workers: jobs at a time; 0: one a graphics card of the cluster, else one a core.
        changed: see `Changed`.
        tasks: see `studio.jobs.worker.Worker`.

    Raises:
        ConfigError: if there is no such cluster.
    """

    def __init__(
        self,
        address: str = "",
        workers: int = 0,
        changed: Changed = lambda record: None,
        tasks: Sequence[str] = ("make",),
    ) -> None:
        super().__init__(changed)
        self._wanted, self._tasks = workers, tasks
        self._ray, self._ours = joined(address)
        cards = self._ray.cluster_resources().get("GPU", 0)
        self.device = "cuda:0" if cards else "cpu"
        self._hands: list[Hand] = []
        self._hired = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True, name="studio-ray")
        self._thread.start()

    def close(self) -> None:
        """See `Executor`."""
        super().close()
        self._thread.join()
        if self._ours:
            self._ray.shutdown()

    # --- the loop -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.closed:
            self._hire()
            for hand in list(self._hands):
                self._look_at(hand)
            refs = [hand.does for hand in self._hands if hand.does is not None]
            if refs:
                self._ray.wait(refs, timeout=LOOK_SECONDS)
            else:
                time.sleep(LOOK_SECONDS)
        for hand in self._hands:
            self._let_go(hand)
            if hand.piece is not None:
                self.put_down(hand.piece, Phase.WAITING)

    def _hire(self) -> None:
        """Have as many actors as there is room and work for."""
        if time.monotonic() < self._hired + HIRE_SECONDS:
            return
        self._hired = time.monotonic()
        name = "GPU" if self.device != "cpu" else "CPU"
        room = self._wanted or int(self._ray.cluster_resources().get(name, 0))
        for _ in range(min(room, self.busy) - len(self._hands)):
            actor = self._actor.remote(list(self._tasks), str(Path.cwd()))
            self._hands.append(Hand(actor, actor.where.remote()))

    @property
    def _actor(self) -> Any:
        cards = 0 if self.device == "cpu" else 1
        return self._ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=cards,
            max_restarts=0,
            runtime_env={"env_vars": environment(threads="" if cards else "1")},
        )

    def _look_at(self, hand: Hand) -> None:
        """Move an actor on: started, given a job, watched, or found to be gone."""
        try:
            if not hand.at[0]:
                if not self._there(hand.starts):
                    return
                hand.at = self._ray.get(hand.starts)
            if hand.does is None:
                self._give(hand)
            elif self._there(hand.does):
                self._over(hand, self._ray.get(hand.does))
            else:
                self._watch(hand)
        except self._ray.exceptions.RayTaskError as error:  # a refusal, or a mistake of ours
            self._refused(hand, error)
        except self._ray.exceptions.RayError:
            self._lost(hand)

    def _there(self, ref: Any) -> bool:
        return bool(self._ray.wait([ref], timeout=0)[0])

    def _give(self, hand: Hand) -> None:
        piece = self.take(wait=False)
        if piece is not None:
            hand.piece, hand.asked, hand.seen = piece, 0.0, 0
            hand.does = hand.actor.do.remote(str(piece.record.folder), self.device)

    def _over(self, hand: Hand, end: str) -> None:
        piece, hand.piece, hand.does = hand.piece, None, None
        assert piece is not None
        if end in FINAL:
            self.tell(piece.record)
            self.back(piece)
        else:
            self.back(piece, BUSY_SECONDS)
        self._give(hand)

    def _watch(self, hand: Hand) -> None:
        """Tell of changes; end what is to end, or takes too long."""
        assert hand.piece is not None
        record, now = hand.piece.record, time.time()
        try:
            stamp = (record.folder / "state.json").stat().st_mtime_ns
            job, state = record.job, record.state
        except (OSError, StudioError):  # its folder is gone
            return
        if stamp != hand.seen:
            hand.seen = stamp
            self.tell(record)
        if record.cancelled and not hand.asked:
            hand.asked = now
        late = bool(job.timeout and state.phase == Phase.RUNNING) and (
            now > state.began + job.timeout + GRACE_SECONDS
        )
        if late or (hand.asked and now > hand.asked + GRACE_SECONDS):
            self._let_go(hand)
            self._free_lock(hand, record)
            if late:
                self.put_down(hand.piece, Phase.FAILED, gave_up(job.timeout))
            else:
                self.put_down(hand.piece, Phase.CANCELLED)
            self._hired = 0.0

    # --- the end of actors ----------------------------------------------------------------------

    def _let_go(self, hand: Hand) -> None:
        self._hands = [other for other in self._hands if other is not hand]
        with contextlib.suppress(Exception):  # whatever Ray says of an actor that is gone
            self._ray.kill(hand.actor)

    def _refused(self, hand: Hand, error: Exception) -> None:
        piece, hand.piece, hand.does = hand.piece, None, None
        if piece is None:  # it could not even start
            self._let_go(hand)
            if (piece := self.take(wait=False)) is None:
                return
        self.put_down(piece, Phase.FAILED, str(getattr(error, "cause", None) or error))

    def _lost(self, hand: Hand) -> None:
        """An actor is gone: with its machine, or alone."""
        self._let_go(hand)
        self._hired = 0.0
        if hand.piece is None:
            return
        self._free_lock(hand, hand.piece.record)
        if self._alive(hand.at[0]) or hand.piece.losses >= MOST_LOSSES:
            self.crashed(hand.piece, 1)
        else:
            hand.piece.losses += 1
            self.put_down(hand.piece, Phase.WAITING, again=True)

    def _alive(self, node: str) -> bool:
        """Whether a machine is part of the cluster; it takes a while until that is known."""
        for _ in range(10):
            if node not in {n["NodeID"] for n in self._ray.nodes() if n["Alive"]}:
                return False
            time.sleep(0.3)
        return True

    @staticmethod
    def _free_lock(hand: Hand, record: Record) -> None:
        """Remove the lock of a process that is known to be gone, where no system can tell."""
        path = record.folder / NAME
        with contextlib.suppress(OSError, ValueError):
            import json

            holder = json.loads(path.read_text())
            if (holder.get("host"), holder.get("pid")) == hand.at[1:]:
                path.unlink()
