"""What a preview costs: a run that also draws one, beside the same run without."""

import tempfile
from pathlib import Path
from typing import get_args

from benchmarks.clip import make_clip, require_frames
from benchmarks.processes import Recorded, run_framencc
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import Timing, describe, time_side_by_side
from framencc.spec import PreviewStyle

DEFAULTS = {"rounds": 3, "frames": (200,)}
PLAIN = "framencc"

NOTES = """\
All decode the same clip, correlate, and write FFV1; the others also draw a preview, which an encoder of its own turns
into H.264. Whole processes with default options. The maps have the same bytes with and without. CPU time is that of
all processes together; unlike wall time it hardly depends on what else the machine does (Windows does not tell it)."""


def measure(options: Options) -> Findings:
    n_frames = options.frames[0]
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        timings, runs = time_runs(Path(folder), options, n_frames)
    say(describe(timings, PLAIN))
    rows = [
        [
            name,
            f"{timing.median:.2f}",
            f"{timing.median_ratio(timings[PLAIN]):.2f}",
            f"{runs[name].all_cpu() / (runs[PLAIN].all_cpu() or 1):.2f}",
        ]
        for name, timing in timings.items()
    ]
    head = [f"{n_frames} frames of {options.shape}", "seconds", "time over the first", "CPU time over it"]
    text = f"{table(head, rows)}\n\n{caption(options, 'numba', 'pillow', 'imageio-ffmpeg')}\n{NOTES}"
    return Findings({"preview": text})


def time_runs(folder: Path, options: Options, n_frames: int) -> tuple[dict[str, Timing], dict[str, Recorded]]:
    """Time all on one clip, and make sure that previews are whole and change nothing."""
    say(f"making a clip of {n_frames} frames")
    clip, maps = make_clip(folder, *options.size, n_frames), folder / "maps.mkv"
    words = ("--reference", 0, "--threads", options.threads, "--overwrite", "--quiet")
    runs = {PLAIN: Recorded(lambda: run_framencc("run", clip, maps, *words))}
    outputs = []
    for style in get_args(PreviewStyle):
        preview, own_maps = folder / f"{style}.mp4", folder / f"maps_{style}.mkv"
        outputs.append((preview, own_maps))
        drawing = ("--preview", preview, "--output-format.preview-style", style)
        arguments = ("run", clip, own_maps, *words, *drawing)
        runs[f"with a preview, {style}"] = Recorded(lambda arguments=arguments: run_framencc(*arguments))
    timings = time_side_by_side(runs, options.rounds)
    for preview, own_maps in outputs:
        require_frames(preview, n_frames)
        if own_maps.read_bytes() != maps.read_bytes():
            raise AssertionError(f"{preview.stem} changes the maps")
    return timings, runs
