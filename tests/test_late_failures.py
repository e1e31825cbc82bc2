"""What goes wrong after maps were finished does not lose them: reading back, late mistakes, the journal's last line."""

import errno
import os
from pathlib import Path

import imageio_ffmpeg
import media
import numpy as np
import pytest
from cut_off_runs import contents, cut_off, maps_of
from running import command
from sink_readback import names, visible

from framencc import journal as journals
from framencc import verification
from framencc.config import make_spec
from framencc.errors import SinkError, SourceError, SpecError, WarpError
from framencc.journal import Journal
from framencc.pipeline import run
from framencc.sidecar import read_sidecar
from framencc.sinks.parts import VideoParts
from framencc.warps import WarpStage

pytestmark = pytest.mark.timeout(300)

N_FRAMES = 9
POSIX = pytest.mark.skipif(os.name == "nt", reason="the stand-in for ffmpeg is a shell script")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texture = media.random_frames(1, 48, 64)[0]
    np.save("in.npy", np.stack([np.roll(texture, index, axis=1) for index in range(N_FRAMES)]))
    return tmp_path


def job(output="out.mkv", **options):
    return make_spec({"input": "in.npy", "output": output, "reference": 0, "segment_frames": 4, **options})


@pytest.fixture
def disturbed(here, monkeypatch):
    """Put a script in ffmpeg's place that does something else where its command line is like a pattern."""

    def disturb(pattern, action):
        script, real = here / "ffmpeg.sh", imageio_ffmpeg.get_ffmpeg_exe()
        script.write_text(f'#!/bin/sh\ncase "$*" in {pattern}) {action};; esac\nexec {real} "$@"\n')
        script.chmod(0o700)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))

    return disturb


KILLED, STALLED, LIMITED = "kill -9 $$", "exec sleep 60", 'echo "[fatal] Cannot allocate memory" >&2; kill -9 $$'
DECODES, LOOKS = "*.framencc*rawvideo*", "*.framencc*showinfo*"


@POSIX
@pytest.mark.parametrize("output", ["out.mkv", "out.mp4"])
@pytest.mark.parametrize(("pattern", "action"), [(DECODES, KILLED), (LOOKS, KILLED), (DECODES, STALLED)])
def test_a_result_that_cannot_be_read_back_now_is_kept(output, pattern, action, here, disturbed, monkeypatch):
    whole = np.array(0) if output == "out.mp4" else run(job("whole.mkv")).output.read_bytes()
    options = {"limits": {"stall_seconds": 1}, "verify": "full"}
    if output == "out.mp4":  # a segment in H.264 is read as soon as it is sealed
        cut_off(job(output, **options), monkeypatch, 6)
        options["resume"] = True
    disturbed(pattern, action)
    with pytest.raises(SinkError, match="could not be read back") as caught:
        run(job(output, **options))
    assert "anew" not in str(caught.value)
    assert "another disk" not in str(caught.value)
    n_kept = 4 if output == "out.mp4" else N_FRAMES
    assert caught.value.__notes__ == [f"{n_kept} maps are kept; --resume goes on from there"]
    assert caught.value.exit_code == 1
    assert output not in visible(here)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    report = run(job(output, resume=True))
    assert (report.n_frames, report.n_resumed) == (N_FRAMES, n_kept)
    assert verification.verify(output).problems == []
    if output == "out.mkv":
        assert Path(output).read_bytes() == whole


@POSIX
@pytest.mark.parametrize("action", [KILLED, STALLED, LIMITED])
@pytest.mark.parametrize(("output", "pattern"), [("out.mkv", DECODES), ("out.mp4", "*nokey*")])
def test_so_is_one_whose_key_or_end_frames_cannot_be_decoded_now(output, pattern, action, here, disturbed, monkeypatch):
    disturbed(pattern, action)
    with pytest.raises(SinkError, match="could not be read back now") as caught:
        run(job(output, limits={"stall_seconds": 1}))
    assert caught.value.__notes__ == ["9 maps are kept; --resume goes on from there"]
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    assert run(job(output, resume=True)).n_resumed == N_FRAMES
    assert verification.verify(output).problems == []


def test_nor_is_one_lost_whose_reader_cannot_be_started(here, monkeypatch):
    with monkeypatch.context() as patch:
        complete = VideoParts.complete

        def complete_and_break(*arguments):
            whole = complete(*arguments)
            patch.setenv("IMAGEIO_FFMPEG_EXE", str(here / "absent"))
            return whole

        patch.setattr(VideoParts, "complete", complete_and_break)
        with pytest.raises(SinkError, match=r"could not be read back now.*cannot be started") as caught:
            run(job())
    assert caught.value.__notes__ == ["9 maps are kept; --resume goes on from there"]
    assert run(job(resume=True)).n_resumed == N_FRAMES


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError(), OSError(errno.EMFILE, "x")])
def test_nor_is_an_array_that_the_system_does_not_let_us_read(error, here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(verification.np, "load", lambda *_, **__: (_ for _ in ()).throw(error))
        with pytest.raises(SinkError, match=r"^output 'out\.npy' could not be read back now") as caught:
            run(job("out.npy"))
    assert caught.value.__notes__ == ["9 maps are kept; --resume goes on from there"]
    assert run(job("out.npy", resume=True)).n_resumed == N_FRAMES


@POSIX
def test_verify_does_not_call_an_output_changed_that_it_could_not_read(here, disturbed):
    run(job())
    disturbed("*out.mkv*rawvideo*", KILLED)
    result = command("verify", "out.mkv")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "output 'out.mkv' could not be read back now, from map 0 on" in line
    assert "not as it was written" not in line
    assert result.stdout == ""


@pytest.mark.parametrize(("output", "end"), [("out.mkv", ".mkv"), ("out/%03d.png", ".png")])
def test_nor_are_sealed_maps_that_cannot_be_read_now(output, end, here, monkeypatch):
    cut_off(job(output), monkeypatch, 6)
    real = Path.open

    def fail(path, *arguments, **options):
        if path.suffix == end:
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(SinkError, match="cannot be gone on with now: Stale file handle") as caught:
            run(job(output, resume=True))
    assert caught.value.__notes__ == ["4 maps are kept; --resume goes on from there"]
    assert run(job(output, resume=True)).n_resumed == 4


def test_a_result_that_differs_is_still_lost_work(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(verification, "digest", lambda _: "0" * 32)
        with pytest.raises(SinkError, match=r"does not read back as it should.*does not hold what was written.*anew"):
            run(job(verify="full"))


@pytest.mark.parametrize(
    "error", [SpecError("the request turned out wrong"), WarpError("no warp"), SourceError("gone")]
)
def test_a_mistake_in_mid_run_costs_no_sealed_map(error, here, monkeypatch):
    run(job("whole.npy", warp={"method": "translation"}))
    estimate = WarpStage.begin

    def fail_late(stage, frame):
        if frame.index == 6:
            raise error
        return estimate(stage, frame)

    with monkeypatch.context() as patch:
        patch.setattr(WarpStage, "begin", fail_late)
        with pytest.raises(type(error), match=str(error)) as caught:
            run(job("out.npy", warp={"method": "translation"}))
    assert caught.value.__notes__ == ["4 maps are kept; --resume goes on from there"]
    assert run(job("out.npy", warp={"method": "translation"}, resume=True)).n_resumed == 4
    assert Path("out.npy").read_bytes() == Path("whole.npy").read_bytes()


def missing_warp(monkeypatch, index):
    estimate = WarpStage.begin

    def estimate_or_fail(stage, frame):
        method = stage._method.estimate
        if frame.index == index:
            stage._method.estimate = lambda *_: (_ for _ in ()).throw(WarpError("nothing in common"))
        try:
            return estimate(stage, frame)
        finally:
            stage._method.estimate = method

    monkeypatch.setattr(WarpStage, "begin", estimate_or_fail)


@pytest.mark.parametrize("policy", ["invalid", "previous", "identity"])
def test_a_run_that_a_missing_warp_has_ended_resumes_with_another_policy(policy, here, monkeypatch):
    missing_warp(monkeypatch, 6)
    warp = {"method": "translation", "on_failure": policy}
    run(job("whole.npy", warp=warp))
    strict = {"method": "translation", "on_failure": "fail"}
    with pytest.raises(WarpError, match="frame 6: nothing in common") as caught:
        run(job("out.npy", warp=strict))
    assert caught.value.__notes__ == ["4 maps are kept; --resume goes on from there"]
    cut_off(job("out.npy", warp=warp, resume=True), monkeypatch, 4)
    with pytest.raises(SpecError, match=rf'warp\.on_failure was "{policy}" and is "fail"'):
        run(job("out.npy", warp=strict, resume=True))
    assert run(job("out.npy", warp=warp, resume=True)).n_failed_warps == 1
    assert maps_of(here)["out.npy"] == maps_of(here)["whole.npy"]


@pytest.mark.parametrize("truncates", [True, False])
def test_a_last_line_that_cannot_be_flushed_loses_nothing(truncates, here, monkeypatch):
    run(job("out.npy", validity="why/%d.png", ncc={"radius": 1}))
    before = contents(here)
    append = Journal.append
    options = {"validity": "why/%d.png", "overwrite": True}

    def append_unflushed(journal, entry):
        if entry["kind"] != "published":
            append(journal, entry)
            return
        with monkeypatch.context() as inner:
            inner.setattr(
                journals, "sync_file", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error"))
            )
            if not truncates:
                journal._file = Unshortened(journal._file)
            append(journal, entry)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append_unflushed)
        with pytest.raises(SinkError, match="Input/output error") as caught:
            run(job("out.npy", **options))
    assert caught.value.__notes__ == ["9 maps are kept; --resume goes on from there"]
    assert contents(here) == before
    with pytest.raises(SpecError, match="9 of its maps are kept"):
        run(job("out.npy", validity="why/%d.png"))
    report = run(job("out.npy", **options, resume=True))
    assert (report.n_frames, report.n_resumed) == (N_FRAMES, N_FRAMES)
    assert verification.verify("out.npy").problems == []
    assert [name for name in names(here) if name not in visible(here)] == []


class Unshortened:
    """A file that cannot be cut."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def truncate(self, _):
        raise OSError(errno.EIO, "Input/output error")


def test_warnings_of_what_was_read_before_are_kept_by_a_resumed_run(here, monkeypatch):
    media.write_clip(Path("masks.mkv"), media.random_frames(N_FRAMES + 2, 48, 64))
    options = {"ncc": {"mask": "masks.mkv"}}
    with monkeypatch.context() as patch:
        patch.setattr("framencc.pipeline.outputs.publish", lambda *_, **__: (_ for _ in ()).throw(SinkError("full")))
        with pytest.raises(SinkError, match="full"):
            run(job("out.npy", **options))
    report = run(job("out.npy", **options, resume=True))
    (warning,) = report.warnings
    assert "has 11 masks, the input only 9 frames" in warning
    assert read_sidecar("out.npy.json")["warnings"] == [warning]
