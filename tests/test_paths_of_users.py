"""Whatever a path names, in whatever role, it is used or refused in one line: no internal error, and no waiting."""

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from media import random_frames
from PIL import Image

from framencc.cli import main

pytestmark = [
    pytest.mark.timeout(170),
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such files"),
]

# Many command lines in one process, which has to be able to end each of them.
PROGRAM = """
import contextlib, io, json, signal, sys
from framencc.cli import main
class TooLong(BaseException): pass
def ring(*_): raise TooLong
signal.signal(signal.SIGALRM, ring)
results = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    signal.alarm(20)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except TooLong:
        code = "it waits for ever"
    signal.alarm(0)
    results.append([code, err.getvalue()])
print(json.dumps(results))
"""
JOB = ("run", "in.npy", "o.npy", "--reference", "0", "-q")
ROLES = {
    "input": ("run", "@", "o.npy", "--reference", "0", "-q"),
    "reference": ("run", "in.npy", "o.npy", "--reference", "@", "-q"),
    "mask": (*JOB, "--ncc.mask", "@"),
    "regions": (*JOB, "--scores.regions", "@"),
    "field": (*JOB, "--warp", "field", "--warp.field", "@"),
    "config": ("run", "--config", "@"),
    "output": ("run", "in.npy", "@/o.npy", "--reference", "0", "-q"),
    "numbered": ("run", "in.npy", "@/%d.png", "--reference", "0", "-q"),
    "scores": (*JOB, "--scores", "@/s.csv"),
    "probe": ("probe", "@"),
    "verify": ("verify", "@"),
    "report": ("report", "@"),
    "compare": ("compare", "in.npy", "@"),
    "page": ("report", "done.npy", "-o", "@/page.html"),
}
READ = [role for role in ROLES if role not in ("output", "numbered", "scores", "page")]


def without_rights():
    """Return words before a command that take root's right to read everything away; none for other users."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("runs as root, and there is no setpriv to give up root's rights")
    return ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def carry_out(folder, cases, prefix=()):
    """Carry out the command line of each (role, path); return exit codes and what stderr got."""
    lines = [filled(*case) for case in cases]
    words = [*prefix, sys.executable, "-c", PROGRAM]
    result = subprocess.run(
        words, input=json.dumps(lines), cwd=folder, capture_output=True, text=True, check=False, timeout=160
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def filled(role, path):
    return [word.replace("@", path) for word in ROLES[role]]


def refused(code, err):
    """Check that a command has ended with one line, and return it."""
    assert code in (1, 2), err
    (line,) = err.splitlines()
    assert line.startswith("framencc: error: ")
    assert "internal error" not in line
    return line


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with everything that a job needs, and a finished run."""
    folder = tmp_path_factory.mktemp("prepared")
    frames = random_frames(2, 24, 32)
    np.save(folder / "in.npy", frames)
    Image.fromarray(frames[0]).save(folder / "ref.png")
    here = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        assert main(["run", "in.npy", "done.npy", "--reference", "0", "-q"]) == 0
    finally:
        os.chdir(here)
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "w")
    yield tmp_path / "w"
    for path in (tmp_path / "w").rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


CLOSED = ("shut", "shut/f_0001.png", "shut/f_%04d.png", "shut/*.png", "shut/clip.mkv", "shut/in.npy")


def test_what_may_not_be_looked_at_is_said_so_in_every_role(folder):
    prefix = without_rights()
    (folder / "shut").mkdir()
    shutil.copy(folder / "ref.png", folder / "shut" / "f_0001.png")
    shutil.copy(folder / "in.npy", folder / "shut" / "in.npy")
    (folder / "to_shut.png").symlink_to("shut/f_0001.png")
    cases = [(role, path) for role in READ for path in CLOSED if role not in ("verify", "report", "compare")]
    cases += [(role, "shut/in.npy") for role in ("verify", "report")]
    cases += [(role, "to_shut.png") for role in ("input", "reference", "mask", "regions", "field", "probe")]
    cases += [(role, "shut") for role in ("output", "numbered", "scores", "page")]
    (folder / "shut").chmod(0)
    for (role, path), (code, err) in zip(cases, carry_out(folder, cases, prefix), strict=True):
        line = refused(code, err)
        assert "Permission denied" in line, (role, path, line)
        assert path in line, (role, path, line)
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["done.npy", "done.npy.json", "in.npy", "ref.png", "shut", "to_shut.png"]


@pytest.mark.parametrize("mode", [0o444, 0o311])
def test_a_folder_that_may_only_be_listed_or_only_be_entered(mode, folder):
    prefix = without_rights()
    (folder / "half").mkdir()
    shutil.copy(folder / "ref.png", folder / "half" / "f_0001.png")
    (folder / "half").chmod(mode)
    paths = ["half", "half/*.png", "half/f_%04d.png", *(["half/f_0001.png"] if mode == 0o444 else [])]
    cases = [(role, path) for role in ("input", "mask", "field", "probe") for path in paths]
    for (role, path), (code, err) in zip(cases, carry_out(folder, cases, prefix), strict=True):
        assert "Permission denied" in refused(code, err), (role, path)


def test_files_that_may_not_be_read_themselves(folder):
    prefix = without_rights()
    for name in ("ref.png", "in.npy"):
        shutil.copy(folder / name, folder / f"my_{name}")
        (folder / f"my_{name}").chmod(0)
    cases = [(role, "my_ref.png") for role in ("reference", "mask", "regions", "config", "probe")]
    cases += [(role, "my_in.npy") for role in ("input", "mask", "field", "probe")]
    for (role, path), (code, err) in zip(cases, carry_out(folder, cases, prefix), strict=True):
        line = refused(code, err)
        assert "Permission denied" in line, (role, path, line)
        assert path in line


ODD = {
    "pipe": "pipe",
    "pipe.png": "pipe",
    "pipe.npy": "pipe",
    "plug": "socket",
    "broken.png": "link to nowhere",
    "circle": "link to itself",
    "circle.npy": "link to itself",
    "empty": "file",
    "empty.png": "file",
    "empty.npy": "file",
    "empty.mp4": "file",
    "empty.exr": "file",
    "folder.png": "folder",
    "folder.npy": "folder",
    "none": "folder",
}
FURTHER = ["in.npy/x", "in.npy/%d.png", "in.npy/*.png", "x" * 300, "x" * 300 + ".npy", "a/" * 3000 + "x"]
FURTHER += [
    "/dev/null",
    "/dev/zero",
    "",
    " ",
    "-",
    "%",
    "%d",
    "[",
    "**",
    "\n",
    "~",
    "http://localhost/x.png",
    "file:in.npy",
]


@pytest.mark.slow
def test_files_of_every_kind_in_every_role(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name, kind in ODD.items():
        path = folder / name
        if kind == "pipe":
            os.mkfifo(path)
            os.mkfifo(folder / f"{name}.json")
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as plug:
                plug.bind(name)
        elif kind.startswith("link"):
            path.symlink_to("nowhere" if "nowhere" in kind else name)
        elif kind == "file":
            path.touch()
        else:
            path.mkdir()
    cases = [(role, path) for role in READ for path in (*ODD, *FURTHER)]
    for (role, path), (code, err) in zip(cases, carry_out(folder, cases), strict=True):
        line = refused(code, err)
        if path.startswith("circle") and role not in ("verify", "report", "compare"):
            assert "symbolic links" in line, (role, path, line)
        if path.startswith("pipe") and role not in ("verify", "report", "compare"):
            assert f"'{path}' is not a regular file" in line, (role, path, line)


def test_a_config_from_the_shells_own_pipe_is_read(folder):
    line = f"{sys.executable} -m framencc run --config <(cat job.toml) -q"
    (folder / "job.toml").write_text(f'input = "{folder}/in.npy"\noutput = "{folder}/o.npy"\nreference = 0\n')
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    result = subprocess.run([bash, "-c", line], cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_error_of_the_disk_is_no_damage(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("framencc.png.read", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    assert main([*JOB[:-2], "ref.png", "-q"]) == 1
    assert capfd.readouterr().err == "framencc: error: reference 'ref.png' cannot be read: Input/output error\n"
