"""Whole runs of the command with default options, H.264 in and FFV1 out, beside ffmpeg alone doing both at once."""

import tempfile
from pathlib import Path

from benchmarks.clip import count_slices, make_clip, require_frames, transcode
from benchmarks.processes import Recorded, Usage, run_framencc
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import describe, time_side_by_side

DEFAULTS = {"rounds": 3, "frames": (300, 1000)}
OURS, FFMPEG = "framencc run: decode, correlate, score, encode", "ffmpeg alone: decode, encode the gray plane"
_SHORT = 5

NOTES = """\
Both decode the same clip and write FFV1 with the same settings, slices and codec threads. A run of framencc is a whole
process with default options: it starts Python, reads compiled kernels from disk, probes the clip, prepares its
reference (frame 0), scores each map, writes the sidecar and checks what it has written. Maps and gray planes are
different images, so the files differ in size, and with it the work of the encoder. Own CPU time is that of the
process without its children (ffmpeg); peak memory is the greatest resident size of the process."""


def measure(options: Options) -> Findings:
    rows, figures = [], {}
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        for n_frames in options.frames:
            more, found = measure_length(Path(folder), options, n_frames)
            rows += more
            figures |= found
    head = [
        options.shape,
        "frames",
        "seconds",
        "frames/s",
        "time over ffmpeg's",
        "own CPU a frame",
        "peak memory",
        "MB",
    ]
    text = f"{table(head, rows)}\n\n{caption(options, 'numba', 'imageio-ffmpeg')}\n{NOTES}"
    return Findings({"runs": text}, figures)


def measure_length(folder: Path, options: Options, n_frames: int) -> tuple[list[list[str]], dict[str, float]]:
    """Time both on one clip, and make sure that every frame arrived."""
    say(f"making a clip of {n_frames} frames")
    clip, short = make_clip(folder, *options.size, n_frames), make_clip(folder, *options.size, _SHORT)
    maps, gray = folder / "maps.mkv", folder / "gray.mkv"

    def run(video: Path) -> Usage:
        words = ("run", video, maps, "--reference", 0, "--threads", options.threads, "--overwrite", "--quiet")
        return run_framencc(*words)

    run(short)  # its kernels are compiled from now on
    slices = count_slices(maps)
    ours = Recorded(lambda: run(clip))
    candidates = {OURS: ours, FFMPEG: lambda: transcode(clip, gray, slices=slices, threads=options.threads)}
    timings = time_side_by_side(candidates, options.rounds, warm_ups=0)
    say(describe(timings, FFMPEG))
    for output in (maps, gray):
        require_frames(output, n_frames)
    clip.unlink()
    own_cpu, peak = 1000 * ours.own_cpu() / n_frames, ours.peak_megabytes()
    ratio = timings[OURS].median_ratio(timings[FFMPEG])
    say(f"slices: {slices}; own CPU {own_cpu:.1f} ms a frame; peak memory {peak} MB")
    cells = {
        OURS: [f"{ratio:.2f}", f"{own_cpu:.1f} ms", "unknown" if peak is None else f"{peak:.0f} MB"],
        FFMPEG: ["1.00", "", ""],
    }
    sizes = {OURS: maps.stat().st_size, FFMPEG: gray.stat().st_size}
    rows = [
        [
            *(name, str(n_frames), f"{timing.median:.2f}", f"{n_frames / timing.median:.1f}"),
            *(*cells[name], f"{sizes[name] / 1e6:.1f}"),
        ]
        for name, timing in timings.items()
    ]
    name = f"runs/{n_frames}"
    figures = {f"{name}/ratio": ratio, f"{name}/own_cpu_ms": own_cpu, f"{name}/seconds": timings[OURS].median}
    return rows, figures if peak is None else figures | {f"{name}/peak_mb": peak}
