"""Streams that take nothing, or are not there at all: said in one line where there is still a stream to say it on."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from running import COMMAND

from framencc import demo
from framencc.cli import main
from framencc.sidecar import read_sidecar

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/full"),
]

FULL = "stdout cannot be written: No space left on device"
JOB = ("run", "in.npy", "out.npy", "--reference", "0")


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "in.npy", np.random.default_rng(0).integers(0, 256, (3, 20, 30), dtype=np.uint8))
    return tmp_path


def shell(folder, redirection, *words, **environment):
    line = f'exec "$@" {redirection}'
    return subprocess.run(
        ["/bin/sh", "-c", line, "sh", *COMMAND, *words],
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_stdout_after_a_run_is_told_with_the_outputs_name(folder, unbuffered):
    result = shell(folder, ">/dev/full", *JOB, "-q", PYTHONUNBUFFERED=unbuffered)
    assert result.returncode == 1
    assert result.stderr == f"framencc: error: output 'out.npy' is complete, but its name is not told: {FULL}\n"
    assert len(np.load(folder / "out.npy")) == 3
    assert read_sidecar(folder / "out.npy.json")["complete"] is True


@pytest.mark.parametrize(
    "words",
    [["config"], ["config", "--schema"], ["--help"], ["run", "--help"], ["--version"], ["probe", "in.npy"],
     ["probe", "in.npy", "--json"], [*JOB, "--dry-run"]],
)  # fmt: skip
def test_a_full_stdout_is_one_line_for_every_command(folder, words):
    result = shell(folder, ">/dev/full", *words)
    assert (result.returncode, result.stderr) == (1, f"framencc: error: {FULL}\n")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_a_stderr_that_takes_nothing_changes_nothing_else(folder, redirection):
    result = shell(folder, redirection, *JOB)
    assert (result.returncode, result.stdout) == (0, "out.npy\n")
    assert read_sidecar(folder / "out.npy.json")["complete"] is True
    again = shell(folder, redirection, *JOB)
    assert (again.returncode, again.stdout) == (2, "")


def test_without_a_stdout_a_run_is_done_all_the_same(folder):
    assert shell(folder, ">&-", *JOB, "-q").returncode == 0
    assert read_sidecar(folder / "out.npy.json")["complete"] is True


@pytest.mark.parametrize("encoding", ["cp1252", "ascii:strict"])
def test_a_name_that_stdout_cannot_spell_is_escaped(folder, encoding):
    words = ("run", "in.npy", "\u65e5\u672c.npy", "--reference", "0", "--validity", "\u6708.npy")
    result = shell(folder, "", *words, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stdout) == (0, "\\u65e5\\u672c.npy\n\\u6708.npy\n")
    assert "described in \\u65e5\\u672c.npy.json" in result.stderr
    assert read_sidecar(folder / "\u65e5\u672c.npy.json")["complete"] is True


def test_stdout_keeps_the_rule_that_the_user_has_chosen(folder):
    words = ("run", "in.npy", "\u65e5.npy", "--reference", "0", "-q")
    assert shell(folder, "", *words, PYTHONIOENCODING="ascii:replace").stdout == "?.npy\n"


@pytest.mark.parametrize("words", [["probe", "\u65e5.npy"], ["verify", "\u65e5.npy"], ["run", "\u65e5.npy"]])
def test_no_command_fails_for_the_encoding_of_its_streams(folder, words):
    np.save(folder / "\u65e5.npy", np.zeros((1, 8, 8), np.uint8))
    result = shell(folder, "", *words, PYTHONIOENCODING="cp1252")
    assert "internal error" not in result.stderr
    assert result.returncode == {"probe": 0, "verify": 1, "run": 2}[words[0]]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_streams_of_a_program_that_calls_the_command_are_left_as_they_were(stream, folder, monkeypatch):
    taken = io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True)
    monkeypatch.setattr(sys, stream, taken)
    monkeypatch.chdir(folder)
    assert main(["run", "in.npy", "\u65e5.npy", "--reference", "0"]) == 0
    assert b"\\u65e5.npy" in taken.buffer.getvalue()
    assert taken.errors == "strict"


def test_the_demo_shows_no_progress_where_there_is_no_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert list(demo._shown(range(3), "making the clip", progress=True)) == [0, 1, 2]
