"""Displacement fields: formats against files written by other means, STMaps, sequences, damage, and round trips."""

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

from framencc.errors import DamagedInputError, FramenccError, MissingExtraError, SinkError, SourceError, SpecError
from framencc.fields.files import list_fields, read_field, write_field

OpenEXR = pytest.importorskip("OpenEXR", reason="the extra exr is not installed")

H, W = 5, 7
CODECS = ("NO", "RLE", "ZIPS", "ZIP", "PIZ")


def ramp(height: int = H, width: int = W) -> np.ndarray:
    """A field whose every number is another, with fractions and both signs."""
    return ((np.arange(height * width * 2).reshape(height, width, 2) - 31) / 8).astype(np.float32)


def write_exr(path: Path, channels: dict[str, np.ndarray], **header: object) -> Path:
    kind = OpenEXR.tiledimage if "tiles" in header else OpenEXR.scanlineimage
    arrays = {name: np.ascontiguousarray(plane) for name, plane in channels.items()}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": kind, **header}
    OpenEXR.File(header, arrays).write(str(path))
    return path


def png_bytes(codes: np.ndarray, *, interlace: int = 0, depth: int = 16) -> bytes:
    """A PNG by the book: filter 0 in every row."""
    height, width, samples = codes.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in codes)
    header = struct.pack(">IIBBBBB", width, height, depth, {3: 2, 4: 6}[samples], 0, 0, interlace)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


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
        (np.zeros((H, W, 2), [("a", "<f4")]), "a field is float16"),
        (np.full((H, W, 2), None), "holds Python objects; a field is"),
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


def kitti_codes() -> np.ndarray:
    codes = np.random.default_rng(3).integers(0, 65536, (H, W, 3)).astype(np.uint16)
    codes[..., 2] = np.arange(H * W).reshape(H, W) % 3
    return codes


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


# Requests and damage


def test_requests(tmp_path) -> None:
    with pytest.raises(SpecError, match="does not exist"):
        read_field(tmp_path / "none.flo", (H, W))
    with pytest.raises(SourceError, match="cannot be read"):
        read_field(tmp_path, (H, W))
    (tmp_path / "f.flo").write_bytes(b"")
    with pytest.raises(DamagedInputError, match="is empty"):
        read_field(tmp_path / "f.flo", (H, W))
    (tmp_path / "f.flo").write_text("GIF89a, renamed")
    with pytest.raises(SourceError, match=r"is no .npy, .flo, PNG or EXR file"):
        read_field(tmp_path / "f.flo", (H, W))
    write_field(tmp_path / "f.flo", ramp())
    with pytest.raises(SpecError, match="convention must be one of displacement, stmap, not 'uv'"):
        read_field(tmp_path / "f.flo", (H, W), convention="uv")
    for size in ((0, 5), (1 << 20, 1 << 20)):
        with pytest.raises(SpecError, match=r"size \(height, width\) must be of 1 to"):
            read_field(tmp_path / "f.flo", size)
    with pytest.raises(SourceError, match="holds one field"):
        read_field(tmp_path / "f.flo", (H, W), index=0)
    with pytest.raises(SpecError, match=r"must end in .npy, .flo or .exr"):
        write_field(tmp_path / "f.tif", ramp())
    for field in (ramp()[..., :1], ramp().astype(np.int32), ramp()[:0]):
        with pytest.raises(SpecError, match=r"a field is \(H, W, 2\) of floats"):
            write_field(tmp_path / "f.npy", field)
    for suffix in (".npy", ".flo", ".exr"):
        with pytest.raises(SinkError, match="cannot be written"):
            write_field(tmp_path / "no folder" / f"f{suffix}", ramp())


def small_files(folder: Path) -> dict[str, bytes]:
    paths = [folder / f"f{suffix}" for suffix in (".npy", ".flo", ".exr")]
    for path in paths:
        write_field(path, ramp())
    planes = {"u": ramp(40, 40)[..., 0], "v": ramp(40, 40)[..., 1]}
    tiled = write_exr(folder / "tiled.exr", planes, tiles=OpenEXR.TileDescription())
    files = {path.name: path.read_bytes() for path in (*paths, tiled)}
    return files | {"f.png": png_bytes(kitti_codes())}


@pytest.mark.parametrize("name", ["f.npy", "f.flo", "f.exr", "tiled.exr", "f.png"])
def test_every_prefix(tmp_path, capfd, name) -> None:
    content = small_files(tmp_path)[name]
    path = tmp_path / "cut"
    size = (40, 40) if name == "tiled.exr" else (H, W)
    path.write_bytes(content)
    read_field(path, size)
    step = 7 if name == "tiled.exr" else 1
    for length in {*range(0, len(content), step), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(SourceError) as caught:
            read_field(path, size)
        assert "\n" not in str(caught.value)
        assert "cut'" in str(caught.value)
        if length == 0 or length >= 8:
            assert isinstance(caught.value, DamagedInputError)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["f.npy", "f.flo", "f.exr", "f.png"])
def test_every_flipped_byte(tmp_path, capfd, name) -> None:
    """A field or a clear error, and nothing on stdout; checksums find every flip in a PNG."""
    content = small_files(tmp_path)[name]
    path = tmp_path / "flipped"
    for place in range(0, len(content), 3):
        for flip in (0xFF, 0x01):
            path.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
            try:
                field = read_field(path, (H, W))
            except FramenccError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert field.shape == (H, W, 2)
                assert name != "f.png"
    assert capfd.readouterr().out == ""


# Sequences


def write_numbered(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        write_field(folder / name, np.full((H, W, 2), place, np.float32))


@pytest.mark.parametrize("suffix", [".npy", ".flo", ".exr"])
def test_a_directory_a_glob_and_a_pattern(tmp_path, suffix) -> None:
    write_numbered(tmp_path / "w", [f"shot2_{number}{suffix}" for number in range(9, 13)])
    (tmp_path / "w" / "notes.txt").write_text("no field")
    for path in (tmp_path / "w", f"{tmp_path}/w/*{suffix}", f"{tmp_path}/w/shot2_%d{suffix}"):
        sequence = list_fields(path, 4)
        assert len(sequence) == 4
        assert [file.name for file in sequence.files] == [f"shot2_{number}{suffix}" for number in range(9, 13)]
        assert [sequence.read(index, (H, W))[0, 0, 0] for index in range(4)] == [0, 1, 2, 3]
    assert len(list_fields(tmp_path / "w", None)) == 4


def test_one_array_of_all(tmp_path) -> None:
    stack = np.stack([ramp(), -ramp()])
    for order in "CF":
        np.save(tmp_path / "all.npy", np.asarray(stack, order=order))
        sequence = list_fields(tmp_path / "all.npy", 2)
        assert repr(sequence).endswith("all.npy', n_fields=2)")
        np.testing.assert_array_equal(sequence.read(1, (H, W)), -ramp())
    with pytest.raises(SourceError, match=r"are 2, of the frames 0 to 1: there is none for frame 2"):
        sequence.read(2, (H, W))
    with pytest.raises(SpecError, match=r"are 2, the input's frames 3; .*: there is none for frame 2"):
        list_fields(tmp_path / "all.npy", 3)
    with pytest.raises(SpecError, match="there are too many"):
        list_fields(tmp_path / "all.npy", 1)
    np.save(tmp_path / "all.npy", stack[:0])
    with pytest.raises(SpecError, match="is an array of none"):
        list_fields(tmp_path / "all.npy", None)
    np.save(tmp_path / "all.npy", stack[..., :1])
    with pytest.raises(SourceError, match=r"must be \(N, H, W, 2\), not \(2, 5, 7, 1\) \(frame 0\)"):
        list_fields(tmp_path / "all.npy", 2).read(0, (H, W))
    (tmp_path / "all.npy").write_bytes(b"\x93NUMPY\1\0\xff\xff")
    with pytest.raises(DamagedInputError):
        list_fields(tmp_path / "all.npy", 2)


def test_one_file_is_a_clip_of_one_frame(tmp_path) -> None:
    write_field(tmp_path / "f.flo", ramp())
    np.testing.assert_array_equal(list_fields(tmp_path / "f.flo", 1).read(0, (H, W)), ramp())
    with pytest.raises(SpecError, match=r"are 1, the input's frames 5; .* none follows 'f.flo' for frame 1"):
        list_fields(tmp_path / "f.flo", 5)


def test_sequences_that_are_refused(tmp_path) -> None:
    write_numbered(tmp_path / "gap", ["f_1.flo", "f_2.flo", "f_4.flo"])
    with pytest.raises(SpecError, match=r"lack number 3, between 'f_2.flo' and 'f_4.flo'; each frame needs its own"):
        list_fields(tmp_path / "gap", 3)
    write_numbered(tmp_path / "short", ["f_1.flo", "f_2.flo"])
    with pytest.raises(SpecError, match=r"are 2, the input's frames 3; .*: none follows 'f_2.flo' for frame 2"):
        list_fields(tmp_path / "short", 3)
    with pytest.raises(SpecError, match=r"are 2, the input's frames 1; .*: 'f_2.flo' has no frame"):
        list_fields(tmp_path / "short", 1)
    write_numbered(tmp_path / "mixed", ["f_1.flo", "f_2.exr"])
    with pytest.raises(SpecError, match=r"fields .* mixes 'f_1.flo' and 'f_2.exr'; name one kind"):
        list_fields(tmp_path / "mixed", 2)
    write_numbered(tmp_path / "two", ["a_1.flo", "a_2.flo", "b_1.flo"])
    with pytest.raises(SpecError, match=r"fields .* holds more than one sequence .* such as frame_%04d.flo"):
        list_fields(tmp_path / "two", 3)
    write_numbered(tmp_path / "twice", ["f_1.flo", "f_01.flo"])
    with pytest.raises(SpecError, match=r"fields .* has one number twice"):
        list_fields(tmp_path / "twice", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match=r"fields directory .* holds no displacement field \(.npy, .flo, .png, .exr\)"):
        list_fields(tmp_path / "empty", 2)
    with pytest.raises(SpecError, match="matches no file"):
        list_fields(tmp_path / "none_%d.flo", 2)


def test_damage_names_the_frame(tmp_path) -> None:
    write_numbered(tmp_path, ["f_1.flo", "f_2.flo", "f_3.flo"])
    sequence = list_fields(tmp_path, 3)
    (tmp_path / "f_2.flo").write_bytes((tmp_path / "f_2.flo").read_bytes()[:-1])
    with pytest.raises(DamagedInputError, match=r"f_2.flo' is damaged: it ends early \(frame 1\)"):
        sequence.read(1, (H, W))
    with pytest.raises(SourceError, match=r"is 7 x 5, but the reference is 7 x 6; .* \(frame 0\)"):
        sequence.read(0, (6, W))
    (tmp_path / "f_3.flo").unlink()
    with pytest.raises(SourceError, match=r"f_3.flo' \(frame 2\) is gone since the run began"):
        sequence.read(2, (H, W))
