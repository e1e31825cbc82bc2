"""Displacement fields: formats against files written by other means, STMaps, and round trips."""

import builtins
import struct
import zlib
from pathlib import Path

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile)
from hypothesis import given
from hypothesis.extra import numpy as hnp

from framencc.errors import DamagedInputError, MissingExtraError, SourceError, SpecError
from framencc.fields.files import read_field, write_field

OpenEXR = pytest.importorskip("OpenEXR", reason="the extra exr is not installed")

from field_files import H, W, kitti_codes, png_bytes, ramp, write_exr  # noqa: E402  (needs OpenEXR)

CODECS = ("NO", "RLE", "ZIPS", "ZIP", "PIZ")


fields = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(2)),
    elements=st.one_of(st.floats(-1e9, 1e9, width=32), st.sampled_from([0.0, -0.0, 1e-45, 0.1])),
)


@pytest.mark.parametrize("suffix", [".npy", ".flo", ".exr"])
@given(field=fields, data=st.data())
def test_round_trip_keeps_every_bit(tmp_path_factory, suffix, field, data) -> None:
    unknown = data.draw(hnp.arrays(np.bool_, field.shape[:2]))
    field[unknown] = np.nan
    path = tmp_path_factory.getbasetemp() / f"field{suffix}"
    write_field(path, field)
    again = read_field(path, field.shape[:2])
    assert again.dtype == np.float32
    assert again.flags.c_contiguous
    np.testing.assert_array_equal(again.view(np.uint32), field.view(np.uint32))


@pytest.mark.parametrize("suffix", [".npy", ".flo", ".exr"])
def test_any_layout_and_float_can_be_written(tmp_path, suffix) -> None:
    path = tmp_path / f"field{suffix}"
    for field in (ramp()[::-1, ::2], np.asfortranarray(ramp()), ramp().astype(np.float64), ramp().astype(np.float16)):
        write_field(path, field)
        np.testing.assert_array_equal(read_field(path, field.shape[:2]), field.astype(np.float32))


# .npy


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, dtype, order) -> None:
    np.save(tmp_path / "named.whatever.npy", np.asarray(ramp(), dtype, order=order))
    np.testing.assert_array_equal(read_field(tmp_path / "named.whatever.npy", (H, W)), ramp())


def test_half_a_displacement_is_none(tmp_path) -> None:
    field = ramp()
    field[1, 2, 0] = field[3, 4, 1] = np.nan
    np.save(tmp_path / "f.npy", field)
    unknown = np.isnan(read_field(tmp_path / "f.npy", (H, W)))
    assert unknown.sum() == 4
    assert unknown[1, 2].all()
    assert unknown[3, 4].all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_infinities_are_refused(tmp_path, value) -> None:
    field = ramp().astype(np.float64)
    field[3, 4, 1] = value
    np.save(tmp_path / "f.npy", field)
    with pytest.raises(SourceError, match=r"f.npy' is infinite at x = 4, y = 3; NaN marks"):
        read_field(tmp_path / "f.npy", (H, W))
    with pytest.raises(SpecError, match="cannot be written"):
        write_field(tmp_path / "g.npy", field)
    assert not (tmp_path / "g.npy").exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((H, W, 2), np.int16), "holds int16; a field is float16, float32 or float64"),
        (np.zeros((H, W, 2), np.complex64), "holds complex64"),
        (np.zeros((H, W, 2), [("a", "<f4")]), "holds records; store plain numbers"),
        (np.full((H, W, 2), None), "holds Python objects, which are never loaded"),
        (np.zeros((H, W, 3), np.float32), r"must be \(H, W, 2\), not \(5, 7, 3\)"),
        (np.zeros((H, W), np.float32), r"must be \(H, W, 2\), not \(5, 7\)"),
        (np.zeros((2, H, W, 2), np.float32), r"must be \(H, W, 2\), not \(2, 5, 7, 2\)"),
        (np.zeros((W, H, 2), np.float32), "is 5 x 7, but the reference is 7 x 5; a field lies on the reference's grid"),
        (np.float32(1), "must be"),
    ],
)
def test_npy_of_another_kind(tmp_path, array, message) -> None:
    np.save(tmp_path / "f.npy", array, allow_pickle=True)
    with pytest.raises(SourceError, match=message) as caught:
        read_field(tmp_path / "f.npy", (H, W))
    assert not isinstance(caught.value, DamagedInputError)


def test_npy_that_announces_terabytes(tmp_path) -> None:
    content = np.lib.format.magic(1, 0)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 7, 2, 1000000000000), }\n"
    (tmp_path / "f.npy").write_bytes(content + struct.pack("<H", len(header)) + header)
    with pytest.raises(DamagedInputError, match="ends early"):
        read_field(tmp_path / "f.npy", (H, W))


# .flo


def test_flo_by_struct(tmp_path) -> None:
    content = struct.pack("<fii", 202021.25, W, H) + struct.pack(f"<{2 * H * W}f", *ramp().ravel())
    (tmp_path / "f.bin").write_bytes(content)
    np.testing.assert_array_equal(read_field(tmp_path / "f.bin", (H, W)), ramp())
    write_field(tmp_path / "g.flo", ramp())
    assert (tmp_path / "g.flo").read_bytes() == content


def test_flo_of_opencv(tmp_path) -> None:
    assert cv2.writeOpticalFlow(str(tmp_path / "f.flo"), ramp())
    np.testing.assert_array_equal(read_field(tmp_path / "f.flo", (H, W)), ramp())
    write_field(tmp_path / "g.flo", ramp())
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(tmp_path / "g.flo")), ramp())


def test_flo_unknown(tmp_path) -> None:
    values = ramp()
    values[0, 0], values[1, 1, 0], values[2, 2, 1], values[3, 3, 0], values[4, 4, 0] = 1e10, 1.1e9, np.nan, -np.inf, 1e9
    (tmp_path / "f.flo").write_bytes(struct.pack("<fii", 202021.25, W, H) + values.tobytes())
    unknown = np.isnan(read_field(tmp_path / "f.flo", (H, W)))
    assert [tuple(place) for place in np.argwhere(unknown.any(axis=2))] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert unknown.sum() == 8
    write_field(tmp_path / "g.flo", np.full((1, 1, 2), np.nan, np.float32))
    assert struct.unpack("<ff", (tmp_path / "g.flo").read_bytes()[12:]) == (1e10, 1e10)
    with pytest.raises(SpecError, match=r"beyond 1e\+09 pixels cannot be written"):
        write_field(tmp_path / "g.flo", np.full((1, 1, 2), 2e9, np.float32))


@pytest.mark.parametrize(("width", "height"), [(0, 5), (-7, -5), (1 << 30, 1 << 30)])
def test_flo_of_an_absurd_size(tmp_path, width, height) -> None:
    (tmp_path / "f.flo").write_bytes(struct.pack("<fii", 202021.25, width, height) + ramp().tobytes())
    with pytest.raises(SourceError, match=f"is {width} x {height}"):
        read_field(tmp_path / "f.flo", (H, W))


# PNG


@pytest.mark.parametrize("filters", [0, 8, 16, 32, 64, 128, 248])
@pytest.mark.parametrize("strategy", [0, 2, 3])
def test_kitti_png_of_opencv(tmp_path, filters, strategy) -> None:
    codes = kitti_codes()
    options = [cv2.IMWRITE_PNG_FILTER, filters, cv2.IMWRITE_PNG_STRATEGY, strategy]
    assert cv2.imwrite(str(tmp_path / "f.png"), codes[..., ::-1], options)
    field = read_field(tmp_path / "f.png", (H, W))
    for y in range(H):
        for x in range(W):
            red, green, valid = map(float, codes[y, x])
            expected = [(red - 2.0**15) / 64.0, (green - 2.0**15) / 64.0] if valid else [np.nan, np.nan]
            np.testing.assert_array_equal(field[y, x], expected)


@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), filters=st.integers(0, 31), seed=st.integers(0, 99))
def test_png_filters(tmp_path_factory, shape, filters, seed) -> None:
    path = tmp_path_factory.getbasetemp() / "filtered.png"
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 65536, (*shape, 3)) if seed % 2 else np.cumsum(rng.integers(0, 99, (*shape, 3)), axis=1)
    codes = codes.astype(np.uint16)
    codes[..., 2] = 1
    assert cv2.imwrite(str(path), codes[..., ::-1], [cv2.IMWRITE_PNG_FILTER, filters << 3])
    np.testing.assert_array_equal(read_field(path, shape) * 64 + 2**15, codes[..., :2])


def test_pngs_that_are_refused(tmp_path) -> None:
    path = tmp_path / "f.png"
    for picture in (np.zeros((H, W), np.uint16), np.zeros((H, W, 3), np.uint8), np.zeros((H, W), np.uint8)):
        cv2.imwrite(str(path), picture)
        with pytest.raises(SourceError, match="is a PNG of another kind; a field is kept in 16-bit RGB"):
            read_field(path, (H, W))
    path.write_bytes(png_bytes(np.ones((H, W, 4))))
    with pytest.raises(SourceError, match="has an alpha channel; KITTI's flow is 16-bit RGB"):
        read_field(path, (H, W))
    path.write_bytes(png_bytes(np.ones((H, W, 3)), interlace=1))
    with pytest.raises(SourceError, match="is an interlaced PNG"):
        read_field(path, (H, W))
    content = png_bytes(np.ones((H, W, 3)))
    path.write_bytes(content)
    with pytest.raises(SourceError, match="is 7 x 5, but the reference is 8 x 5"):
        read_field(path, (H, 8))
    # More and fewer pixels than the size says, and a filter that does not exist.
    for rows in (b"\0" * 9999, b"\0" * 9, b"\5" * (H * (1 + 6 * W))):
        idat = b"IDAT" + zlib.compress(rows)
        chunk = struct.pack(">I", len(idat) - 4) + idat + struct.pack(">I", zlib.crc32(idat))
        path.write_bytes(content[:33] + chunk + content[-12:])
        with pytest.raises(DamagedInputError, match=r"its pixels do not fill its size|has filter 5"):
            read_field(path, (H, W))


# EXR


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("tiled", [False, True])
def test_exr(tmp_path, dtype, codec, tiled) -> None:
    field = ramp(41, 37)
    header = {"compression": getattr(OpenEXR, f"{codec}_COMPRESSION")}
    if tiled:
        header["tiles"] = OpenEXR.TileDescription()
    path = write_exr(tmp_path / "f.exr", {"u": field[..., 0].astype(dtype), "v": field[..., 1].astype(dtype)}, **header)
    np.testing.assert_array_equal(read_field(path, (41, 37)), field.astype(dtype).astype(np.float32))


@pytest.mark.parametrize("pair", [("x", "y"), ("dx", "dy"), ("u", "v"), ("R", "G")])
@pytest.mark.parametrize("layer", ["", "forward.", "main.left."])
def test_exr_channel_names(tmp_path, pair, layer) -> None:
    planes = {layer + pair[0]: ramp()[..., 0], layer + pair[1]: ramp()[..., 1]}
    planes |= {"Z": ramp()[..., 0], "other.u": ramp()[..., 0], "mask.v": ramp()[..., 0], "B": ramp()[..., 0]}
    np.testing.assert_array_equal(read_field(write_exr(tmp_path / "f.exr", planes), (H, W)), ramp())


def test_exr_channels_in_doubt(tmp_path) -> None:
    plane = ramp()[..., 0]
    path = write_exr(tmp_path / "f.exr", dict.fromkeys(["R", "G", "forward.u", "forward.v"], plane))
    with pytest.raises(
        SourceError, match=r"more than one pair .*: \('R', 'G'\), \('forward.u', 'forward.v'\); keep only one"
    ):
        read_field(path, (H, W))
    path = write_exr(tmp_path / "f.exr", dict.fromkeys(["a.u", "b.v", "Z"], plane))
    with pytest.raises(SourceError, match=r"has channels 'Z', 'a.u', 'b.v'; a field is one of \(x, y\), \(dx, dy\)"):
        read_field(path, (H, W))
    path = write_exr(tmp_path / "f.exr", dict.fromkeys([f"two\nlines {place}" for place in range(20)], plane))
    with pytest.raises(SourceError, match=r"has channels 'two\\nlines 0', .* \.\.\.; a field is one of") as caught:
        read_field(path, (H, W))
    assert "\n" not in str(caught.value)
    path = write_exr(tmp_path / "f.exr", {"u": plane, "v": plane.astype(np.uint32)})
    with pytest.raises(SourceError, match="channel 'v' must be half or float"):
        read_field(path, (H, W))


@pytest.mark.parametrize("origin", [(0, 0), (3, -2)])
def test_exr_windows(tmp_path, origin) -> None:
    """The data window lies partly outside the display window, and leaves a part of that empty."""
    x0, y0 = origin
    planes = {"dx": ramp()[..., 0], "dy": ramp()[..., 1]}
    display = (np.array([x0, y0], np.int32), np.array([x0 + 9, y0 + 3], np.int32))
    data = (np.array([x0 + 2, y0 - 1], np.int32), np.array([x0 + 2 + W - 1, y0 - 1 + H - 1], np.int32))
    path = write_exr(tmp_path / "f.exr", planes, dataWindow=data, displayWindow=display)
    expected = np.full((4, 10, 2), np.nan, np.float32)
    expected[:, 2:9] = ramp()[1:]
    np.testing.assert_array_equal(read_field(path, (4, 10)), expected)
    with pytest.raises(SourceError, match="is 10 x 4, but the reference is 7 x 5"):
        read_field(path, (H, W))
    apart = (np.array([x0 + 50, y0], np.int32), np.array([x0 + 50 + W - 1, y0 + H - 1], np.int32))
    write_exr(path, planes, dataWindow=apart, displayWindow=display)
    assert np.isnan(read_field(path, (4, 10))).all()


def test_exr_of_two_parts(tmp_path) -> None:
    planes = {"dx": ramp()[..., 0].copy(), "dy": ramp()[..., 1].copy()}
    parts = [OpenEXR.Part({"type": OpenEXR.scanlineimage}, planes, name) for name in ("one", "two")]
    OpenEXR.File(parts).write(str(tmp_path / "f.exr"))
    with pytest.raises(SourceError, match="is a deep or multi-part EXR"):
        read_field(tmp_path / "f.exr", (H, W))


def test_exr_that_we_write_is_plain(tmp_path) -> None:
    write_field(tmp_path / "f.exr", ramp())
    file = OpenEXR.File(str(tmp_path / "f.exr"), separate_channels=True)
    for place, name in enumerate(("dx", "dy")):
        np.testing.assert_array_equal(file.channels()[name].pixels, ramp()[..., place])


def test_without_openexr(tmp_path, monkeypatch) -> None:
    write_field(tmp_path / "f.exr", ramp())
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "OpenEXR":
            raise ImportError("No module named 'OpenEXR'")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r'pip install "framencc\[exr\]"'):
        read_field(tmp_path / "f.exr", (H, W))
    with pytest.raises(MissingExtraError, match=r'pip install "framencc\[exr\]"'):
        write_field(tmp_path / "g.exr", ramp())
    write_field(tmp_path / "f.flo", ramp())
    np.testing.assert_array_equal(read_field(tmp_path / "f.flo", (H, W)), ramp())


# STMap


def write_stmap(path: Path, x: np.ndarray, y: np.ndarray, frame: tuple[int, int], kind: str) -> Path:
    """Write the STMap that fetches each pixel from (x, y) of a frame, y downwards from its upper pixel's centre."""
    height, width = frame
    from_bottom = (height - 1) - y
    uv = np.stack(np.broadcast_arrays((x + 0.5) / width, (from_bottom + 0.5) / height), axis=-1)
    if kind == "npy":
        np.save(path, uv)
    elif kind == "png":
        codes = np.concatenate([np.rint(uv * 65535), np.zeros((*uv.shape[:2], 1))], axis=2).astype(np.uint16)
        assert cv2.imwrite(str(path), codes[..., ::-1])
    else:
        uv = uv.astype({"exr half": np.float16, "exr float": np.float32}[kind])
        write_exr(path, {"R": uv[..., 0], "G": uv[..., 1], "B": uv[..., 0] * 0, "A": uv[..., 0] * 0 + 1})
    return path


SUFFIXED = {"npy": "f.npy", "png": "f.png", "exr half": "f.exr", "exr float": "f.exr"}


@pytest.mark.parametrize("kind", SUFFIXED)
@pytest.mark.parametrize("size", [(1, 1), (H, W), (48, 64), (97, 143)])
def test_stmap_of_the_identity_is_exactly_zero(tmp_path, kind, size) -> None:
    y, x = np.indices(size)
    path = write_stmap(tmp_path / SUFFIXED[kind], x, y, size, kind)
    np.testing.assert_array_equal(read_field(path, size, convention="stmap"), np.zeros((*size, 2), np.float32))


@pytest.mark.parametrize("kind", SUFFIXED)
@pytest.mark.parametrize("frame", [(48, 64), (30, 100)])
def test_stmap_of_a_shift(tmp_path, kind, frame) -> None:
    """Positions 3 to the right and 2 down in the frame: dx = 3, dy = 2; also in a frame of another size."""
    y, x = np.indices((20, 30))
    path = write_stmap(tmp_path / SUFFIXED[kind], x + 3.0, y + 2.0, frame, kind)
    field = read_field(path, (20, 30), convention="stmap", frame_size=frame)
    step = {"npy": 2**-53, "png": 0.5 / 65535, "exr half": 2**-12, "exr float": 2**-25}[kind]
    tolerance = 2 * step * np.array([frame[1], frame[0]])
    assert (np.abs(field[..., 0] - 3) <= tolerance[0]).all()
    assert (np.abs(field[..., 1] - 2) <= tolerance[1]).all()
    assert field.dtype == np.float32


def test_stmap_corners(tmp_path) -> None:
    """0, 0 is the lower left corner of the frame and 1, 1 the upper right: half a pixel beyond the centres."""
    np.save(tmp_path / "f.npy", np.array([[[0.0, 0.0], [1.0, 1.0]]]))
    field = read_field(tmp_path / "f.npy", (1, 2), convention="stmap", frame_size=(48, 64))
    np.testing.assert_array_equal(field, [[[-0.5, 47.5], [63.5 - 1, -0.5]]])


def test_stmap_holes_and_formats(tmp_path) -> None:
    uv = np.full((H, W, 2), 0.5)
    uv[2, 3, 0] = np.nan
    np.save(tmp_path / "f.npy", uv)
    assert [tuple(p) for p in np.argwhere(np.isnan(read_field(tmp_path / "f.npy", (H, W), convention="stmap")))] == [
        (2, 3, 0),
        (2, 3, 1),
    ]
    uv[2, 3, 0] = np.inf
    np.save(tmp_path / "f.npy", uv)
    with pytest.raises(SourceError, match="is infinite at x = 3, y = 2"):
        read_field(tmp_path / "f.npy", (H, W), convention="stmap")
    write_field(tmp_path / "f.flo", ramp())
    with pytest.raises(SourceError, match="which holds displacements; an STMap is"):
        read_field(tmp_path / "f.flo", (H, W), convention="stmap")
    (tmp_path / "f.png").write_bytes(png_bytes(np.full((H, W, 4), 65535)))
    assert read_field(tmp_path / "f.png", (H, W), convention="stmap")[0, 0].tolist() == [W - 0.5, -0.5]
