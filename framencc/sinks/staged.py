"""The life that all sinks share: written under a hidden name, then published, or removed."""

import contextlib
import threading
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from framencc.errors import FramenccError, SinkError
from framencc.frames import Picture
from framencc.sinks.base import MapFormat, Sink, sink_error
from framencc.sinks.targets import existing_files, refuse_existing
from framencc.staging import Staged


class StagedSink(Sink):
    """A sink whose maps gather in a hidden file or folder beside the target.

    A subclass writes into ``self._staged.path`` and describes how; this class keeps the order of events.

    Parameters
    ----------
    target
        The output.
    map_format
        What the sink is going to be given.
    overwrite
        Whether an existing output may be replaced.
    folder
        Whether the maps gather in a folder.
    shown
        What messages call the target; its own name if omitted.

    Raises
    ------
    SpecError
        When the target exists and may not be replaced.
    SinkError
        When its folder cannot be made or written.
    """

    def __init__(
        self,
        target: Path,
        map_format: MapFormat,
        *,
        overwrite: bool = False,
        folder: bool = False,
        shown: Path | None = None,
    ) -> None:
        refuse_existing(target, overwrite=overwrite)
        self.format = map_format
        self.n_written = 0
        self._target = target
        self._shown = shown or target
        self._overwrite = overwrite
        self._last_index = -1
        self._state: Literal["open", "committed", "failed", "aborted"] = "open"
        self._cancelled = False
        # Held by whoever works on the staged file; `abort` from another thread first makes that work end.
        self._lock = threading.RLock()
        try:
            self._staged = Staged(target, folder=folder)
        except OSError as error:
            raise sink_error(self._shown, error) from error

    def write(self, data: Picture, index: int, pts_seconds: float) -> None:
        """Write the next map; see `Sink.write`. Indices must increase."""
        self.check(data)
        with self._lock:
            self._require("open")
            if index <= self._last_index:
                raise ValueError(f"map {index} was given after map {self._last_index}")
            self._state = "failed"  # until the whole map is written: part of one must never be published
            with self._explained():
                self._write(data, index, pts_seconds)
            self._state = "open"
            self._last_index = index
            self.n_written += 1

    def commit(self) -> Path:
        """Make the output durable and visible; see `Sink.commit`."""
        with self._lock:
            if self._state == "committed":
                return self._target
            self._require("open")
            if not self.n_written:
                raise SinkError(f"output {str(self._shown)!r} is not made: no map was written to it")
            self._state = "failed"
            with self._explained():
                self._finish()
                if self._cancelled:
                    self._require()  # another thread has aborted meanwhile
                own = self._staged.folder / self._target.name
                if not self._overwrite and any(existing_files(own)):
                    raise SinkError(f"output {str(self._shown)!r} appeared during the run and is not replaced")
                self._publish()
            self._state = "committed"
            return self._target

    def abort(self) -> None:
        """Remove what was written; see `Sink.abort`."""
        self._cancelled = True
        self._interrupt()
        with self._lock:
            if self._state in ("committed", "aborted"):
                return
            self._state = "aborted"
            self._close()
            self._staged.discard()

    @abstractmethod
    def _write(self, data: Picture, index: int, pts_seconds: float) -> None:
        """Add a checked map to the staged file; OSError where that fails."""

    def _finish(self) -> None:
        """Complete the staged file, and flush what it consists of if it is a folder; OSError where that fails."""

    def _publish(self) -> None:
        """Move the staged file to the target; OSError where that fails."""
        self._staged.publish(self._target.name)

    def _close(self) -> None:
        """Let go of the staged file, so that it can be removed; called after any outcome but success."""

    def _interrupt(self) -> None:
        """Make a `_write` or `_finish` that waits in another thread return soon; called without the lock."""

    def _require(self, *states: str) -> None:
        if self._cancelled or self._state not in states:
            state = "aborted" if self._cancelled else self._state
            raise SinkError(f"output {str(self._shown)!r} takes no more: it was {state}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SinkError:
            raise
        except FramenccError as error:
            raise SinkError(f"output {str(self._shown)!r} cannot be written: {error}") from error
        except OSError as error:
            raise sink_error(self._shown, error) from error
