"""What the tests of whole runs share: the command as a process, what it leaves, and a quick float64 correlation.

Imports nothing of the package under test.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import ffmpeg
from numpy.lib.stride_tricks import sliding_window_view

COMMAND = [sys.executable, "-m", "framencc"]
OWN_THREADS = ("framencc-reader", "framencc-writer", "ffmpeg-")


def thinned(values: Iterable[Any], *kept: Any) -> list[Any]:
    """Return the values of a parametrisation, all but `kept` marked as slow: each of them adds little to those."""
    return [value if value in kept else pytest.param(value, marks=pytest.mark.slow) for value in values]


def command(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, neither of its streams a terminal."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def python(
    program: str, *arguments: object, seconds: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a few lines of Python in a process of their own."""
    words = [sys.executable, "-P", "-c", program, *map(str, arguments)]
    environ = os.environ | environment
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=seconds)


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the command and leave it running."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def long_clip(path: Path, n_frames: int, size: str = "640x480") -> Path:
    """Make a clip that takes a while to process and next to no time to make: 100 frames, again and again."""
    part = path.with_name("part_of_" + path.name)
    options = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p")
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-frames:v", 100, *options, part)
    ffmpeg("-stream_loop", n_frames // 100 - 1, "-i", part, "-c", "copy", path)
    part.unlink()
    return path


def processes(mentioning: str) -> dict[int, str]:
    """Find the ffmpeg processes whose command line holds a text, whoever their parent is by now (Linux)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue  # it has just ended
        if "ffmpeg" in command and mentioning in command and state != "Z":
            found[int(folder.name)] = command
    return found


def children_of(pid: int) -> list[str]:
    """Name the child processes of a process, zombies included (Linux)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if int(rest.split()[1]) == pid:
            found.append(name)
    return found


def assert_nothing_runs() -> None:
    """Check that this process has no ffmpeg child, dead or alive, and none of a run's threads."""
    assert [name for name in children_of(os.getpid()) if name.startswith("ffmpeg")] == []
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith(OWN_THREADS)] == []


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        time.sleep(0.02)


def hidden_bytes(folder: Path) -> int:
    """Return the size of the largest hidden file: how far a run's work in progress has come."""
    return max((size_of(path) for path in folder.glob(".*/**/*")), default=0)


def size_of(path: Path) -> int:
    """Return a file's size, 0 for one that has just gone."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


class WindowedNcc:
    """The correlation with border = shrink as a vectorised, centred, two-pass float64 computation.

    The oracle's plain loops would need minutes for a clip; a test compares the two.
    """

    def __init__(self, reference: np.ndarray, radius: int = 3, *, flat: float = 0.0, noise_sigma: float = 0.0) -> None:
        self._radius = radius
        self._inside = self._windows(np.ones(reference.shape))
        self._n = self._inside.sum((2, 3))
        self._flat = flat
        self._noise = self._n * noise_sigma**2
        self._centred, self._variance = self._centre(reference)

    def _windows(self, picture: np.ndarray) -> np.ndarray:
        padded = np.pad(picture.astype(np.float64), self._radius)
        return sliding_window_view(padded, (2 * self._radius + 1, 2 * self._radius + 1))

    def _centre(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        windows = self._windows(picture)
        means = windows.sum((2, 3)) / self._n
        centred = (windows - means[:, :, np.newaxis, np.newaxis]) * self._inside
        return centred, np.einsum("yxij,yxij->yx", centred, centred) + self._noise

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return self.measure(frame)[0]

    def measure(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the map and where it is a measurement: where neither window is flat."""
        centred, variance = self._centre(frame)
        covariance = np.einsum("yxij,yxij->yx", self._centred, centred) + self._flat * self._noise
        product = np.sqrt(self._variance * variance)
        measured = product > 0
        rho = np.full(frame.shape, self._flat)
        np.divide(covariance, product, out=rho, where=measured)
        return np.clip(rho, -1, 1), measured
