"""The bounded queue and the buffer pool: nothing lost, nothing twice, and everybody can always leave."""

import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framencc.conveyor import BufferPool, Conveyor, Stopped

pytestmark = pytest.mark.timeout(60)
SHAPE, DTYPE = (3, 4), np.dtype(np.uint8)


def in_thread(work):
    """Start `work` and return what waits for its result or its exception."""
    result = []

    def run():
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001  (handed to whoever asks for the outcome)
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def outcome(seconds=10.0):
        thread.join(seconds)
        assert not thread.is_alive(), "still waiting"
        return result[0]

    outcome.waits = lambda: (thread.join(0.1), thread.is_alive())[1]
    return outcome


def feed(conveyor, items, error=None):
    for item in items:
        conveyor.put(item)
    conveyor.end(error)


def test_items_come_in_order_and_then_the_end():
    conveyor = Conveyor(5)
    feed(conveyor, range(5))
    assert list(conveyor) == [0, 1, 2, 3, 4]
    assert list(conveyor) == []


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 6),
    n_items=st.integers(0, 120),
    pauses=st.lists(st.tuples(st.booleans(), st.integers(0, 119)), max_size=6),
)
def test_no_item_is_lost_doubled_or_moved_whoever_is_slow(size, n_items, pauses):
    conveyor = Conveyor(size)

    def items():
        for item in range(n_items):
            if (True, item) in pauses:
                time.sleep(0.001)
            yield item

    producer = in_thread(lambda: feed(conveyor, items()))
    received = []
    for item in conveyor:
        if (False, item) in pauses:
            time.sleep(0.001)
        received.append(item)
    assert received == list(range(n_items))
    assert producer() is None


def test_a_hundred_thousand_items_between_two_threads():
    conveyor = Conveyor(4)
    producer = in_thread(lambda: feed(conveyor, range(100_000)))
    received = list(conveyor)
    assert len(received) == 100_000
    assert all(after == before + 1 for before, after in pairwise(received))
    assert producer() is None


@pytest.mark.parametrize("size", [1, 3])
def test_put_waits_for_room(size):
    conveyor = Conveyor(size)
    for item in range(size):
        conveyor.put(item)
    waiting = in_thread(lambda: conveyor.put("late"))
    assert waiting.waits()
    assert conveyor.get() == 0
    assert waiting() is None
    conveyor.end()
    assert list(conveyor) == [*range(1, size), "late"]


def test_get_waits_for_an_item():
    conveyor = Conveyor(1)
    waiting = in_thread(conveyor.get)
    assert waiting.waits()
    conveyor.put("item")
    assert waiting() == "item"


def test_the_end_frees_who_waits_for_an_item():
    conveyor = Conveyor(1)
    waiting = in_thread(lambda: list(conveyor))
    assert waiting.waits()
    conveyor.end()
    assert waiting() == []


def test_an_error_is_raised_after_the_last_item():
    conveyor = Conveyor(3)
    error = ValueError("broken on purpose")
    feed(conveyor, [1, 2], error)
    items = iter(conveyor)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="broken on purpose") as caught:
        next(items)
    assert caught.value is error


def test_get_after_the_end_says_stopped():
    conveyor = Conveyor(2)
    feed(conveyor, ["item"])
    assert conveyor.get() == "item"
    with pytest.raises(Stopped):
        conveyor.get()


def test_stop_frees_a_producer_that_waits_for_room():
    conveyor = Conveyor(1)
    conveyor.put("first")
    waiting = in_thread(lambda: conveyor.put("second"))
    assert waiting.waits()
    conveyor.stop()
    assert isinstance(waiting(), Stopped)


def test_stop_frees_a_consumer_that_waits_for_an_item():
    conveyor = Conveyor(1)
    waiting = in_thread(conveyor.get)
    assert waiting.waits()
    conveyor.stop()
    assert isinstance(waiting(), Stopped)


def test_after_stop_nothing_goes_in_or_out():
    conveyor = Conveyor(2)
    conveyor.put("item")
    conveyor.stop()
    conveyor.stop()
    with pytest.raises(Stopped):
        conveyor.put("more")
    with pytest.raises(Stopped):
        conveyor.get()
    assert list(conveyor) == []


def test_an_error_that_ended_it_is_still_raised_after_stop():
    conveyor = Conveyor(2)
    feed(conveyor, ["item"], ValueError("broken on purpose"))
    conveyor.stop()
    with pytest.raises(ValueError, match="broken on purpose"):
        list(conveyor)


def test_a_pool_lends_so_many_arrays_and_no_more():
    pool = BufferPool(3)
    lent = [pool.take(SHAPE, DTYPE) for _ in range(3)]
    assert all(buffer.shape == SHAPE and buffer.dtype == DTYPE for buffer in lent)
    assert len({buffer.ctypes.data for buffer in lent}) == 3
    waiting = in_thread(lambda: pool.take(SHAPE, DTYPE))
    assert waiting.waits()
    pool.give_back(lent[1])
    assert waiting() is lent[1]


def test_a_pool_lends_the_same_arrays_again():
    pool = BufferPool(2)
    seen = set()
    for _ in range(20):
        buffer = pool.take(SHAPE, DTYPE)
        buffer[:] = 7
        seen.add(buffer.ctypes.data)
        pool.give_back(buffer)
    assert len(seen) <= 2


@pytest.mark.parametrize(("shape", "dtype"), [((4, 3), "uint8"), (SHAPE, "uint16"), ((3, 4, 3), "uint8")])
def test_a_pool_never_lends_an_array_of_another_kind(shape, dtype):
    pool = BufferPool(1)
    pool.give_back(pool.take(SHAPE, DTYPE))
    buffer = pool.take(shape, np.dtype(dtype))
    assert (buffer.shape, buffer.dtype) == (shape, np.dtype(dtype))
    assert buffer.flags.c_contiguous


def test_stopping_a_pool_frees_who_waits_and_who_gives_back():
    pool = BufferPool(1)
    buffer = pool.take(SHAPE, DTYPE)
    waiting = in_thread(lambda: pool.take(SHAPE, DTYPE))
    assert waiting.waits()
    pool.stop()
    assert isinstance(waiting(), Stopped)
    with pytest.raises(Stopped):
        pool.give_back(buffer)


def test_buffers_are_never_overwritten_while_they_are_out():
    pool, conveyor = BufferPool(6), Conveyor(4)

    def produce():
        for item in range(3000):
            buffer = pool.take(SHAPE, np.dtype(np.int64))
            buffer[:] = item
            conveyor.put(buffer)
        conveyor.end()

    producer = in_thread(produce)
    received = []
    for buffer in conveyor:
        assert (buffer == buffer.flat[0]).all()
        received.append(int(buffer.flat[0]))
        pool.give_back(buffer)
    assert received == list(range(3000))
    assert producer() is None
