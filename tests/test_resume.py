"""A run that was cut off and gone on with leaves the same bytes as one that was not."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import media
import numpy as np
import pytest
from cut_off_runs import N_FRAMES, N_SEGMENT, CutOff, contents, cut_off, job_over, maps_of, rows_of, short_clip
from running import command, processes, python, start, thinned
from sink_readback import names, visible

from framencc.errors import DamagedInputError, SinkError, SpecError
from framencc.pipeline import describe, run
from framencc.pipeline.job import Job
from framencc.pipeline.outputs import Outputs
from framencc.sources import VideoSource
from framencc.sources.selection import SeekPoint, Selection

pytestmark = pytest.mark.timeout(120)

FOOTAGE = media.footage()

OUTPUTS = {
    "ffv1": {"output": "out.mkv"},
    "ffv1-16": {"output": "out.mkv", "output_format": {"bits": 16}},
    "mp4": {"output": "out.mp4"},
    "mov": {"output": "out.mov"},
    "h264-mkv": {"output": "out.mkv", "output_format": {"codec": "h264"}},
    "png": {"output": "maps/%04d.png"},
    "tif": {"output": "maps/%d.tif"},
    "npy-per-frame": {"output": "maps/%d.npy"},
    "array": {"output": "out.npy"},
    "preview": {"output": "out.mkv", "preview": "preview.mov", "output_format": {"preview_style": "overlay"}},
    "everything": {
        "output": "out.mkv",
        "validity": "why/%d.png",
        "warped": "warped.npy",
        "fields": "flow/%d.flo",
        "preview": "look/preview.mp4",
        "warp": {"method": "flow", "restart": 5},
    },
    "in chains": {"output": "out.npy", "warp": {"method": "translation", "estimation_size": 88, "restart": 12}},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return short_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def job(clip, here):
    return partial(job_over, clip)


@pytest.mark.parametrize("name", thinned(OUTPUTS, "ffv1", "mp4", "png", "array", "everything"))
def test_a_run_in_pieces_leaves_the_same_bytes(name, job, tmp_path, monkeypatch):
    options = OUTPUTS[name]
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    run(job(**options))
    (tmp_path / "pieces").mkdir()
    monkeypatch.chdir(tmp_path / "pieces")
    for n_maps in (17, 17, 5):  # each counts from where the run goes on
        cut_off(job(**options, resume=True), monkeypatch, n_maps)
        assert visible(Path()) == sorted({str(Path(path).parent) for path in job(**options).outputs.values()} - {"."})
    report = run(job(**options, resume=True))
    assert report.n_frames == N_FRAMES
    assert maps_of(tmp_path / "pieces") == maps_of(tmp_path / "whole")
    assert rows_of(Path(), options["output"]) == rows_of(tmp_path / "whole", options["output"])
    assert [name for name in names(Path()) if name not in visible(Path())] == []


@pytest.mark.parametrize("selection", ["3:35", "5::3", ":16", "8:"])
def test_so_does_one_over_a_part_of_the_frames(selection, job, tmp_path, monkeypatch):
    options = {"frames": selection, "warp": {"method": "translation", "restart": 10}, "segment_frames": 4}
    run(job(output="whole.npy", **options))
    cut_off(job(output="pieces.npy", **options), monkeypatch, 7)
    run(job(output="pieces.npy", resume=True, **options))
    assert Path("pieces.npy").read_bytes() == Path("whole.npy").read_bytes()


@pytest.mark.parametrize("source", ["pictures", "array", "masked"])
def test_so_does_one_over_pictures_and_arrays_and_with_masks(source, job, tmp_path, monkeypatch):
    frames = media.random_frames(20, 24, 32)
    options = {"segment_frames": 3}
    if source == "pictures":
        Path("in").mkdir()
        for index, frame in enumerate(frames):
            np.save(f"in/{index:03d}.npy", frame)
        options["input"] = "in"
    else:
        np.save("in.npy", frames)
        options["input"] = "in.npy"
    if source == "masked":
        media.write_clip(Path("masks.mkv"), (media.random_frames(20, 24, 32, seed=1) > 90).astype(np.uint8))
        options["ncc"] = {"mask": "masks.mkv"}
    run(job(output="whole.npy", **options))
    cut_off(job(output="pieces.npy", **options), monkeypatch, 11)
    run(job(output="pieces.npy", resume=True, **options))
    assert Path("pieces.npy").read_bytes() == Path("whole.npy").read_bytes()


def test_a_run_that_ends_with_a_segment_can_be_cut_off_before_it_knows(job, monkeypatch):
    """All maps are sealed, and only the input's end has not been written down yet."""
    whole = np.load(run(job(output="whole.npy")).output)
    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "end", lambda *_: (_ for _ in ()).throw(CutOff()))
        with pytest.raises(CutOff):
            run(job(output="pieces.npy"))
    run(job(output="pieces.npy", resume=True))
    np.testing.assert_array_equal(np.load("pieces.npy"), whole)


def test_decoding_begins_behind_what_is_done(clip, job, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "framencc")
    cut_off(job(), monkeypatch, 33)
    started = []
    start = VideoSource._start
    monkeypatch.setattr(VideoSource, "_start", lambda *given: started.append(given[1:]) or start(*given))
    run(job(resume=True))
    assert [point.index for points in started for point in points if point] == [31]
    assert "decoding begins at frame 0" not in caplog.text


@pytest.mark.parametrize("wrong", ["time", "content", "far"])
def test_a_point_that_is_not_found_again_is_not_believed(wrong, clip, caplog):
    caplog.set_level(logging.INFO, "framencc")
    with VideoSource(str(clip)) as source:
        frames = list(source.frames())
    known = frames[20]
    point = {
        "time": SeekPoint(20, known.pts_seconds + 0.001, known.digest()),
        "content": SeekPoint(20, known.pts_seconds, frames[19].digest()),
        "far": SeekPoint(20, 1000.0, known.digest()),
    }[wrong]
    with VideoSource(str(clip), selection=Selection(25), points=[point]) as source:
        again = list(source.frames())
    assert "frame 20 is not found by its time; decoding begins at frame 0" in caplog.text
    assert [frame.index for frame in again] == list(range(25, N_FRAMES))
    for one, other in zip(again, frames[25:], strict=True):
        assert one.pts_seconds == other.pts_seconds
        np.testing.assert_array_equal(one.data, other.data)


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "ts", "mov"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "ffv1"])
def test_every_frame_is_found_from_every_point(container, codec, tmp_path):
    if (container, codec) in {("mp4", "ffv1"), ("ts", "ffv1"), ("mov", "ffv1"), ("avi", "libx264")}:
        pytest.skip("a container that does not hold this codec well")
    path = tmp_path / f"clip.{container}"
    b_frames = () if codec == "ffv1" or container == "avi" else ("-bf", 2)
    media.ffmpeg("-i", FOOTAGE, "-frames:v", 30, "-c:v", codec, "-g", 7, *b_frames, "-an", path)
    with VideoSource(str(path)) as source:
        frames = list(source.frames())
    for index in range(0, 29, 4):
        point = SeekPoint(index, frames[index].pts_seconds, frames[index].digest())
        with VideoSource(str(path), selection=Selection(index + 1), points=[point]) as source:
            again = list(source.frames())
        assert [(frame.index, frame.pts_seconds, frame.digest()) for frame in again] == [
            (frame.index, frame.pts_seconds, frame.digest()) for frame in frames[index + 1 :]
        ]


def test_what_is_kept_is_not_thrown_away_unasked(job, monkeypatch):
    error = cut_off(job(), monkeypatch, 20)
    assert error.__notes__ == ["16 maps are kept; --resume goes on from there"]
    with pytest.raises(
        SpecError, match=r"'out\.mkv' was begun by a run that was cut off, and 16 of its maps are kept;"
    ):
        run(job())
    assert describe(job(resume=True))["maps_to_resume_from"] == 16
    assert run(job(overwrite=True)).n_frames == N_FRAMES


def test_before_the_first_segment_nothing_is_kept(job, here, monkeypatch):
    error = cut_off(job(), monkeypatch, N_SEGMENT - 1)
    assert not hasattr(error, "__notes__")
    assert names(here) == []


def test_with_nothing_to_go_on_with_a_run_begins(job):
    assert run(job(resume=True)).n_frames == N_FRAMES


def test_a_finished_job_is_left_alone(job, monkeypatch):
    first = run(job(output="out.npy", validity="why.npy"))
    before = contents(Path())
    monkeypatch.setattr(Outputs, "write", lambda *_: pytest.fail("a map was written again"))
    again = run(job(output="out.npy", validity="why.npy", resume=True))
    assert (again.n_frames, again.mean_confidence, again.others) == (N_FRAMES, first.mean_confidence, first.others)
    assert contents(Path()) == before
    with pytest.raises(SpecError, match=r"'out\.npy' exists; give --overwrite"):
        run(job(output="out.npy", validity="why.npy", resume=True, ncc={"radius": 2}))


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"ncc": {"radius": 5}}, r"ncc\.radius was 3 and is 5"),
        ({"segment_frames": 4}, r"segment_frames was 8 and is 4"),
        ({"frames": "0:30"}, r'frames was null and is "0:30"'),
        ({"reference": 1}, r"reference was 0 and is 1"),
    ],
)
def test_another_job_does_not_go_on_and_says_what_differs(options, difference, job, monkeypatch):
    cut_off(job(), monkeypatch, 20)
    with pytest.raises(SpecError, match=rf"^--resume cannot go on with output 'out\.mkv': .*{difference}"):
        run(job(resume=True, **options))
    assert run(job(resume=True, threads=1, verify=False, overwrite=True)).n_frames == N_FRAMES


def test_another_input_is_noticed(clip, job, here, monkeypatch):
    (here / "in.mp4").write_bytes(clip.read_bytes())
    cut_off(job(input="in.mp4"), monkeypatch, 20)
    media.ffmpeg("-i", clip, "-vf", "negate", "in.mp4")
    with pytest.raises(SpecError, match=r"input\.bytes was \d+ and is \d+"):
        run(job(input="in.mp4", resume=True))


@pytest.mark.parametrize("change", ["flip", "cut", "remove"])
@pytest.mark.parametrize("output", thinned(["out.mkv", "%d.png", "out.npy"], "out.npy"))
def test_a_sealed_part_that_has_changed_is_not_gone_on_with(change, output, job, here, monkeypatch):
    cut_off(job(output=output), monkeypatch, 20)
    folder = here / f".{output}.framencc"
    part = {"out.mkv": folder / "000001.mkv", "%d.png": folder / "000000/3.png", "out.npy": folder / "whole.npy"}[
        output
    ]
    content = bytearray(part.read_bytes())
    if change == "remove":
        part.unlink()
    elif change == "cut":
        part.write_bytes(content[: len(content) // 2] if output == "out.npy" else content[:-1])
    else:
        content[len(content) // 3] ^= 1
        part.write_bytes(content)
    with pytest.raises(SinkError) as caught:
        run(job(output=output, resume=True))
    assert any(
        text in str(caught.value)
        for text in ("give --overwrite instead of --resume to start anew", "does not read back as it should")
    )
    assert visible(here) == []
    assert run(job(output=output, overwrite=True)).n_frames == N_FRAMES


def test_files_of_a_part_that_was_not_sealed_are_none_of_the_output(job, here, monkeypatch):
    """A run may be cut off between a part's last file and its seal, and the next one may get no further than that."""
    cut_off(job(output="maps/%d.png"), monkeypatch, 20)
    (part,) = here.glob("maps/.*.framencc/000001")
    (part.parent / "000002").mkdir()
    for index in range(16, 24):
        (part.parent / "000002" / f"{index}.png").write_bytes((part / f"{index - 8}.png").read_bytes())
    monkeypatch.setattr(Job, "carry_out", lambda _: (_ for _ in ()).throw(DamagedInputError("input ends early")))
    with pytest.raises(DamagedInputError, match="16 maps are kept"):
        run(job(output="maps/%d.png", resume=True))
    assert len(list((here / "maps").glob("*.partial.png"))) == 16


def test_two_runs_do_not_work_on_one_output(job, here):
    program = (
        "import sys\nfrom pathlib import Path\nfrom framencc.workfolder import WorkFolder\n"
        "work = WorkFolder(Path(sys.argv[1]))\nprint('locked', flush=True)\nsys.stdin.read()"
    )
    words = [sys.executable, "-P", "-c", program, here / "out.mkv"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(SinkError, match=r"^output 'out\.mkv' is being written by another run$"):
            run(job())
        other.communicate()
    assert run(job()).n_frames == N_FRAMES
    assert names(here) == ["out.mkv", "out.mkv.json"]


def test_a_torn_journal_counts_up_to_its_last_whole_line(job, here, monkeypatch):
    whole = run(job(output="whole.mkv")).output.read_bytes()
    cut_off(job(), monkeypatch, 20)
    journal = here / ".out.mkv.framencc" / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert [json.loads(line.partition(b" ")[2])["kind"] for line in lines] == ["job", "segment", "segment"]
    for torn in (lines[2][:-1], lines[2][:40], lines[2].replace(b"index", b"undex", 1), b"\0" * 100):
        journal.write_bytes(b"".join([lines[0], lines[1], torn]))
        assert describe(job(resume=True))["maps_to_resume_from"] == 8
    run(job(resume=True))
    assert (here / "out.mkv").read_bytes() == whole


def test_another_jobs_work_is_not_taken_over_with_a_second_output(job, here, monkeypatch):
    cut_off(job(output="a.npy", validity="why.npy"), monkeypatch, 20)
    with pytest.raises(
        SpecError, match=r"validity 'why\.npy' was begun by a run of output '.*a\.npy' that was cut off"
    ):
        run(job(output="b.npy", validity="why.npy", overwrite=True))
    assert run(job(output="a.npy", validity="why.npy", resume=True)).n_frames == N_FRAMES
    assert run(job(output="b.npy", validity="why.npy", overwrite=True)).n_frames == N_FRAMES


def test_kept_maps_stay_when_the_job_that_is_to_replace_them_is_no_job(job, monkeypatch):
    cut_off(job(), monkeypatch, 20)
    with pytest.raises(SpecError, match="does not exist"):
        run(job(overwrite=True, reference="absent.png"))
    assert describe(job(resume=True))["maps_to_resume_from"] == 16


@pytest.mark.parametrize("change", ["version", "flip"])
def test_a_journal_that_cannot_be_read_throws_nothing_away(change, job, here, monkeypatch):
    cut_off(job(), monkeypatch, 20)
    journal = here / ".out.mkv.framencc" / "journal"
    content = bytearray(journal.read_bytes())
    if change == "flip":
        content[30] ^= 1
        journal.write_bytes(content)
    else:
        monkeypatch.setattr("framencc.pipeline.left.JOURNAL_FORMAT", 1000)
    for options in ({}, {"resume": True}):
        with pytest.raises(SpecError, match=r"its journal is (damaged|of another version of framencc); --overwrite"):
            run(job(**options))
    assert (here / ".out.mkv.framencc" / "000000.mkv").exists()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert run(job(overwrite=True)).n_frames == N_FRAMES


def test_a_damaged_take_that_was_done_before_ends_the_same_way(here, job):
    media.ffmpeg("-i", FOOTAGE, "-c", "copy", "-movflags", "+faststart", "whole.mp4")
    media.cut(Path("whole.mp4"), Path("cut.mp4"), 0.6)
    words = ["run", "cut.mp4", "out.mkv", "--reference", 0, "--resume"]
    first, again = command(*words, cwd=here), command(*words, cwd=here)
    assert (first.returncode, first.stderr) == (again.returncode, again.stderr)
    assert first.returncode == 3


def test_one_file_has_many_spellings(clip, job, here, monkeypatch):
    (here / "link").symlink_to(clip.parent)
    cut_off(job(), monkeypatch, 20)
    assert run(job(input=str(here / "link" / clip.name), resume=True)).n_frames == N_FRAMES


def test_a_dry_run_says_what_a_run_would_say(job, monkeypatch):
    cut_off(job(), monkeypatch, 20)
    for options in ({}, {"resume": True, "reference": 1}):
        messages = []
        for carry_out in (run, describe):
            with pytest.raises(SpecError) as caught:
                carry_out(job(**options))
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    run(job(resume=True))
    assert describe(job(resume=True))["finished"] is True


def test_sealing_that_hangs_does_not_keep_an_interrupt_waiting(clip, tmp_path):
    """The decoder that looks at a sealed H.264 segment is stopped, and then the run."""
    process = start("run", clip, tmp_path / "out.mp4", "--reference", 0, "--segment-frames", 8)
    work = str(tmp_path / ".out.mp4.framencc")
    try:
        stopped = set()
        deadline = time.monotonic() + 30
        while not stopped and process.poll() is None and time.monotonic() < deadline:
            for pid, words in processes(work).items():
                if "rawvideo" in words:
                    os.kill(pid, signal.SIGSTOP)
                    stopped.add(pid)
        if process.poll() is not None:
            pytest.skip("the run was over before its decoder could be stopped")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=15)
        assert process.returncode == 130
        assert processes(work) == {}
    finally:
        process.kill()
        process.communicate()


def test_the_command_says_how_to_go_on(clip, tmp_path):
    words = ["run", clip, tmp_path / "out.mkv", "--reference", 0, "--segment-frames", 8, "--ncc.channel", "red"]
    program = (
        "import sys\nfrom framencc.cli import main\nfrom framencc.pipeline.outputs import Outputs\n"
        "write, calls = Outputs.write, iter(range(20))\n"
        "def stop(*given):\n"
        "    if next(calls, None) is None: raise OSError(5, 'Input/output error')\n"
        "    write(*given)\n"
        "Outputs.write = stop\nsys.exit(main(sys.argv[1:]))"
    )
    result = python(program, *words)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    notes, _, resume = line.rpartition(": ")
    assert notes.endswith("16 maps are kept; --resume goes on from there")
    assert resume == f"framencc {' '.join(map(str, words))} --resume"
    assert command(*resume.split()[1:]).returncode == 0
