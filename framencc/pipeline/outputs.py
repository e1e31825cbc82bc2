"""Everything that a run leaves: maps, its other outputs and the sidecar. They appear together, or not at all.

They grow in segments. A segment is sealed (closed, flushed to the disk) and then written into the journal with what
the sidecar is going to say of its frames; only then it counts. In the end the segments are joined, the result is
compared with what was written, and everything takes its name.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framencc.errors import SinkError
from framencc.frames import Frame, Picture
from framencc.pipeline.progress import open_bar
from framencc.pipeline.publishing import publish, write_sidecar
from framencc.pipeline.workplace import Workplace
from framencc.sinks import MapFormat, Parts, open_parts, partial_path
from framencc.sinks.base import sink_error
from framencc.sources import SeekPoint
from framencc.spec import RunSpec
from framencc.staging import sync_file
from framencc.verification import StoredMap, digest, find_problems, stored_maps

if TYPE_CHECKING:
    from tqdm import tqdm

_LOSSY = "h264"  # the only codec that changes what it is given
_SEALING_SECONDS = 1.0


class Outputs:
    """The open outputs of a job.

    Parameters
    ----------
    spec
        The job.
    formats
        What each output is going to be given, by its name in the spec.
    work
        Where they grow, begun; what an earlier run left there is gone on with.

    Raises
    ------
    SinkError
        When a part that an earlier run sealed is no longer as it was.
    """

    def __init__(self, spec: RunSpec, formats: Mapping[str, MapFormat], work: Workplace) -> None:
        self.formats = formats
        self._spec = spec
        self._work = work
        self._records = {name: list(work.left.records.get(name, ())) for name in spec.outputs}
        self._parts: dict[str, Parts] = {}
        qualities = {"preview": spec.output_format.preview_quality}
        for name, folder in work.folders.items():
            parts = self._parts[name] = open_parts(
                folder,
                formats[name],
                codec=spec.codec_of(name),
                quality=qualities.get(name, spec.output_format.quality),
                stall_seconds=spec.limits.stall_seconds,
            )
            if work.left.whole is None:
                _require_unchanged(parts, self._records[name])
                parts.go_on(self._records[name])
        self._n_segments = work.left.n_segments
        self._rows: list[dict[str, Any]] = []
        self._point: SeekPoint | None = None
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="framencc-sealer")
        self._sealing: Future[None] | None = None

    def write(
        self, pictures: Mapping[str, Picture], frame: Frame, row: dict[str, Any], point: SeekPoint | None
    ) -> None:
        """Write what belongs to the next frame.

        Parameters
        ----------
        pictures
            One picture for each output, by its name in the spec; valid only during the call.
        frame
            The frame.
        row
            What the sidecar is going to say of it; its digests are added.
        point
            By what the frame is known again, where it is the last one of a segment.
        """
        digests = row["digests"] = {}
        for name, parts in self._parts.items():
            parts.write(pictures[name], frame.index, frame.pts_seconds)
            digests[name] = None if self._is_lossy(name) else digest(pictures[name])
        self._rows.append(row)
        self._point = point
        if len(self._rows) == self._spec.segment_frames:
            self._seal(None)

    def end(self, damage: str | None) -> None:
        """Seal what is left; nothing can be written after.

        Parameters
        ----------
        damage
            Why the maps end before the input does; None where they do not.
        """
        self._seal({"damage": damage})
        self._wait_for_seal()

    def commit(
        self, head: Mapping[str, Any], damage: str | None, *, progress: bool = False
    ) -> tuple[dict[str, Path], Path]:
        """Join everything, compare it with what was written, make it durable and then visible; last the sidecar.

        Parameters
        ----------
        head
            What the sidecar says of the whole run.
        damage
            Why the result is partial and goes by another name; None where it is whole.
        progress
            Show a progress bar on stderr, if that is a terminal.

        Returns
        -------
        paths : dict
            Where the outputs are, by their names in the spec.
        sidecar : pathlib.Path
            Where their description is.

        Raises
        ------
        SinkError
            When something cannot be written or take its name, or does not hold what was written; what had the names
            before has them still.
        """
        names = {name: Path(path) for name, path in self._spec.outputs.items()}
        if damage is not None:
            names = {name: partial_path(path) for name, path in names.items()}
        with self._explained():
            if self._work.left.whole is None:
                self._finish(head, names, progress=progress)
            whole = self._work.left.whole
            assert whole is not None
            return publish(self._work, self._parts, whole, names, overwrite=self._spec.overwrite or damage is not None)

    def abort(self) -> None:
        """End everything that works on the outputs. Safe to call twice, from any thread.

        A segment that is just being sealed gets a moment for that, because it would have to be made again.
        """
        for parts in self._parts.values():
            parts.abort()
        sealing = self._sealing
        if sealing is not None:
            wait([sealing], _SEALING_SECONDS)
        for parts in self._parts.values():
            parts.abort_sealing()

    def close(self) -> None:
        """End everything and wait for it. Safe to call twice."""
        self.abort()
        self._sealer.shutdown(wait=True, cancel_futures=True)

    def _is_lossy(self, name: str) -> bool:
        return self._spec.codec_of(name) == _LOSSY

    def _seal(self, end: Mapping[str, Any] | None) -> None:
        """Have the current segment sealed and recorded while the next one is written."""
        self._wait_for_seal()
        assert self._work.journal is not None
        if not self._rows:
            if end is not None:
                with self._explained():
                    self._work.journal.append({"kind": "end", "end": end})
            return
        seals = {name: parts.seal() for name, parts in self._parts.items()}
        entry: dict[str, Any] = {
            "kind": "segment",
            "number": self._n_segments,
            "rows": self._rows,
            "point": None if self._point is None else self._point.as_json(),
        }
        if end is not None:
            entry["end"] = end
        self._n_segments += 1
        self._rows, self._point = [], None

        def seal() -> None:
            records = entry["parts"] = {name: one() for name, one in seals.items()}
            for name, record in records.items():
                self._records[name].append(record)
            if self._spec.verify:
                for name in filter(self._is_lossy, records):
                    self._look_up_digests(name, entry["rows"], records[name])
            with self._explained():
                assert self._work.journal is not None
                self._work.journal.append(entry)

        self._sealing = self._sealer.submit(seal)

    def _look_up_digests(self, name: str, rows: list[dict[str, Any]], record: Mapping[str, Any]) -> None:
        """Take the digests of what a lossy part decodes to: only that can be compared later."""
        path = self._work.folders[name].path / record["file"]
        stored = stored_maps(path, (), stall_seconds=self._spec.limits.stall_seconds)
        for row, got in zip(rows, stored, strict=True):
            row["digests"][name] = got.digest

    def _wait_for_seal(self) -> None:
        if self._sealing is not None:
            self._sealing.result()

    def _finish(self, head: Mapping[str, Any], names: Mapping[str, Path], *, progress: bool) -> None:
        """Make every output whole, verified and durable in its work folder, and the sidecar with it."""
        assert self._work.journal is not None
        whole = {}
        for name, parts in self._parts.items():
            times = ((int(row["index"]), float(row["pts_seconds"])) for row in self._work.rows())
            path = parts.complete(self._records[name], times)
            if path.is_file():
                sync_file(path)
            whole[name] = path.name if path.is_file() else "."
        if self._spec.verify:
            self._verify(whole, progress=progress)
        write_sidecar(self._work, head, names)
        self._work.journal.append({"kind": "whole", "whole": whole})
        self._work.left.whole = whole

    def _verify(self, whole: Mapping[str, str], *, progress: bool) -> None:
        for name, parts in self._parts.items():
            path = self._work.folders[name].path / whole[name]
            n_maps = sum(int(record["maps"]) for record in self._records[name])
            with contextlib.ExitStack() as cleanup:
                bar = open_bar(f"verifying {parts.target.name}", total=n_maps, shown=progress)
                if bar is not None:
                    cleanup.enter_context(bar)
                stored = self._stored(name, parts.pieces(path, self._records[name]), bar)
                problem = next(find_problems(stored, self._work.rows(), name, parts.target), None)
            if problem is not None:
                raise SinkError(f"what was written does not read back as it should: {problem}")

    def _stored(self, name: str, pieces: Iterator[tuple[Path, int]], bar: "tqdm[Any] | None") -> Iterator[StoredMap]:
        given = self.formats[name]
        size = (given.height, given.width) if given.components == 2 else None
        indices = (int(row["index"]) for row in self._work.rows())
        for path, n_maps in pieces:
            numbers = islice(indices, n_maps)
            for one in stored_maps(path, numbers, size=size, stall_seconds=self._spec.limits.stall_seconds):
                if bar is not None:
                    bar.update()
                yield one

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SinkError:
            raise
        except OSError as error:
            raise sink_error(Path(self._spec.output), error) from error


def _require_unchanged(parts: Parts, records: Iterable[Mapping[str, Any]]) -> None:
    try:
        for record in records:
            parts.look_at(record)
    except (ValueError, OSError) as error:
        raise SinkError(
            f"output {str(parts.target)!r} cannot be gone on with: {error}; give --overwrite instead of --resume to "
            f"start anew"
        ) from None
