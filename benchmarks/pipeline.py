"""A whole run, H.264 in and FFV1 out, beside ffmpeg alone doing both with nothing in between; and the time to start."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.clip import count_frames, make_clip, transcode
from benchmarks.startup import startup_rows
from benchmarks.tables import machine, option_parser, positive, publish, say, table
from benchmarks.timing import Timing, describe, time_side_by_side
from framencc import RunSpec, run

OURS, FFMPEG = "framencc: decode, correlate, encode", "ffmpeg alone: decode, encode the gray plane"

NOTES = """\
Both decode the same clip and write FFV1 with the same settings; `framencc` also probes the clip, prepares its
reference (frame 0), scores each map and writes the sidecar; it does not verify the maps (`--no-verify`). Maps and
gray planes are different pictures, so the files differ in size, and with it the work of the encoder. Starting Python
and compiling are not included: see below."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    width, height = options.size
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        timings, sizes = time_runs(Path(folder), options)
    say(describe(timings, FFMPEG))
    rows = [
        [
            name,
            f"{timing.median:.2f}",
            f"{options.frames / timing.median:.1f}",
            f"{timing.median_ratio(timings[FFMPEG]):.2f}",
            f"{sizes[name] / 1e6:.1f}",
        ]
        for name, timing in timings.items()
    ]
    head = [f"{options.frames} frames of {width} x {height}", "seconds", "frames/s", "time over ffmpeg's", "MB written"]
    caption = (
        f"Medians of {options.rounds} rounds taken in turn, threads of the kernels: {options.threads}. "
        f"{machine('numba', 'imageio-ffmpeg')}."
    )
    startup = table(["Starting", "time"], startup_rows(options.startup_rounds))
    publish("pipeline", f"{table(head, rows)}\n\n{caption}\n{NOTES}\n\n{startup}", options.write)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = option_parser("benchmarks.pipeline", __doc__, size="1920x1080", rounds=5)
    parser.add_argument("--frames", type=positive, default=300, help="length of the clip; default: %(default)s")
    parser.add_argument(
        "--startup-rounds", type=positive, default=10, help="starts of the command; default: %(default)s"
    )
    return parser.parse_args(arguments)


def time_runs(folder: Path, options: argparse.Namespace) -> tuple[dict[str, Timing], dict[str, int]]:
    """Time both on one clip, make sure that every frame arrived, and measure the files."""
    say(f"making a clip of {options.frames} frames")
    width, height = options.size
    clip = make_clip(folder, width, height, options.frames)
    outputs = {OURS: folder / "maps.mkv", FFMPEG: folder / "gray.mkv"}
    spec = RunSpec(
        input=str(clip), output=str(outputs[OURS]), reference=0, threads=options.threads, overwrite=True, verify="off"
    )
    candidates: dict[str, Callable[[], object]] = {
        OURS: lambda: run(spec),
        FFMPEG: lambda: transcode(clip, outputs[FFMPEG]),
    }
    timings = time_side_by_side(candidates, options.rounds)
    for name, output in outputs.items():
        if (found := count_frames(output)) != options.frames:
            raise AssertionError(f"{name}: {found} frames were written, {options.frames} are expected")
    return timings, {name: output.stat().st_size for name, output in outputs.items()}


if __name__ == "__main__":
    main()
