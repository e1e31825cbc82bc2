"""Disks that ignore case, or how an accent is written: no spelling lets a file be replaced that nobody named."""

import contextlib
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import media
import numpy as np
import pytest
from blind_disk import blind_below
from PIL import Image

from framencc.config import make_spec
from framencc.errors import SinkError, SpecError
from framencc.pipeline import run
from framencc.sinks import check_targets
from framencc.sinks.parts import ImageParts
from framencc.verification import verify

N_FRAMES = 5
SENSITIVE = sys.platform == "linux"
COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder in which no spelling counts: a stand-in where the disk is another."""
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", media.random_frames(N_FRAMES, 24, 32))
    if (tmp_path / "IN.NPY").exists():
        yield tmp_path
        return
    with blind_below(tmp_path):
        yield tmp_path


def job(output, **options):
    return make_spec({"input": "in.npy", "output": output, "reference": 0, "segment_frames": 2, **options})


def listed(folder="."):
    return sorted(path.name for path in Path(folder).iterdir() if not path.name.startswith("."))


def test_the_stand_in_is_blind(here):
    Path("Name").write_text("x")
    assert Path("nAME").read_text() == "x"
    assert Path("name").samefile("NAME")
    Path(COMPOSED).write_text("y")
    assert Path(DECOMPOSED).is_file()
    assert listed() == sorted([COMPOSED, "Name", "in.npy"])


EXISTING = [
    ("map_%04d.png", "Map_0002.PNG"),
    ("map_%04d.png", "MAP_0000.png"),
    ("Map_%d.tif", "map_4.TIF"),
    ("maps/%d.npy", "maps/3.NPY"),
    ("MAPS/x%d.npy", "maps/X11.npy"),
    (f"{COMPOSED}_%03d.png", f"{DECOMPOSED}_002.png"),
    (f"{DECOMPOSED}_%03d.png", f"{COMPOSED.upper()}_002.png"),
    ("out.npy", "OUT.npy"),
    ("out.npy", "Out.Npy.JSON"),
    ("%d.png", "1.partial.PNG"),
]


@pytest.mark.parametrize(("output", "name"), EXISTING)
def test_a_file_of_another_spelling_is_not_replaced_unasked(output, name, here):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("precious")
    if "partial" in name:
        output = "%d.partial.png"
    for options in ({}, {"resume": True}):
        with pytest.raises(SpecError, match="exists; give --overwrite"):
            run(job(output, **options))
        assert Path(name).name in listed(Path(name).parent)
        assert Path(name).read_text() == "precious"


@pytest.mark.parametrize(("output", "name"), EXISTING[:7])
def test_with_overwrite_it_makes_place_and_the_new_files_are_spelled_as_asked(output, name, here):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("old")
    run(job(output, overwrite=True))
    folder = Path(output).parent
    expected = [Path(output).name % index for index in range(N_FRAMES)]
    assert set(expected) <= set(listed(folder))
    assert not {path for path in folder.iterdir() if path.is_file() and path.read_bytes() == b"old"}
    assert verify(output).problems == []


def test_a_run_that_fails_gives_them_back_as_they_were_spelled(here, monkeypatch):
    Path("Map_2.PNG").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(
            "framencc.pipeline.publishing.Move.carry_out", lambda *_: (_ for _ in ()).throw(SinkError("full"))
        )
        with pytest.raises(SinkError, match="full"):
            run(job("map_%d.png", overwrite=True))
    assert listed() == ["Map_2.PNG", "in.npy"]
    assert Path("Map_2.PNG").read_text() == "old"


def test_one_that_appears_during_the_run_is_not_replaced_either(here, monkeypatch):
    complete = ImageParts.complete

    def complete_late(*arguments):
        Path("MAP_3.png").write_text("mine")
        return complete(*arguments)

    monkeypatch.setattr(ImageParts, "complete", complete_late)
    with pytest.raises(SinkError, match="appeared during the run and is not replaced"):
        run(job("map_%d.png"))
    assert Path("MAP_3.png").read_text() == "mine"


def test_nor_one_whose_spelling_only_the_disk_knows(tmp_path, monkeypatch):
    """On some disks more signs are equal than this program knows of: the very names are looked up."""
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", media.random_frames(N_FRAMES, 24, 32))
    with blind_below(tmp_path, lambda name: name.replace("z", "s")):
        Path("maz_3.png").write_text("mine")
        with pytest.raises(SinkError, match="appeared during the run and is not replaced"):
            run(job("mas_%d.png"))
        assert Path("maz_3.png").read_text() == "mine"
        run(job("mas_%d.png", overwrite=True, resume=True))
        assert "maz_3.png" not in listed()


@pytest.mark.parametrize(
    ("output", "other"),
    [
        ("out.npy", {"validity": "OUT.npy"}),
        ("a/%d.png", {"validity": "A/%d.png"}),
        ("a/b/%d.png", {"validity": "A/b/%03d.PNG"}),
        (f"{COMPOSED}.npy", {"validity": f"{DECOMPOSED}.npy"}),
        (f"{COMPOSED}/x.npy", {"validity": f"{DECOMPOSED}/X.npy"}),
        ("map_%d.png", {"scores": {"temporal_mean": "MAP_3.png"}}),
    ],
)
def test_two_outputs_that_differ_in_spelling_alone_are_refused(output, other, here):
    with pytest.raises(SpecError, match="is the output itself; choose another name"):
        run(job(output, **other))
    assert listed() == ["in.npy"]


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("IN.npy", {}),
        ("out.npy", {"validity": "In.Npy"}),
        ("OUT/../IN.NPY", {}),
        ("x.npy", {"input": "seq", "validity": "SEQ/v%d.png"}),
        ("SEQ/%d.PNG", {"input": "seq/%d.png"}),
        ("SEQ/%d.png", {"input": "seq/?.png"}),
        ("ref.NPY", {"reference": "REF.npy"}),
    ],
)
def test_an_output_neither_replaces_nor_joins_what_is_read(output, options, here):
    frames = np.load("in.npy")
    Path("seq").mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(f"seq/{index}.png")
    np.save("ref.npy", frames[0])
    with pytest.raises(SpecError, match=r"itself; choose another name|would belong to the input"):
        run(job(output, overwrite=True, **options))


def test_where_spelling_counts_files_of_another_one_are_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", media.random_frames(N_FRAMES, 24, 32))
    if Path("IN.npy").exists():
        pytest.skip("this disk ignores case")
    Path("Map_2.PNG").write_text("mine")
    run(job("map_%d.png", validity="MAP_%d.png"))
    os.link("Map_2.PNG", "mAp_3.png")
    os.link("map_3.png", "map_3.PNG")  # two entries of one file are two
    run(job("map_%d.png", validity="MAP_%d.png", overwrite=True))
    assert Path("Map_2.PNG").read_text() == "mine"
    assert {"Map_2.PNG", "mAp_3.png", "map_3.PNG", "map_3.png", "MAP_3.png"} <= set(listed())


def test_a_folder_is_asked_by_its_own_entries(tmp_path):
    """Of two folders of one disk one may be blind; what is made in a folder is like it."""
    (tmp_path / "seeing").mkdir()
    (tmp_path / "blind").mkdir()
    with blind_below(tmp_path / "blind"):
        for folder, same in (("blind", True), ("seeing", not SENSITIVE)):
            for inside in ("", "deeper/"):
                one, other = (str(tmp_path / folder / f"{inside}{name}") for name in ("a.npy", "A.npy"))
                with pytest.raises(SpecError, match="is the output itself") if same else contextlib.nullcontext():
                    check_targets(job(one, validity=other))
    assert list((tmp_path / "blind").iterdir()) == []


@pytest.fixture
def real_disk(tmp_path) -> Iterator[Path]:
    """A folder on a real disk that ignores case: the one given, or one that root can mount."""
    if given := os.environ.get("FRAMENCC_TEST_CASE_BLIND"):
        (folder := Path(given, tmp_path.name)).mkdir()
        yield folder
        return
    if unicodedata.normalize("NFC", DECOMPOSED) == COMPOSED and (tmp_path.parent / tmp_path.name.upper()).exists():
        yield tmp_path
        return
    words = ["mount", "-t", "tmpfs", "-o", "casefold,size=16m", "none", str(tmp_path)]
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or subprocess.run(words, capture_output=True, check=False).returncode
    ):
        pytest.skip("no disk that ignores case can be mounted here; name one in FRAMENCC_TEST_CASE_BLIND")
    (tmp_path / "folder").mkdir()
    subprocess.run(["chattr", "+F", str(tmp_path / "folder")], check=False, capture_output=True)
    try:
        yield tmp_path / "folder"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_so_it_is_on_a_real_one(real_disk):
    (real_disk / "a").touch()
    if not (real_disk / "A").exists():
        pytest.skip("the folder does not ignore case")
    np.save(real_disk / "in.npy", media.random_frames(N_FRAMES, 24, 32))
    (real_disk / "Map_0002.PNG").write_text("precious")
    with pytest.raises(SpecError, match="exists; give --overwrite"):
        run(job(str(real_disk / "map_%04d.png"), input=str(real_disk / "in.npy")))
    assert (real_disk / "Map_0002.PNG").read_text() == "precious"
