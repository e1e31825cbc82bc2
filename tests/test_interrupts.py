"""An interrupt reaches a run whatever it is doing, and what it cuts short is as it was."""

import os
import signal
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import media
import numpy as np
import pytest
from cut_off_runs import contents
from running import start, wait_until
from sink_readback import names, visible

from framencc.config import make_spec
from framencc.pipeline import run
from framencc.pipeline.publishing import Move
from framencc.staging import signals_deferred
from framencc.verification import verify
from framencc.workfolder import WorkFolder

pytestmark = pytest.mark.timeout(300)

N_FRAMES = 30


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", media.random_frames(N_FRAMES, 24, 32))
    return tmp_path


def job(**options):
    return make_spec({"input": "in.npy", "output": "maps/%d.png", "reference": 0, "segment_frames": 8, **options})


def hang(folder, monkeypatch, pattern):
    """Put a script in ffmpeg's place that says so and hangs where its command line is like a pattern."""
    script = folder / "ffmpeg.sh"
    real = imageio_ffmpeg.get_ffmpeg_exe()
    script.write_text(
        f'#!/bin/sh\ncase "$*" in {pattern}) touch {folder}/hangs; exec sleep 50;; esac\nexec {real} "$@"\n'
    )
    script.chmod(0o700)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))


WAITING = {
    "the packets of a damaged video are listed": ("*framecrc*", "out.npy", ["--tolerant"]),
    "a sealed segment is probed": ("*.framencc*showinfo*", "out.mp4", ["--verify=full"]),
    "a sealed segment is decoded": ("*.framencc*rawvideo*", "out.mp4", ["--verify"]),
    "parts are joined": ("*pipe:0*whole*", "out.mp4", ["--no-verify"]),
    "the result is read back": ("*.framencc*rawvideo*", "out.mkv", []),
    "all of the result is read back": ("*whole*showinfo*", "out.mkv", ["--verify", "full"]),
    "key frames are decoded": ("*nokey*", "out.mp4", []),
    "the input is probed": ("*in.mkv*showinfo*", "out.npy", []),
}


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for ffmpeg is a shell script")
@pytest.mark.parametrize(("pattern", "output", "flags"), WAITING.values(), ids=WAITING)
def test_it_ends_a_run_at_once_while(pattern, output, flags, here, monkeypatch):
    media.write_clip(Path("in.mkv"), media.random_frames(12, 24, 32))
    hang(here, monkeypatch, pattern)
    words = ["run", here / "in.mkv", here / output, "--reference", 0, "--segment-frames", 4, *flags]
    process = start(*words)
    try:
        wait_until((here / "hangs").exists)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
        assert time.monotonic() - began < 10  # it takes two seconds, on a machine that has time
        assert process.returncode == 130, messages
    finally:
        process.kill()
        process.communicate()


def interrupt_at(place, holder, name, monkeypatch, *, after=False):
    """Let a signal arrive at the n-th call of a method."""
    works, calls = getattr(holder, name), iter(range(10**6))

    def work(*arguments, **named):
        is_now = next(calls) == place
        if is_now and not after:
            signal.raise_signal(signal.SIGINT)
        result = works(*arguments, **named)
        if is_now and after:
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(holder, name, work)


@pytest.mark.parametrize(("holder", "name"), [(Move, "carry_out"), (WorkFolder, "set_aside")])
@pytest.mark.parametrize("place", [0, 7, N_FRAMES - 1])
def test_between_two_files_that_take_their_names_it_ends_the_run_and_all_is_as_before(
    holder, name, place, here, monkeypatch
):
    run(job(ncc={"radius": 1}))
    before = contents(here)
    n_moved = []
    carry_out = Move.carry_out
    with monkeypatch.context() as patch:
        patch.setattr(Move, "carry_out", lambda move: n_moved.append(move) or carry_out(move))
        interrupt_at(place, holder, name, patch)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(job(overwrite=True))
    assert len(n_moved) <= place + 1  # not one more file than it was busy with
    assert caught.value.__notes__ == [f"{N_FRAMES} maps are kept; --resume goes on from there"]
    assert contents(here) == before
    assert run(job(overwrite=True, resume=True)).n_resumed == N_FRAMES
    assert verify("maps/%d.png").problems == []
    assert [name for name in names(here) if name not in visible(here)] == []


def test_after_the_last_name_it_comes_too_late_to_take_anything_back(here, monkeypatch):
    run(job(ncc={"radius": 1}))
    with monkeypatch.context() as patch:
        interrupt_at(0, WorkFolder, "forget_old", patch)
        with pytest.raises(KeyboardInterrupt):
            run(job(overwrite=True))
    assert verify("maps/%d.png").problems == []
    again = run(job(overwrite=True, resume=True))
    assert (again.n_frames, again.n_resumed) == (N_FRAMES, N_FRAMES)
    assert [name for name in names(here) if name not in visible(here)] == []


def test_a_second_one_does_not_break_into_taking_back(here, monkeypatch):
    run(job(ncc={"radius": 1}))
    before = contents(here)
    with monkeypatch.context() as patch:
        interrupt_at(9, Move, "carry_out", patch)
        interrupt_at(3, Move, "take_back", patch)
        with pytest.raises(KeyboardInterrupt):
            run(job(overwrite=True))
    assert contents(here) == before


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_deferred_signal_interrupts_where_it_may_and_keeps_what_its_handler_has_set():
    def handler(number, _):
        signal.signal(number, signal.SIG_IGN)
        raise InterruptedError

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with signals_deferred() as interrupt:
            interrupt()
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(InterruptedError):
                interrupt()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
