"""kill -9 at random moments, each time gone on with: the bytes are those of a run that nobody disturbed."""

import contextlib
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import media
import pytest
from job_server import JobServer
from running import processes, wait_until
from sink_readback import names, visible

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and looked for in /proc"),
]

FOOTAGE = media.footage()
N_KILLS = 200
JOBS = {
    "video": ("out.mkv", ["--segment-frames", 16, "--validity", "why.npy"]),
    "pictures": ("maps/%03d.png", ["--segment-frames", 10, "--validity", "why/%d.png"]),
    "viewing copy": (
        "out.mp4",
        ["--segment-frames", 24, "--scores", "scores.csv", "--scores.temporal-mean", "mean.npy"],
    ),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    media.ffmpeg("-i", FOOTAGE, "-frames:v", 60, "-c:v", "libx264", "-g", 12, "-an", path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every output; a sidecar tells how long the run took."""
    files = [folder / name for name in visible(folder) if not name.endswith(".json")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize(("output", "options"), JOBS.values(), ids=JOBS)
def test_killed_at_any_moment_the_bytes_are_the_same(output, options, clip, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    chance = random.Random(output)
    n_kills = n_finished = 0
    frames = ["--frames", "0:40"]

    def words(folder: Path) -> list[object]:
        placed = [
            folder / option if Path(str(option)).suffix and not str(option).startswith("-") else option
            for option in options
        ]
        return ["run", clip, folder / output, "--reference", 0, *placed, "--resume", "--overwrite", "-q"]

    warm_up = {"input": str(clip), "output": str(tmp_path / "warm/up.npy"), "reference": 0, "frames": "0:2"}
    with JobServer(warm_up) as server:
        began = time.monotonic()
        server.start([*words(whole), *frames], tmp_path / "log")
        assert server.wait() == 0, (tmp_path / "log").read_text()
        seconds = time.monotonic() - began
        expected = contents(whole)
        # An older output, of more frames and other options, is in the way every time.
        server.start([*words(tmp_path / "old"), "--ncc.radius", 1, "--frames", "0:50"], tmp_path / "log")
        assert server.wait() == 0, (tmp_path / "log").read_text()
        old = contents(tmp_path / "old")
        assert old.keys() == expected.keys() or "%" in output
        shutil.copytree(tmp_path / "old", killed)
        while n_kills < -(-N_KILLS // len(JOBS)) or n_finished == 0:
            pid = server.start([*words(killed), *frames], tmp_path / "log")
            if n_kills < -(-N_KILLS // len(JOBS)):
                time.sleep(chance.uniform(0, 1.2 * seconds))
                with contextlib.suppress(ProcessLookupError):  # it was faster
                    os.kill(pid, signal.SIGKILL)
            code = server.wait()
            assert code in (0, -signal.SIGKILL), (tmp_path / "log").read_text()
            wait_until(lambda: not processes(str(killed)) and not processes(str(clip)), 5)
            if code == 0:
                n_finished += 1
                assert contents(killed) == expected
                assert names(killed) == sorted({*visible(whole)})
                shutil.rmtree(killed)
                shutil.copytree(tmp_path / "old", killed)
                continue
            n_kills += 1
            # Each file is the old one, or the new one, or is waiting for its name.
            assert all(content in (expected.get(name), old.get(name)) for name, content in contents(killed).items())
