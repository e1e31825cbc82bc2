"""Whatever fails or interrupts a run: the first cause is told, and nothing is left running or lying about."""

import contextlib
import errno
import os
import signal
import sys
import time
from pathlib import Path

import media
import numpy as np
import pytest
from running import assert_nothing_runs, command, hidden_bytes, long_clip, processes, start, wait_until
from sink_readback import decode_gray, names

from framencc.cli import main
from framencc.config import make_spec
from framencc.errors import DamagedInputError, SinkError, SourceError, SpecError
from framencc.pipeline import run
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.publishing import Move
from framencc.sidecar import read_sidecar
from framencc.sources import Source, open_source

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc"),
]

FOOTAGE = media.footage()
N_BEFORE = 20


class BreakingSource(Source):
    """Another source's frames up to a point, and then an error."""

    def __init__(self, inner, n_frames, error):
        self.inner, self.n_frames, self.error = inner, n_frames, error
        self.info = inner.info

    def frames(self, allocate):
        for place, frame in enumerate(self.inner.frames(allocate)):
            if place == self.n_frames:
                raise self.error
            yield frame

    def close(self):
        self.inner.close()


def break_source(monkeypatch, error, n_frames=N_BEFORE):
    monkeypatch.setattr(
        "framencc.pipeline.open_source", lambda *given: BreakingSource(open_source(*given), n_frames, error)
    )


def break_call(monkeypatch, target, error, n_calls=N_BEFORE):
    """Let a function work some times and then raise."""
    owner, name = target.rsplit(".", 1)
    calls = iter(range(n_calls))
    module, _, class_name = owner.rpartition(".")
    holder = getattr(sys.modules.get(module), class_name, None) or sys.modules[owner]
    works = getattr(holder, name)

    def work_or_raise(*arguments, **named):
        if next(calls, None) is None:
            raise error
        return works(*arguments, **named)

    monkeypatch.setattr(holder, name, work_or_raise)


@pytest.fixture(scope="module")
def neutral(tmp_path_factory):
    """A picture as reference starts no child of its own."""
    path = tmp_path_factory.mktemp("reference") / "neutral.png"
    media.ffmpeg("-i", FOOTAGE, "-frames:v", 1, "-pix_fmt", "gray", path)
    return path


@pytest.fixture
def job(tmp_path, neutral):
    def make(output="out.mkv", **options):
        values = {"input": str(FOOTAGE), "output": str(tmp_path / output), "reference": str(neutral)}
        return make_spec(values | options)

    return make


STAGES = {
    "correlating": ("framencc.ncc.Reference.correlate", N_BEFORE),
    "preparing what follows the map": ("framencc.scores.Scorer.begin", N_BEFORE),
    "scoring": ("framencc.scores.Scorer.finish", N_BEFORE),
    "recording": ("framencc.journal.Journal.append", 1),
    "writing": ("framencc.sinks.video.VideoSink.write", N_BEFORE),
    "writing the first": ("framencc.sinks.video.VideoSink.write", 0),
    "committing": ("framencc.sinks.video.VideoSink.commit", 0),
}


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        *((stage, ValueError) for stage in STAGES),
        *(("correlating", kind) for kind in (KeyboardInterrupt, MemoryError)),
        *(("writing", kind) for kind in (SinkError, SystemExit)),
        ("committing", KeyboardInterrupt),
    ],
)
def test_an_error_in_a_stage_is_what_the_caller_sees_and_nothing_is_left(stage, kind, job, tmp_path, monkeypatch):
    error = kind("broken on purpose")
    target, n_calls = STAGES[stage]
    break_call(monkeypatch, target, error, n_calls)
    with pytest.raises(kind) as caught:
        run(job())
    assert caught.value is error
    assert_nothing_runs()
    assert names(tmp_path) == []


@pytest.mark.parametrize(("kind", "n_frames"), [(ValueError, 0), (SourceError, 1), (MemoryError, N_BEFORE)])
def test_an_error_in_the_source_is_what_the_caller_sees_and_nothing_is_left(kind, n_frames, job, tmp_path, monkeypatch):
    error = kind("broken on purpose")
    break_source(monkeypatch, error, n_frames)
    with pytest.raises(kind) as caught:
        run(job())
    assert caught.value is error
    assert_nothing_runs()
    assert names(tmp_path) == []


def test_a_full_disk_is_told_as_such(job, tmp_path, monkeypatch):
    break_call(
        monkeypatch, "framencc.sinks.arrays.GrowingArray.write", OSError(errno.ENOSPC, "No space left on device")
    )
    with pytest.raises(SinkError, match=r"^output '.*out\.npy' cannot be written: No space left on device$"):
        run(job("out.npy"))
    assert_nothing_runs()
    assert names(tmp_path) == []


def test_after_a_failed_run_the_next_one_works(job, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        break_call(patch, "framencc.ncc.Reference.correlate", ValueError("broken on purpose"))
        with pytest.raises(ValueError, match="broken on purpose"):
            run(job())
    assert run(job()).n_frames == 120
    assert_nothing_runs()


def test_a_failed_run_leaves_an_older_output_and_its_sidecar_alone(job, tmp_path, monkeypatch):
    run(job(frames="0:3"))
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    break_source(monkeypatch, SourceError("broken on purpose"))
    with pytest.raises(SourceError):
        run(job(overwrite=True))
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_damage_keeps_the_maps_before_it_under_another_name(job, tmp_path, monkeypatch):
    run(job("whole.npy"))
    run(job("out.npy", frames="0:3"))
    before = (tmp_path / "out.npy").read_bytes(), (tmp_path / "out.npy.json").read_bytes()
    break_source(monkeypatch, DamagedInputError("input ends early"))
    with pytest.raises(DamagedInputError, match=r"^input ends early; 20 maps are kept in '.*out\.partial\.npy'$"):
        run(job("out.npy", overwrite=True))
    np.testing.assert_array_equal(np.load(tmp_path / "out.partial.npy"), np.load(tmp_path / "whole.npy")[:N_BEFORE])
    sidecar = read_sidecar(tmp_path / "out.partial.npy.json")
    assert (sidecar["complete"], sidecar["error"]) == (False, "input ends early")
    assert [row["index"] for row in sidecar["frames"]] == list(range(N_BEFORE))
    assert ((tmp_path / "out.npy").read_bytes(), (tmp_path / "out.npy.json").read_bytes()) == before
    assert_nothing_runs()


def test_damage_keeps_the_codes_with_the_maps_and_no_later_run_replaces_them_unasked(job, tmp_path, monkeypatch):
    given = {"validity": str(tmp_path / "why.npy")}
    with monkeypatch.context() as broken:
        break_source(broken, DamagedInputError("input ends early"))
        with pytest.raises(DamagedInputError):
            run(job("out.npy", **given))
    assert names(tmp_path) == ["out.partial.npy", "out.partial.npy.json", "why.partial.npy"]
    assert len(np.load(tmp_path / "why.partial.npy")) == N_BEFORE
    with pytest.raises(SpecError, match=r"^what a damaged input would leave of the output, '.*' exists; give --overw"):
        run(job("out.npy", **given))
    with pytest.raises(SpecError, match=r"^what a damaged input would leave of the output, '.*' is the input itself"):
        run(job("out.npy", input=str(tmp_path / "out.partial.npy"), overwrite=True))
    run(job("out.npy", overwrite=True, **given))
    assert len(np.load(tmp_path / "why.npy")) == 120


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_text('{"mine": 1}')])
def test_a_file_of_the_sidecars_name_is_not_replaced_unasked(make, job, tmp_path):
    make(tmp_path / "out.npy.json")
    with pytest.raises(SpecError, match=r"^sidecar '.*out\.npy\.json' (exists; give --overwrite|cannot replace the f)"):
        run(job("out.npy"))
    assert names(tmp_path) == ["out.npy.json"]


def test_a_name_too_long_for_its_companions_is_refused_before_any_work(job, tmp_path, monkeypatch):
    break_source(monkeypatch, AssertionError("the input was opened"), n_frames=0)
    with pytest.raises(SinkError, match="File name too long"):
        run(job("n" * 248 + ".npy"))


def test_a_reference_that_vanishes_during_the_run_costs_nothing(job, neutral, tmp_path, monkeypatch):
    reference = tmp_path / "reference.png"
    reference.write_bytes(neutral.read_bytes())
    finish = Outputs.commit

    def vanish(*arguments, **named):
        reference.unlink()
        return finish(*arguments, **named)

    monkeypatch.setattr(Outputs, "commit", vanish)
    report = run(job("out.npy", reference=str(reference), frames="0:2"))
    assert read_sidecar(report.sidecar)["reference"]["bytes"] == neutral.stat().st_size


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_names_are_taken_undoes_that_and_resume_completes_it(number, job, tmp_path, monkeypatch):
    run(job("out.npy", frames="0:3"))
    carry_out = Move.carry_out

    def carry_out_interrupted(move):
        carry_out(move)
        signal.raise_signal(number)

    monkeypatch.setattr(Move, "carry_out", carry_out_interrupted)
    spec = job("out.npy", frames="0:5", overwrite=True)
    words = ["run", spec.input, spec.output, "--reference", spec.reference, "--frames", "0:5", "--overwrite", "-q"]
    assert main(words) == 128 + number
    assert len(np.load(tmp_path / "out.npy")) == len(read_sidecar(tmp_path / "out.npy.json")["frames"]) == 3
    monkeypatch.setattr(Move, "carry_out", carry_out)
    assert main([*words, "--resume"]) == 0
    assert len(np.load(tmp_path / "out.npy")) == len(read_sidecar(tmp_path / "out.npy.json")["frames"]) == 5
    assert names(tmp_path) == ["out.npy", "out.npy.json"]


def test_damage_before_the_first_map_keeps_nothing_and_is_no_partial_result(job, tmp_path, monkeypatch):
    break_source(monkeypatch, DamagedInputError("input ends early"), n_frames=0)
    with pytest.raises(SourceError, match=r"^input ends early$") as caught:
        run(job())
    assert caught.value.exit_code == 1
    assert names(tmp_path) == []


def test_a_partial_result_comes_with_the_warnings_also_when_it_is_found_done(job, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(Source, "warnings", property(lambda _: ("this clip is odd",)))
    break_source(monkeypatch, DamagedInputError("input ends early"), n_frames=5)
    spec = job()
    for _ in range(2):
        assert main(["run", spec.input, spec.output, "--reference", str(spec.reference), "--resume", "-q"]) == 3
        lines = capfd.readouterr().err.splitlines()
        assert "framencc: warning: this clip is odd" in lines
        assert "error: input ends early; 5 maps are kept" in lines[-1]


@pytest.fixture(scope="module")
def cut_clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    media.ffmpeg("-i", FOOTAGE, "-c", "copy", "-movflags", "+faststart", folder / "whole.mp4")
    return media.cut(folder / "whole.mp4", folder / "cut.mp4", 0.55)


@pytest.mark.parametrize("output", ["out.mkv", "out.mp4", "%04d.png"])
def test_a_cut_video_ends_with_code_3_and_a_marked_partial_result(cut_clip, tmp_path, output):
    result = run_command(cut_clip, tmp_path / output)
    assert result.returncode == 3
    assert result.stdout == ""
    *warnings, error = result.stderr.splitlines()
    assert error.startswith("framencc: error: ")
    partial = Path(output).stem + ".partial" + Path(output).suffix
    sidecar = read_sidecar(tmp_path / (partial + ".json"))
    n_maps = len(sidecar["frames"])
    assert 30 < n_maps < 120
    assert f"{n_maps} maps are kept in '{tmp_path / partial}'" in result.stderr
    assert sidecar["complete"] is False
    assert sidecar["error"] in result.stderr
    assert warnings == [f"framencc: warning: {warning}" for warning in sidecar["warnings"]]
    pictures = [partial % index for index in range(n_maps)] if "%" in output else [partial]
    assert names(tmp_path) == sorted([*pictures, partial + ".json"])
    if output == "out.mkv":
        assert len(decode_gray(tmp_path / partial, "uint8", (144, 176))[0]) == n_maps


def run_command(given, output, *options):
    return command("run", given, output, "--reference", 0, *options)


@pytest.fixture(scope="module")
def endless_clip(tmp_path_factory):
    return long_clip(tmp_path_factory.mktemp("long") / "long.mp4", 3000)


@pytest.fixture
def busy_run(endless_clip, tmp_path):
    """Start a run that would take many seconds, over an older output, and wait until it is in the middle."""
    (tmp_path / "out.mkv").write_text("old")
    process = start("run", endless_clip, tmp_path / "out.mkv", "--reference", 0, "--overwrite")
    try:
        wait_until(lambda: hidden_bytes(tmp_path) > 1 << 20 or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        for pid in processes(str(tmp_path)) | processes(str(endless_clip)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # one that a failed test has stopped would stay for ever
        process.communicate()


def assert_only_the_old_output(folder):
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["out.mkv"]
    assert (folder / "out.mkv").read_text() == "old"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_in_order(busy_run, endless_clip, tmp_path, number, code):
    busy_run.send_signal(number)
    stdout, stderr = busy_run.communicate(timeout=15)
    assert busy_run.returncode == code
    assert stdout == ""
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith("framencc: error: interrupted")
    assert processes(str(endless_clip)) == processes(str(tmp_path)) == {}
    assert_only_the_old_output(tmp_path)


def test_impatience_does_not_disturb_the_end(busy_run, endless_clip, tmp_path):
    for _ in range(10):
        busy_run.send_signal(signal.SIGINT)
        time.sleep(0.01)
    _, stderr = busy_run.communicate(timeout=15)
    assert busy_run.returncode == 130
    assert len(stderr.splitlines()) == 1
    assert processes(str(endless_clip)) == processes(str(tmp_path)) == {}
    assert_only_the_old_output(tmp_path)


def test_a_key_on_the_terminal_reaches_the_command_alone(busy_run, endless_clip, tmp_path):
    children = processes(str(endless_clip)) | processes(str(tmp_path))
    assert len(children) == 2
    assert all(os.getsid(pid) == pid != os.getsid(busy_run.pid) for pid in children)


@pytest.mark.parametrize("role", ["decoder", "encoder"])
def test_a_signal_ends_a_run_whose_child_hangs(busy_run, endless_clip, tmp_path, role):
    (pid,) = processes(str(endless_clip if role == "decoder" else tmp_path))
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.5)  # until the queues are full or empty and everybody waits for the child
    busy_run.send_signal(signal.SIGTERM)
    busy_run.communicate(timeout=15)
    assert busy_run.returncode == 143
    assert processes(str(endless_clip)) == processes(str(tmp_path)) == {}
    assert_only_the_old_output(tmp_path)


def test_a_run_killed_outright_leaves_the_old_output_and_no_child(busy_run, endless_clip, tmp_path):
    assert len(processes(str(endless_clip)) | processes(str(tmp_path))) == 2
    busy_run.kill()
    busy_run.communicate(timeout=15)
    wait_until(lambda: not (processes(str(endless_clip)) or processes(str(tmp_path))), 15)
    assert (tmp_path / "out.mkv").read_text() == "old"
    assert not (tmp_path / "out.mkv.json").exists()


@pytest.mark.parametrize("role", ["decoder", "encoder"])
def test_a_killed_child_is_a_failure_told_in_one_line(busy_run, endless_clip, tmp_path, role):
    (pid,) = processes(str(endless_clip if role == "decoder" else tmp_path))
    os.kill(pid, signal.SIGKILL)
    stdout, stderr = busy_run.communicate(timeout=10)
    assert busy_run.returncode == 1
    assert stdout == ""
    assert len(stderr.splitlines()) == 1
    what = f"input '{endless_clip}' cannot be read on" if role == "decoder" else f"output '{tmp_path / 'out.mkv'}'"
    assert stderr.startswith(f"framencc: error: {what}")
    assert "signal 9" in stderr
    assert processes(str(endless_clip)) == processes(str(tmp_path)) == {}
    assert_only_the_old_output(tmp_path)
