"""TIFF files of several pictures: previews beside the picture do not count, stacks are refused by name."""

from pathlib import Path

import media
import numpy as np
import pytest
import tifffile

from framencc.config import make_spec
from framencc.errors import SourceError
from framencc.pipeline import run
from framencc.sources import open_mask, open_source, read_picture, read_reference
from framencc.spec import RunSpec

GRAY = media.random_frames(1)[0]
DEEP = media.random_frames(1, bits=16)[0]
RGB = media.random_frames(1, bits=16, channels=3)[0]


def job(folder: Path, **options: object) -> RunSpec:
    return make_spec({"input": str(folder / "in.npy"), "output": str(folder / "o.npy"), "reference": 0} | options)


def previews(path: Path, order: str) -> Path:
    """Write a picture, with smaller ones of every kind around it."""
    small = DEEP[::4, ::4].copy()
    with tifffile.TiffWriter(path) as writer:
        if order == "before":
            writer.write(small, subfiletype=1)
        if order == "above":
            writer.write(small, subfiletype=1, subifds=1)
        writer.write(DEEP, subifds=1 if order.startswith("below") else None)
        if order == "below":
            writer.write(small, subfiletype=1)
        if order == "below, unmarked":
            writer.write(small)
        if order in ("behind", "before"):
            writer.write(small, subfiletype=1)
        if order == "mask":
            writer.write(GRAY > 3, subfiletype=4)
        if order == "thumbnail of a camera":
            writer.write(small, extratags=[(513, 4, 1, 8, True), (514, 4, 1, 8, True)])
    return path


ORDERS = ["before", "behind", "above", "below", "below, unmarked", "mask", "thumbnail of a camera"]


@pytest.mark.parametrize("order", ORDERS)
def test_previews_do_not_count(tmp_path: Path, order: str) -> None:
    np.testing.assert_array_equal(read_picture(previews(tmp_path / "p.tif", order)), DEEP)


def test_raw_files_with_a_preview_are_raw(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "p.dng") as writer:
        writer.write(RGB[::4, ::4].copy(), photometric="rgb", subfiletype=1, subifds=1)
        writer.write(DEEP, photometric=32803)
    with pytest.raises(SourceError, match=r"p.dng' is raw sensor data, a Bayer mosaic"):
        read_picture(tmp_path / "p.dng")


STACKS = {
    "ImageJ": {"imagej": True, "truncate": True},
    "tifffile": {"truncate": True, "photometric": "minisblack"},
    "directories": {"photometric": "minisblack"},
    "OME": {"ome": True, "photometric": "minisblack"},
    "volume": {"volumetric": True, "photometric": "minisblack"},
}


@pytest.mark.parametrize("kind", STACKS)
def test_stacks_are_refused_in_every_role(tmp_path: Path, kind: str) -> None:
    frames = media.random_frames(5)
    np.save(tmp_path / "in.npy", frames)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, frames, **STACKS[kind])
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "f_1.tif").write_bytes(path.read_bytes())
    says = "holds 5 pictures; one was expected: store each in a file of its own"
    with pytest.raises(SourceError, match=says):
        read_reference(job(tmp_path, reference=str(path)))
    for given in (path, tmp_path / "shots"):
        with pytest.raises(SourceError, match=says):
            open_source(job(tmp_path, input=str(given)))
    spec = job(tmp_path, ncc={"mask": str(path)})
    with open_source(spec) as source, pytest.raises(SourceError, match=says):
        open_mask(spec, source)
    with pytest.raises(SourceError, match=says):
        run(job(tmp_path, scores={"path": str(tmp_path / "s.csv"), "regions": str(path)}))


def test_hyperstacks_and_unequal_directories_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "hyper.tif", np.zeros((2, 3, 4, 9, 9), np.uint8), imagej=True, truncate=True)
    with tifffile.TiffWriter(tmp_path / "unequal.tif") as writer:
        writer.write(GRAY)
        writer.write(GRAY[:20])
    for name, count in (("hyper", 24), ("unequal", 2)):
        with pytest.raises(SourceError, match=f"holds {count} pictures"):
            read_picture(tmp_path / f"{name}.tif")


def test_a_description_that_was_copied_from_a_stack_does_not_count(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "p.tif", GRAY, description="ImageJ=1.53\nimages=5\nslices=5\n", metadata=None)
    np.testing.assert_array_equal(read_picture(tmp_path / "p.tif"), GRAY)
    tifffile.imwrite(tmp_path / "one.tif", GRAY, imagej=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "one.tif"), GRAY)
