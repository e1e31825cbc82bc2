"""Fields from files that are missing, damaged or hold nothing: their frames have no warp, or the run ends."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from missing_warps import (
    BAD,
    SIZE,
    N,
    assert_not_measured,
    begin,
    go,
    moving,
    save,
)

from framencc import DamagedInputError, SourceError, SpecError, WarpError
from framencc.fields import read_field, write_field
from framencc.spec.warp import WarpSpec

pytest.importorskip("cv2", reason="OpenCV is an optional extra")
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return begin(tmp_path)


def write_fields(pattern: str = "fields/%03d.npy", first: int = 0, size: int = SIZE) -> list[Path]:
    Path(pattern).parent.mkdir(exist_ok=True)
    paths = [Path(pattern % (first + index)) for index in range(N)]
    for index, path in enumerate(paths):
        write_field(path, np.full((size, size, 2), (0.7 * index, -0.5 * index), np.float32))
    return paths


def from_fields(field: str = "fields/%03d.npy", **options: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    return go(method="field", warp={"restart": 16, "field": field} | options.pop("warp", {}), **options)


@pytest.mark.parametrize("fields", ["f.npy", "f/%03d.npy", "f/%03d.flo", "f/%03d.exr"])
@pytest.mark.parametrize("method", ["translation", "flow"])
def test_a_run_with_failures_can_be_repeated_from_its_own_fields(here, method: str, fields: str) -> None:
    first = go("first.npy", method, fields=fields, warped="w1.npy")
    second = from_fields(fields, output="second.npy", fields="again.npy", warped="w2.npy")
    assert_not_measured(*second, BAD)
    assert Path("first.npy").read_bytes() == Path("second.npy").read_bytes()
    assert Path("v_first.npy").read_bytes() == Path("v_second.npy").read_bytes()
    assert Path("w1.npy").read_bytes() == Path("w2.npy").read_bytes()
    assert first[2]["summary"]["unmeasured_frames"] == second[2]["summary"]["unmeasured_frames"]


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".flo", ".exr"])
def test_a_field_without_any_displacement_is_no_warp(here, suffix: str, tolerant: bool) -> None:
    save(90, at=())
    paths = write_fields(f"fields/%03d{suffix}")
    for index in BAD:
        write_field(paths[index], np.full((SIZE, SIZE, 2), np.nan, np.float32))
    found = from_fields(f"fields/%03d{suffix}", tolerant=tolerant)
    assert_not_measured(*found, BAD)
    assert "holds no displacement" in found[2]["frames"][BAD[0]]["warp"]["problem"]
    with pytest.raises(WarpError, match=r"^frame 0: .*holds no displacement"):
        from_fields(f"fields/%03d{suffix}", output="x.npy", warp={"on_failure": "fail"})


def test_a_field_that_is_known_in_part_is_measured_there(here) -> None:
    save(90, at=())
    paths = write_fields()
    field = read_field(paths[5], (SIZE, SIZE))
    field[:100] = np.nan
    write_field(paths[5], field)
    _, validity, sidecar = from_fields()
    assert (validity[5][:100] == 3).all()
    assert (validity[5][100:-4] == 0).mean() > 0.9
    assert sidecar["summary"]["failed_warps"] == 0


def damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "cut off":
        os.truncate(path, 1000)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "of another size":
        write_field(path, np.zeros((SIZE, SIZE - 1, 2), np.float32))
    else:
        field = np.zeros((SIZE, SIZE, 2), np.float32)
        field[3, 4] = np.inf
        np.save(path, field)


HOW = ("missing", "cut off", "empty", "of another size", "infinite")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("first", [0, 1001])
def test_a_field_that_cannot_be_read_makes_its_frame_a_damaged_one(here, how: str, first: int) -> None:
    save(90, at=())
    paths = write_fields(first=first)
    good, _, _ = from_fields(output="good.npy")
    for index in (2, 3, 6):
        damage(paths[index], how)
    maps, validity, sidecar = from_fields(tolerant=True, warped="w.npy", fields="f.npy")
    damaged = {row["index"]: row["damaged"] for row in sidecar["frames"] if "damaged" in row}
    assert sorted(damaged) == [2, 3, 6]
    assert all(why.startswith("warp.field: ") and "\n" not in why for why in damaged.values())
    assert (validity[[2, 3, 6]] == 8).all()
    assert not maps[[2, 3, 6]].any()
    assert not np.load("w.npy")[[2, 3, 6]].any()
    assert np.isnan(np.load("f.npy")[[2, 3, 6]]).all()
    summary = sidecar["summary"]
    assert (summary["damaged_frames"], summary["failed_warps"]) == (3, 0)
    others = [index for index in range(N) if index not in damaged]
    tolerances.assert_same_bits(maps[others], good[others])


@pytest.mark.parametrize(("how", "error"), [*((how, SourceError) for how in HOW[1:]), ("missing", SpecError)])
def test_a_field_that_cannot_be_read_ends_a_run_that_is_not_tolerant(here, how: str, error: type) -> None:
    save(90, at=())
    damage(write_fields()[3], how)
    with pytest.raises(error) as caught:
        from_fields()
    assert isinstance(caught.value, DamagedInputError) == (how in ("cut off", "empty"))
    assert not Path("o.npy").exists()


def test_too_many_fields_are_refused_also_by_a_tolerant_run(here) -> None:
    write_fields()
    np.save("in.npy", moving()[:8])
    with pytest.raises(SpecError, match=r"are 10, the input's frames 8"):
        from_fields(tolerant=True)


@pytest.mark.parametrize("lacking", [0, N - 1])
def test_fields_are_given_to_no_frame_by_guessing(here, lacking: int) -> None:
    """Where the first or the last of them is missing, they may count from 0 or from 1."""
    save(90, at=())
    write_fields(first=1)[lacking].unlink()
    with pytest.raises(SpecError, match=r"not certain to which frames they belong"):
        from_fields(tolerant=True)


@pytest.mark.parametrize("frames", ["1:8", "0:10:2", "6:"])
def test_a_part_of_a_clip_may_lack_fields_as_well(here, frames: str) -> None:
    save(90, at=())
    paths = write_fields()
    paths[6].unlink()
    damage(paths[4], "cut off")
    _, validity, sidecar = from_fields(tolerant=True, frames=frames)
    indices = [row["index"] for row in sidecar["frames"]]
    assert [row["index"] for row in sidecar["frames"] if "damaged" in row] == [i for i in (4, 6) if i in indices]
    assert [(codes_ == 8).all() for codes_ in validity] == [index in (4, 6) for index in indices]


def test_an_array_of_fields_that_is_cut_off(here) -> None:
    save(90, at=())
    np.save("f.npy", np.zeros((N, SIZE, SIZE, 2), np.float32))
    os.truncate("f.npy", 5 * SIZE * SIZE * 8)
    for tolerant in (False, True):
        with pytest.raises(SourceError, match=r"^field 'f\.npy' is damaged") as caught:
            from_fields("f.npy", tolerant=tolerant)
        assert not isinstance(caught.value, DamagedInputError)


def test_the_warp_of_the_frame_before_is_no_choice_for_fields() -> None:
    with pytest.raises(ValueError, match=r"warp\.on_failure = previous cannot apply to method = field"):
        WarpSpec(method="field", field="f.npy", on_failure="previous")
    assert WarpSpec(method="field", field="f.npy", on_failure="identity").chain_length == 1
    assert WarpSpec(method="translation").chain_length == 1
    assert WarpSpec().on_failure == "invalid"
