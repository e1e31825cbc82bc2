"""The journal and the folder in which outputs grow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_readback import names

from framencc.errors import SinkError
from framencc.journal import Journal, read_journal
from framencc.staging import hidden_name
from framencc.workfolder import WorkFolder, work_folder_path

ENTRIES = [
    {"kind": "job", "text": "line\nbreak \u2603"},
    {"kind": "segment", "rows": [1.5, None, True]},
    {"kind": "end"},
]


def write(path, entries):
    journal = Journal(path)
    for entry in entries:
        journal.append(entry)
    journal.close()
    journal.close()
    return path


def test_what_is_added_is_read_also_after_it_was_opened_again(tmp_path):
    path = write(tmp_path / "journal", ENTRIES[:2])
    write(path, ENTRIES[2:])
    assert list(read_journal(path)) == ENTRIES
    assert list(read_journal(tmp_path / "absent")) == []


@settings(deadline=None)  # a flush takes as long as the disk is busy
@given(st.data())
def test_however_it_is_cut_whole_lines_count_and_it_can_be_gone_on_with(tmp_path_factory, data):
    path = write(tmp_path_factory.mktemp("journal") / "journal", ENTRIES)
    content = path.read_bytes()
    end = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:end] + data.draw(st.binary(max_size=30)))
    n_whole = content[:end].count(b"\n")
    found = list(read_journal(path))
    assert found[:n_whole] == ENTRIES[:n_whole]
    assert len(found) <= n_whole + 1  # the bytes that followed may have been those that were missing
    write(path, [{"kind": "more"}])
    assert list(read_journal(path)) == [*found, {"kind": "more"}]


@settings(deadline=None)  # a flush takes as long as the disk is busy
@given(st.data())
def test_a_changed_byte_ends_it_there(tmp_path_factory, data):
    path = write(tmp_path_factory.mktemp("journal") / "journal", ENTRIES)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = list(read_journal(path))
    assert found == ENTRIES[: path.read_bytes()[:place].count(b"\n")]


def test_what_json_does_not_hold_is_refused_and_nothing_is_written(tmp_path):
    journal = Journal(tmp_path / "journal")
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append({"value": float("nan")})
    journal.close()
    assert list(read_journal(tmp_path / "journal")) == []


def test_a_work_folder_is_hidden_beside_its_output_and_goes_with_all_that_was_made(tmp_path):
    target = tmp_path / "a" / "b" / "take.mkv"
    work = WorkFolder(target)
    assert work.path == work_folder_path(target) == tmp_path / "a" / "b" / ".take.mkv.framencc"
    (work.path / "part").write_text("x")
    (work.path / "folder").mkdir()
    (work.path / "folder" / hidden_name("x.png")).write_text("x")
    (work.path / "folder" / ".7.png").write_text("a picture whose own name begins so")
    (work.path / hidden_name("part.mkv")).mkdir()
    work.clear_staged()
    assert names(work.path) == ["folder", "folder/.7.png", "lock", "part"]
    work.remove()
    assert names(tmp_path) == []


def test_a_released_folder_is_found_again_and_can_be_cleared(tmp_path):
    work = WorkFolder(tmp_path / "take.mkv")
    (work.path / "part").write_text("x")
    work.release()
    again = WorkFolder(tmp_path / "take.mkv")
    assert names(again.path) == ["lock", "part"]
    again.clear()
    assert names(again.path) == ["lock"]
    again.remove()


def test_old_files_outlast_everything_but_the_folder(tmp_path):
    (tmp_path / ".old.mkv").write_text("old")
    work = WorkFolder(tmp_path / ".old.mkv")
    work.set_aside(tmp_path / ".old.mkv")
    work.clear()
    work.clear_staged()
    assert [path.read_text() for path in work.old_files()] == ["old"]
    work.remove()
    assert names(tmp_path) == []


def test_a_folder_knows_whose_it_is(tmp_path):
    work = WorkFolder(tmp_path / "take.mkv")
    assert work.owner is None
    work.claim({"maps": "a"})
    work.release()
    again = WorkFolder(tmp_path / "take.mkv")
    assert again.owner == {"maps": "a"}
    again.remove()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights there")
def test_clearing_does_not_follow_links(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    work = WorkFolder(tmp_path / "take.mkv")
    (work.path / "link").symlink_to(tmp_path / "mine")
    work.remove()
    assert names(tmp_path) == ["mine", "mine/precious"]


def test_it_is_one_runs_at_a_time_and_free_when_that_ends_however(tmp_path):
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom framencc.workfolder import WorkFolder\n"
        "work = WorkFolder(Path(sys.argv[1]))\nprint('locked', flush=True)\nsys.stdin.read()\nos._exit(9)"
    )
    words = [sys.executable, "-P", "-c", program, tmp_path / "take.mkv"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(SinkError, match=r"take\.mkv' is being written by another run$"):
            WorkFolder(tmp_path / "take.mkv")
        other.communicate()
    assert other.returncode == 9
    WorkFolder(tmp_path / "take.mkv").remove()
    assert names(tmp_path) == []


def test_many_at_once_have_it_one_after_the_other(tmp_path):
    """Each of several processes takes the folder again and again, removes it, and counts in a file of its own."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom framencc.errors import SinkError\n"
        "from framencc.workfolder import WorkFolder\n"
        "inside = Path(sys.argv[1]) / 'inside'\nn = 0\n"
        "while n < 30:\n"
        "    try:\n        work = WorkFolder(Path(sys.argv[1]) / 'take.mkv')\n"
        "    except SinkError:\n        continue\n"
        "    inside.touch(exist_ok=False)\n    n += 1\n    inside.unlink()\n    work.remove()\n"
        "print(n)"
    )
    words = [sys.executable, "-P", "-c", program, str(tmp_path)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        stdout, stderr = process.communicate(timeout=60)
        assert (stdout, stderr) == ("30\n", "")
    assert names(tmp_path) == []


def test_entries_are_one_line_each(tmp_path):
    lines = write(tmp_path / "journal", ENTRIES).read_bytes().splitlines()
    assert [json.loads(line.partition(b" ")[2]) for line in lines] == ENTRIES
    assert Path(tmp_path / "journal").read_bytes().count(b"\n") == len(ENTRIES)
