"""Video of limited range beside pictures of full range: unchanged frames have gain 1, and noise means the same."""

import base64
from io import BytesIO
from pathlib import Path

import media
import numpy as np
import pytest
import tolerances
from known_motion import face
from PIL import Image
from running import WindowedNcc, command
from skimage import data

from framencc import run
from framencc.config import make_spec
from framencc.errors import SpecError
from framencc.frames import CodeRange
from framencc.report.drawing import CELL_WIDTH
from framencc.report.panels import Gallery
from framencc.report.runs import read_run
from framencc.shades import Shades
from framencc.sidecar import read_sidecar
from framencc.sources import probe_source

LUMA = face()[90:138, 180:244].astype(float)
NOISE = {"radius": 5, "noise_sigma": 3, "flat": 1}
FORMATS = {8: "yuv444p", 10: "yuv444p10le", 12: "yuv444p12le"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def limited(luma: np.ndarray, bits: int = 8) -> np.ndarray:
    codes = np.rint((16 + luma * 219 / 255) * 2 ** (bits - 8))
    return codes.astype(np.uint8 if bits == 8 else np.uint16)


def write(path: str, codes: np.ndarray, bits: int = 8, label: str | None = "tv") -> str:
    """Write (N, H, W) luma codes as they are into a YUV video with that label; None: an .avi, which has none."""
    labels = ("-color_range", label or "tv")
    codec = ("-c:v", "ffvhuff") if label is None else media.FFV1
    # Reading with the same label keeps ffmpeg from converting anything.
    planes = media.yuv444(codes, bits)
    media.write_clip(Path(path), planes, *labels, pixel_format=FORMATS[bits], input_options=labels, codec=codec)
    return path


def picture(path: str, luma: np.ndarray, white: int = 255) -> str:
    Image.fromarray(np.rint(luma / 255 * white).astype(np.uint8 if white == 255 else np.uint16)).save(path)
    return path


def go(given: str, reference: int | str, **options):
    spec = {"input": given, "output": "out.npy", "reference": reference, "overwrite": True} | options
    return np.load(run(make_spec(spec)).output), read_sidecar(Path("out.npy.json"))


def gains(sidecar) -> list[float]:
    return [row["gain"] for row in sidecar["frames"]]


@pytest.mark.parametrize("bits", FORMATS)
@pytest.mark.parametrize("white", [255, 65535])
def test_an_unchanged_frame_of_limited_range_has_gain_1_and_the_map_of_its_own(here, bits, white):
    clip = limited(LUMA, bits)[np.newaxis]
    write("in.mkv", clip, bits)
    picture("ref.png", LUMA, white)
    scale = 2 ** (bits - 8)
    ncc = NOISE | {"noise_sigma": 3 * scale}
    maps, sidecar = go("in.mkv", "ref.png", ncc=ncc)
    own, _ = go("in.mkv", 0, ncc=ncc)
    assert gains(sidecar) == pytest.approx([1], abs=0.005)
    np.testing.assert_allclose(maps, own, atol=0.01)
    stored = np.rint(LUMA / 255 * white)
    exact = WindowedNcc(stored / white * 219 * scale, 5, noise_sigma=3 * scale, flat=1.0)(clip[0])
    tolerances.assert_maps_close(maps[0], exact, tolerances.INTEGER)
    stream = sidecar["stream"]
    assert (stream["black"], stream["white"], stream["range"], stream["range_from"]) == (
        *(16 * scale, 235 * scale, "limited", "stored"),
    )


def test_the_frame_whose_light_differs_most_is_named_the_worst(here):
    base = np.minimum(LUMA, 220)
    write("in.mkv", np.stack([limited(base * light) for light in (1, 0.9, 1.15)]))
    picture("ref.png", base)
    _, sidecar = go("in.mkv", "ref.png")
    assert gains(sidecar) == pytest.approx([1, 0.9, 1.15], abs=0.01)
    assert sidecar["summary"]["scores"]["gain"]["worst"]["index"] == 2


def test_without_noise_the_map_does_not_depend_on_the_range(here):
    codes = limited(LUMA)[np.newaxis]
    picture("ref.png", LUMA)
    maps = [go(write(f"{label}.mkv", codes, label=label), "ref.png")[0] for label in ("tv", "pc")]
    tolerances.assert_same_bits(*maps)


@pytest.mark.parametrize(
    ("label", "options", "expected"),
    [
        ("tv", {}, ("limited", "stored")),
        ("pc", {}, ("full", "stored")),
        (None, {}, ("limited", "assumed")),
        ("tv", {"rgb_range": "full"}, ("full", "option")),
        ("pc", {"rgb_range": "limited"}, ("limited", "option")),
    ],
)
def test_the_range_is_what_the_video_says_or_ffmpeg_assumes(here, label, options, expected):
    codes = limited(LUMA) if expected[0] == "limited" else LUMA.astype(np.uint8)
    given = write("in.avi" if label is None else "in.mkv", codes[np.newaxis], label=label)
    picture("ref.png", LUMA)
    _, sidecar = go(given, "ref.png", ncc=options)
    assert (sidecar["stream"]["range"], sidecar["stream"]["range_from"]) == expected
    assert gains(sidecar) == pytest.approx([1], abs=0.005)


@pytest.mark.parametrize("label", ["tv", "pc", None])
def test_gray_video_is_of_full_range_as_ffmpeg_reads_it(here, label):
    labels = () if label is None else ("-vf", f"setrange={label}")
    media.write_clip(Path("in.mkv"), LUMA.astype(np.uint8)[np.newaxis], *labels)
    picture("ref.png", LUMA)
    # What ffmpeg makes a picture of has the video's own codes.
    media.ffmpeg("-i", "in.mkv", "-frames:v", 1, "-pix_fmt", "rgb24", "frame.png")
    np.testing.assert_array_equal(np.asarray(Image.open("frame.png"))[..., 1], LUMA)
    _, sidecar = go("in.mkv", "ref.png")
    assert gains(sidecar) == pytest.approx([1])


def test_jpeg_video_and_rgb_video_are_of_full_range(here):
    rgb = data.astronaut()[90:138, 180:244]
    media.write_clip(Path("rgb.mkv"), media.gbr_planes(rgb[np.newaxis]), pixel_format="gbrp")
    media.write_clip(
        Path("jpeg.avi"),
        rgb[np.newaxis],
        "-q:v",
        1,
        pixel_format="rgb24",
        codec=("-c:v", "mjpeg", "-pix_fmt", "yuvj444p"),
    )
    Image.fromarray(rgb).save("ref.png")
    for given in ("rgb.mkv", "jpeg.avi"):
        _, sidecar = go(given, "ref.png")
        assert (sidecar["stream"]["black"], sidecar["stream"]["white"]) == (0, 255)
        assert gains(sidecar) == pytest.approx([1], abs=0.01)


@pytest.mark.parametrize("channel", ["green", "joint"])
def test_colours_computed_from_limited_range_are_full(here, channel):
    rgb = data.astronaut()[90:138, 180:244]
    Image.fromarray(rgb).save("ref.png")
    convert = "scale=out_range=limited:out_color_matrix=bt601:flags=accurate_rnd+full_chroma_int"
    media.ffmpeg(
        *("-i", "ref.png", "-vf", convert, "-pix_fmt", "yuv444p", "-color_range", "tv", "-colorspace", "smpte170m"),
        *("-c:v", "ffv1", "in.mkv"),
    )
    _, sidecar = go("in.mkv", "ref.png", ncc=NOISE | {"channel": channel})
    assert (sidecar["stream"]["black"], sidecar["stream"]["white"], sidecar["stream"]["range"]) == (0, 255, "full")
    assert gains(sidecar) == pytest.approx([1], abs=0.01)


def test_pictures_have_no_range_to_choose(here):
    np.save("in.npy", LUMA.astype(np.uint8)[np.newaxis])
    with pytest.raises(SpecError, match=r"ncc.rgb_range = full cannot apply: input 'in.npy' is not a video"):
        go("in.npy", 0, ncc={"rgb_range": "full"})


@pytest.mark.parametrize("method", ["flow", "affine"])
def test_warps_see_both_ranges_alike(here, method):
    luma = face()[90:250, 150:330].astype(float)
    moved = np.roll(luma, (3, -4), (0, 1))  # frame(x - 4, y + 3) = reference(x, y)
    write("in.mkv", np.stack([limited(moved)]))
    write("full.mkv", np.stack([moved.astype(np.uint8)]), label="pc")
    picture("ref.png", luma)
    fields = []
    for given in ("in.mkv", "full.mkv"):
        _, sidecar = go(given, "ref.png", warp={"method": method, "normalisation_sigma": 0}, fields="f.npy")
        fields.append(np.load("f.npy")[0][20:-20, 20:-20])
        assert gains(sidecar) == pytest.approx([1], abs=0.02)
    assert np.median(np.linalg.norm(fields[0] - [-4, 3], axis=-1)) < 0.3
    assert np.linalg.norm(fields[0] - fields[1], axis=-1).mean() < 0.05


def test_previews_and_reports_show_both_with_the_same_brightness(here):
    write("in.mkv", np.stack([limited(LUMA)] * 2))
    picture("ref.png", LUMA)
    ranges = CodeRange.of_bits(8), CodeRange.of_bits(8, limited=True)
    static = Shades.of(LUMA, ranges[0])
    assert static.for_frames(*ranges, 256) == Shades(16 * 256, 235 * 256)
    go("in.mkv", "ref.png")
    gallery = Gallery(read_run(Path("out.npy.json")))
    panel = gallery.draw(1)
    assert gallery.problems == []
    assert panel is not None
    assert panel.labels[:2] == ("static reference", "frame")
    image = np.asarray(Image.open(BytesIO(base64.b64decode(panel.uri.partition(",")[2]))).convert("L")).astype(int)
    step = (image.shape[1] - CELL_WIDTH) // (len(panel.labels) - 1)
    assert np.abs(image[:, :CELL_WIDTH] - image[:, step : step + CELL_WIDTH]).mean() < 2


def test_probe_says_the_range(here):
    write("in.avi", limited(LUMA, 10)[np.newaxis], 10, label=None)
    codes = probe_source("in.avi").code_range
    assert codes == CodeRange(10, 64, 940, range="limited", range_from="assumed")
    printed = command("probe", "in.avi").stdout
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert (lines["black"], lines["white"], lines["range"], lines["range_from"]) == ("64", "940", "limited", "assumed")
