import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from sink_readback import map_format, names, some_maps, write_maps

from framencc.errors import SpecError
from framencc.sinks import ImageSink


def run(pattern, maps, *, first=0, overwrite=False, metadata=None):
    announced = map_format(str(maps.dtype), maps.shape[1:], metadata=metadata)
    with ImageSink(pattern, announced, overwrite=overwrite) as sink:
        write_maps(sink, maps, first=first)
        return sink.commit()


@pytest.mark.parametrize(
    ("pattern", "first", "expected"),
    [
        ("%06d.png", 100, ["000100.png", "000101.png"]),
        ("%d.png", 9, ["10.png", "9.png"]),
        ("a%03d_b.png", 999, ["a1000_b.png", "a999_b.png"]),
        ("%3d.png", 9, ["  9.png", " 10.png"]),
        ("100% %02d.png", 1, ["100% 01.png", "100% 02.png"]),
        (".hidden_%d.PNG", 1, [".hidden_1.PNG", ".hidden_2.PNG"]),
    ],
)
def test_a_file_is_named_by_its_frame(pattern, first, expected, tmp_path):
    run(tmp_path / pattern, some_maps(2), first=first)
    assert names(tmp_path) == sorted(expected)


def test_frames_may_be_skipped(tmp_path):
    maps = some_maps(3)
    with ImageSink(tmp_path / "%d.png", map_format()) as sink:
        for index, data in zip((5, 10, 15), maps, strict=True):
            sink.write(data, index, 0.0)
        sink.commit()
    assert names(tmp_path) == ["10.png", "15.png", "5.png"]
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "15.png")), maps[2])


def test_png_depth_and_metadata(tmp_path):
    for dtype, mode in (("uint8", "L"), ("uint16", "I;16")):
        run(tmp_path / dtype / "%d.png", some_maps(1, dtype), metadata={"encoding": "clip", "note": "\u00e9 \u65e5"})
        with Image.open(tmp_path / dtype / "0.png") as picture:
            assert picture.mode == mode
            assert picture.text == {"encoding": "clip", "note": "\u00e9 \u65e5"}


def test_tiff_holds_any_float_and_its_metadata(tmp_path):
    maps = some_maps(1, "float32")
    maps[0, 0, :4] = [np.nan, -np.inf, -0.0, 1e-40]
    run(tmp_path / "%d.tif", maps, metadata={"encoding": "float", "note": "\u00e9"})
    with tifffile.TiffFile(tmp_path / "0.tif") as file:
        assert file.asarray().tobytes() == maps[0].tobytes()
        assert file.pages[0].compression == tifffile.COMPRESSION.NONE
        assert json.loads(file.pages[0].description) == {"encoding": "float", "note": "\u00e9"}


def test_tiff_codes_are_compressed_and_read_by_others(tmp_path):
    maps = np.full((1, 200, 300), 7, np.uint16)
    run(tmp_path / "%d.tif", maps)
    assert (tmp_path / "0.tif").stat().st_size < maps.nbytes / 10
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "0.tif")), maps[0])


def test_png_cannot_hold_floats(tmp_path):
    with pytest.raises(SpecError, match=r"\.png cannot hold float32 maps; use \.tif or \.npy"):
        ImageSink(tmp_path / "new" / "%d.png", map_format("float32"))
    assert names(tmp_path) == []


def test_overwriting_removes_what_the_new_run_has_not(tmp_path):
    (tmp_path / "1.txt").write_text("not of the sequence")
    (tmp_path / "x1.png").write_text("not of the sequence")
    (tmp_path / "01.png").write_text("not of the sequence")
    others = names(tmp_path)
    run(tmp_path / "%d.png", some_maps(12))
    maps = some_maps(3, seed=1)
    run(tmp_path / "%d.png", maps, first=8, overwrite=True)
    assert names(tmp_path) == sorted([*others, "8.png", "9.png", "10.png"])
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "8.png")), maps[0])
