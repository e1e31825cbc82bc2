"""What a run costs that can be relied on: segments, and checking what was written."""

import json
import tempfile
from pathlib import Path

from benchmarks.clip import make_clip, require_frames
from benchmarks.processes import Recorded, run_framencc
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import describe, time_side_by_side
from framencc import RunSpec

DEFAULTS = {"rounds": 3, "frames": (600,)}
ONE_SEGMENT = "framencc --no-verify, one segment"
UNVERIFIED, OURS, FULL = "framencc --no-verify", "framencc", "framencc --verify full"

NOTES = """\
All decode the same clip, correlate with its frame 0, score, and write FFV1 and a sidecar, flushed to the disk; whole
processes. Segments cost an encoder's start and end for each and a copy into one file; checking what was written costs
what `verify` says. CPU time is that of all processes together."""


def measure(options: Options) -> Findings:
    n_frames = options.frames[0]
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as name:
        folder = Path(name)
        say(f"making a clip of {n_frames} frames")
        clip, maps = make_clip(folder, *options.size, n_frames), folder / "maps.mkv"
        words = ("run", clip, maps, "--reference", 0, "--threads", options.threads, "--overwrite", "--quiet")
        variants: dict[str, tuple[object, ...]] = {
            ONE_SEGMENT: ("--no-verify", "--segment-frames", n_frames),
            UNVERIFIED: ("--no-verify",),
            OURS: (),
        }
        schema = RunSpec.model_json_schema()["properties"]["verify"]
        if '"full"' in json.dumps(schema):  # a switch alone has no such choice
            variants[FULL] = ("--verify", "full")
        runs = {name: Recorded(lambda more=more: run_framencc(*words, *more)) for name, more in variants.items()}
        timings = time_side_by_side(runs, options.rounds)
        require_frames(maps, n_frames)
    say(describe(timings, ONE_SEGMENT))
    rows = [
        [
            name,
            f"{timing.median:.2f}",
            f"{timing.median_ratio(timings[ONE_SEGMENT]):.3f}",
            f"{runs[name].all_cpu():.1f}",
        ]
        for name, timing in timings.items()
    ]
    head = [f"{n_frames} frames of {options.shape}", "seconds", "time over the first", "CPU seconds"]
    text = f"{table(head, rows)}\n\n{caption(options, 'numba', 'imageio-ffmpeg')}\n{NOTES}"
    return Findings({"reliability": text})
