"""Where maps go: a video, one picture file a frame, or one array."""

from pathlib import Path

from framencc.sinks.arrays import ArraySink
from framencc.sinks.base import MapFormat, Sink
from framencc.sinks.images import ImageSink
from framencc.sinks.parts import Parts, open_parts
from framencc.sinks.targets import check_targets, is_numbered, partial_path
from framencc.sinks.video import VideoSink
from framencc.spec import VIDEO_OUTPUT_SUFFIXES, Codec, RunSpec

__all__ = [
    "ArraySink",
    "ImageSink",
    "MapFormat",
    "Parts",
    "Sink",
    "VideoSink",
    "check_targets",
    "open_parts",
    "open_sink",
    "partial_path",
]


def open_sink(spec: RunSpec, map_format: MapFormat) -> Sink:
    """Open the sink that a job's output name asks for.

    Parameters
    ----------
    spec
        The job.
    map_format
        What the sink is going to be given.

    Returns
    -------
    Sink
        It leaves nothing behind unless it is committed.

    Raises
    ------
    SpecError
        When the output exists and may not be replaced, or cannot hold such maps.
    SinkError
        When the output cannot be written.
    """
    return _open(Path(spec.output), spec, map_format, spec.codec)


def _open(target: Path, spec: RunSpec, map_format: MapFormat, codec: Codec | None) -> Sink:
    if codec is not None and target.suffix.lower() in VIDEO_OUTPUT_SUFFIXES:
        return VideoSink(
            target,
            map_format,
            codec=codec,
            quality=spec.output_format.quality,
            overwrite=spec.overwrite,
            stall_seconds=spec.limits.stall_seconds,
            threads=spec.threads,
        )
    if is_numbered(target):
        return ImageSink(target, map_format, overwrite=spec.overwrite)
    return ArraySink(target, map_format, overwrite=spec.overwrite)
