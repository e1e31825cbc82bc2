"""What a preview costs: a run that also draws one, beside the same run without."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
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
into H.264. Everything is read back and compared. The maps have the same bytes with and without."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    width, height = options.size
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        timings = time_runs(Path(folder), options)
    say(describe(timings, PLAIN))
    rows = [
        [name, f"{timing.median:.2f}", f"{timing.median_ratio(timings[PLAIN]):.2f}"] for name, timing in timings.items()
    ]
    head = [f"{options.frames} frames of {width} x {height}", "seconds", "time over the first"]
    caption = (
        f"Medians of {options.rounds} rounds taken in turn, threads of the kernels: {options.threads}. "
        f"{machine('numba', 'pillow', 'imageio-ffmpeg')}."
    )
    publish("preview", f"{table(head, rows)}\n\n{caption}\n{NOTES}", options.write)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = option_parser("benchmarks.preview", __doc__, size="1920x1080", rounds=3)
    parser.add_argument("--frames", type=positive, default=200, help="length of the clip; default: %(default)s")
    parser.add_argument(
        "--styles", nargs="+", choices=get_args(PreviewStyle), default=get_args(PreviewStyle), help="default: all"
    )
    return parser.parse_args(arguments)


def time_runs(folder: Path, options: argparse.Namespace) -> dict[str, Timing]:
    """Time all on one clip, and make sure that previews are whole and change nothing."""
    say(f"making a clip of {options.frames} frames")
    width, height = options.size
    spec = RunSpec(
        input=str(make_clip(folder, width, height, options.frames)),
        output=str(folder / "maps.mkv"),
        reference=0,
        threads=options.threads,
        overwrite=True,
    )
    candidates: dict[str, Callable[[], object]] = {PLAIN: partial(run, spec)}
    previews = []
    for style in options.styles:
        preview, maps = folder / f"{style}.mp4", folder / f"maps_{style}.mkv"
        previews.append((preview, maps))
        output_format = spec.output_format.model_copy(update={"preview_style": style})
        with_preview = {"preview": str(preview), "output": str(maps), "output_format": output_format}
        candidates[f"with a preview, {style}"] = partial(run, spec.model_copy(update=with_preview))
    timings = time_side_by_side(candidates, options.rounds)
    for preview, maps in previews:
        if (found := count_frames(preview)) != options.frames:
            raise AssertionError(f"{preview.stem}: {found} frames were written, {options.frames} are expected")
        if maps.read_bytes() != Path(spec.output).read_bytes():
            raise AssertionError(f"{preview.stem} changes the maps")
    return timings


if __name__ == "__main__":
    main()
