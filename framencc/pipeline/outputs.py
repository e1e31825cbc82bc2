"""Everything that a run leaves: maps, validity codes and the sidecar. They appear together, or not at all."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from framencc.errors import SinkError
from framencc.frames import Frame, Picture
from framencc.sidecar import SidecarWriter
from framencc.sinks import MapFormat, open_sink, open_validity_sink, partial_path
from framencc.sinks.base import sink_error
from framencc.sinks.targets import existing_files
from framencc.spec import RunSpec
from framencc.staging import set_aside, sidecar_path, signals_deferred


class Outputs:
    """The open outputs of a job; leaving the ``with`` block without a commit removes every trace.

    Parameters
    ----------
    spec
        The job.
    map_format
        What the maps' sink is going to be given.

    Raises
    ------
    SpecError, SinkError
        As the sinks do.
    """

    def __init__(self, spec: RunSpec, map_format: MapFormat) -> None:
        self.format = map_format
        self._output = Path(spec.output)
        self._validity_path = None if spec.validity is None else Path(spec.validity)
        codes = MapFormat(
            map_format.height,
            map_format.width,
            np.dtype(np.uint8),
            map_format.frame_rate,
            map_format.time_base,
            {"framencc": map_format.metadata["framencc"], "framencc_encoding": "validity codes"},
        )
        with contextlib.ExitStack() as cleanup:
            self.sidecar = cleanup.enter_context(SidecarWriter(spec.output))
            self._maps = cleanup.enter_context(open_sink(spec, map_format))
            self._validity = open_validity_sink(spec, codes)
            if self._validity is not None:
                cleanup.enter_context(self._validity)
            self._cleanup = cleanup.pop_all()

    @property
    def wants_validity(self) -> bool:
        """Whether `write` needs the validity codes."""
        return self._validity is not None

    def write(self, data: Picture, validity: Picture | None, frame: Frame) -> None:
        """Write the next map and its codes; see `Sink.write`."""
        self._maps.write(data, frame.index, frame.pts_seconds)
        if self._validity is not None:
            assert validity is not None
            self._validity.write(validity, frame.index, frame.pts_seconds)

    def commit(self, head: Mapping[str, Any], *, damaged: bool) -> tuple[Path, Path | None, Path]:
        """Make everything durable, then visible: the codes, the maps, and last the sidecar.

        Parameters
        ----------
        head
            What the sidecar says of the whole run.
        damaged
            The result is partial and goes by another name.

        Returns
        -------
        tuple
            The paths of the maps, the codes (or None) and the sidecar.

        Raises
        ------
        SinkError
            When something cannot be written or take its name; what had the names before has them still.
        """
        maps, codes = self._output, self._validity_path
        if damaged:
            maps, codes = partial_path(maps), None if codes is None else partial_path(codes)
        for sink in (self._maps, self._validity):
            if sink is not None:
                sink.finish()
        self.sidecar.prepare(head)
        old_sidecar = sidecar_path(maps)
        # Only the names are still to be taken. A signal in between would leave some of them new and some old.
        with signals_deferred(), self._explained(), contextlib.ExitStack() as old:
            old.enter_context(set_aside(lambda: [old_sidecar] if old_sidecar.exists() else []))
            if self._validity is not None and codes is not None:
                old.enter_context(set_aside(lambda: existing_files(codes)))
                self._validity.commit(codes if damaged else None)
            output = self._maps.commit(maps if damaged else None)
            return output, codes, self.sidecar.commit(head, output)

    def abort(self) -> None:
        """Remove what was written. Safe to call twice and after `commit`, from any thread."""
        for sink in (self._maps, self._validity):
            if sink is not None:
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
            raise sink_error(self._output, error) from error
