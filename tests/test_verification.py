"""``framencc verify``: what is as it was written passes, and everything else is named."""

import json
import os
from pathlib import Path

import media
import numpy as np
import pytest
from running import command
from sink_readback import visible

from framencc import verification
from framencc.cli import main
from framencc.config import make_spec
from framencc.errors import SourceError
from framencc.pipeline import run

FOOTAGE = media.footage()
N_FRAMES = 6
OUTPUTS = {
    "ffv1": ("out.mkv", {}),
    "ffv1-16": ("out.mkv", {"output_format": {"bits": 16}}),
    "mp4": ("out.mp4", {}),
    "odd-mov": ("out.mov", {"input": "odd.npy"}),
    "png": ("maps/%d.png", {}),
    "tif": ("maps/%d.tif", {}),
    "npy-per-frame": ("maps/%d.npy", {"ncc": {"fill": "nan", "border": "valid"}}),
    "array": ("out.npy", {}),
    "everything": (
        "out.npy",
        {
            "validity": "why/%d.png",
            "warped": "warped.mkv",
            "fields": "flow/%d.exr",
            "preview": "preview.mp4",
            "warp": {"method": "flow"},
        },
    ),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("odd.npy", media.random_frames(N_FRAMES, 31, 45))
    return tmp_path


def make(output="out.mkv", **options):
    values = {"input": str(FOOTAGE), "output": output, "reference": 0, "frames": f"0:{N_FRAMES}", "segment_frames": 4}
    return run(make_spec(values | options))


@pytest.mark.parametrize(("output", "options"), OUTPUTS.values(), ids=OUTPUTS)
def test_what_was_written_passes_also_elsewhere(output, options, here):
    make(output, **options)
    found = verification.verify(output)
    assert (found.n_frames, found.problems) == (N_FRAMES, [])
    assert set(found.outputs) == {"output", *(set(options) & {"validity", "warped", "fields", "preview"})}
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    for entry in [entry for entry in here.iterdir() if entry.name not in ("elsewhere", "odd.npy")]:
        entry.rename(elsewhere / entry.name)
    assert verification.verify(elsewhere / output).problems == []


def test_the_command_says_so(here):
    make("out.mkv")
    result = command("verify", "out.mkv", cwd=here)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "framencc: 6 frames of output are as they were written\n"


FILES = {"out.mkv": "out.mkv", "out.mp4": "out.mp4", "out.npy": "out.npy", "maps/%d.png": "maps/3.png"}


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
@pytest.mark.parametrize(("output", "file"), FILES.items())
def test_damage_is_noticed_and_named(output, file, damage, here, capsys):
    make(output)
    path = here / file
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) * 2 // 3])
    else:
        content[len(content) * 2 // 3] ^= 4
        path.write_bytes(content)
    assert main(["verify", output]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"output '{output}'")
    assert printed.err.startswith(f"framencc: error: output '{output}' is not as it was written: ")


def test_an_exchanged_map_is_named_by_number_and_time(here):
    make("out.npy")
    maps = np.load("out.npy")
    maps[[2, 4]] = maps[[4, 2]]
    np.save("out.npy", maps)
    problems = verification.verify("out.npy").problems
    assert problems == [
        "output 'out.npy': frame 2 (0.067 s) does not hold what was written",
        "output 'out.npy': frame 4 (0.133 s) does not hold what was written",
    ]
    np.save("out.npy", maps[:4])
    assert verification.verify("out.npy").problems[-1] == "output 'out.npy' holds 4 maps, 6 were written"


def test_many_problems_are_counted(here):
    run(make_spec({"input": str(FOOTAGE), "output": "out.npy", "reference": 0, "frames": "0:30"}))
    np.save("out.npy", np.load("out.npy") + np.float32(0.5))
    problems = verification.verify("out.npy").problems
    assert len(problems) == 11
    assert problems[-1] == "output 'out.npy': 20 more of its maps differ"


def test_other_times_are_noticed(here):
    make("out.mkv")
    media.ffmpeg("-itsscale", "2", "-i", "out.mkv", "-c", "copy", "slow.mkv")
    Path("slow.mkv").replace("out.mkv")
    problems = verification.verify("out.mkv").problems
    assert problems[0] == "output 'out.mkv': frame 1 (0.033 s) has time 0.066000 s"
    assert len(problems) == N_FRAMES - 1


def test_a_foreign_picture_among_the_maps_is_noticed(here):
    make("maps/%d.png")
    Path("maps/5.png").rename("maps/17.png")
    problems = verification.verify("maps/%d.png").problems
    assert len(problems) == 2
    assert "'17.png' is none of its maps" in problems[1]


def test_what_is_kept_of_a_damaged_input_is_said_to_be_partial(here):
    media.ffmpeg("-i", FOOTAGE, "-c", "copy", "-movflags", "+faststart", "whole.mp4")
    media.cut(Path("whole.mp4"), Path("cut.mp4"), 0.6)
    assert main(["run", "cut.mp4", "out.mkv", "--reference", "0", "-q"]) == 3
    (problem,) = verification.verify("out.partial.mkv").problems
    assert problem.startswith("output 'out.partial.mkv' is what was kept of a damaged input: ")


@pytest.mark.parametrize("output", ["out.mkv", "maps/%d.png"])
def test_the_name_of_a_run_that_left_only_a_partial_result_leads_there(output, here, capfd):
    media.ffmpeg("-i", FOOTAGE, "-c", "copy", "-movflags", "+faststart", "whole.mp4")
    media.cut(Path("whole.mp4"), Path("cut.mp4"), 0.6)
    words = ["run", "cut.mp4", output, "--reference", "0", "-q"]
    assert main(words) == 3
    partial = f"{output[:-4]}.partial{output[-4:]}"
    capfd.readouterr()
    line = (
        f"framencc: error: the run of {output!r} left only a partial result: {partial!r}, as its input is damaged; "
        f"give that name instead, or run it again with --tolerant --overwrite\n"
    )
    for asked in (["verify", output], ["report", output], ["report", f"{output}.json"], ["compare", output, output]):
        assert main(asked) == 1
        assert capfd.readouterr() == ("", line)
    assert main([*words, "--tolerant", "--overwrite"]) == 0
    assert verification.verify(output).problems == []


@pytest.mark.parametrize("asked", ["verify", "report"])
@pytest.mark.parametrize("name", ["", ".", "n" * 250 + ".npy"])
def test_a_name_that_no_output_can_have_is_one_clear_line(asked, name, here, capfd):
    assert main([asked, name]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "cannot be read" in line or "has no sidecar" in line


@pytest.mark.parametrize("content", [None, "{", "{}", '{"format_version": 1, "frames": []}'])
def test_without_a_sidecar_there_is_nothing_to_compare_with(content, here):
    make("out.mkv")
    sidecar = Path("out.mkv.json")
    sidecar.unlink() if content is None else sidecar.write_text(content)
    with pytest.raises(SourceError, match=r"^sidecar 'out\.mkv\.json' "):
        verification.verify("out.mkv")
    assert main(["verify", "out.mkv"]) == 1


def forget(name):
    """Take out of a sidecar by what lossy maps are compared, as those of earlier versions may lack it."""
    sidecar = json.loads(Path(name).read_text())
    for row in sidecar["frames"]:
        del row["imprints"]
    Path(name).write_text(json.dumps(sidecar))


def test_without_verification_lossless_outputs_have_digests_and_others_imprints(here):
    make("out.mkv", verify=False)
    assert verification.verify("out.mkv").problems == []
    assert all(row["digests"]["output"] for row in json.loads(Path("out.mkv.json").read_text())["frames"])
    make("out.mp4", verify=False)
    found = verification.verify("out.mp4")
    assert (found.problems, found.uncompared) == ([], [])
    assert [row["digests"]["output"] for row in json.loads(Path("out.mp4.json").read_text())["frames"]] == [None] * 6
    forget("out.mp4.json")
    found = verification.verify("out.mp4")
    assert (found.problems, found.uncompared) == ([], ["output"])


def test_what_cannot_be_compared_is_said(here, capsys):
    make("out.npy")
    make("out.mp4", verify=False)
    forget("out.mp4.json")
    assert main(["verify", "out.mp4"]) == 0
    assert "those of output could only be counted" in capsys.readouterr().err
    sidecar = json.loads(Path("out.npy.json").read_text())
    for row in sidecar["frames"]:
        del row["digests"]
    Path("out.npy.json").write_text(json.dumps(sidecar))
    assert verification.verify("out.npy").problems == ["output 'out.npy': the sidecar lacks digests to compare it with"]
    del sidecar["stream"]
    Path("out.npy.json").write_text(json.dumps(sidecar))
    with pytest.raises(SourceError, match=r"does not say what was written: KeyError\('stream'\) in it"):
        verification.verify("out.npy")


@pytest.mark.parametrize("change", [lambda content: content + b"more", lambda content: content[:128]])
def test_an_array_of_another_size_is_noticed(change, here):
    make("out.npy")
    Path("out.npy").write_bytes(change(Path("out.npy").read_bytes()))
    (problem,) = verification.verify("out.npy").problems
    assert "cannot be read" in problem


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights there")
def test_outputs_below_a_link_are_found(here):
    (here / "deep" / "er").mkdir(parents=True)
    (here / "link").symlink_to(here / "deep" / "er")
    make("link/out.npy", validity="why.npy")
    assert verification.verify("link/out.npy").problems == []


def test_a_run_notices_when_a_segment_decodes_to_something_else(here, monkeypatch):
    digest = verification.digest
    changed = iter([False] * 3 + [True])  # the fourth map that is read back differs
    monkeypatch.setattr(
        verification, "digest", lambda data: digest(~data if next(changed, False) and data.dtype == np.uint8 else data)
    )
    with pytest.raises(OSError, match=r"does not read back as it should: output 'out\.mkv': frame \d \(0\.\d+ s\)"):
        make("out.mkv", verify="full")
    assert visible(here) == ["odd.npy"]


def test_a_digest_tells_apart_shape_type_and_content_but_not_layout():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    same = [picture.copy(order="F"), picture[::-1][::-1]]
    other = [picture.reshape(4, 3), picture.astype(np.int8), picture.astype(np.uint16), picture + np.uint8(1)]
    digests = {verification.digest(one) for one in [picture, *same]}
    assert len(digests) == 1
    assert len(digests | {verification.digest(one) for one in other}) == 5
    big = picture.astype(">u2")
    assert verification.digest(big) == verification.digest(picture.astype("<u2"))
    field = np.zeros((2, 2, 2), np.float32)
    field[0, 0] = np.nan
    half = field.copy()
    half[0, 0, 1] = 3
    assert verification.digest(field) == verification.digest(half)
