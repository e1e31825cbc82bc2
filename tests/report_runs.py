"""Runs for the tests of reports: real ones on small clips, and sidecars of any length that are made up."""

import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from media import ffmpeg

from framencc import RunSpec, run
from framencc.sidecar import SidecarWriter

Row = dict[str, Any]
CODES = [
    "measured",
    "flat reference",
    "flat frame",
    "outside",
    "masked",
    "few",
    "not finite",
    "check failed",
    "damaged",
]
SCORES = ("mean", "median", "p05", "p95", "valid_share", "share_below", "sharpness_ratio", "gain", "warp_magnitude")


def scores(mean: float | None, valid: float = 1.0) -> Row:
    """Return the numbers of a frame or region whose mean is given, None where nothing was measured."""
    if mean is None:
        return dict.fromkeys(SCORES) | {"valid_share": 0.0}
    numbers = (mean, mean + 0.02, mean - 0.3, mean + 0.05, valid, max(0.0, 0.6 - mean), 1.0, 0.9, 2.5)
    return dict(zip(SCORES, numbers, strict=True))


def frame_row(index: int, mean: float | None, regions: dict[str, float | None] | None = None, **others: Any) -> Row:
    """Return a row of a sidecar as runs write them."""
    row = {"index": index, "pts_seconds": index / 25, **scores(mean)}
    row["mean_confidence"] = row.pop("mean")
    row["code_shares"] = [row["valid_share"], 0, 0, 1 - row["valid_share"], 0, 0, 0, 0, 0]
    if regions is not None:
        row["regions"] = {name: {"n_pixels": 100, **scores(value)} for name, value in regions.items()}
    return row | others


def head(**others: Any) -> Row:
    """Return what a sidecar says of a whole run."""
    spec = RunSpec(input="in.mkv", output="maps.mkv", reference=0)
    return {
        "framencc": "0.1.0",
        "spec": json.loads(spec.model_dump_json()),
        "encoding": {"encoding": "clip", "bits": 8, "maximum": 255},
        "validity_codes": CODES,
        "input": {"path": "in.mkv", "bytes": 1, "modified": "2026", "sha256_of_first_and_last_mib": "0"},
        "reference": {"kind": "frame", "index": 0},
        "stream": {"height": 48, "width": 64, "dtype": "uint8", "bits": 8, "n_channels": 1, "frame_rate": "25"},
        "versions": {"python": "3.11"},
        "timings": {"seconds": 1.5, "frames_per_second": 20.0, "compute_seconds": 1.0, "resumed_from": 0},
        "summary": {"n_frames": 0, "code_shares": [1.0, 0, 0, 0, 0, 0, 0, 0, 0]},
        "complete": True,
        "error": None,
        "outputs": {"output": "maps.mkv"},
        **others,
    }


def write_sidecar(path: Path, rows: Iterator[Row] | list[Row], **others: Any) -> Path:
    """Write a sidecar whose run never was."""
    with SidecarWriter(path) as writer:
        for row in rows:
            writer.add_frame(row)
        return writer.commit(head(**others))


def real_run(folder: Path, name: str = "maps.mkv", n_frames: int = 40, **options: Any) -> Path:
    """Carry out a job on a clip in which something passes in front of the picture; return its output."""
    clip = folder / "take.mkv"
    if not clip.exists():
        picture = np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8)
        frames = np.repeat(picture[np.newaxis], n_frames, axis=0)
        for index in range(18, min(26, n_frames)):
            frames[index, 20:90, 10 : 10 + 12 * (index - 17)] = 90
        codec = ("-c:v", "ffv1", "-pix_fmt", "gray")
        ffmpeg(
            *("-f", "rawvideo", "-pix_fmt", "gray", "-s", "128x96", "-r", "25", "-i", "-", *codec, clip),
            stdin=frames.tobytes(),
        )
    spec = RunSpec(input=str(clip), output=str(folder / name), reference=0, **options)
    return run(spec).output


def add_preview(output: Path, name: str = "preview.mp4") -> Path:
    """Make a video that browsers play of the maps, and enter it in the sidecar."""
    preview = output.with_name(name)
    ffmpeg("-i", output, "-vf", "scale=384:-2,format=yuv420p", "-c:v", "libx264", preview)
    change(output, lambda content: content["outputs"].update(preview=name))
    return preview


def change(output: Path, edit: Callable[[Row], object]) -> Path:
    """Change what the sidecar of an output says."""
    sidecar = output.with_name(output.name + ".json")
    content = json.loads(sidecar.read_text())
    edit(content)
    sidecar.write_text(json.dumps(content))
    return sidecar


def add_regions(output: Path, regions: dict[str, Callable[[int], float | None]], **n_pixels: int) -> None:
    """Enter scores in the sidecar as if there had been regions with these means, frame by frame."""

    def edit(content: Row) -> None:
        content["regions"] = {name: {"label": 1, "n_pixels": n_pixels.get(name, 100)} for name in regions}
        for row in content["frames"]:
            row.update({**scores(row["mean_confidence"]), **row})
            row["regions"] = {
                name: {"n_pixels": n_pixels.get(name, 100), **scores(mean(row["index"]))}
                for name, mean in regions.items()
            }

    change(output, edit)


class Visible(HTMLParser):
    """The text that people read, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags, self._inside = "", [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.text += data


def seen(page: Path) -> Visible:
    """Read a page as its reader does."""
    parser = Visible()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser
