"""Opening an input while the rest of the program is still being loaded."""

import threading
from types import TracebackType
from typing import Self

from framencc.children import ChildGroup
from framencc.sources import Source, open_source
from framencc.spec import RunSpec

_A_MOMENT = 2.0  # seconds, in which an input is opened or not once its children have been ended


class Opening:
    """The input of a job that begins at its first frame, opened in a thread of its own; its decoder starts, too.

    Parameters
    ----------
    spec
        The job.
    """

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._children = ChildGroup()
        self._source: Source | None = None
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._is_left = False
        # Not the thread's own state: Python 3.11 takes a thread for ended when an exception interrupts its `join`.
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._open, name="framencc-opening", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the decoder and close the input, if nobody has taken it, without waiting for a disk that hangs."""
        if not self._done.is_set():
            self._children.end()
        if self._done.wait(_A_MOMENT):
            self._thread.join()
        with self._lock:
            self._is_left = True
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def take(self) -> Source:
        """Return the open input, which is the caller's from now on; errors as of `open_source`."""
        while not self._done.wait(0.2):  # in pieces: on Windows only these can be interrupted from the keyboard
            pass
        if self._error is not None:
            raise self._error
        source, self._source = self._source, None
        assert source is not None, "an input is taken once"
        return source

    def _open(self) -> None:
        source = None
        try:
            with self._children.gathering():
                source = open_source(self._spec)
                source.read_ahead()
        except BaseException as error:  # noqa: BLE001  (carried to the thread that takes the input)
            self._error = error
        with self._lock:
            self._source = source
            self._done.set()
            is_left = self._is_left
        if is_left and source is not None:
            source.close()
