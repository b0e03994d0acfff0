"""Tasks of a compiled loop on several threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from studio.ops.compiled import kernel
from studio.ops.scalars_cpu import take
from studio.ops.threads import in_threads, kernels_only


@kernel
def count_up(taken, tasks, counts):
    task = take(taken)
    while task < tasks:
        counts[task] += 1
        task = take(taken)


@pytest.fixture(params=(1, 2, 5))
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_task_is_carried_out_once(threads: int) -> None:
    for tasks in (0, 1, 3, 100_000):
        counts = np.zeros(tasks, np.int64)
        in_threads(count_up, tasks, counts)
        assert np.all(counts == 1)


def test_a_loop_runs_on_as_many_threads_as_torch_uses(threads: int) -> None:
    together = threading.Barrier(threads)
    seen = set()

    def loop(taken: np.ndarray, tasks: int) -> None:
        together.wait(20)  # for all others
        seen.add(threading.get_ident())

    in_threads(loop, 10)
    assert len(seen) == threads


def test_kernels_keep_their_threads_while_torch_has_one(threads: int) -> None:
    together = threading.Barrier(threads)
    seen = set()

    def loop(taken: np.ndarray, tasks: int) -> None:
        together.wait(20)
        seen.add(threading.get_ident())

    with pytest.raises(ValueError, match="left early"), kernels_only(), kernels_only():
        assert torch.get_num_threads() == 1
        in_threads(loop, 10)
        raise ValueError("left early")
    assert len(seen) == threads
    assert torch.get_num_threads() == threads
    in_threads(loop, 10)


def test_an_error_comes_when_all_threads_have_stopped(threads: int) -> None:
    ended = []

    def loop(taken: np.ndarray, tasks: int) -> None:
        taken[0] += 1
        if taken[0] == 1:
            raise ValueError("the first one")
        time.sleep(0.05)
        ended.append(True)

    with pytest.raises(ValueError, match="the first one"):
        in_threads(loop, 10)
    assert len(ended) == threads - 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own(threads: int) -> None:
    in_threads(count_up, 10, np.zeros(10, np.int64))
    child = os.fork()
    if child == 0:
        counts = np.zeros(10, np.int64)
        in_threads(count_up, 10, counts)
        os._exit(0 if np.all(counts == 1) else 1)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child waits for threads that it does not have")
    assert os.waitstatus_to_exitcode(status) == 0
