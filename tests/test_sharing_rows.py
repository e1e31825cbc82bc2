"""How rows are shared among threads: all of them are done, also where helpers cannot start or have no time."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from framencc.kernels.threads import share_rows

pytestmark = pytest.mark.timeout(60)
HEIGHT = 4096


def counting(counts: np.ndarray) -> Callable[[int, int], None]:
    def work(y0: int, y1: int) -> None:
        counts[y0:y1] += 1

    return work


def within(seconds: float, action: Callable[[], None]) -> bool:
    """Do something in a thread; tell whether it has ended in time."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


@pytest.mark.parametrize("n_started", [0, 1, 2])
def test_all_rows_are_done_where_threads_cannot_be_started(monkeypatch, n_started: int) -> None:
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("framencc-kernel"):
            if len(started) >= n_started:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    threads = 21 + n_started  # a number that nothing else asks for, so that its helpers have not been started yet
    for _ in range(3):
        counts = np.zeros(HEIGHT, np.int64)
        assert within(10, lambda: share_rows(counting(counts), HEIGHT, threads))  # noqa: B023
        assert (counts == 1).all()
    monkeypatch.undo()
    kept = np.zeros(HEIGHT, np.int64)
    share_rows(counting(kept), HEIGHT, threads)
    assert (kept == 1).all()
    # What had been left for helpers that never started is not done later, into pictures that are somebody else's.
    assert (counts == 1).all()


@pytest.mark.parametrize("fails", [False, True])
def test_helpers_that_never_started_are_not_waited_for(fails: bool) -> None:
    """They are busy with somebody else's rows, which may be waiting for these."""
    begun, done = threading.Semaphore(0), threading.Event()

    def busy(y0: int, y1: int) -> None:
        begun.release()
        assert done.wait(30)

    others = threading.Thread(target=share_rows, args=(busy, HEIGHT, 3), daemon=True)
    others.start()
    for _ in range(3):  # the thread and both of its helpers
        assert begun.acquire(timeout=30)
    counts, caught = np.zeros(HEIGHT, np.int64), []

    def work(y0: int, y1: int) -> None:
        counts[y0:y1] += 1
        if fails and y0 > HEIGHT // 2:
            raise ValueError("a row is wrong")

    def share() -> None:
        try:
            share_rows(work, HEIGHT, 3)
        except ValueError as error:
            caught.append(str(error))

    in_time = within(10, share)
    before = counts.copy()
    done.set()
    others.join(30)
    assert in_time
    assert caught == (["a row is wrong"] if fails else [])
    assert fails or (counts == 1).all()
    share_rows(counting(np.zeros(HEIGHT, np.int64)), HEIGHT, 3)  # the helpers have looked at all that was left for them
    np.testing.assert_array_equal(counts, before)


def test_a_helper_that_shares_rows_itself_does_not_wait_for_its_own_kind() -> None:
    counts = np.zeros((HEIGHT // 64, HEIGHT), np.int64)

    def outer(y0: int, y1: int) -> None:
        for y in range(y0, y1):
            share_rows(counting(counts[y]), HEIGHT, 3)

    assert within(20, lambda: share_rows(outer, len(counts), 3, smallest=1))
    assert (counts == 1).all()


def test_an_error_of_a_helper_is_raised_and_nobody_writes_after_it() -> None:
    counts, failed = np.zeros(HEIGHT, np.int64), threading.Event()

    def work(y0: int, y1: int) -> None:
        if threading.current_thread() is not caller:
            failed.set()
            raise ValueError("a helper's row is wrong")
        assert failed.wait(30)
        counts[y0:y1] += 1

    caller = threading.current_thread()
    with pytest.raises(ValueError, match="a helper's row is wrong"):
        share_rows(work, HEIGHT, 3)
    before = counts.copy()
    share_rows(counting(np.zeros(HEIGHT, np.int64)), HEIGHT, 3)
    np.testing.assert_array_equal(counts, before)
