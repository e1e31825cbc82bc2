"""Opening an input while the rest of the program is still being loaded."""

import threading
from types import TracebackType
from typing import Self

from framencc.children import ChildGroup
from framencc.sources import Source, open_source
from framencc.spec import RunSpec


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
        self._thread = threading.Thread(target=self._open, name="framencc-opening", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the decoder and close the input, if nobody has taken it."""
        if self._thread.is_alive():
            self._children.end()
        self._wait()
        if self._source is not None:
            self._source.close()

    def take(self) -> Source:
        """Return the open input, which is the caller's from now on; errors as of `open_source`."""
        self._wait()
        if self._error is not None:
            raise self._error
        source, self._source = self._source, None
        assert source is not None, "an input is taken once"
        return source

    def _open(self) -> None:
        try:
            with self._children.gathering():
                self._source = open_source(self._spec)
                self._source.read_ahead()
        except BaseException as error:  # noqa: BLE001  (carried to the thread that takes the input)
            self._error = error

    def _wait(self) -> None:
        while self._thread.is_alive():
            self._thread.join(0.2)  # in pieces: on Windows only these can be interrupted from the keyboard
