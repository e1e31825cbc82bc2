"""Only what framencc has made is used, emptied or replaced: what has a work folder's name may be somebody else's."""

import errno
import os
import shutil
import stat
import sys
from pathlib import Path

import media
import numpy as np
import pytest
from cut_off_runs import CutOff

from framencc.config import make_spec
from framencc.errors import SinkError, SourceError, SpecError
from framencc.journal import Journal, read_journal
from framencc.pipeline import describe, run, workplace
from framencc.pipeline.outputs import Outputs
from framencc.pipeline.readback import LostWorkError
from framencc.verification import verify
from framencc.workfolder import WorkFolder

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.name == "nt", reason="links need rights there, and there are no pipes in folders"),
]

N_FRAMES = 7


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", media.random_frames(N_FRAMES, 24, 32))
    Path("precious/inner").mkdir(parents=True)
    for name in ("precious/a", "precious/inner/b", "precious/journal"):
        Path(name).write_text(f"keep {name}")
    return tmp_path


def job(**options):
    return make_spec({"input": "in.npy", "output": "out.npy", "reference": 0, "segment_frames": 2, **options})


def begun(monkeypatch, **options):
    """Leave what a run leaves that is cut off after two segments; return its work folder."""
    write, calls = Outputs.write, iter(range(5))

    def write_or_end(*arguments):
        if next(calls, None) is None:
            raise CutOff
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "write", write_or_end)
        with pytest.raises(CutOff):
            run(job(**options))
    return Path(f".{options.get('output', 'out.npy')}.framencc")


def tree(folder=Path()):
    """Describe everything in a folder, links as links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found[str(path)] = str(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            found[str(path)] = path.read_bytes()
        else:
            found[str(path)] = stat.S_IFMT(status.st_mode)
    return found


def make_folder(path, **files):
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)


PLANTED = {
    "link to a folder": (lambda path: path.symlink_to("precious"), "is a link"),
    "link to a file": (lambda path: path.symlink_to("precious/a"), "is a link"),
    "link to nothing": (lambda path: path.symlink_to("absent"), "is a link"),
    "link to itself": (lambda path: path.symlink_to(path.name), "is a link"),
    "file": (lambda path: path.write_text("mine"), "is not a folder"),
    "pipe": (os.mkfifo, "is not a folder"),
    "folder of another's": (lambda path: make_folder(path, notes="mine"), "does not have the mark of framencc"),
    "folder with a lock": (lambda path: make_folder(path, lock="4711\n"), "does not have the mark of framencc"),
    "folder with an empty lock": (lambda path: make_folder(path, lock="", x="x"), "does not have the mark"),
    "folder as of a run": (lambda path: make_folder(path, journal="", owner="{}"), "does not have the mark"),
}


@pytest.mark.parametrize("role", ["output", "validity"])
@pytest.mark.parametrize(("plant", "reason"), PLANTED.values(), ids=PLANTED)
def test_what_framencc_has_not_made_is_refused_and_left_alone(plant, reason, role, here):
    plant(here / ".mine.npy.framencc")
    before = tree()
    for options in ({}, {"overwrite": True}, {"resume": True}):
        for carry_out in (run, describe):
            with pytest.raises(SinkError, match=rf"\.mine\.npy\.framencc' {reason}") as caught:
                carry_out(job(**{role: "mine.npy"}, **options))
            assert len(str(caught.value).splitlines()) == 1
            assert tree() == before


def test_a_mark_that_is_a_link_is_none(here):
    WorkFolder(here / "other.npy").release()
    make_folder(Path(".out.npy.framencc"), notes="mine")
    Path(".out.npy.framencc/lock").symlink_to(here / ".other.npy.framencc" / "lock")
    before = tree()
    with pytest.raises(SinkError, match="does not have the mark of framencc"):
        run(job(overwrite=True))
    assert tree() == before


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(here, monkeypatch):
    folder = begun(monkeypatch)
    os.chown(folder, 54321, -1)
    before = tree()
    with pytest.raises(SinkError, match=r"\.out\.npy\.framencc' belongs to another user"):
        run(job(overwrite=True))
    assert tree() == before


@pytest.mark.parametrize("content", [None, "", "framencc wo"])
def test_a_folder_that_was_only_just_made_is_taken_over(content, here):
    Path(".out.npy.framencc").mkdir()
    if content is not None:
        Path(".out.npy.framencc/lock").write_text(content)
    assert run(job()).n_frames == N_FRAMES
    assert not Path(".out.npy.framencc").exists()


@pytest.mark.parametrize("content", [None, "", "framencc wo"])
def test_and_removed_by_a_run_that_finds_its_job_finished(content, here):
    run(job(validity="v.npy"))
    Path(".v.npy.framencc").mkdir()
    if content is not None:
        Path(".v.npy.framencc/lock").write_text(content)
    assert run(job(validity="v.npy", resume=True)).n_resumed == N_FRAMES
    assert not Path(".v.npy.framencc").exists()


def test_nobody_else_can_put_anything_into_a_work_folder(here, monkeypatch):
    assert stat.S_IMODE(begun(monkeypatch).stat().st_mode) == 0o700


def replace_by_link(path, target):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(target)


def replace_by_pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def replace_by_hard_link(path):
    path.unlink()
    path.hardlink_to("precious/journal")


INSIDE = {
    "journal": (
        lambda folder: replace_by_link(folder / "journal", "../precious/journal"),
        "'journal', which is a link",
    ),
    "journal elsewhere": (lambda folder: replace_by_link(folder / "journal", "/absent"), "'journal', which is a link"),
    "journal as pipe": (lambda folder: replace_by_pipe(folder / "journal"), "'journal', which is neither a file"),
    "journal with two names": (
        lambda folder: replace_by_hard_link(folder / "journal"),
        "'journal', which is .*hard link",
    ),
    "owner": (lambda folder: replace_by_link(folder / "owner", "../precious/a"), "'owner', which is a link"),
    "owner as folder": (
        lambda folder: ((folder / "owner").unlink(), (folder / "owner").mkdir()),
        "'owner', which is a fol",
    ),
    "old files": (lambda folder: replace_by_link(folder / "old", "../precious"), "'old', which is a link"),
    "part": (lambda folder: replace_by_link(folder / "000000", "../precious"), "'000000', which is a link"),
    "picture": (
        lambda folder: replace_by_link(folder / "000000" / "1.png", "../../precious/a"),
        "'000000/1.png', which",
    ),
    "work": (
        lambda folder: replace_by_link(folder / ".x.framencc-01234567", "../precious"),
        "'.x.fram.*which is a link",
    ),
    "deep pipe": (lambda folder: replace_by_pipe(folder / "000001" / "x"), "'000001/x', which is neither"),
}


@pytest.mark.parametrize(("plant", "reason"), INSIDE.values(), ids=INSIDE)
def test_no_link_inside_is_followed(plant, reason, here, monkeypatch):
    folder = begun(monkeypatch, output="%d.png")
    plant(folder)
    before = tree()
    for options in ({"resume": True}, {"overwrite": True}, {"overwrite": True, "resume": True}):
        with pytest.raises(SinkError, match=rf"framencc' holds {reason}"):
            run(job(output="%d.png", **options))
        assert tree() == before


NAMES = ["../precious", "..", ".", "", "a/../../precious/a", "/etc/passwd", "precious\0", 7, None, ["a"]]


def rewritten(folder, change):
    """Write the journal of a work folder again, with other entries."""
    entries = list(read_journal(folder / "journal"))
    (folder / "journal").unlink()
    journal = Journal(folder / "journal")
    for entry in change(entries):
        journal.append(entry)
    journal.close()


def with_part(name):
    def change(entries):
        entries[1]["parts"]["output"]["file"] = name
        return entries

    return change


def with_move(source, target, identity=(4, 5), output="output"):
    return lambda entries: [*entries, {"kind": "whole", "plan": [[output, source, target, list(identity)]]}]


def with_value(place, value):
    def change(entries):
        where = entries[1]
        for part in place[:-1]:
            where = where[part]
        where[place[-1]] = value
        return entries

    return change


CHANGES = {
    "part": with_part,
    "source": lambda name: with_move(name, "out.npy"),
    "source in a folder": lambda name: with_move(f"000000/{name}" if isinstance(name, str) else name, "out.npy"),
    "target": lambda name: with_move("whole.npy", name),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_journal_names_nothing_outside_its_folder(change, here, monkeypatch):
    folder = begun(monkeypatch)
    journal = (folder / "journal").read_bytes()
    for name in NAMES:
        (folder / "journal").write_bytes(journal)
        rewritten(folder, change(name))
        before = tree()
        with pytest.raises(SpecError, match=r"its journal is damaged.*--overwrite without --resume starts anew"):
            run(job(resume=True))
        assert tree() == before
    assert run(job(overwrite=True)).n_frames == N_FRAMES
    assert tree(Path("precious")) == {name: one for name, one in before.items() if name.startswith("precious/")}


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("target", ["in.npy", "out.txt", "out.npy.json.npy", "OUT.npy.x", "7.png"])
def test_a_journal_moves_files_to_the_jobs_own_names_alone(target, done, here, monkeypatch):
    Path(target).touch()
    folder = begun(monkeypatch)
    moved = (Path(target) if done else folder / "whole.npy").stat()
    rewritten(folder, with_move("whole.npy", target, (moved.st_size, moved.st_ino)))
    before = Path(target).read_bytes()
    with pytest.raises(SpecError, match="its journal is damaged"):
        run(job(resume=True))
    assert run(job(overwrite=True)).n_frames == N_FRAMES
    assert Path(target).read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        with_move("whole.npy", "out.npy", output="other"),
        with_move("whole.npy", "out.npy", identity=("4", 5)),
        lambda entries: [*entries, {"kind": "whole", "plan": [["output"]]}],
        lambda entries: [*entries, {"kind": "whole", "plan": 5}],
        lambda entries: [*entries, {"kind": "segment"}],
        lambda entries: [*entries, {"no kind": 1}],
        lambda entries: [entries[0] | {"places": ["a"]}, *entries[1:]],
        lambda entries: [entries[0] | {"identity": 5}, *entries[1:]],
        lambda entries: [entries[0], entries[1] | {"point": {"x": 1}}],
        lambda entries: [entries[0], entries[1] | {"point": {"index": "1", "pts_seconds": 0.0, "digest": "a"}}],
        lambda entries: [entries[0] | {"identity": {"options": [1]}}, *entries[1:]],
        lambda entries: [entries[0], entries[1] | {"rows": {"a": 1, "b": 2}}],
        with_part("\ud800"),
        with_value(("parts", "output", "maps"), 3),
        with_value(("parts", "output", "maps"), "2"),
        with_value(("parts", "output", "end"), None),
        with_value(("parts", "output", "end"), [2]),
        with_value(("rows", 0), "a row"),
        with_value(("rows", 1, "index"), 10**30),
        with_value(("rows", 1, "pts_seconds"), "0.1"),
        with_value(("rows", 1, "digests"), ["0"]),
        with_value(("rows", 0, "digests", "output"), 5),
        with_value(("rows", 0, "code_shares"), [1.0]),
        with_value(("rows", 0, "code_shares", 2), 10**400),
        with_value(("rows", 0, "mean_confidence"), "high"),
        with_value(("rows", 0, "p05"), {}),
        with_value(("rows", 0, "warp"), None),
    ],
)
def test_a_journal_that_no_run_has_written_is_one_clear_line(change, here, monkeypatch):
    rewritten(begun(monkeypatch), change)
    with pytest.raises((SpecError, LostWorkError), match=r"its journal is damaged|cannot be gone on with") as caught:
        run(job(resume=True))
    assert len(str(caught.value).splitlines()) == 1
    assert not hasattr(caught.value, "__notes__")


def test_a_folder_that_is_exchanged_during_the_run_is_not_touched(here, monkeypatch):
    def exchange(*_):
        Path(".out.npy.framencc").rename("away")
        Path(".out.npy.framencc").symlink_to("precious")
        raise CutOff

    before = tree(Path("precious"))
    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "write", exchange)
        with pytest.raises(CutOff):
            run(job())
    assert tree(Path("precious")) == before


@pytest.mark.parametrize("target", ["precious/a", "absent"])
def test_an_output_that_is_a_link_is_replaced_and_what_it_leads_to_stays(target, here):
    Path("out.npy").symlink_to(target)
    before = tree(Path("precious"))
    with pytest.raises(SpecError, match=r"'out\.npy' exists"):
        run(job())
    run(job(overwrite=True))
    assert not Path("out.npy").is_symlink()
    assert tree(Path("precious")) == before
    assert not Path("absent").exists()


@pytest.mark.parametrize("name", ["out.npy.json", "out.npy", "7.png", "s.csv"])
def test_a_pipe_in_the_place_of_a_result_keeps_nobody_waiting(name, here):
    options = {"output": "%d.png"} if name == "7.png" else {}
    spec = job(**options, validity="v.npy", scores={"path": "s.csv"})
    run(spec)
    name = "3.png" if name == "7.png" else name
    Path(name).unlink()
    os.mkfifo(name)
    before = tree()
    with pytest.raises((SpecError, SinkError), match="exists; give --overwrite"):
        run(spec.model_copy(update={"resume": True}))
    if name == "out.npy.json":
        with pytest.raises(SourceError, match="is not a regular file"):
            verify("out.npy")
    else:
        (problem,) = verify(spec.output).problems
        assert f"{name}' " in problem
        assert "is not a regular file" in problem
    assert tree() == before


def test_a_lock_that_cannot_be_removed_makes_a_finished_run_no_failure(here, monkeypatch):
    unlink = Path.unlink

    def fail(path, **options):
        if path.name == "lock":
            raise OSError(errno.EIO, "Input/output error")
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        assert run(job()).n_frames == N_FRAMES
    assert tree(Path(".out.npy.framencc")) == {".out.npy.framencc/lock": b"framencc work folder\n"}
    assert run(job(overwrite=True)).n_frames == N_FRAMES
    assert not Path(".out.npy.framencc").exists()


def test_an_output_of_another_run_that_cannot_be_looked_at_is_left_to_it(here, monkeypatch):
    begun(monkeypatch, validity="v.npy")
    before = tree()
    find = workplace.find_work_folder

    def fail(target):
        if target.name == "out.npy":
            raise PermissionError(errno.EACCES, "Permission denied")
        return find(target)

    with monkeypatch.context() as patch:
        patch.setattr(workplace, "find_work_folder", fail)
        with pytest.raises(SpecError, match=r"'v\.npy' was begun by a run of output .*out\.npy' that was cut off"):
            run(job(output="other.npy", validity="v.npy", overwrite=True))
    assert tree() == before
