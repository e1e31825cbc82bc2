"""A run that was cut off and gone on with leaves the same bytes as one that was not."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import media
import numpy as np
import pytest
from running import assert_nothing_runs, command, processes, python, start
from sink_readback import names, visible

from framencc.config import make_spec
from framencc.errors import SinkError, SpecError
from framencc.journal import Journal
from framencc.pipeline import describe, run
from framencc.pipeline.outputs import Outputs
from framencc.sidecar import read_sidecar
from framencc.sinks.parts import ImageParts
from framencc.sources import VideoSource
from framencc.sources.selection import SeekPoint, Selection
from framencc.verification import verify

pytestmark = pytest.mark.timeout(120)

FOOTAGE = media.footage()
N_FRAMES, N_SEGMENT = 40, 8

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


class CutOff(BaseException):
    """What a signal does to a run."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Real footage with several key frames, so that there is something to seek to."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    media.ffmpeg("-i", FOOTAGE, "-frames:v", N_FRAMES, "-c:v", "libx264", "-g", 6, "-bf", 2, "-an", path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def job(clip, here):
    def make(**options):
        values = {"input": str(clip), "output": "out.mkv", "reference": 0, "segment_frames": N_SEGMENT}
        return make_spec(values | options)

    return make


def cut_off(spec, monkeypatch, n_maps, error=None):
    """Run a job until it has written some maps."""
    write, calls = Outputs.write, iter(range(n_maps))

    def write_or_end(*arguments):
        if next(calls, None) is None:
            raise CutOff if error is None else error
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "write", write_or_end)
        with pytest.raises(CutOff if error is None else type(error)) as caught:
            run(spec)
    assert_nothing_runs()
    return caught.value


def contents(folder):
    paths = (folder / name for name in visible(folder))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def maps_of(folder):
    """Everything but the sidecar, which tells how long the run took."""
    return {name: content for name, content in contents(folder).items() if not name.endswith(".json")}


def rows_of(folder, output):
    return read_sidecar(folder / (output + ".json"))["frames"]


@pytest.mark.parametrize("options", OUTPUTS.values(), ids=OUTPUTS)
def test_a_run_in_pieces_leaves_the_same_bytes(options, job, tmp_path, monkeypatch):
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
@pytest.mark.parametrize("output", ["out.mkv", "%d.png", "out.npy"])
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


KILLED = """
import os, sys
from framencc.cli import main
from framencc.pipeline import publishing
from framencc.pipeline.workplace import Workplace
from framencc.journal import Journal
where, *words = sys.argv[1:]
def after(holder, name, when):
    works = getattr(holder, name)
    def work_and_die(*arguments, **named):
        result = works(*arguments, **named)
        if when(*arguments, **named):
            os._exit(9)
        return result
    setattr(holder, name, work_and_die)
n_moves = iter(range(10**6))
if where == "whole":
    after(Journal, "append", lambda _, entry: entry["kind"] == "whole")
elif where == "set aside":
    after(publishing, "_set_aside", lambda *_, **__: True)
elif where == "first name":
    after(publishing.Move, "carry_out", lambda _: True)
elif where == "some names":
    after(publishing.Move, "carry_out", lambda _: next(n_moves) == 20)
elif where == "maps":
    after(publishing.Move, "carry_out", lambda move: move.target.name == "out.mkv")
elif where == "all names":
    after(Workplace, "published", lambda *_: True)
elif where == "taken back":
    publishing.Move.carry_out = lambda move: (_ for _ in ()).throw(OSError(5, "Input/output error"))
    after(publishing, "take_back", lambda *_: True)
main(words)
"""
PLACES = ["whole", "set aside", "first name", "some names", "maps", "all names", "taken back"]


@pytest.mark.parametrize("old", [False, True], ids=["new", "over old ones"])
@pytest.mark.parametrize("where", PLACES)
def test_killed_while_names_are_taken_it_is_whole_or_old_and_can_be_gone_on_with(where, old, clip, job, here):
    options = {"validity": "why/%d.png", "segment_frames": 16}
    run(job(output="whole.mkv", validity="whole/%d.png", segment_frames=16, frames="0:33"))
    whole = (here / "whole.mkv").read_bytes()
    if old:  # with more pictures than the new one: none of them may stay
        run(job(**options, frames="0:38", ncc={"radius": 1}))
    before = (here / "out.mkv").read_bytes() if old else None
    flags = ["--overwrite"] if old else []
    words = ["run", clip, "out.mkv", "--reference", 0, "--validity", "why/%d.png", "--segment-frames", 16, *flags]
    words += ["--frames", "0:33"]
    result = python(KILLED, where, *words)
    assert result.returncode == 9, result.stderr
    if (here / "out.mkv").exists():
        assert (here / "out.mkv").read_bytes() in (before, whole)
    again = command(*words, "--resume", "-q", cwd=here)
    assert again.returncode == 0, again.stderr
    assert (here / "out.mkv").read_bytes() == whole
    codes = {path.name: path.read_bytes() for path in (here / "why").iterdir() if path.is_file()}
    assert codes == {path.name: path.read_bytes() for path in (here / "whole").iterdir()}
    assert read_sidecar("out.mkv.json")["summary"]["n_frames"] == 33
    assert [name for name in names(here) if name not in visible(here)] == []


@pytest.mark.parametrize("where", PLACES[:5])
def test_killed_there_and_started_anew_the_old_output_is_not_lost(where, clip, job, here):
    options = {"validity": "why/%d.png", "segment_frames": 16}
    run(job(**options, ncc={"radius": 1}))
    before = contents(here)
    words = ["run", clip, "out.mkv", "--reference", 0, "--validity", "why/%d.png", "--segment-frames", 16]
    assert python(KILLED, where, *words, "--overwrite").returncode == 9
    # The new run fails before its first segment.
    result = command(*words, "--overwrite", "--warp", "field", "--warp.field", "absent", cwd=here)
    assert result.returncode == 2, result.stderr
    failing = "import sys\nfrom framencc.cli import main\nfrom framencc.pipeline.outputs import Outputs\n"
    failing += "def fail(*_): raise OSError(5, 'Input/output error')\n"
    failing += "Outputs.write = fail\nsys.exit(main(sys.argv[1:]))"
    assert python(failing, *words, "--overwrite").returncode == 1
    assert contents(here) == before
    assert [name for name in names(here) if name not in visible(here)] == []


@pytest.mark.parametrize("where", ["maps", "all names"])
def test_killed_after_that_a_new_run_that_fails_takes_nothing_away(where, clip, job, here):
    words = ["run", clip, "out.mkv", "--reference", 0, "--segment-frames", 16]
    whole = run(job(output="whole.mkv", segment_frames=16)).output.read_bytes()
    assert python(KILLED, where, *words).returncode == 9
    failing = "import sys\nfrom framencc.cli import main\nfrom framencc.pipeline.outputs import Outputs\n"
    failing += "def fail(*_): raise OSError(5, 'Input/output error')\n"
    failing += "Outputs.write = fail\nsys.exit(main(sys.argv[1:]))"
    assert python(failing, *words, "--overwrite", "--ncc.radius", 2).returncode == 1
    if where == "all names":  # it was done, and stays done
        assert (here / "out.mkv").read_bytes() == whole
        assert command(*words, "--resume", cwd=here).returncode == 0


def test_a_finished_file_that_changes_while_it_waits_for_its_name_is_no_success(job, here, monkeypatch):
    run(job(output="out.mkv", ncc={"radius": 1}))
    before = contents(here)
    append = Journal.append

    def append_and_spoil(journal, entry):
        append(journal, entry)
        if entry["kind"] == "whole":
            (here / ".out.mkv.framencc" / "whole.mkv").write_bytes(b"spoiled")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append_and_spoil)
        with pytest.raises(SinkError, match="has changed or gone while it waited for its name"):
            run(job(output="out.mkv", overwrite=True))
    assert contents(here) == before
    assert run(job(output="out.mkv", overwrite=True, resume=True)).n_frames == N_FRAMES
    assert verify("out.mkv").problems == []


def test_old_files_survive_an_unreadable_journal_and_a_job_that_is_none(clip, job, here):
    words = ["run", clip, "out.mkv", "--reference", 0, "--segment-frames", 16]
    run(job(ncc={"radius": 1}))
    before = contents(here)
    assert python(KILLED, "set aside", *words, "--overwrite").returncode == 9
    journal = here / ".out.mkv.framencc" / "journal"
    journal.write_bytes(b"x" + journal.read_bytes()[1:])
    assert command(*words[:4], "absent.png", "--overwrite", cwd=here).returncode == 2
    failing = "import sys\nfrom framencc.cli import main\nfrom framencc.pipeline.outputs import Outputs\n"
    failing += "def fail(*_): raise OSError(5, 'Input/output error')\n"
    failing += "Outputs.write = fail\nsys.exit(main(sys.argv[1:]))"
    assert python(failing, *words, "--overwrite").returncode == 1
    assert contents(here) == before


def test_an_output_that_is_a_link_is_replaced_and_known_again(clip, job, here):
    (here / "disk").mkdir()
    (here / "disk" / "x.mkv").write_text("old")
    (here / "out.mkv").symlink_to(here / "disk" / "x.mkv")
    words = ["run", clip, "out.mkv", "--reference", 0, "--segment-frames", 16, "--overwrite"]
    assert python(KILLED, "set aside", *words).returncode == 9
    assert command(*words, "--resume", cwd=here).returncode == 0
    assert (here / "disk" / "x.mkv").read_text() == "old"
    again = command(*words, "--resume", cwd=here)
    assert again.returncode == 0
    assert re.match(
        r"framencc: 40 maps, all from before; mean confidence 0\.\d{3}; described in out\.mkv\.json\n", again.stderr
    )


def test_other_outputs_than_those_that_were_taking_their_names_are_refused(clip, job, here):
    words = ["run", clip, "out.mkv", "--reference", 0, "--segment-frames", 16]
    assert python(KILLED, "first name", *words, "--validity", "v/%d.png").returncode == 9
    for other in ([], ["--validity", "w/%d.png"]):
        result = command(*words, *other, "--overwrite", cwd=here)
        assert result.returncode == 2
        assert "with another validity; go on with it by --resume" in result.stderr
    assert command(*words, "--validity", "v/%d.png", "--resume", cwd=here).returncode == 0


def test_a_finished_output_that_is_gone_or_cut_before_it_has_its_name_is_joined_again(clip, job, here):
    words = ["run", clip, "out.mkv", "--reference", 0, "--segment-frames", 16]
    whole = run(job(output="whole.mkv", segment_frames=16)).output.read_bytes()
    for spoil in (Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:3000])):
        assert python(KILLED, "whole", *words).returncode == 9
        spoil(here / ".out.mkv.framencc" / "whole.mkv")
        assert command(*words, "--resume", cwd=here).returncode == 0
        assert (here / "out.mkv").read_bytes() == whole
        run(job(output="out.mkv", frames="0:2", overwrite=True))
        (here / "out.mkv").unlink()
        (here / "out.mkv.json").unlink()


def test_what_others_put_at_the_name_meanwhile_is_not_replaced_unasked(clip, job, here):
    words = ["run", clip, "out.mkv", "--reference", 0, "--segment-frames", 16]
    assert python(KILLED, "whole", *words).returncode == 9
    (here / "out.mkv").write_text("precious")
    result = command(*words, "--resume", cwd=here)
    assert result.returncode == 1
    assert "appeared during the run and is not replaced" in result.stderr
    assert (here / "out.mkv").read_text() == "precious"
    assert command(*words, "--resume", "--overwrite", cwd=here).returncode == 0


@pytest.mark.parametrize("place", ["3", "20"])
def test_a_folder_in_the_way_of_a_picture_stops_the_run_and_stays(place, job, here, monkeypatch):
    complete = ImageParts.complete

    def complete_late(*arguments):
        (here / "maps" / f"{place}.png").mkdir()
        (here / "maps" / f"{place}.png" / "precious").write_text("mine")
        return complete(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ImageParts, "complete", complete_late)
        with pytest.raises(SinkError, match=rf"cannot replace the folder .*{place}\.png"):
            run(job(output="maps/%d.png"))
    assert visible(here) == ["maps", f"maps/{place}.png", f"maps/{place}.png/precious"]
    shutil.move(here / "maps" / f"{place}.png", here / "elsewhere")
    assert run(job(output="maps/%d.png", resume=True)).n_frames == N_FRAMES
    assert len(list((here / "maps").glob("*.png"))) == N_FRAMES
    assert (here / "elsewhere" / "precious").read_text() == "mine"


@pytest.mark.parametrize("output", ["dots/.%d.png", "dots/.out.mkv", "dots/.out.npy"])
def test_outputs_whose_names_begin_with_a_dot_are_like_others(output, job, here, monkeypatch):
    cut_off(job(output=output), monkeypatch, 20)
    run(job(output=output, resume=True))
    assert verify(output).problems == []
    run(job(output=output, overwrite=True, ncc={"radius": 2}))
    files = [path for path in (here / "dots").iterdir() if not path.name.endswith(".json")]
    assert len(files) == (N_FRAMES if "%" in output else 1)


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
        monkeypatch.setattr("framencc.pipeline.workplace.JOURNAL_FORMAT", 1000)
    for options in ({}, {"resume": True}):
        with pytest.raises(SpecError, match=r"its journal is (damaged|of another version of framencc); --overwrite"):
            run(job(**options))
    assert (here / ".out.mkv.framencc" / "000000.mkv").exists()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert run(job(overwrite=True)).n_frames == N_FRAMES


def test_a_finished_job_of_which_something_is_missing_is_not_finished(job, here):
    run(job(output="maps/%d.png"))
    (here / "maps" / "7.png").unlink()
    with pytest.raises(SpecError, match=r"exists; give --overwrite"):
        run(job(output="maps/%d.png", resume=True))
    run(job(output="out.mkv"))
    (here / "out.mkv").write_bytes(b"")
    with pytest.raises(SpecError, match=r"exists; give --overwrite"):
        run(job(output="out.mkv", resume=True))


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


def test_a_name_too_long_is_told_as_such_also_with_resume(job):
    with pytest.raises(SinkError, match="File name too long"):
        run(job(output="n" * 300 + ".npy", resume=True))


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
        process.communicate(timeout=4)
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
