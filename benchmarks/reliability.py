"""What a run costs that can be relied on: segments, journal, digests, reading back, beside one that just writes."""

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clip import count_frames, make_clip
from benchmarks.tables import machine, option_parser, positive, publish, say, table
from benchmarks.timing import Timing, describe, time_side_by_side
from framencc import RunSpec, run
from framencc.frames import Frame, Picture
from framencc.pipeline import Stages
from framencc.pipeline.job import Job
from framencc.pipeline.tally import Tally
from framencc.sidecar import SidecarWriter
from framencc.sinks import VideoSink

PLAIN = "one file, written straight: no segments, journal or digests, nothing read back"
UNVERIFIED = "framencc --no-verify: segments, journal, digests"
OURS = "framencc: also compares every packet of the finished file"
FULL = "framencc --verify full: also decodes and compares every map"

NOTES = """\
All decode the same clip, correlate with its frame 0, score, and write FFV1 and a sidecar, flushed to the disk, by
the same threads; the first is put together by the benchmark from the package's parts. The time is spent on a SHA-256
of every map and of every segment, on an encoder's start and end for each segment, on copying the segments into one
file, and on reading or decoding that."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    width, height = options.size
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        timings = time_runs(Path(folder), options)
    say(describe(timings, PLAIN))
    rows = [
        [name, f"{timing.median:.2f}", f"{timing.median_ratio(timings[PLAIN]):.3f}"] for name, timing in timings.items()
    ]
    head = [f"{options.frames} frames of {width} x {height}", "seconds", "time over the first"]
    caption = (
        f"Medians of {options.rounds} rounds taken in turn, segments of {options.segment_frames} frames, threads of "
        f"the kernels: {options.threads}. {machine('numba', 'imageio-ffmpeg')}."
    )
    publish("reliability", f"{table(head, rows)}\n\n{caption}\n{NOTES}", options.write)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = option_parser("benchmarks.reliability", __doc__, size="1920x1080", rounds=5)
    parser.add_argument("--frames", type=positive, default=600, help="length of the clip; default: %(default)s")
    default = RunSpec.model_fields["segment_frames"].default
    parser.add_argument("--segment-frames", type=positive, default=default, help="default: %(default)s")
    return parser.parse_args(arguments)


def time_runs(folder: Path, options: argparse.Namespace) -> dict[str, Timing]:
    """Time all on one clip, and make sure that every frame arrived."""
    say(f"making a clip of {options.frames} frames")
    width, height = options.size
    spec = RunSpec(
        input=str(make_clip(folder, width, height, options.frames)),
        output=str(folder / "maps.mkv"),
        reference=0,
        threads=options.threads,
        segment_frames=options.segment_frames,
        overwrite=True,
    )
    candidates: dict[str, Callable[[], object]] = {
        PLAIN: lambda: run_plainly(spec),
        UNVERIFIED: lambda: run(spec.model_copy(update={"verify": "off"})),
        OURS: lambda: run(spec),
        FULL: lambda: run(spec.model_copy(update={"verify": "full"})),
    }
    timings = time_side_by_side(candidates, options.rounds)
    if (found := count_frames(Path(spec.output))) != options.frames:
        raise AssertionError(f"{found} frames were written, {options.frames} are expected")
    return timings


class PlainOutput:
    """A job's only output, written into one file."""

    clip_maps = None

    def __init__(self, spec: RunSpec, formats: Mapping[str, Any]) -> None:
        self.formats = formats
        target = Path(spec.output)
        self.sidecar = SidecarWriter(target)
        self.sink = VideoSink(target, formats["output"], codec="ffv1", overwrite=True)

    def write(self, pictures: Mapping[str, Picture], frame: Frame, row: Mapping[str, Any], _: object) -> None:
        self.sink.write(pictures["output"], frame.index, frame.pts_seconds)
        self.sidecar.add_frame(row)

    def abort(self) -> None:
        self.sink.abort()
        self.sidecar.abort()


def run_plainly(spec: RunSpec) -> None:
    """Carry out a job into one file."""
    with contextlib.ExitStack() as cleanup:
        stages = Stages(spec, cleanup)
        output = PlainOutput(spec, stages.formats)
        cleanup.callback(output.abort)
        parts = (spec, stages.source, stages.reference, stages.scorer, output)
        Job(*parts, tally=Tally(spec.scores.threshold)).carry_out()  # type: ignore[arg-type]
        output.sink.commit()
        output.sidecar.commit({})


if __name__ == "__main__":
    main()
