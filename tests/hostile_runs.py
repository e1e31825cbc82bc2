"""One hostile file through `framencc run`, and whether what came of it may be believed.

What is in the file is found out by ffmpeg in another way: whole frames instead of one plane, times from another filter,
one thread, no whitelist.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import re
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from cv2 import dilate
from hostile_corpus import Hostile
from media import luma_of_rgb
from running import COMMAND, WindowedNcc
from sink_readback import decode_gray
from tolerances import INTEGER, promised

from framencc.cli import main

_FRAME = re.compile(r"showinfo.*\] n: *\d+ pts: *(\S+) .*\bfmt:(\w+) .*\bs:(\d+)x(\d+) ")
_WRITTEN = re.compile(r"frame= *(\d+) fps=")
_CONFIG = re.compile(r"showinfo.*config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)")
_ERROR = re.compile(r"^(?:\[[^\]]* @ [^\]]*\] )*\[(?:error|fatal|panic)\] (.*)$")
_HARMLESS = re.compile(r"SEI type \d+ size \d+ truncated|APP fields|^app: |EXIF|Referenced QT chapter")
_COARSE_OUTPUT = re.compile(r"non monotonically increasing dts to muxer")
# Half of a Matroska file's usual unit.
_MILLISECOND = 0.0005001


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Decoded:
    """What another reader makes of an input.

    Parameters
    ----------
    frames
        Luma of each frame.
    times
        In seconds.
    complaints
        What it found wrong.
    sizes
        Those of all frames, where they may differ.
    reference
        What the frames are compared with; None: the first of them.
    """

    frames: Sequence[np.ndarray]
    times: Sequence[float]
    complaints: Sequence[str] = ()
    sizes: frozenset[tuple[int, int]] = frozenset()
    reference: np.ndarray | None = None


@contextlib.contextmanager
def everything_said() -> Iterator[list[str]]:
    """Collect warnings and log messages: what a process of its own would print on stderr."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(f"{record.name}: {record.getMessage()}")  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
            said += [f"{warning.category.__name__}: {warning.message}" for warning in caught]
    finally:
        logging.getLogger().removeHandler(handler)


def run_here(*words: object) -> Ending:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), everything_said() as said:
        code = main(["run", *map(str, words), "-q"])
    return Ending(code, out.getvalue(), err.getvalue() + "".join(f"{line}\n" for line in said))


def run_process(*words: object, prefix: Sequence[str] = ()) -> Ending:
    """Run the command as a process, behind the words of another program if there are any."""
    command = [*prefix, *COMMAND, "run", *map(str, words), "-q"]
    result = subprocess.run(command, capture_output=True, check=False, timeout=120)
    return Ending(result.returncode, result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace"))


def decode(path: Path) -> Decoded:
    """Decode a file to the whole frames of its own pixel format, and cut out the luma."""
    raw, frames, rate, complaints = _decode_as(path, None)
    if not frames:
        return Decoded([], [], complaints)
    _, pixel_format, width, height = frames[0]
    sizes = frozenset((size[2], size[3]) for size in frames)
    is_rgb = re.match(r"(gbr|0?rgb|0?bgr|argb|abgr|pal8)", pixel_format) is not None
    if is_rgb:
        raw = _decode_as(path, "rgb24")[0]
    deep = re.search(r"(9|1[0246])le$", pixel_format) is not None
    samples = np.frombuffer(raw, "<u2" if deep else "u1").reshape(len(frames), -1)
    n_samples = height * width * (3 if is_rgb else 1)
    shape = (height, width, 3) if is_rgb else (height, width)
    pictures = [row[:n_samples].reshape(shape) for row in samples]
    times = [place / rate if time is None else time for place, (time, *_) in enumerate(frames)]
    return Decoded([luma_of_rgb(p) if is_rgb else p for p in pictures], times, complaints, sizes)


def _decode_as(
    path: Path, pixel_format: str | None
) -> tuple[bytes, list[tuple[float | None, str, int, int]], float, list[str]]:
    """Return the bytes of all frames; of each its time, format and size; the nominal rate; and complaints."""
    arguments = ["-threads", "1", "-copyts", "-i", f"file:{path}", "-map", "0:V:0", "-fps_mode", "passthrough"]
    arguments += ["-vf", "showinfo=checksum=0", "-f", "rawvideo"]
    arguments += ["-pix_fmt", pixel_format] if pixel_format else []
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info"]
    for _ in range(9):  # messages of two threads can tear a line in two, now and then
        result = subprocess.run([*command, *arguments, "-"], capture_output=True, check=False, timeout=60)
        lines = result.stderr.decode(errors="replace").splitlines()
        found = [match for line in lines if (match := _FRAME.search(line))]
        written = [int(match[1]) for line in lines if (match := _WRITTEN.search(line))]
        if not written or written[-1] == len(found):
            break
    config = next((match for line in lines if (match := _CONFIG.search(line))), None)
    numbers = [int(number) for number in config.groups()] if config else [1, 25, 25, 1]
    rate = numbers[2] / numbers[3] if numbers[2] and numbers[3] else 25.0
    frames = []
    for match in found:
        time = None if match[1] == "NOPTS" else int(match[1]) * numbers[0] / numbers[1]
        frames.append((time, match[2], int(match[3]), int(match[4])))
    complaints = [match[1] for line in lines if (match := _ERROR.match(line)) and not _COARSE_OUTPUT.search(line)]
    if result.returncode != 0:
        complaints.append(f"exit status {result.returncode}")
    return result.stdout, frames, rate, complaints


class Judge:
    """Says what is wrong with how a run ended.

    Parameters
    ----------
    radius
        Of the correlation.
    """

    def __init__(self, radius: int = 3) -> None:
        self._radius = radius
        self._references: dict[tuple[bytes, tuple[int, ...]], WindowedNcc] = {}
        self._maps: dict[tuple[bytes, bytes], np.ndarray] = {}
        self.codes: dict[int, int] = {}

    def maps(self, reference: np.ndarray, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Correlate in float64; many files hold the same frames, so what is known is not computed again."""
        key = (reference.tobytes(), reference.shape)
        if key not in self._references:
            self._references[key] = WindowedNcc(reference, self._radius)
        found = []
        for frame in frames:
            both = (key[0], frame.tobytes())
            if both not in self._maps:
                with np.errstate(all="ignore"):  # a damaged float picture holds anything
                    self._maps[both] = self._references[key](frame).astype(np.float32)
            found.append(self._maps[both])
        return found

    def complaints(
        self, ending: Ending, output: Path, truths: Sequence[Decoded], *, others: Sequence[str] = ()
    ) -> list[str]:
        """List what is wrong.

        Parameters
        ----------
        ending
            How the run ended.
        output
            Where it was to write.
        truths
            The contents that a success, or what is kept, may agree with.
        others
            The names of its other outputs.
        """
        wrong = self.words_and_files(ending, output, others=others)
        kept = {0: output, 3: partial_name(output)}.get(ending.code)
        if kept is None or not kept.exists():
            return wrong
        reasons = [self.wrong_maps(kept, truth, complete=ending.code == 0) for truth in truths]
        if not reasons:
            wrong.append("there is nothing that it could be right about")
        elif all(reasons):
            wrong += [f"wrong result: {reason}" for reason in reasons if reason]
        return wrong

    def words_and_files(self, ending: Ending, output: Path, *, others: Sequence[str] = ()) -> list[str]:
        """List what is wrong with what was said and what was left, whatever it holds; as of `complaints`."""
        self.codes[ending.code] = self.codes.get(ending.code, 0) + 1
        folder = output.parent
        left = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        names = [output.name, output.name + ".json", *others] if ending.code == 0 else []
        if ending.code == 3:
            kept = [partial_name(folder / name).name for name in (output.name, *others)]
            names = [kept[0] + ".json", *kept]
        expected = sorted(names)
        wrong = [*_wrong_words(ending, output)]
        if left != expected:
            wrong.append(f"left behind: {left}, not {expected}")
        return wrong

    def wrong_maps(self, output: Path, truth: Decoded, *, complete: bool) -> str | None:
        """Return how an output differs from a content; None where it does not."""
        sidecar = json.loads(Path(f"{output}.json").read_text(encoding="utf-8"))
        rows = sidecar["frames"]
        truth = _as_warned(truth, sidecar["warnings"], [row["pts_seconds"] for row in rows], complete=complete)
        if complete and truth.complaints:
            return f"ffmpeg complains: {truth.complaints[0]}"
        if complete and len(truth.sizes) > 1:
            return f"the picture changes its size: {set(truth.sizes)}"
        if not len(truth.frames):
            return "ffmpeg finds no frame"
        if sidecar["complete"] is not complete or (sidecar["error"] is None) is not complete:
            return "the sidecar does not know whether it is complete"
        n_maps = len(rows)
        if n_maps > len(truth.frames) or (complete and n_maps != len(truth.frames)) or n_maps == 0:
            return f"{n_maps} maps of {len(truth.frames)} frames"
        if [row["index"] for row in rows] != list(range(n_maps)):
            return "the frames are misnumbered"
        times = np.array([row["pts_seconds"] for row in rows])
        if not np.allclose(times, truth.times[:n_maps], rtol=1e-12, atol=1e-9):
            return f"times {times.tolist()}, not {truth.times[:n_maps]}"
        reference = truth.frames[0] if truth.reference is None else truth.reference
        expected = np.stack(self.maps(reference, truth.frames[:n_maps]))
        if output.suffix == ".npy":
            actual, tolerance = np.load(output).astype(np.float64), promised(reference, *truth.frames)
        else:
            codes, stamps = decode_gray(output, "uint8", truth.frames[0].shape)
            actual, expected, tolerance = codes, 255 * np.maximum(expected, 0), 0.5 + 255 * INTEGER
            if not np.allclose([float(stamp) for stamp in stamps], times, rtol=0, atol=_MILLISECOND):
                return f"times in the output {stamps}, not {times.tolist()}"
        if actual.shape != expected.shape:
            return f"maps {actual.shape}, not {expected.shape}"
        error = np.abs(actual - expected)
        error[[self._beyond_promise(frame) for frame in truth.frames[:n_maps]]] = 0
        error = error.reshape(n_maps, -1).max(axis=1)
        return f"map {int(error.argmax())} is off by {error.max():.3g}" if error.max() > tolerance else None

    def _beyond_promise(self, frame: np.ndarray) -> np.ndarray:
        """Mark the windows that hold numbers which a damaged float picture has, and whose accuracy nobody promises."""
        wild = np.zeros(frame.shape, bool) if frame.dtype.kind == "u" else ~(np.abs(frame) < 1e4)
        return dilate(wild.astype(np.uint8), np.ones((2 * self._radius + 1,) * 2, np.uint8)).astype(bool)


def _as_warned(truth: Decoded, warnings: Sequence[str], times: Sequence[float], *, complete: bool) -> Decoded:
    """Return what is left of a content without what a run has warned of."""
    complaints, frames, known = truth.complaints, truth.frames, truth.times
    if any(warning.endswith("; no frame is affected") for warning in warnings):
        complaints = [text for text in complaints if not _HARMLESS.search(text)]
    if any("no intact key frame comes before" in warning for warning in warnings):
        # What cannot be decoded is complained of, and some of it comes out all the same.
        complaints = []
        n_left_out = len(frames) - len(times) if complete else sum(time < times[0] - 1e-9 for time in known)
        frames, known = frames[max(0, n_left_out) :], known[max(0, n_left_out) :]
        if known and times and len({round(a - b, 6) for a, b in zip(times, known, strict=False)}) == 1:
            known = [*times, *known[len(times) :]]  # a raw stream's frames are only counted, those left out as well
    return dataclasses.replace(truth, complaints=complaints, frames=frames, times=known)


def _wrong_words(ending: Ending, output: Path) -> Iterator[str]:
    if ending.code not in (0, 1, 2, 3):
        yield f"exit code {ending.code}"
    # What is stored beside the pixels may be damaged and still make sense: the shape of a pixel, a second stream.
    lines = [line for line in ending.stderr.splitlines() if not line.startswith("framencc: warning: input ")]
    if ending.code == 0:
        if lines or not ending.stdout.startswith(str(output)):
            yield f"said {ending.stdout!r} and {ending.stderr!r}"
        return
    if ending.stdout or len(lines) != 1 or not lines[0].startswith("framencc: error: "):
        yield f"said {ending.stdout!r} and {ending.stderr!r}"
    for word in ("Traceback", "internal error", "Error(", "made no progress"):
        if word in ending.stderr:
            yield f"said {ending.stderr!r}"


def partial_name(output: Path) -> Path:
    """Name what is kept of an output whose input is damaged."""
    return output.with_name(f"{output.stem}.partial{output.suffix}")


class Bench:
    """Runs files and collects what is wrong with each.

    Parameters
    ----------
    folder
        Where outputs go, and `files`, for the files.
    judge
        Tells what is wrong.
    undamaged
        The content of the files that others were made from.
    capfd
        What is printed behind Python's back.
    """

    def __init__(
        self, folder: Path, judge: Judge, undamaged: Mapping[Path, Decoded], capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        self.undamaged = undamaged
        self._folder, self._judge, self._capfd = folder, judge, capfd

    def wrong(self, cases: Iterable[Hostile]) -> dict[str, list[str]]:
        """Run files as the input of a job each; return what is wrong by their names."""
        cases = list(cases)
        before = _digests(self.files)
        found = {case.path.name: self._wrong_with(case, place) for place, case in enumerate(cases)}
        if _digests(self.files) != before:
            found["files"] = ["they were changed"]
        return {name: wrong for name, wrong in found.items() if wrong}

    def _wrong_with(self, case: Hostile, place: int) -> list[str]:
        output = self._folder / f"out{place}" / ("maps.mkv" if place % 4 == 0 else "maps.npy")
        self._capfd.readouterr()
        ending = run_here(case.path, output, "--reference", 0, "--limits.stall-seconds", 20)
        said = self._capfd.readouterr()
        truths = [decode(case.path)] if ending.code in (0, 3) else []
        if case.original is not None and ending.code == 3:
            truths.append(self.undamaged[case.original])
        wrong = self._judge.complaints(ending, output, truths)
        if said.out or said.err:
            wrong.append(f"a library said {said.out!r} {said.err!r}")
        if ending.code not in case.certain:
            wrong.append(f"exit code {ending.code}, not of {case.certain}: {ending.stderr}")
        return wrong


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}
