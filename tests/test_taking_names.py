"""The files of a run take their names: killed at any step of that, a run leaves all or nothing, and can go on."""

import re
import shutil
from functools import partial
from pathlib import Path

import pytest
from cut_off_runs import N_FRAMES, contents, cut_off, job_over, short_clip
from running import command, python, thinned
from sink_readback import names, visible

from framencc.errors import SinkError, SpecError
from framencc.journal import Journal
from framencc.pipeline import run
from framencc.sidecar import read_sidecar
from framencc.sinks.parts import ImageParts
from framencc.verification import verify

pytestmark = pytest.mark.timeout(120)

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
FAILING = """
import sys
from framencc.cli import main
from framencc.pipeline.outputs import Outputs
def fail(*_): raise OSError(5, "Input/output error")
Outputs.write = fail
sys.exit(main(sys.argv[1:]))
"""
PLACES = ["whole", "set aside", "first name", "some names", "maps", "all names", "taken back"]


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


@pytest.mark.parametrize("old", [False, True], ids=["new", "over old ones"])
@pytest.mark.parametrize("where", thinned(PLACES, "some names"))
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


@pytest.mark.parametrize("where", thinned(PLACES[:5], "maps"))
def test_killed_there_and_started_anew_the_old_output_is_not_lost(where, clip, job, here):
    options = {"validity": "why/%d.png", "segment_frames": 16}
    run(job(**options, ncc={"radius": 1}))
    before = contents(here)
    words = ["run", clip, "out.mkv", "--reference", 0, "--validity", "why/%d.png", "--segment-frames", 16]
    assert python(KILLED, where, *words, "--overwrite").returncode == 9
    # The new run fails before its first segment.
    result = command(*words, "--overwrite", "--warp", "field", "--warp.field", "absent", cwd=here)
    assert result.returncode == 2, result.stderr
    assert python(FAILING, *words, "--overwrite").returncode == 1
    assert contents(here) == before
    assert [name for name in names(here) if name not in visible(here)] == []


@pytest.mark.parametrize("where", thinned(["maps", "all names"], "maps"))
def test_killed_after_that_a_new_run_that_fails_takes_nothing_away(where, clip, job, here):
    words = ["run", clip, "out.mkv", "--reference", 0, "--segment-frames", 16]
    whole = run(job(output="whole.mkv", segment_frames=16)).output.read_bytes()
    assert python(KILLED, where, *words).returncode == 9
    assert python(FAILING, *words, "--overwrite", "--ncc.radius", 2).returncode == 1
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
    assert python(FAILING, *words, "--overwrite").returncode == 1
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
    said = r"^framencc: 40 maps, all from before; mean confidence 0\.\d{3}; described in out\.mkv\.json$"
    assert re.search(said, again.stderr, re.MULTILINE)


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


def test_a_finished_job_of_which_something_is_missing_is_not_finished(job, here):
    run(job(output="maps/%d.png"))
    (here / "maps" / "7.png").unlink()
    with pytest.raises(SpecError, match=r"exists; give --overwrite"):
        run(job(output="maps/%d.png", resume=True))
    run(job(output="out.mkv"))
    (here / "out.mkv").write_bytes(b"")
    with pytest.raises(SpecError, match=r"exists; give --overwrite"):
        run(job(output="out.mkv", resume=True))


def test_a_name_too_long_is_told_as_such_also_with_resume(job):
    with pytest.raises(SinkError, match="File name too long"):
        run(job(output="n" * 300 + ".npy", resume=True))
