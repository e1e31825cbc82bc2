"""What carries work between threads: a bounded queue that can end, fail and be stopped, and a pool of buffers."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from framencc.frames import Picture

Item = TypeVar("Item")

# Waits are cut into pieces because on Windows a wait without a time limit cannot be interrupted from the keyboard.
_WAIT_SECONDS = 0.2


class Stopped(Exception):  # noqa: N818  (it tells a thread to leave, it is no error)
    """The other side has gone; whoever waited is to stop without a word."""


class Conveyor(Generic[Item]):
    """A bounded first-in-first-out queue between two threads.

    Parameters
    ----------
    size
        How many items may wait; `put` waits for room.
    """

    def __init__(self, size: int) -> None:
        self._items: deque[Item] = deque()
        self._size = size
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._stopped = False

    def put(self, item: Item) -> None:
        """Add an item, waiting for room. Raises Stopped once nobody wants it."""
        with self._changed:
            while len(self._items) >= self._size and not self._stopped:
                self._changed.wait(_WAIT_SECONDS)
            if self._stopped:
                raise Stopped
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> Item:
        """Take the oldest item, waiting for one. Raises Stopped when there will be none."""
        with self._changed:
            while not (self._items or self._ended or self._stopped):
                self._changed.wait(_WAIT_SECONDS)
            if self._stopped or not self._items:
                raise Stopped
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def __iter__(self) -> Iterator[Item]:
        """Yield items until the producer ends; an error it failed with is raised after its last item."""
        while True:
            try:
                item = self.get()
            except Stopped:
                if self._error is not None:
                    raise self._error from None
                return
            yield item

    def end(self, error: BaseException | None = None) -> None:
        """Say that no more items come, and why if it is for an error."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def stop(self) -> None:
        """Let everybody who waits, or will wait, leave with Stopped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


class BufferPool:
    """A fixed number of arrays of each kind that are lent and given back, so that a long run allocates nothing.

    Parameters
    ----------
    count
        How many arrays of one shape and dtype there are at most; they are made when first asked for.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._kinds: dict[tuple[tuple[int, ...], np.dtype[Any]], Conveyor[Picture | None]] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Picture:
        """Borrow an array, waiting until one is free. Raises Stopped when the pool is stopped."""
        buffer = self._kind(shape, dtype).get()
        return np.empty(shape, dtype) if buffer is None else buffer

    def give_back(self, buffer: Picture) -> None:
        """Return a borrowed array."""
        self._kind(buffer.shape, buffer.dtype).put(buffer)

    def stop(self) -> None:
        """Let whoever waits for an array leave with Stopped."""
        with self._lock:
            self._stopped = True
            for kind in self._kinds.values():
                kind.stop()

    def _kind(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> "Conveyor[Picture | None]":
        with self._lock:
            if (shape, dtype) not in self._kinds:
                kind = self._kinds[shape, dtype] = Conveyor[Picture | None](self._count)
                for _ in range(self._count):
                    kind.put(None)
                if self._stopped:
                    kind.stop()
            return self._kinds[shape, dtype]
