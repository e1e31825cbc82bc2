"""Everything that a run leaves: maps, its other outputs and the sidecar. They appear together, or not at all."""

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from framencc.errors import SinkError
from framencc.frames import Frame, Picture
from framencc.sidecar import SidecarWriter
from framencc.sinks import MapFormat, Sink, open_lossless_sink, open_sink, partial_path
from framencc.sinks.base import sink_error
from framencc.sinks.targets import existing_files
from framencc.spec import RunSpec
from framencc.staging import set_aside, sidecar_path, signals_deferred

MAPS = "output"


class Outputs:
    """The open outputs of a job; leaving the ``with`` block without a commit removes every trace.

    Parameters
    ----------
    spec
        The job.
    formats
        What the sink of each output is going to be given, by the output's name in the spec.

    Raises
    ------
    SpecError, SinkError
        As the sinks do.
    """

    def __init__(self, spec: RunSpec, formats: Mapping[str, MapFormat]) -> None:
        self.formats = formats
        self._paths = {name: Path(path) for name, path in spec.outputs.items()}
        self._sinks: dict[str, Sink] = {}
        with contextlib.ExitStack() as cleanup:
            self.sidecar = cleanup.enter_context(SidecarWriter(spec.output))
            for name, path in spec.outputs.items():
                given = formats[name]
                sink = open_sink(spec, given) if name == MAPS else open_lossless_sink(path, spec, given)
                self._sinks[name] = cleanup.enter_context(sink)
            self._cleanup = cleanup.pop_all()

    def __contains__(self, name: str) -> bool:
        return name in self._sinks

    def write(self, pictures: Mapping[str, Picture], frame: Frame) -> None:
        """Write what belongs to the next frame, one picture for each output; see `Sink.write`."""
        for name, sink in self._sinks.items():
            sink.write(pictures[name], frame.index, frame.pts_seconds)

    def commit(self, head: Mapping[str, Any], *, damaged: bool) -> tuple[dict[str, Path], Path]:
        """Make everything durable, then visible: the maps after all else, and last the sidecar.

        Parameters
        ----------
        head
            What the sidecar says of the whole run.
        damaged
            The result is partial and goes by another name.

        Returns
        -------
        paths : dict
            Where the outputs are, by their names in the spec.
        sidecar : pathlib.Path
            Where their description is.

        Raises
        ------
        SinkError
            When something cannot be written or take its name; what had the names before has them still.
        """
        paths = {name: partial_path(path) if damaged else path for name, path in self._paths.items()}
        for sink in self._sinks.values():
            sink.finish()
        self.sidecar.prepare(head)
        old_sidecar = sidecar_path(paths[MAPS])
        # Only the names are still to be taken. A signal in between would leave some of them new and some old.
        with signals_deferred(), self._explained(), contextlib.ExitStack() as old:
            old.enter_context(set_aside(lambda: [old_sidecar] if old_sidecar.exists() else []))
            for name in sorted(self._sinks, key=lambda name: name == MAPS):
                if name != MAPS:
                    old.enter_context(set_aside(partial(existing_files, paths[name])))
                self._sinks[name].commit(paths[name] if damaged else None)
            return paths, self.sidecar.commit(head, paths[MAPS])

    def abort(self) -> None:
        """Remove what was written. Safe to call twice and after `commit`, from any thread."""
        for sink in self._sinks.values():
            sink.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SinkError:
            raise
        except OSError as error:
            raise sink_error(self._paths[MAPS], error) from error
