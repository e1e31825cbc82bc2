"""What the command says of a run's scores: where to look first, and in which region."""

import re

import media
import numpy as np
import pytest
from PIL import Image

from framencc.cli import main
from framencc.sidecar import read_sidecar

pytestmark = pytest.mark.timeout(120)

FOOTAGE = media.footage()
SHAPE = (144, 176)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.zeros(SHAPE, np.uint8)
    labels[30:60, 40:80], labels[80:120, 60:120] = 1, 2
    Image.fromarray(labels).save("regions.png")
    return tmp_path


def test_the_command_says_where_to_look(here, capfd):
    words = [str(FOOTAGE), "out.npy", "--reference", "0", "--frames", "0:5", "--scores", "s.csv"]
    assert main(["run", *words, "--scores.threshold", "0.99"]) == 0
    stdout, stderr = capfd.readouterr()
    assert stdout.splitlines() == ["out.npy", "s.csv"]
    lowest = read_sidecar("out.npy.json")["summary"]["scores"]["mean_confidence"]["worst"]
    assert stderr.splitlines()[-1] == (
        f"framencc: look first at frame {lowest['index']} ({lowest['pts_seconds']:.3f} s), whose mean confidence is "
        f"the lowest, {lowest['value']:.3f}; 4 of 5 frames (80%) are below 0.99"
    )


def clip_that_fails_in_the_mouth(n_failing=2):
    """Frames that are the reference, but for some whose mouth is another's, and one that is noisy."""
    frames = np.repeat(media.random_frames(1, *SHAPE), 6, axis=0)
    frames[3 : 3 + n_failing, 80:120, 60:120] = media.random_frames(n_failing, 40, 60, seed=1)
    frames[1] = frames[1] // 2 + media.random_frames(1, *SHAPE, seed=2)[0] // 3
    np.save("in.npy", frames)
    return ["in.npy", "out.npy", "--reference", "0", "--scores.regions", "regions.png"]


@pytest.mark.parametrize("threshold", ["0.5", "-0.9"])
def test_the_command_points_at_the_region_where_it_fails(threshold, here, capfd):
    words = clip_that_fails_in_the_mouth()
    names_of = ["--scores.region-names", "1=left_eye,2=mouth", "--scores.threshold", threshold]
    assert main(["run", *words, *names_of]) == 0
    summary = read_sidecar("out.npy.json")["summary"]
    mouth, whole = summary["regions"]["mouth"]["mean"]["worst"], summary["scores"]["mean_confidence"]["worst"]
    assert mouth["index"] in (3, 4)
    assert mouth["value"] < 0.2
    assert whole["index"] == 1
    there = " (2 of 6 frames are below 0.5 there)" if threshold == "0.5" else ""
    assert capfd.readouterr().err.splitlines()[-1] == (
        f"framencc: look first at frame {mouth['index']} ({mouth['pts_seconds']:.3f} s) in mouth, whose mean "
        f"confidence falls to {mouth['value']:.3f}{there}; that of the whole frame is the lowest at frame 1 "
        f"({whole['pts_seconds']:.3f} s), {whole['value']:.3f}; 0 of 6 frames (0%) are below {float(threshold):g}"
    )


def test_a_region_that_fails_with_the_whole_is_not_pointed_at(here, capfd):
    words = clip_that_fails_in_the_mouth(0)
    assert main(["run", *words]) == 0
    assert "look first at frame 1 (" in (line := capfd.readouterr().err.splitlines()[-1])
    assert "label_" not in line


def test_the_command_line_takes_names_as_its_help_says(here, capsys):
    assert main(["run", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("\u2502", " ").split())
    named = re.search(r"on the command line (\S+);", text)[1]
    words = [str(FOOTAGE), "out.npy", "--reference", "0", "--frames", "0:2", "--scores.regions", "regions.png", "-q"]
    assert main(["run", *words, "--scores.region-names", named]) == 0
    assert list(read_sidecar("out.npy.json")["summary"]["regions"]) == ["left_eye", "mouth"]


@pytest.mark.parametrize("warp", ["none", "euclidean"])
def test_the_command_points_at_frames_in_which_nothing_was_measured(warp, here, capfd):
    frames = np.repeat(media.random_frames(1, *SHAPE), 8, axis=0)
    frames[7] = frames[7] // 2 + media.random_frames(1, *SHAPE, seed=2)[0] // 3
    frames[2:5] = 77
    np.save("in.npy", frames)
    assert main(["run", "in.npy", "out.npy", "--reference", "0", "--warp", warp]) == 0
    said = capfd.readouterr().err.splitlines()[-1]
    summary = read_sidecar("out.npy.json")["summary"]
    second = summary["unmeasured_frames"]["first"]["pts_seconds"]
    assert said.startswith(
        f"framencc: look first at frame 2 ({second:.3f} s), the first of 3 of 8 frames in which nothing was measured "
        f"({'no warp was found' if warp == 'euclidean' else 'flat frame'}); then at frame "
    )
    assert "; 0 of 5 measured frames (0%) are below 0.5" in said
    assert ("no warp was found for 3 of 8 frames" in said) == (warp == "euclidean")


def test_the_command_says_why_nothing_was_measured_at_all(here, capfd):
    np.save("in.npy", np.full((4, 30, 40), 77, np.uint8))
    assert main(["run", "in.npy", "out.npy", "--reference", "0"]) == 0
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == "framencc: nothing was measured in any frame (flat reference)"


def test_a_run_that_is_gone_on_with_says_the_same(here, capfd):
    frames = np.repeat(media.random_frames(1, *SHAPE), 8, axis=0)
    frames[2:5] = 77
    np.save("in.npy", frames)
    words = ["run", "in.npy", "out.npy", "--reference", "0"]
    assert main(words) == 0
    said = capfd.readouterr().err.splitlines()[-1]
    assert "3 of 8 frames" in said
    assert main([*words, "--resume"]) == 0
    assert capfd.readouterr().err.splitlines()[-1] == said
