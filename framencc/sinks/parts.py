"""Outputs that grow part by part, so that a run that was cut off can go on: a part that is sealed stays as it is.

A part is written by an ordinary sink into the output's work folder. Sealing makes it durable and says how to know it
again; a later run goes on behind the sealed parts, and the parts are the same wherever it was cut off.
"""

import contextlib
import hashlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from framencc.errors import SinkError
from framencc.frames import Picture
from framencc.sinks.arrays import GrowingArray
from framencc.sinks.base import Imprint, MapFormat, Sink, imprint, sink_error, summary
from framencc.sinks.images import ImageSink
from framencc.sinks.joining import join_videos
from framencc.sinks.matroska_file import MatroskaFile
from framencc.sinks.targets import NumberedFiles, is_numbered
from framencc.sinks.video import VideoClock, VideoSink
from framencc.spec import Codec
from framencc.staging import sync_folder
from framencc.workfolder import WorkFolder

Record = dict[str, Any]
_AnySink = TypeVar("_AnySink", bound=Sink)


class Sealed(NamedTuple):
    """How to know a sealed part again, and the imprint of each of its packets or files (None: it has none)."""

    record: Record
    imprints: Sequence[Imprint] | None


Seal = Callable[[], Sealed]


class Parts(ABC):
    """One output of a run, growing in its work folder.

    Parameters
    ----------
    work
        The locked work folder; it names the output.
    map_format
        What the output is going to be given.

    Attributes
    ----------
    has_imprints
        Whether each map becomes a packet or file of its own, with an imprint; the maps of an array do not.
    """

    has_imprints: ClassVar[bool] = True

    def __init__(self, work: WorkFolder, map_format: MapFormat) -> None:
        self.format = map_format
        self.target = work.target
        self._work = work
        self._number = 0

    def go_on(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Continue behind parts that were sealed before."""
        self._number = len(records)

    def begin(self) -> None:  # noqa: B027  (most have nothing to start)
        """Start what the next map goes to, if that takes a while; `abort` ends it."""

    @abstractmethod
    def write(self, data: Picture, index: int, pts_seconds: float) -> None:
        """Write the next map of the current part; see `Sink.write`."""

    @abstractmethod
    def seal(self) -> Seal:
        """End the current part, which has a map; what is returned makes it durable and describes it.

        That may be called in another thread while the next part is written.
        """

    @abstractmethod
    def complete(self, records: Sequence[Mapping[str, Any]], times: Iterable[tuple[int, float]]) -> Path:
        """Make the whole output of its parts, durable under a hidden name.

        Parameters
        ----------
        records
            What sealing said of each part.
        times
            The number and time of each map.

        Returns
        -------
        pathlib.Path
            A file; or the work folder, which holds a folder with files for each part.
        """

    def pieces(self, whole: Path, records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Path, int]]:
        """Yield what the whole output is read from, in order, and how many maps each of it holds."""
        n_maps = sum(int(record["maps"]) for record in records)
        yield whole, n_maps

    def moves(self, whole: Path, name: str) -> Iterator[tuple[Path, str]]:
        """Yield every file of the whole output, and what it is to be called where the output is called `name`."""
        yield whole, name

    def sealed_maps(self, records: Sequence[Mapping[str, Any]]) -> Iterator[Picture] | None:  # noqa: ARG002
        """Read the sealed maps again, where `look_at` does not know whether they have changed; None elsewhere."""
        return None

    @abstractmethod
    def abort(self) -> None:
        """Make a `write` that waits return soon. Safe to call twice, from any thread."""

    def abort_sealing(self) -> None:  # noqa: B027  (most have nothing that could hang)
        """End everything that works on the part that is being sealed. Safe to call twice, from any thread."""

    def close(self) -> None:  # noqa: B027  (most have nothing open)
        """Let go of everything, when nothing is written or sealed any more."""

    def look_at(self, record: Mapping[str, Any]) -> Path:
        """Return where a sealed part is.

        Raises
        ------
        ValueError
            When it is not as it was sealed.
        """
        path = self._work.path / str(record["file"])
        if not path.is_file() or path.stat().st_size != record["bytes"]:
            raise ValueError(f"part {path.name!r} is missing or cut")
        if _sha256(path) != record["sha256"]:
            raise ValueError(f"part {path.name!r} has changed")
        return path

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SinkError:
            raise
        except OSError as error:
            raise sink_error(self.target, error) from error


class SinkParts(Parts, Generic[_AnySink]):
    """Parts that are written by one sink each."""

    _sink: _AnySink | None = None
    _sealing: _AnySink | None = None

    @abstractmethod
    def _open(self) -> _AnySink:
        """Open the sink of the current part."""

    @abstractmethod
    def _describe(self, sink: _AnySink, path: Path) -> Sealed:
        """Say how to know a part again that a sink has committed."""

    def write(self, data: Picture, index: int, pts_seconds: float) -> None:
        """Write the next map; see `Parts.write`."""
        if self._sink is None:
            self._sink = self._open()
        self._sink.write(data, index, pts_seconds)

    def seal(self) -> Seal:
        """End the current part; see `Parts.seal`."""
        sink, self._sink = self._sink, None
        assert sink is not None, "a part without a map"
        self._sealing = sink
        self._number += 1

        def finish() -> Sealed:
            with self._explained():
                return self._describe(sink, sink.commit())

        return finish

    def abort(self) -> None:
        """End the current part; see `Parts.abort`."""
        if self._sink is not None:
            self._sink.abort()

    def abort_sealing(self) -> None:
        """End the part that is being sealed; see `Parts.abort_sealing`."""
        if self._sealing is not None:
            self._sealing.abort()


class VideoParts(SinkParts[VideoSink]):
    """A video; parameters as of `Parts` and `VideoSink`."""

    def __init__(
        self,
        work: WorkFolder,
        map_format: MapFormat,
        *,
        codec: Codec,
        quality: int,
        stall_seconds: float,
        threads: int | None,
    ) -> None:
        super().__init__(work, map_format)
        self._options: dict[str, Any] = {"codec": codec, "quality": quality, "stall_seconds": stall_seconds}
        self._options["threads"] = threads
        self._codec: Codec = codec
        self._clock = VideoClock(self.target, map_format, codec)

    def _open(self) -> VideoSink:
        path = self._work.path / f"{self._number:06d}.mkv"
        return VideoSink(path, self.format, overwrite=True, clock=self._clock, shown=self.target, **self._options)

    def begin(self) -> None:
        """Start the encoder of the next part; see `Parts.begin`."""
        self._sink = self._open()
        self._sink.begin()

    def _describe(self, sink: VideoSink, path: Path) -> Sealed:
        try:
            with MatroskaFile(path) as video:
                imprints = [imprint(video.read(packet.begin, packet.end)) for packet in video.packets()]
                private = imprint(video.codec_private)
            if len(imprints) != sink.n_written:
                raise ValueError(f"it holds {len(imprints)} of {sink.n_written} maps")
        except ValueError as error:
            raise SinkError(f"output {str(self.target)!r}: part {path.name!r} is damaged: {error}") from None
        known = {"bytes": path.stat().st_size, "sha256": _sha256(path), "codec_private": private}
        return Sealed({"file": path.name, "maps": len(imprints), **known}, imprints)

    def complete(self, records: Sequence[Mapping[str, Any]], times: Iterable[tuple[int, float]]) -> Path:
        """Join the parts' packets; see `Parts.complete`."""
        parts = [self._work.path / str(record["file"]) for record in records]
        if len(parts) == 1 and self.target.suffix.lower() == ".mkv" and self._codec == "ffv1":
            return parts[0]  # it already is what joining would make of it
        whole = self._work.path / f"whole{self.target.suffix.lower()}"
        clock = VideoClock(self.target, self.format, self._codec)
        with self._explained():
            join_videos(
                parts,
                (clock.nanoseconds(index, seconds) for index, seconds in times),
                whole,
                self.format,
                unit=clock.unit,
                stall_seconds=self._options["stall_seconds"],
                shown=self.target,
            )
        return whole


class ImageParts(SinkParts[ImageSink]):
    """One picture file a map: a part is a folder of them. Parameters as of `Parts`."""

    def go_on(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Remove the files of a part that was written and not sealed; see `Parts.go_on`."""
        super().go_on(records)
        sealed = {str(record["file"]) for record in records}
        with self._explained():
            for folder in _folders(self._work.path):
                if folder.name not in sealed:
                    shutil.rmtree(folder)

    def _open(self) -> ImageSink:
        folder = self._work.path / f"{self._number:06d}"
        return ImageSink(folder / self.target.name, self.format, overwrite=True, shown=self.target)

    def _describe(self, sink: ImageSink, path: Path) -> Sealed:
        files = self._files(path.parent)
        if len(files) != sink.n_written:
            raise SinkError(f"output {str(self.target)!r}: {len(files)} of {sink.n_written} files are there")
        sync_folder(self._work.path)
        return Sealed({"file": path.parent.name, **summary(sink.imprints)}, sink.imprints)

    def look_at(self, record: Mapping[str, Any]) -> Path:
        """Return where a sealed part is; see `Parts.look_at`."""
        folder = self._work.path / str(record["file"])
        files = self._files(folder) if folder.is_dir() else []
        found = summary([imprint(file.read_bytes()) for file in files])
        if found != {name: record[name] for name in found}:
            raise ValueError(f"part {folder.name!r} is missing or has changed")
        return folder

    def complete(self, records: Sequence[Mapping[str, Any]], times: Iterable[tuple[int, float]]) -> Path:  # noqa: ARG002
        """Leave the files where they are; see `Parts.complete`."""
        return self._work.path

    def pieces(self, whole: Path, records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Path, int]]:
        """Yield the pattern of each part's files; see `Parts.pieces`."""
        for record in records:
            yield whole / str(record["file"]) / self.target.name, int(record["maps"])

    def moves(self, whole: Path, name: str) -> Iterator[tuple[Path, str]]:
        """Yield every picture; see `Parts.moves`."""
        written, published = NumberedFiles(self.target), NumberedFiles(self._work.folder / name)
        for folder in _folders(whole):
            for file in self._files(folder):
                yield file, published.name(written.index(file.name))

    def _files(self, folder: Path) -> list[Path]:
        names = NumberedFiles(self.target)
        found = (file for file in folder.iterdir() if names.names(file.name))
        return sorted(found, key=lambda file: names.index(file.name))


class ArrayParts(Parts):
    """One .npy array, in one file that grows; a part is a stretch of it. Parameters as of `Parts`."""

    has_imprints = False

    def __init__(self, work: WorkFolder, map_format: MapFormat) -> None:
        super().__init__(work, map_format)
        self._array: GrowingArray | None = None
        self._n_sealed = 0
        self._aborted = False
        self._path = work.path / "whole.npy"

    def go_on(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Cut the file behind the last sealed map; see `Parts.go_on`."""
        super().go_on(records)
        if records:
            self._n_sealed = self._open(int(records[-1]["end"])).n_maps

    def write(self, data: Picture, index: int, pts_seconds: float) -> None:  # noqa: ARG002  (an array has neither)
        """Write the next map; see `Parts.write`."""
        if self._aborted:
            raise SinkError(f"output {str(self.target)!r} cannot be written: the run was aborted")
        with self._explained():
            self._open(0).write(data)

    def seal(self) -> Seal:
        """End the current part; see `Parts.seal`."""
        array = self._open(0)
        before, n_maps = self._n_sealed, array.n_maps
        self._n_sealed = n_maps
        self._number += 1

        def finish() -> Sealed:
            with self._explained():
                array.sync()
            return Sealed({"file": self._path.name, "maps": n_maps - before, "end": n_maps}, None)

        return finish

    def look_at(self, record: Mapping[str, Any]) -> Path:
        """Return where the file is; see `Parts.look_at`."""
        if not self._path.is_file() or self._path.stat().st_size < GrowingArray.size(self.format, int(record["end"])):
            raise ValueError(f"{self._path.name!r} is missing or cut")
        return self._path

    def sealed_maps(self, records: Sequence[Mapping[str, Any]]) -> Iterator[Picture] | None:
        """Read the sealed maps again; see `Parts.sealed_maps`."""
        return GrowingArray.read(self._path, self.format, int(records[-1]["end"])) if records else None

    def complete(self, records: Sequence[Mapping[str, Any]], times: Iterable[tuple[int, float]]) -> Path:  # noqa: ARG002
        """Write the number of maps into the header; see `Parts.complete`."""
        with self._explained():
            self._open(int(records[-1]["end"])).complete()
            self._array = None
        return self._path

    def abort(self) -> None:
        """Take no more maps; see `Parts.abort`. What is sealed may still have to be flushed."""
        self._aborted = True

    def close(self) -> None:
        """Close the file; see `Parts.close`."""
        if self._array is not None:
            self._array.close()

    def _open(self, n_maps: int) -> GrowingArray:
        if self._array is None:
            self._array = GrowingArray(self._path, self.format, n_maps)
            sync_folder(self._work.path)
        return self._array


def open_parts(
    work: WorkFolder,
    map_format: MapFormat,
    *,
    codec: Codec | None,
    quality: int,
    stall_seconds: float,
    threads: int | None = None,
) -> Parts:
    """Open the parts of an output, of the kind that its name asks for; `codec` is None where it is no video."""
    if codec is not None:
        options: dict[str, Any] = {"quality": quality, "stall_seconds": stall_seconds, "threads": threads}
        return VideoParts(work, map_format, codec=codec, **options)
    return ImageParts(work, map_format) if is_numbered(work.target) else ArrayParts(work, map_format)


def _folders(work: Path) -> list[Path]:
    """List the folders of the parts of a sequence, in their order."""
    return sorted(path for path in work.iterdir() if path.is_dir() and path.name.isdigit())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
