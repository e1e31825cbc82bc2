"""A whole job on a face, without footage: scikit-image's astronaut, moved, lit and hidden in known ways.

The job finds the motion by optical flow; as it is known exactly, tests can tell where the flow is right. What the
confidence shows is what no warp can undo: the open mouth, the hand in front of the face, the light and the noise.
"""

import contextlib
import math
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from framencc.config import make_spec
from framencc.demo.motion import SIZE
from framencc.demo.sheet import SheetRow, draw_sheet, save_png
from framencc.demo.take import FRAME_RATE, N_FRAMES, Take
from framencc.errors import SpecError
from framencc.frames import Picture
from framencc.lookup import look_up
from framencc.pipeline import run
from framencc.sinks import MapFormat, VideoSink
from framencc.sinks.targets import refuse_existing
from framencc.sources import VideoSource, read_picture
from framencc.spec.ncc import NccSpec
from framencc.spec.warp import WarpSpec
from framencc.staging import sidecar_path
from framencc.warps.opencv import import_cv2

__all__ = ["SETTINGS", "WARP", "DemoFiles", "DemoReport", "contact_sheet", "run_demo"]

_COLUMNS = ("static reference", "dynamic frame", "warped onto reference", "confidence")
_RADIUS = 5

SETTINGS = NccSpec(radius=_RADIUS, noise_sigma=3.0, flat=1.0)
"""What suits a face: smooth skin holds little more than noise, and that is no reason to doubt it."""

WARP = WarpSpec(method="flow", forward_backward="check", forward_backward_limit=3.0)
"""The job finds the motion itself, and does not believe it where the way there and back does not close."""

SHOWN = {0: "neutral", 21: "mouth open", 40: "hand in front", 60: "head turned"}
"""The frames of the contact sheet, by their index, and what they show."""


class DemoFiles(NamedTuple):
    """What the demo makes.

    `reference` is the neutral picture, `dynamic` what the camera sees, `warped` the same brought onto the reference by
    optical flow, `confidence` the maps, `sidecar` their description, and `preview` all of it side by side.
    """

    reference: Path
    dynamic: Path
    warped: Path
    confidence: Path
    sidecar: Path
    preview: Path
    contact_sheet: Path

    @classmethod
    def inside(cls, directory: Path) -> "DemoFiles":
        """Name the files of a demo in `directory`."""
        confidence = directory / "confidence.mkv"
        return cls(
            directory / "reference.png",
            directory / "dynamic.mkv",
            directory / "warped.mkv",
            confidence,
            sidecar_path(confidence),
            directory / "preview.mp4",
            directory / "contact_sheet.png",
        )


@dataclass(frozen=True)
class DemoReport:
    """What a demo made and found.

    Parameters
    ----------
    files
        Where everything is.
    n_frames
        How many frames, and maps, the clip has.
    face_confidence, occluder_confidence, mouth_confidence
        Mean confidence, 0 to 1, over all frames: on the face away from what hides it, where the hand hides the face,
        and inside the open mouth.
    """

    files: DemoFiles
    n_frames: int
    face_confidence: float
    occluder_confidence: float
    mouth_confidence: float


def run_demo(directory: Path, *, overwrite: bool = False, progress: bool = False) -> DemoReport:
    """Make the clip, carry out the job on it, and draw the contact sheet.

    Parameters
    ----------
    directory
        Where the files go; it is made where it is missing, and what else it holds is left alone.
    overwrite
        Replace the files of an earlier demo.
    progress
        Show progress bars on stderr, if that is a terminal.

    Returns
    -------
    DemoReport
        Where everything is, and the mean confidence where the truth is known.

    Raises
    ------
    SpecError
        When one of the files exists and may not be replaced, or `directory` is no folder.
    MissingExtraError
        When OpenCV, which finds the optical flow, is not installed.
    SinkError, SourceError
        When writing, or reading back, fails.
    """
    import_cv2(WARP.method)  # said before the clip is made
    directory = Path(directory)
    status = look_up(directory, repr(str(directory)))
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise SpecError(f"{str(directory)!r} is no folder; the demo needs one for its files")
    files = DemoFiles.inside(directory)
    spec = make_spec(
        {
            "input": files.dynamic,
            "output": files.confidence,
            "reference": files.reference,
            "warped": files.warped,
            "preview": files.preview,
            "overwrite": overwrite,
            "ncc": SETTINGS,
            "warp": WARP,
        }
    )
    for path in files:
        refuse_existing(path, overwrite=overwrite)
    take = Take()
    save_png(take.reference, files.reference)
    _film(take, files.dynamic, overwrite=overwrite, progress=progress)
    report = run(spec, progress=progress)
    means = _measure(take, files.confidence)
    save_png(contact_sheet(directory), files.contact_sheet)
    return DemoReport(files, report.n_frames, *means)


def contact_sheet(directory: Path, *, width: int = 1400) -> Image.Image:
    """Draw what a demo has written: four moments of it, as they are in the files.

    Parameters
    ----------
    directory
        Where `run_demo` wrote.
    width
        Width of the sheet in pixels.

    Returns
    -------
    PIL.Image.Image
        The sheet: static reference, dynamic frame, warped frame and confidence side by side.

    Raises
    ------
    SpecError, SourceError
        When a file is missing or cannot be read.
    """
    files = DemoFiles.inside(Path(directory))
    reference = read_picture(files.reference)
    rows = []
    with contextlib.ExitStack() as cleanup:
        videos = (files.dynamic, files.warped, files.confidence)
        sources = [cleanup.enter_context(VideoSource(str(path))) for path in videos]
        for frames in zip(*(source.frames() for source in sources), strict=True):
            index = frames[0].index
            if index in SHOWN:
                caption = f"{SHOWN[index]}, {frames[0].pts_seconds:.2f} s"
                rows.append(SheetRow(caption, (reference, *(_eight_bits(frame.data) for frame in frames))))
    side = 2 * _RADIUS + 1
    footer = (
        f"window {side} x {side}, noise_sigma = {SETTINGS.noise_sigma:g}, flat = {SETTINGS.flat:g}, "
        f"warp.method = {WARP.method}, forward_backward = {WARP.forward_backward}"
    )
    return draw_sheet(_COLUMNS, rows, footer, width=width)


def _film(take: Take, path: Path, *, overwrite: bool, progress: bool) -> None:
    """Write the clip as a camera would see it, frame by frame."""
    video = MapFormat(SIZE, SIZE, np.dtype(np.uint8), FRAME_RATE, None, {})
    with VideoSink(path, video, codec="ffv1", overwrite=overwrite) as dynamic:
        for index in _shown(range(N_FRAMES), "making the clip", progress=progress):
            dynamic.write(take.frame(index), index, float(index / FRAME_RATE))
        dynamic.commit()


def _eight_bits(picture: Picture) -> Picture:
    """Return the codes of 8 bits that a warped frame, of 16, stands for."""
    return picture if picture.dtype == np.uint8 else np.rint(picture / 256).astype(np.uint8)


def _measure(take: Take, confidence: Path) -> tuple[float, float, float]:
    """Return the mean confidence on the face, behind the hand and inside the mouth, read back from the file."""
    sums, counts = [0, 0, 0], [0, 0, 0]
    with VideoSource(str(confidence)) as source:
        for frame in source.frames():
            # Windows that overlap the hand or the mouth from outside belong to neither side.
            areas = take.areas(frame.index, margin=_RADIUS + 3)
            for number, area in enumerate((areas.face, areas.occluder, areas.mouth)):
                sums[number] += int(frame.data.sum(where=area, dtype=np.int64))
                counts[number] += int(np.count_nonzero(area))
    face, occluder, mouth = (
        total / count / 255 if count else math.nan for total, count in zip(sums, counts, strict=True)
    )
    return face, occluder, mouth


def _shown(indices: range, what: str, *, progress: bool) -> Iterable[int]:
    # Without a console there is no stderr at all.
    if not (progress and sys.stderr is not None and sys.stderr.isatty()):
        return indices
    from tqdm import tqdm  # noqa: PLC0415  (wanted on terminals only)

    bar: Iterable[int] = tqdm(indices, desc=what, unit="frame", file=sys.stderr, dynamic_ncols=True)
    return bar
