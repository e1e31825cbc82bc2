"""Everything that a run leaves: maps, its other outputs and the sidecar. They appear together, or not at all.

They grow in segments. A segment is sealed (closed, flushed to the disk) and then written into the journal with what
the sidecar is going to say of its frames; only then it counts. In the end the segments are joined, the result is
compared with what was written, and everything takes its name.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from framencc.children import ChildGroup
from framencc.errors import FramenccError, SinkError
from framencc.frames import Frame, Picture
from framencc.pipeline.clip_maps import MEAN, MINIMUM, ClipMaps
from framencc.pipeline.left import CLIP_MAPS, JOURNAL_ERRORS, MAPS
from framencc.pipeline.publishing import Move, all_names, identity_of, publish, write_sidecar
from framencc.pipeline.readback import LostWorkError, ReadBack
from framencc.pipeline.results import seal_result, write_clip_map, write_scores
from framencc.pipeline.workplace import Workplace
from framencc.sinks import MapFormat, Parts, open_parts, partial_path
from framencc.sinks.base import sink_error
from framencc.sources import SeekPoint
from framencc.spec import RunSpec
from framencc.staging import sidecar_path, sync_file, sync_folder
from framencc.verification import digest, open_stored

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

    Attributes
    ----------
    clip_maps
        What adds up over the clip; None where it is not wanted. Maps are to be added to it, and its state kept at the
        end of each segment.
    warnings
        Tells what a user should know of the inputs so far; that is kept with each segment.
    """

    def __init__(self, spec: RunSpec, formats: Mapping[str, MapFormat], work: Workplace) -> None:
        self.formats = formats
        self._spec = spec
        self._work = work
        self._records = {name: list(work.left.records.get(name, ())) for name in spec.outputs}
        self._parts: dict[str, Parts] = {}
        qualities = {"preview": spec.output_format.preview_quality}
        for name in spec.outputs:
            folder = work.folders[name]
            parts = self._parts[name] = open_parts(
                folder,
                formats[name],
                codec=spec.codec_of(name),
                quality=qualities.get(name, spec.output_format.quality),
                stall_seconds=spec.limits.stall_seconds,
                threads=spec.threads,
            )
        self._moves = work.moves
        self.clip_maps = self._open_clip_maps()
        if self._moves is None:
            for name, parts in self._parts.items():
                self._require_unchanged(name, parts)
                parts.go_on(self._records[name])
        self._n_segments = work.left.n_segments
        self._n_sealed = work.left.n_maps
        self._rows: list[dict[str, Any]] = []
        self._point: SeekPoint | None = None
        self.warnings: Callable[[], Sequence[str]] = tuple
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="framencc-sealer")
        self._sealing: Future[None] | None = None
        self._decoders = ChildGroup()

    def begin(self) -> None:
        """Start what the first maps go to."""
        for parts in self._parts.values():
            parts.begin()

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
        self.finish_sealing()

    def finish_sealing(self) -> None:
        """Wait until each complete segment is sealed; raise what went wrong with it."""
        if self._sealing is not None:
            while not self._sealing.done():
                wait([self._sealing], 0.2)  # in pieces: on Windows only these can be interrupted from the keyboard
            self._sealing.result()

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
        names = {name: Path(path) for name, path in self._spec.targets.items()}
        if damage is not None:
            names = {name: partial_path(path) for name, path in names.items()}
        with self._explained():
            if self._moves is None:
                self._moves = self._finish(head, names, progress=progress)
            taken = all_names(names, MAPS)
            overwrite = self._spec.overwrite
            publish(self._work.folders, self._moves, taken, overwrite=overwrite, done=self._work.published)
        return names, sidecar_path(names[MAPS])

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
        self._decoders.end()

    def close(self) -> None:
        """End everything and wait for it. Safe to call twice."""
        self.abort()
        self._sealer.shutdown(wait=True, cancel_futures=True)
        for parts in self._parts.values():
            parts.close()

    def _open_clip_maps(self) -> ClipMaps | None:
        wanted = {MINIMUM, MEAN} & self._spec.results.keys()
        if not wanted:
            return None
        given = self.formats[MAPS]
        clip_maps = ClipMaps(wanted, (given.height, given.width), self._spec.threads)
        if self._moves is None and (records := self._work.left.records.get(CLIP_MAPS)):
            with _kept(f"what has added up for {' and '.join(sorted(wanted))}"):
                clip_maps.restore(records[-1], self._work.folders[MAPS].path)
        return clip_maps

    def _is_lossy(self, name: str) -> bool:
        return self._spec.codec_of(name) == _LOSSY

    def _seal(self, end: Mapping[str, Any] | None) -> None:
        """Have the current segment sealed and recorded while the next one is written."""
        self.finish_sealing()
        if not self._rows:
            for parts in self._parts.values():
                parts.abort()  # what was begun gets no map
            if end is not None:
                with self._explained():
                    self._work.seal({"kind": "end", "end": end, "warnings": list(self.warnings())})
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
        if warnings := list(self.warnings()):
            entry["warnings"] = warnings
        self._n_segments += 1
        self._n_sealed += len(self._rows)
        self._rows, self._point, n_sealed = [], None, self._n_sealed

        def seal() -> None:
            entry["parts"] = {}
            for name, one in seals.items():
                record, imprints = one()
                entry["parts"][name] = record
                self._records[name].append(record)
                for row, found in zip(entry["rows"], imprints or (), strict=imprints is not None):
                    row.setdefault("imprints", {})[name] = found
                if self._is_lossy(name) and self._spec.verify == "full":
                    self._look_up_digests(name, entry["rows"], record)
            with self._explained():
                folder = self._work.folders[MAPS].path
                if self.clip_maps is not None:
                    entry["parts"][CLIP_MAPS] = self.clip_maps.seal(n_sealed, folder)
                self._work.seal(entry)
                if self.clip_maps is not None:
                    self.clip_maps.forget_before(n_sealed, folder)

        self._sealing = self._sealer.submit(seal)

    def _look_up_digests(self, name: str, rows: list[dict[str, Any]], record: Mapping[str, Any]) -> None:
        """Take the digests of what a lossy part decodes to: only that can be compared later."""
        path = self._work.folders[name].path / record["file"]
        try:
            with (
                self._decoders.gathering(),
                open_stored(path, stall_seconds=self._spec.limits.stall_seconds) as stored,
            ):
                found = [digest(frame.data) for frame in stored.frames()]
        except FramenccError as error:
            # Not passed on as it is: the input is not what could not be read.
            raise SinkError(
                f"{name} {str(self._parts[name].target)!r}: a segment could not be read back: {error}"
            ) from None
        if len(found) != len(rows):
            raise SinkError(
                f"{name} {str(self._parts[name].target)!r}: a segment of {len(rows)} maps decodes to {len(found)}"
            )
        for row, one in zip(rows, found, strict=True):
            row["digests"][name] = one

    def _require_unchanged(self, name: str, parts: Parts) -> None:
        records = self._records[name]
        with _kept(f"{name} {str(parts.target)!r}"):
            for record in records:
                parts.look_at(record)
            if (sealed := parts.sealed_maps(records)) is not None:
                for row, data in zip(self._work.rows(), sealed, strict=True):
                    if row["digests"][name] != digest(data):
                        raise ValueError(f"the map of frame {row['index']} has changed")

    def _finish(self, head: Mapping[str, Any], names: Mapping[str, Path], *, progress: bool) -> list[Move]:
        """Make every output whole, verified and durable in its work folder, and the sidecar with it."""
        assert self._work.journal is not None
        whole = {}
        for name, parts in self._parts.items():
            times = ((int(row["index"]), float(row["pts_seconds"])) for row in self._work.rows())
            whole[name] = parts.complete(self._records[name], times)
            if whole[name].is_file():
                sync_file(whole[name])
        ReadBack(self._spec, self._work, self._parts, self._records).require_as_written(whole, progress=progress)
        results = self._write_results()
        moves = [
            _move(name, self._result_path(name), self._work.folders[name].folder / names[name].name) for name in results
        ]
        for name in sorted(self._parts, key=lambda name: name == MAPS):
            folder = self._work.folders[name]
            for source, own in self._parts[name].moves(whole[name], names[name].name):
                moves.append(_move(name, source, folder.folder / own))
        sizes = {
            name: {
                "files": sum(move.output == name for move in moves),
                "bytes": sum(move.identity[0] for move in moves if move.output == name),
            }
            for name in names
        }
        maps = self._work.folders[MAPS]
        sidecar = write_sidecar(
            maps, {**head, "sizes": sizes, "results": results}, map(_described, self._work.rows()), names
        )
        moves.append(_move(MAPS, sidecar, maps.folder / sidecar_path(names[MAPS]).name))
        for folder in self._work.folders.values():
            sync_folder(folder.path)
        plan = [move.as_json(self._work.folders[move.output]) for move in moves]
        self._work.journal.append({"kind": "whole", "plan": plan})
        return moves

    def _result_path(self, name: str) -> Path:
        return self._work.folders[name].path / f"whole{Path(self._spec.results[name]).suffix}"

    def _write_results(self) -> dict[str, dict[str, Any]]:
        """Write what follows from all maps together, durable; return what the sidecar says of it."""
        results: dict[str, dict[str, Any]] = {}
        for name in self._spec.results:
            path, how = self._result_path(name), {}
            if self.clip_maps is not None and name in (MINIMUM, MEAN):
                how = write_clip_map(path, self.clip_maps.result(name), name, self._spec)
            else:
                write_scores(path, self._work.rows)
            results[name] = how | seal_result(path)
        return results

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SinkError:
            raise
        except OSError as error:
            raise sink_error(Path(self._spec.output), error) from error


def _described(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the sidecar says of a frame: no imprint where there is a digest, which outlives another encoding."""
    imprints = {name: one for name, one in row.get("imprints", {}).items() if row["digests"][name] is None}
    rest = {key: value for key, value in row.items() if key != "imprints"}
    return rest | {"imprints": imprints} if imprints else rest


@contextlib.contextmanager
def _kept(what: str) -> Iterator[None]:
    """Tell what was kept and is lost from what only cannot be read now."""
    try:
        yield
    except (*JOURNAL_ERRORS, FileNotFoundError) as error:
        raise LostWorkError(
            f"{what} cannot be gone on with: {error}; give --overwrite instead of --resume to start anew"
        ) from None
    except OSError as error:
        raise SinkError(f"{what} cannot be gone on with now: {error.strerror or error}") from error


def _move(output: str, source: Path, target: Path) -> Move:
    identity = identity_of(source)
    if identity is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
    return Move(output, source, target, identity)
