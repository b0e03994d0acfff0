"""The service in this process, with an executor that needs no processes: for tests and for trying.

    python -m tests.local_server port=7860 jobs=FOLDER

Jobs run one after the other in a thread, by `studio.load`, or by a function that a test gives.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.errors import Cancelled, StudioError
from studio.jobs import Phase, Record
from studio.server.desk import Desk
from studio.server.helper import Helper
from studio.server.run import listen, settings
from studio.server.settings import ServerConfig

Do = Callable[[Record, Callable[[int, int, str], None]], dict[str, float]]


class ThreadExecutor:
    """Carries jobs out in a thread, in the order in which they come."""

    def __init__(self, do: Do) -> None:
        self.do = do
        self._queue: queue.Queue[Record | None] = queue.Queue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, record: Record) -> None:
        self._queue.put(record)

    def cancel(self, record: Record) -> None:
        record.cancel()
        if record.state.phase == Phase.WAITING:
            record.note(phase=Phase.CANCELLED, ended=time.time())

    def close(self) -> None:
        self._closed = True
        self._queue.put(None)
        self._thread.join(30)

    def _run(self) -> None:
        while (record := self._queue.get()) is not None and not self._closed:
            with contextlib.suppress(FileNotFoundError, StudioError):
                if not record.state.over:
                    self._work(record)

    def _work(self, record: Record) -> None:
        record.note(phase=Phase.RUNNING, began=time.time(), attempt=record.state.attempt + 1)
        record.result.mkdir(exist_ok=True)

        def tell(done: int, total: int, stage: str) -> None:
            if record.cancelled or self._closed:
                raise Cancelled("cancelled")
            record.note(done=done, total=total, stage=stage)

        try:
            figures = self.do(record, tell)
            record.note(phase=Phase.DONE, figures=figures, ended=time.time())
        except Cancelled:
            if not self._closed:  # else it goes on after the next start
                record.note(phase=Phase.CANCELLED, ended=time.time())
        except StudioError as error:
            record.note(phase=Phase.FAILED, error=str(error), ended=time.time())


def make(record: Record, tell: Callable[[int, int, str], None]) -> dict[str, float]:
    """Do a job as the task `make` does."""
    import studio
    from studio.io.images import save_png
    from studio.models.hull.model import VisualHull

    job = record.job
    options = {k: v for k, v in job.options.items() if not k.startswith("task.")}
    model = studio.load(job.config, options)
    inputs = [record.path(name) for name in job.inputs]
    given: Any = job.text or (inputs[0] if len(inputs) == 1 else inputs)
    views = model.views(given, seed=job.seed, progress=tell)
    views.save(record.result / "views")
    for i, picture in enumerate(views.images[:1]):
        save_png(record.result / f"condition-{i}.png", picture)
    with contextlib.suppress(StudioError):
        VisualHull().fit(views, steps=1).mesh(64).save(record.result / "first.glb")
    result = model(given, seed=job.seed, steps=job.steps, seconds=job.seconds, progress=tell)
    result.save(record.result)
    record.note(warnings=result.warnings)
    return {}


@functools.cache
def shared_helper() -> Helper:
    """The helper of all servers of this process, which then imports torch once."""
    helper = Helper()
    atexit.register(helper.close)
    return helper


@contextlib.contextmanager
def serving(config: ServerConfig, do: Do = make) -> Iterator[tuple[str, Desk]]:
    """Serve at a free port, in a thread.

    Yields:
        The address, and the desk.
    """
    import uvicorn

    from studio.server.service import make_app

    listener = listen(config)
    with contextlib.closing(ThreadExecutor(do)) as executor:
        desk = Desk(config, executor)
        app = make_app(config, desk, shared_helper())
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", desk
        finally:
            server.should_exit = True
            thread.join(20)
            listener.close()


def main() -> None:
    config = settings(sys.argv[1:])
    Path(config.jobs).mkdir(parents=True, exist_ok=True)
    with serving(config) as (address, _):
        print(address, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(1)


if __name__ == "__main__":
    main()
