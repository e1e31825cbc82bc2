"""What a preview costs: a run that also draws one, beside the same run without."""

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from benchmarks.clip import count_frames, make_clip
from benchmarks.tables import machine, option_parser, positive, publish, say, table
from benchmarks.timing import Timing, describe, time_side_by_side
from framencc import RunSpec, run
from framencc.spec import PreviewStyle

PLAIN = "framencc"

NOTES = """\
All decode the same clip, correlate, and write FFV1; the others also draw a preview, which an encoder of its own turns
into H.264. {read_back} The maps have the same bytes with and without. CPU time is that of
all processes together; unlike wall time it hardly depends on what else the machine does (Windows does not tell it)."""


class Metered:
    """A run that notes the CPU time of this process and of the children that have ended."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self.cpu_seconds: list[float] = []

    def __call__(self) -> None:
        before = sum(os.times()[:4])
        run(self._spec)
        self.cpu_seconds.append(sum(os.times()[:4]) - before)

    def median_ratio(self, base: "Metered", rounds: int) -> float:
        pairs = zip(self.cpu_seconds[-rounds:], base.cpu_seconds[-rounds:], strict=True)
        return statistics.median(own / other if other else 1.0 for own, other in pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    width, height = options.size
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        timings, runs = time_runs(Path(folder), options)
    say(describe(timings, PLAIN))
    rows = [
        [
            name,
            f"{timing.median:.2f}",
            f"{timing.median_ratio(timings[PLAIN]):.2f}",
            f"{runs[name].median_ratio(runs[PLAIN], options.rounds):.2f}",
        ]
        for name, timing in timings.items()
    ]
    head = [f"{options.frames} frames of {width} x {height}", "seconds", "time over the first", "CPU time over it"]
    caption = (
        f"Medians of {options.rounds} rounds taken in turn, threads of the kernels: {options.threads}. "
        f"{machine('numba', 'pillow', 'imageio-ffmpeg')}."
    )
    read_back = "Nothing is verified (--no-verify)." if options.no_verify else "Outputs are verified by their packets."
    notes = NOTES.format(read_back=read_back)
    publish("preview", f"{table(head, rows)}\n\n{caption}\n{notes}", options.write)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = option_parser("benchmarks.preview", __doc__, size="1920x1080", rounds=3)
    parser.add_argument("--frames", type=positive, default=200, help="length of the clip; default: %(default)s")
    parser.add_argument(
        "--styles", nargs="+", choices=get_args(PreviewStyle), default=get_args(PreviewStyle), help="default: all"
    )
    parser.add_argument("--no-verify", action="store_true", help="do not verify what was written")
    return parser.parse_args(arguments)


def time_runs(folder: Path, options: argparse.Namespace) -> tuple[dict[str, Timing], dict[str, Metered]]:
    """Time all on one clip, and make sure that previews are whole and change nothing."""
    say(f"making a clip of {options.frames} frames")
    width, height = options.size
    spec = RunSpec(
        input=str(make_clip(folder, width, height, options.frames)),
        output=str(folder / "maps.mkv"),
        reference=0,
        threads=options.threads,
        overwrite=True,
        verify="off" if options.no_verify else "packets",
    )
    candidates = {PLAIN: Metered(spec)}
    previews = []
    for style in options.styles:
        preview, maps = folder / f"{style}.mp4", folder / f"maps_{style}.mkv"
        previews.append((preview, maps))
        output_format = spec.output_format.model_copy(update={"preview_style": style})
        with_preview = {"preview": str(preview), "output": str(maps), "output_format": output_format}
        candidates[f"with a preview, {style}"] = Metered(spec.model_copy(update=with_preview))
    timings = time_side_by_side(candidates, options.rounds)
    for preview, maps in previews:
        if (found := count_frames(preview)) != options.frames:
            raise AssertionError(f"{preview.stem}: {found} frames were written, {options.frames} are expected")
        if maps.read_bytes() != Path(spec.output).read_bytes():
            raise AssertionError(f"{preview.stem} changes the maps")
    return timings, candidates


if __name__ == "__main__":
    main()
