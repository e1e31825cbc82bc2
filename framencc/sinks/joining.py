"""One video from its parts, without encoding anything again.

The parts are Matroska files as ffmpeg writes them, one track each, whose pictures lie in the order in which they are
shown. Their packets are passed on to an ffmpeg that only copies, each with the exact time that its map came with, so
nothing depends on what a part's own container could hold.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from framencc.errors import SinkError
from framencc.ffmpeg import FfmpegChild
from framencc.sinks import matroska
from framencc.sinks.base import MapFormat
from framencc.sinks.matroska_file import MatroskaFile
from framencc.sinks.video import failure, muxing_arguments, require_written


def join_videos(
    parts: Sequence[Path],
    nanoseconds: Iterable[int],
    target: Path,
    map_format: MapFormat,
    *,
    unit: Fraction,
    stall_seconds: float,
    shown: Path,
) -> None:
    """Write one video that holds the pictures of all parts.

    Parameters
    ----------
    parts
        The parts in order, Matroska.
    nanoseconds
        The time of every picture, from 0.
    target
        The file to write, .mkv, .mp4 or .mov.
    map_format
        Whose metadata it gets.
    unit
        Of its times, in seconds.
    stall_seconds
        ffmpeg is killed when it makes no progress for this long.
    shown
        What messages call the target.

    Raises
    ------
    SinkError
        When a part is not as it was written, or the video cannot be written.
    """
    arguments = [
        *("-f", "matroska", "-i", "pipe:0", "-map", "0:v:0", "-map_metadata", "-1", "-c", "copy", "-copyts"),
        *muxing_arguments(map_format, unit, target),
    ]
    with FfmpegChild(arguments, stdin=True, stall_seconds=stall_seconds) as child:
        try:
            n_pictures = _feed(child, parts, nanoseconds, shown)
        except BrokenPipeError:
            child.finish()
            raise failure(child, shown) from None
        require_written(child, n_pictures, shown)


def _feed(child: FfmpegChild, parts: Sequence[Path], nanoseconds: Iterable[int], shown: Path) -> int:
    """Pass the parts' packets on as one stream; return how many there were."""
    times = iter(nanoseconds)
    first, n_pictures = None, 0
    for part in parts:
        try:
            with MatroskaFile(part) as video:
                for packet in video.packets():
                    time = next(times, None)
                    if time is None:
                        raise ValueError("it holds another number of maps than were written")
                    if first is None:
                        first = video.tracks
                        child.write(matroska.header_of(first))
                    elif video.tracks != first:
                        raise SinkError(f"output {str(shown)!r}: its parts were not encoded alike; start anew")
                    child.write(matroska.picture_header(time, packet.end - packet.begin, is_key=packet.is_key))
                    child.write(video.read(packet.begin, packet.end))
                    n_pictures += 1
        except ValueError as error:
            raise SinkError(f"output {str(shown)!r}: part {part.name!r} is damaged: {error}; start anew") from None
    if next(times, None) is not None:
        raise SinkError(f"output {str(shown)!r}: its parts hold another number of maps than were written; start anew")
    return n_pictures
