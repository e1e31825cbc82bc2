"""A whole run with optical flow, beside the sum of its parts: decoding, the flow alone, encoding."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.clip import count_frames, decode, encode_gray, make_clip
from benchmarks.tables import machine, option_parser, positive, publish, say, table
from benchmarks.timing import Timing, describe, time_side_by_side
from framencc import RunSpec, run
from framencc.sources import VideoSource
from framencc.spec.warp import WarpSpec

OURS = "framencc: decode, flow, warp, correlate, encode"
DECODE, FLOW, ENCODE = "ffmpeg decodes the gray plane", "OpenCV DIS, preset fast", "ffmpeg encodes maps as FFV1"

NOTES = """\
Each part works alone on the same clip: ffmpeg decodes it to nowhere; OpenCV finds the flow of each frame in memory, of
the plain pictures, from a cold start, with all threads; ffmpeg encodes the maps of the run. framencc does all three
side by side, the flow with half of the threads, and besides evens out both pictures, samples the frame, correlates,
scores and writes the sidecar. Before its first frame it asks what the clip is and fetches the reference, which takes
about half a second however long the clip is. It does not verify the maps (--no-verify), which is no part of
either side."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = option_parser("benchmarks.flow", __doc__, size="1920x1080", rounds=5)
    parser.add_argument("--frames", type=positive, default=150, help="length of the clip; default: %(default)s")
    options = parser.parse_args(arguments)
    width, height = options.size
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        say(f"making a clip of {options.frames} frames")
        clip = make_clip(Path(folder), width, height, options.frames)
        timings = time_parts(clip, Path(folder), options.rounds, options.threads, options.frames)
    say(describe(timings, OURS))
    parts = [timings[name] for name in (DECODE, FLOW, ENCODE)]
    total = Timing(tuple(map(sum, zip(*(part.seconds for part in parts), strict=True))))
    rows = [[name, f"{timing.median:.2f}", ""] for name, timing in timings.items() if name != OURS]
    rows.append(["sum of the parts", f"{total.median:.2f}", "1"])
    rows.append([OURS, f"{timings[OURS].median:.2f}", f"{timings[OURS].median_ratio(total):.2f}"])
    head = [f"{options.frames} frames of {width} x {height}", "seconds", "time over the sum"]
    caption = f"Medians of {options.rounds} rounds taken in turn, threads: {options.threads}. "
    publish("flow", f"{table(head, rows)}\n\n{caption}{machine('numba', 'opencv-python')}.\n{NOTES}", options.write)


def time_parts(clip: Path, folder: Path, rounds: int, threads: int, n_frames: int) -> dict[str, Timing]:
    """Time the run and its parts in turn, and make sure that every frame arrived."""
    import cv2

    cv2.setNumThreads(threads)
    with VideoSource(str(clip)) as source:
        frames = [frame.data for frame in source.frames()]
    maps = folder / "maps.mkv"
    spec = RunSpec(
        input=str(clip),
        output=str(maps),
        reference=0,
        threads=threads,
        overwrite=True,
        verify="off",
        warp=WarpSpec(method="flow"),
    )
    run(spec)
    with VideoSource(str(maps)) as source:
        raw = np.stack([frame.data for frame in source.frames()])
    raw.tofile(folder / "maps.raw")
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    candidates: dict[str, Callable[[], object]] = {
        OURS: lambda: run(spec),
        DECODE: lambda: decode(clip),
        FLOW: lambda: [search.calc(frames[0], frame, None) for frame in frames],
        ENCODE: lambda: encode_gray(folder / "maps.raw", raw.shape[2], raw.shape[1], folder / "gray.mkv"),
    }
    timings = time_side_by_side(candidates, rounds)
    for output in (maps, folder / "gray.mkv"):
        if (found := count_frames(output)) != n_frames:
            raise AssertionError(f"{output.name}: {found} frames were written, {n_frames} are expected")
    return timings


if __name__ == "__main__":
    main()
