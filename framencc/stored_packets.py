"""Finished outputs without decoding them whole: their packets and files, and a few of their frames."""

import contextlib
import os
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from framencc.errors import SourceError, UnreadableNowError
from framencc.ffmpeg import FfmpegChild, file_url
from framencc.frames import Picture
from framencc.sinks import MapFormat, matroska
from framencc.sinks.base import Imprint, imprint
from framencc.sinks.matroska_file import MatroskaFile, Packet
from framencc.sinks.targets import NumberedFiles, is_numbered
from framencc.sources.containers.mp4 import Samples, read_samples
from framencc.sources.containers.promise import Window

# Frames that are decoded at once lie in a file of their own, which is not to become large.
_BATCH = 16


def stored_imprints(path: Path, indices: Iterable[int]) -> Iterator[tuple[Imprint, float | None]]:
    """Yield the imprint and the time of every packet of a video, or of every file of a sequence, which has no time.

    Parameters
    ----------
    path
        A video of ours, or a printf pattern.
    indices
        The frames' numbers, by which the files of a pattern are named.

    Raises
    ------
    SourceError
        When it is not whole.
    OSError
        When it cannot be read.
    """
    if is_numbered(path):
        files = NumberedFiles(path)
        for index in indices:
            yield imprint(files.path(index).read_bytes()), None
    else:
        with _damage_of(path):
            yield from _matroska_imprints(path) if path.suffix.lower() == ".mkv" else _mp4_imprints(path)


def codec_private(path: Path) -> bytes:
    """Return what a decoder of a video has to know besides its packets.

    Raises
    ------
    SourceError
        When it is not whole.
    OSError
        When it cannot be read.
    """
    with _damage_of(path):
        if path.suffix.lower() != ".mkv":
            return _samples(path).codec_private
        with MatroskaFile(path) as video:
            next(video.packets(), None)
            return video.codec_private


def decode_frames(
    path: Path, numbers: Collection[int], map_format: MapFormat, *, scratch: Path, stall_seconds: float
) -> Iterator[Picture]:
    """Decode some frames of a lossless video in which every packet stands alone.

    Parameters
    ----------
    path
        The video, Matroska.
    numbers
        Which frames, counted from 0.
    map_format
        What a frame is.
    scratch
        A file that may be written; it is gone afterwards.
    stall_seconds
        A decoder without progress for this long is killed.

    Raises
    ------
    SourceError
        When one cannot be decoded.
    UnreadableNowError
        When that tells nothing of the video.
    OSError
        When something cannot be read or written.
    """
    arguments = ("-f", "matroska", "-i", file_url(scratch), "-map", "0:v:0", "-fps_mode", "passthrough")
    pixel_format = "gray" if map_format.dtype == np.uint8 else "gray16le"
    try:
        with _damage_of(path), MatroskaFile(path) as video:
            wanted = (packet for number, packet in enumerate(video.packets()) if number in numbers)
            while batch := list(islice(wanted, _BATCH)):
                _write_sample(scratch, video, batch)
                command = [*arguments, "-f", "rawvideo", "-pix_fmt", pixel_format, "pipe:1"]
                with FfmpegChild(command, stdout=True, stall_seconds=stall_seconds) as child:
                    for _ in batch:
                        frame = np.empty(map_format.shape, map_format.dtype.newbyteorder("<"))
                        if child.readinto(frame.data.cast("B")) != frame.nbytes:
                            break
                        yield frame
                    _require_success(child)
    finally:
        scratch.unlink(missing_ok=True)


def count_key_frames(path: Path, *, stall_seconds: float) -> int | None:
    """Decode the frames at which a decoder of a video can begin; return how many there were.

    Raises
    ------
    SourceError, UnreadableNowError
        As `decode_frames`.
    """
    # Frames are only counted, and a muxer would complain about times that lie far apart.
    times = "-vf", "setpts=N", "-fps_mode", "passthrough"
    arguments = ["-skip_frame", "nokey", "-i", file_url(path), "-map", "0:v:0", *times]
    with FfmpegChild([*arguments, "-f", "null", os.devnull], stall_seconds=stall_seconds) as child:
        _require_success(child)
        return child.n_written


@contextlib.contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    """Turn what a file that is not whole raises where it is read into a SourceError."""
    try:
        yield
    except (ValueError, LookupError, struct.error) as error:
        raise SourceError(f"{str(path)!r} is damaged: {error}") from None


def _matroska_imprints(path: Path) -> Iterator[tuple[Imprint, float]]:
    with MatroskaFile(path) as video:
        for packet in video.packets():
            yield imprint(video.read(packet.begin, packet.end)), float(packet.seconds)


def _mp4_imprints(path: Path) -> Iterator[tuple[Imprint, float]]:
    samples = _samples(path)
    with Window.open(str(path)) as window:
        for begin, end, seconds in zip(samples.begins, samples.ends, samples.seconds, strict=True):
            yield imprint(window.read(int(begin), int(end - begin))), seconds


def _samples(path: Path) -> Samples:
    with Window.open(str(path)) as window:
        return read_samples(window)


def _write_sample(path: Path, video: MatroskaFile, packets: Sequence[Packet]) -> None:
    """Write a video of a few packets, with the description that the whole has."""
    with path.open("wb") as file:
        file.write(matroska.header_like(video.ebml, video.info, video.tracks))
        for number, packet in enumerate(packets):
            file.write(matroska.picture_header(number, packet.end - packet.begin))
            file.write(video.read(packet.begin, packet.end))


def _require_success(child: FfmpegChild) -> None:
    status = child.finish()
    if child.stalled or status < 0:
        raise UnreadableNowError(child.explain())
    if status or child.errors:
        if (fault := child.fault_of_program()) is not None:
            raise UnreadableNowError(fault)
        raise SourceError(child.explain())
