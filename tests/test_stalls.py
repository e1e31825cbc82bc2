"""Time limits of children count the time in which this process itself ran: a stop of it is no stall of theirs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import python, wait_until

from framencc.ffmpeg import FfmpegChild

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")

# Four children, each of which lets this process wait for 0.5 s in its own way, and tells when it has been waited for.
FOUR_WAITS = """
import sys, threading, time
from framencc.ffmpeg import FfmpegChild
def reading(child): return child.readinto(memoryview(bytearray(5))) == 5
def stamp(child): return child.next_stamp() is None and child.finish() == 0
def writing(child): child.write(bytes(1 << 24)); return child.finish() == 0
def ending(child): return child.finish() == 0
found = {}
def wait(name, way, **pipes):
    with FfmpegChild([name], stall_seconds=1.2, **pipes) as child:
        found[name] = way(child), child.stalled
threads = [
    threading.Thread(target=wait, args=("reading", reading), kwargs={"stdout": True}),
    threading.Thread(target=wait, args=("stamp", stamp)),
    threading.Thread(target=wait, args=("writing", writing), kwargs={"stdin": True}),
    threading.Thread(target=wait, args=("ending", ending)),
]
for thread in threads: thread.start()
time.sleep(0.3)
print("begun", flush=True)
for thread in threads: thread.join()
print(sorted(found.items()))
"""
# It stands for an ffmpeg that works for a second of its own time, as if a clock that is stopped with it told when.
CHILD = """
import sys, time
for _ in range(20): time.sleep(0.05)
if "reading" in sys.argv: sys.stdout.write("12345")
if "writing" in sys.argv: sys.stdin.buffer.read()
"""


def stand_in(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


def descendants(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(word) for file in listed for word in file.read_text().split()]
    return [*children, *(one for child in children for one in descendants(child))]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the children in /proc")
@pytest.mark.parametrize("with_children", [True, False])
def test_a_stop_longer_than_the_limit_is_no_stall(tmp_path: Path, with_children: bool) -> None:
    program = stand_in(tmp_path / "ffmpeg", CHILD)
    environment = os.environ | {"IMAGEIO_FFMPEG_EXE": str(program)}
    words = [sys.executable, "-c", FOUR_WAITS]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        stopped = [process.pid, *(descendants(process.pid) if with_children else [])]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2.0)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        told = process.stdout.read()
    expected = [(name, (True, False)) for name in ("ending", "reading", "stamp", "writing")]
    assert told == f"{expected}\n"


@pytest.mark.parametrize("wait", ["readinto", "next_stamp", "write", "finish"])
def test_a_child_that_is_stopped_alone_has_stalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: str) -> None:
    program = stand_in(tmp_path / "ffmpeg", "import os, time\nopen('begun', 'w')\ntime.sleep(60)\n")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    monkeypatch.chdir(tmp_path)
    with FfmpegChild([], stdin=wait == "write", stdout=wait == "readinto", stall_seconds=0.4) as child:
        wait_until((tmp_path / "begun").exists)
        os.kill(child.pid, signal.SIGSTOP)
        began = time.monotonic()
        if wait == "readinto":
            assert child.readinto(memoryview(bytearray(5))) == 0
        elif wait == "next_stamp":
            assert child.next_stamp() is None
        elif wait == "write":
            with pytest.raises(BrokenPipeError):
                child.write(bytes(1 << 24))
        else:
            assert child.finish() < 0
        assert time.monotonic() - began < 10
        assert child.stalled


@pytest.mark.slow
def test_a_run_outlives_stops_of_the_command(tmp_path: Path) -> None:
    """Stop a whole run again and again for longer than its limit, and its children with it."""
    made = "import numpy as np; np.save(r'{}', np.random.default_rng(0).integers(0, 256, (60, 240, 320), np.uint8))"
    assert python(made.format(tmp_path / "in.npy")).returncode == 0
    words = ["run", "in.npy", "o.mp4", "--reference", "0", "--limits.stall-seconds", "0.6", "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-m", "framencc", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        wait_until(lambda: any(tmp_path.glob(".o*")) or process.poll() is not None)
        for _ in range(3):
            time.sleep(0.3)
            if process.poll() is None:
                process.send_signal(signal.SIGSTOP)
                time.sleep(1.2)
                process.send_signal(signal.SIGCONT)
        told = process.stderr.read()
    assert process.returncode == 0, told
