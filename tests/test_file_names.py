"""Names of files are bytes on Linux: odd ones are taken, and those that are no text are refused in plain words."""

import os
import shutil
import sys

import numpy as np
import pytest
from media import random_frames
from PIL import Image
from running import command
from sink_readback import names

from framencc import run, verification
from framencc.cli import main
from framencc.config import make_spec
from framencc.errors import SpecError
from framencc.report import write_report
from framencc.sidecar import read_sidecar

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such names cannot be made"),
]

NO_TEXT = os.fsdecode(b"caf\xe9")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = random_frames(2, 24, 32)
    np.save("in.npy", frames)
    Image.fromarray(frames[0]).save("ref.png")
    return tmp_path


JOB = ("run", "in.npy", "o.npy", "--reference", "0")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("input", ("run", f"{NO_TEXT}.npy", "o.npy", "--reference", "0")),
        ("output", ("run", "in.npy", f"{NO_TEXT}.npy", "--reference", "0")),
        ("reference", (*JOB[:-1], f"{NO_TEXT}.png")),
        ("ncc.mask", (*JOB, "--ncc.mask", f"{NO_TEXT}/%d.png")),
        ("scores.regions", (*JOB, "--scores.regions", f"{NO_TEXT}.png")),
        ("scores.path", (*JOB, "--scores", f"{NO_TEXT}.csv")),
        ("warp.field", (*JOB, "--warp", "field", "--warp.field", f"{NO_TEXT}.flo")),
        ("validity", (*JOB, "--validity", f"{NO_TEXT}.mkv")),
        ("preview", (*JOB, "--preview", f"{NO_TEXT}.mp4")),
        ("input", ("demo", NO_TEXT)),
    ],
)
def test_a_name_that_is_not_utf8_is_refused_in_plain_words(option, words, here, capfd):
    assert main(words) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"framencc: error: {option}: the name 'caf\\udce9")
    assert err.endswith("is not UTF-8; rename the file or folder\n")
    assert names(here) == ["in.npy", "ref.png"]


def test_the_library_refuses_such_a_name_too(here):
    with pytest.raises(SpecError, match="is not UTF-8"):
        make_spec({"input": here / NO_TEXT, "output": "o.npy", "reference": 0})
    with pytest.raises(SpecError, match="is not UTF-8"):
        make_spec({"input": "in.npy", "output": "\ud800.npy", "reference": 0})


def test_such_a_file_can_be_probed(here):
    shutil.copy("in.npy", f"{NO_TEXT}.npy")
    result = command("probe", f"{NO_TEXT}.npy", cwd=here)
    assert result.returncode == 0
    assert "32 x 24" in result.stdout


def test_pictures_of_such_names_below_a_good_one_are_read_and_named_in_all_that_is_written(here):
    (here / "seq").mkdir()
    for number, frame in enumerate(random_frames(2, 24, 32)):
        Image.fromarray(frame).save(os.fsencode(f"seq/{NO_TEXT}_{number}.png"))
    scores = {"path": "s.csv"}
    report = run(make_spec({"input": "seq", "output": "o.npy", "reference": 0, "scores": scores}))
    assert report.n_frames == 2
    assert read_sidecar("o.npy.json")["frames"][1]["file"] == f"{NO_TEXT}_1.png"
    assert ",caf\\udce9_1.png," in (here / "s.csv").read_text(encoding="utf-8")
    assert verification.verify("o.npy").problems == []


@pytest.mark.slow
def test_a_report_shows_such_names(here):
    (here / "seq").mkdir()
    Image.fromarray(random_frames(1, 24, 32)[0]).save(os.fsencode(f"seq/{NO_TEXT}_0.png"))
    run(make_spec({"input": "seq", "output": "o.npy", "reference": 0}))
    shutil.move("o.npy", f"{NO_TEXT}.npy")
    shutil.move("o.npy.json", f"{NO_TEXT}.npy.json")
    assert "caf\\udce9" in write_report(f"{NO_TEXT}.npy").read_text(encoding="utf-8")


def test_a_working_folder_of_such_a_name_does_no_harm(here, monkeypatch, capfd):
    (here / NO_TEXT).mkdir()
    shutil.copy("in.npy", here / NO_TEXT)
    monkeypatch.chdir(here / NO_TEXT)
    assert main([*JOB, "-q"]) == 0
    assert main([*JOB, "-q", "--resume", "--dry-run"]) == 0
    assert main(["verify", "o.npy", "-q"]) == 0
    (here / NO_TEXT / "job.toml").write_text('input = "in.npy"\noutput = "p.npy"\nreference = 0\n')
    assert main(["run", "--config", "job.toml", "-q"]) == 0
    capfd.readouterr()
    assert main(["run", "--config", f"{here}/{NO_TEXT}/job.toml", "-q"]) == 2
    assert "is not UTF-8; rename the file or folder" in capfd.readouterr().err


@pytest.mark.parametrize(
    "stem", ["-", "-o", "--resume", "%", "%d", "100%done", "%s%n", "a\nb", "a\tb", "'", '"', "\u65e5\u672c"]
)
def test_odd_names_that_are_text_are_taken(stem, here):
    shutil.copy("in.npy", f"{stem}.npy")
    shutil.copy("ref.png", f"{stem}.png")
    numbered = stem == "%d"
    output = here / ("out.npy" if numbered else f"out{stem}.npy")
    report = run(make_spec({"input": f"./{stem}.npy", "output": output, "reference": f"./{stem}.png"}))
    assert (report.n_frames, report.output) == (2, output)
    assert verification.verify(output).problems == []


def test_a_name_that_begins_with_a_dash_is_given_behind_two_of_them(here):
    shutil.copy("in.npy", "-in.npy")
    result = command("run", "--reference", 0, "-q", "--", "-in.npy", "-out.npy", cwd=here)
    assert (result.returncode, result.stdout, result.stderr) == (0, "-out.npy\n", "")
