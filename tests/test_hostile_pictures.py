"""Broken and lying pictures, arrays and fields, in every role that a file can have in a job.

What must hold for each is in `hostile_runs.Judge`. What they hold is read by OpenCV, ffmpeg or a few lines of the
tests' own, and every result is compared with that.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_corpus import HEIGHT, MUTATIONS, WIDTH, generator, moving_texture
from hostile_runs import Decoded, Judge, run_here
from running import assert_nothing_runs

cv2 = pytest.importorskip("cv2", reason="the extra opencv is not installed")
pytest.importorskip("OpenEXR", reason="the extra exr is not installed")

import hostile_pictures as pictures  # noqa: E402  (needs both)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc"),
]

N_ATTEMPTS = 3
# OpenEXR, and libtiff inside Pillow, print lines of their own on the process's stderr, which cannot be held back
# without holding back those of everybody else.
SPEAKING = ("jpeg.tif", "nothing.exr")
FRAMES = moving_texture(pictures.N_FRAMES)
TIMES = [index / 25 for index in range(pictures.N_FRAMES)]


class Trial:
    """Runs one job after the other in a folder of its own, and tells what is wrong with each."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.judge, self._capfd = folder, Judge(), capfd
        self.clean = folder / "clean.npy"
        np.save(self.clean, FRAMES)
        self.neutral = folder / "neutral.npy"
        np.save(self.neutral, FRAMES[1])

    def run(self, name, given, *words, reference=None):
        """Run a job; return how it ended, its output, and what was said behind Python's back."""
        output = self.folder / f"out_{name}" / "maps.npy"
        self._capfd.readouterr()
        ending = run_here(given, output, "--reference", reference or self.neutral, *words)
        said = self._capfd.readouterr()
        return ending, output, "" if said == ("", "") else f"a library said {said.out!r} {said.err!r}"


@pytest.fixture
def trial(tmp_path, capfd, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield Trial(tmp_path, capfd)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert_nothing_runs()


def damaged(path: Path, original: bytes, kind: str, attempt: int) -> None:
    path.write_bytes(MUTATIONS[kind](original, generator(f"{path.name}{kind}{attempt}")))


def elsewhere(path: Path):
    """Read a picture by another reader; None where that fails."""
    try:
        return pictures.read_elsewhere(path)
    except (ValueError, SyntaxError, IndexError, cv2.error):
        return None


@pytest.mark.parametrize("kind", pictures.WRITERS)
def test_a_damaged_picture_in_a_sequence(kind, trial):
    suffix, write = pictures.WRITERS[kind]
    wrong = {}
    for number, (change, attempt) in enumerate((c, a) for c in MUTATIONS for a in range(N_ATTEMPTS)):
        folder = trial.folder / f"in{number}"
        folder.mkdir()
        files = [folder / f"f_{index}{suffix}" for index in range(pictures.N_FRAMES)]
        for file, frame in zip(files, FRAMES, strict=True):
            write(file, frame)
        place = (0, 2, 3)[attempt % 3]
        damaged(files[place], files[place].read_bytes(), change, attempt)
        ending, output, said = trial.run(number, folder)
        frames = [elsewhere(file) for file in (files if ending.code == 0 else files[:place])]
        truth = Decoded(frames, TIMES, reference=FRAMES[1]) if all(frame is not None for frame in frames) else None
        found = trial.judge.complaints(ending, output, [truth] if truth and ending.code in (0, 3) else [])
        if ending.code == 3 and place == 0:
            found.append("there is nothing to keep")
        if found or said:
            wrong[f"{change}{attempt}"] = [*found, said, ending.stderr]
    assert wrong == {}


@pytest.mark.parametrize("kind", pictures.WRITERS)
def test_a_damaged_reference(kind, trial):
    suffix, write = pictures.WRITERS[kind]
    wrong = {}
    for change in MUTATIONS:
        for attempt in range(N_ATTEMPTS):
            path = trial.folder / f"{change}{attempt}{suffix}"
            write(path, FRAMES[2])
            damaged(path, path.read_bytes(), change, attempt)
            ending, output, said = trial.run(path.stem, trial.clean, reference=path)
            reference = elsewhere(path) if ending.code == 0 else None
            truths = [] if reference is None else [Decoded(FRAMES, TIMES, reference=reference)]
            found = trial.judge.complaints(ending, output, truths)
            if ending.code == 3:
                found.append("a run without a reference has no partial result")
            if found or said:
                wrong[path.name] = [*found, said, ending.stderr]
    assert wrong == {}


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "tif-16", "npy", "npy-float"])
def test_a_damaged_mask(kind, trial):
    suffix, write = pictures.WRITERS[kind]
    shape = np.full((HEIGHT, WIDTH), 0, np.uint8)
    shape[4:28, 6:40] = 255
    wrong = {}
    for change in MUTATIONS:
        for attempt in range(N_ATTEMPTS):
            path = trial.folder / f"{change}{attempt}{suffix}"
            write(path, shape)
            damaged(path, path.read_bytes(), change, attempt)
            validity = trial.folder / f"out_{path.stem}" / "why.npy"
            words = ("--ncc.mask", path, "--validity", validity)
            ending, output, said = trial.run(path.stem, trial.clean, *words)
            found = [said] if said else []
            if ending.code == 0:
                with np.errstate(invalid="ignore"):
                    used = elsewhere(path) > 0
                codes = np.load(validity)
                if not all(np.array_equal(code == 4, ~used) for code in codes):
                    found.append("another mask was used")
            else:
                found += trial.judge.complaints(ending, output, [])
            if found:
                wrong[path.name] = [*found, ending.stderr]
    assert wrong == {}


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32"])
def test_a_damaged_array(dtype, trial):
    path = trial.folder / "in.npy"
    np.save(path, FRAMES.astype(dtype))
    original = path.read_bytes()
    wrong = {}
    for change in MUTATIONS:
        for attempt in range(10):
            damaged(path, original, change, attempt)
            ending, output, said = trial.run(f"{change}{attempt}", path)
            truths = [Decoded(pictures.read_npy(path), TIMES, reference=FRAMES[1])] if ending.code == 0 else []
            found = trial.judge.complaints(ending, output, truths)
            if found or said or ending.code == 3:
                wrong[f"{change}{attempt}"] = [*found, said, ending.stderr]
    assert wrong == {}


@pytest.mark.parametrize("suffix", pictures.FIELD_WRITERS)
def test_a_damaged_field(suffix, trial):
    write = pictures.FIELD_WRITERS[suffix]
    fields = [pictures.a_field(index / 3) for index in range(pictures.N_FRAMES)]
    folder = trial.folder / "fields"
    folder.mkdir()
    files = [folder / f"f_{index}{suffix}" for index in range(pictures.N_FRAMES)]
    for file, field in zip(files, fields, strict=True):
        write(file, field)
    words = ("--warp", "field", "--warp.field", folder)
    ending, output, said = trial.run("clean", trial.clean, *words)
    assert (ending.code, said) == (0, "")
    clean = np.load(output)
    original = [file.read_bytes() for file in files]
    wrong = {}
    for number, (change, attempt) in enumerate((c, a) for c in MUTATIONS for a in range(2 * N_ATTEMPTS)):
        place = (0, 2)[attempt % 2]
        damaged(files[place], original[place], change, attempt)
        used = trial.folder / f"out_{number}" / "used.npy"
        ending, output, said = trial.run(number, trial.clean, *words, "--fields", used)
        found = []
        if said and suffix != ".exr":  # see SPEAKING
            found.append(said)
        if ending.code == 0:
            expected = np.stack([pictures.read_field_elsewhere(file) for file in files])
            if not np.array_equal(np.load(used), expected, equal_nan=True):
                found.append("another field was used")
            same = [index for index in range(pictures.N_FRAMES) if index != place]
            if not np.array_equal(np.load(output)[same], clean[same]):
                found.append("other frames' maps have changed")
        else:
            found += trial.judge.words_and_files(ending, output, others=["used.npy"])
            if ending.code == 3:
                kept = np.load(output.with_name("maps.partial.npy"))
                if len(kept) != place or not np.array_equal(kept, clean[:place]):
                    found.append("what is kept is wrong")
        if found:
            wrong[f"{change}{attempt}"] = [*found, ending.stderr]
        files[place].write_bytes(original[place])
    assert wrong == {}


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("role", ["input", "sequence", "reference", "mask", "masks", "field", "fields"])
def test_liars(role, trial):
    planted = trial.folder / "planted"
    np.save(trial.folder / "pickle.npy", np.array([[Planted(planted)]], dtype=object), allow_pickle=True)
    wrong = {}
    for name, content in pictures.liars((trial.folder / "pickle.npy").read_bytes()).items():
        folder = trial.folder / f"in_{name}"
        folder.mkdir()
        path = folder / f"f_0{Path(name).suffix}"
        path.write_bytes(content)
        given, reference, words = trial.clean, None, ()
        if role in ("input", "sequence"):
            given = path if role == "input" else folder
        elif role == "reference":
            reference = path
        elif role in ("mask", "masks"):
            words = ("--ncc.mask", path if role == "mask" else folder)
        else:
            words = ("--warp", "field", "--warp.field", path if role == "field" else folder, "--frames", "0:1")
        ending, output, said = trial.run(name, given, *words, reference=reference)
        found = [said] if said and name not in SPEAKING else []
        if ending.code == 0:
            frame = elsewhere(path)
            truth = Decoded(FRAMES if reference else [frame], TIMES, reference=frame if reference else FRAMES[1])
            found += ["no success"] if frame is None or words else trial.judge.complaints(ending, output, [truth])
        else:
            found += trial.judge.words_and_files(ending, output)
        if found or ending.code == 3:
            wrong[name] = [*found, ending.stderr]
    assert wrong == {}
    assert not planted.exists()
    np.load(trial.folder / "pickle.npy", allow_pickle=True)  # the bait is live
    assert planted.exists()
