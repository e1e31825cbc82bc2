"""Whether finished outputs hold what was written, found out before they take their names."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framencc.errors import SinkError, UnreadableNowError
from framencc.pipeline.progress import open_bar
from framencc.pipeline.workplace import Workplace
from framencc.sinks import Parts
from framencc.sinks.base import imprint
from framencc.spec import RunSpec
from framencc.stored_packets import codec_private, count_key_frames, decode_frames, stored_imprints
from framencc.verification import (
    READING_ERRORS,
    Row,
    StoredMap,
    digest,
    find_changed_frames,
    find_problems,
    problem_of,
    stored_maps,
    with_imprints,
)

if TYPE_CHECKING:
    from tqdm import tqdm

Record = Mapping[str, Any]
_SCRATCH = "verified.mkv"


class LostWorkError(SinkError):
    """What has been kept cannot be gone on with."""


class ReadBack:
    """Compares the outputs of a run with what was written, as `spec.verify` says.

    With ``packets``, every packet of a video and every file of a sequence has to have the imprint that was taken as it
    was written, at its time, and of each segment the first and the last frame are decoded and compared by their
    digests; of H.264, which loses some of what is written, the key frames are decoded, and what the decoder has to
    know besides packets is compared as well. The maps of an array are compared by their digests. With
    ``full``, every frame is decoded and compared by its digest.

    Parameters
    ----------
    spec
        The job.
    work
        Where its outputs are, and the rows of their frames.
    parts
        The outputs, by their names in the spec.
    records
        What sealing said of their parts.
    """

    def __init__(
        self, spec: RunSpec, work: Workplace, parts: Mapping[str, Parts], records: Mapping[str, Sequence[Record]]
    ) -> None:
        self._spec = spec
        self._work = work
        self._parts = parts
        self._records = records

    def require_as_written(self, whole: Mapping[str, Path], *, progress: bool) -> None:
        """Compare the outputs, which are in their work folders.

        Parameters
        ----------
        whole
            Where they are, as of `Parts.complete`.
        progress
            Show a progress bar on stderr, if that is a terminal.

        Raises
        ------
        LostWorkError
            When something differs.
        SinkError
            When something could not be read, which says nothing of it.
        """
        if self._spec.verify == "off":
            return
        for name, parts in self._parts.items():
            with contextlib.ExitStack() as cleanup:
                n_maps = sum(int(record["maps"]) for record in self._records[name])
                bar = open_bar(f"verifying {parts.target.name}", total=n_maps, shown=progress)
                if bar is not None:
                    cleanup.enter_context(bar)
                try:
                    problem = next(self._problems(name, whole[name], bar), None)
                except UnreadableNowError as error:
                    raise SinkError(str(error)) from None
            if problem is not None:
                raise LostWorkError(
                    f"what was written does not read back as it should: {problem}; give --overwrite instead of "
                    f"--resume to start anew, on another disk"
                )

    def _problems(self, name: str, whole: Path, bar: "tqdm[Any] | None") -> Iterator[str]:
        target = self._parts[name].target
        if self._spec.verify == "full" or not self._parts[name].has_imprints:
            yield from find_problems(_counted(self._decoded(name, whole), bar), self._work.rows(), name, target)
            return
        stored = (
            StoredMap(None, seconds, one)
            for path, indices in self._pieces(name, whole)
            for one, seconds in stored_imprints(path, indices)
        )
        yield from find_problems(_counted(stored, bar), self._work.rows(), name, target)
        if self._spec.codec_of(name) != "h264":
            yield from find_changed_frames(self._decoded_ends(name, whole), self._ends(name), name, target)
            return
        try:
            yield from self._what_cannot_be_decoded(name, whole)
        except READING_ERRORS as error:
            yield problem_of(error, f"{name} {str(target)!r}")

    def _pieces(self, name: str, whole: Path) -> Iterator[tuple[Path, Iterator[int]]]:
        """Yield what an output is read from, and the numbers of its frames."""
        indices = (int(row["index"]) for row in self._work.rows())
        for path, n_maps in self._parts[name].pieces(whole, self._records[name]):
            yield path, islice(indices, n_maps)

    def _decoded(self, name: str, whole: Path) -> Iterator[StoredMap]:
        """Decode every frame; of H.264 the imprints come with them, as some frames may have no digest."""
        for path, indices in self._pieces(name, whole):
            maps = self._stored_maps(name, path, indices)
            yield from with_imprints(maps, path) if self._spec.codec_of(name) == "h264" else maps

    def _stored_maps(self, name: str, path: Path, indices: Iterable[int]) -> Iterator[StoredMap]:
        given = self._parts[name].format
        size = (given.height, given.width) if given.components == 2 else None
        return stored_maps(path, indices, size=size, stall_seconds=self._spec.limits.stall_seconds)

    def _ends(self, name: str) -> Iterator[Row]:
        """Yield the rows of the first and the last frame of each segment."""
        rows = self._work.rows()
        for record in self._records[name]:
            segment = islice(rows, int(record["maps"]))
            first = last = next(segment)
            for last in segment:  # noqa: B007  (it is used behind the loop)
                pass
            yield from (first, last) if last is not first else (first,)

    def _decoded_ends(self, name: str, whole: Path) -> Iterator[str]:
        """Decode the first and the last frame of each segment of a lossless output; yield their digests."""
        parts, records = self._parts[name], self._records[name]
        if self._spec.codec_of(name) is None:
            ends = (int(row["index"]) for row in self._ends(name))
            for path, n_maps in parts.pieces(whole, records):
                for one in self._stored_maps(name, path, islice(ends, min(n_maps, 2))):
                    yield str(one.digest)
            return
        behind = list(accumulate(int(record["maps"]) for record in records))
        numbers = {end - 1 for end in behind} | {0, *behind[:-1]}
        scratch = self._work.folders[name].path / _SCRATCH
        stall = self._spec.limits.stall_seconds
        for frame in decode_frames(whole, numbers, parts.format, scratch=scratch, stall_seconds=stall):
            yield digest(frame)

    def _what_cannot_be_decoded(self, name: str, whole: Path) -> Iterator[str]:
        """Compare what a decoder of H.264 has to know besides packets, and decode the key frames."""
        where = f"{name} {str(self._parts[name].target)!r}"
        private, records = imprint(codec_private(whole)), self._records[name]
        if any(record.get("codec_private") != private for record in records):
            yield f"{where} has another codec configuration than was written"
        n_decoded = count_key_frames(whole, stall_seconds=self._spec.limits.stall_seconds)
        if n_decoded is None or n_decoded < len(records):  # each segment begins with one; there may be more
            yield f"{where} decodes to {n_decoded or 0} key frames, at least {len(records)} were written"


def _counted(stored: Iterator[StoredMap], bar: "tqdm[Any] | None") -> Iterator[StoredMap]:
    for one in stored:
        if bar is not None:
            bar.update()
        yield one
