"""Previews: pixels of every style against NumPy, files against ffmpeg, and that no preview changes a map."""

import itertools
import json
import re
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image, ImageDraw
from running import assert_nothing_runs, thinned
from sink_readback import decode, describe, map_format, visible

from framencc.config import make_spec
from framencc.errors import SinkError, SpecError
from framencc.frames import CodeRange
from framencc.pipeline import run
from framencc.render import GRAY, HEAT, Preview, PreviewLayout
from framencc.render.colours import doubt, over_gray
from framencc.render.layout import PAPER
from framencc.render.text import Writer, draw_scale, draw_text, text_width
from framencc.shades import Shades
from framencc.sinks import VideoSink
from framencc.verification import verify

FOOTAGE = media.footage()
STYLES = ("gray", "heat", "overlay", "panel")
BLUE = [58, 84, 138]
SIZES = {
    "odd": (37, 51),
    "tiny": (8, 8),
    "one pixel": (1, 1),
    "wide": (6, 1500),
    "tall": (1500, 6),
    "usual": (480, 640),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(**options):
    values = {"input": str(FOOTAGE), "output": "out.mkv", "reference": 0, "frames": "0:9", "preview": "preview.mp4"}
    return run(make_spec(values | options))


def pattern(height=120, width=160):
    """A reference, a frame, and a map with a stripe for every code."""
    rng = np.random.default_rng(5)
    reference, frame = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    rho = np.tile(np.linspace(-0.3, 1, width, dtype=np.float32), (height, 1))
    validity = np.zeros((height, width), np.uint8)
    validity[: height // 2] = np.arange(width) % 8
    return reference, frame, rho, validity


def open_preview(style, reference, *, limit=1920, strength=0.7, dynamic=None, bits=8, threads=1):
    shades = Shades.of(reference, None if bits is None else CodeRange.of_bits(bits))
    layout = PreviewLayout.choose(style, limit, reference.shape[-2:])
    return layout, Preview(
        style, layout, reference, static=shades, dynamic=dynamic or shades, strength=strength, threads=threads
    )


def draw(style, pictures, *, index=3, mean=0.5, **options):
    reference, frame, rho, validity = pictures
    layout, preview = open_preview(style, reference, **options)
    out = np.full((layout.height, layout.width, 3), 99, np.uint8)
    planes = frame if frame.ndim == 3 else frame[np.newaxis]
    preview.draw(planes, rho, validity, index=index, pts_seconds=index / 25, mean=mean, out=out)
    return layout, out


def cut(layout, out, number=-1):
    """The picture of a panel, or the only one, not enlarged."""
    (top, left), (height, width), zoom = layout.places[number], layout.shape, layout.zoom
    return out[top : top + zoom * height : zoom, left : left + zoom * width : zoom]


def codes_of(rho, validity):
    return np.where(validity == 0, np.floor(255 * np.maximum(rho, 0).astype(float) + 0.5).astype(int), 256)


def test_gray_is_the_map_and_blue_where_nothing_was_measured():
    *_, rho, validity = pictures = pattern()
    shown = cut(*draw("gray", pictures)).astype(int)
    codes = codes_of(rho, validity)
    np.testing.assert_array_equal(shown[codes < 256], np.repeat(codes[codes < 256], 3).reshape(-1, 3))
    assert np.unique(shown[codes == 256], axis=0).tolist() == [BLUE]


def test_heat_is_viridis_and_gray_where_nothing_was_measured():
    # Published values: matplotlib.colormaps["viridis"]([0, 128, 255], bytes=True).
    assert HEAT[[0, 128, 255]].tolist() == [[68, 1, 84], [33, 145, 140], [253, 231, 37]]
    assert HEAT[256].tolist() == [128, 128, 128]
    *_, rho, validity = pictures = pattern()
    np.testing.assert_array_equal(cut(*draw("heat", pictures)), HEAT[codes_of(rho, validity)])


def test_the_lightness_of_heat_grows_steadily():
    luma = HEAT[:256] @ [0.2126, 0.7152, 0.0722]
    assert np.diff(luma).min() > -0.3
    assert luma[-1] - luma[0] > 190


@pytest.mark.parametrize("strength", [0.0, 0.7, 1.0])
def test_an_overlay_tints_the_frame_where_it_is_not_to_be_believed(strength):
    _, frame, rho, validity = pictures = pattern()
    shown = cut(*draw("overlay", pictures, strength=strength)).astype(float)
    codes, gray = codes_of(rho, validity), frame[..., np.newaxis].astype(float)
    np.testing.assert_allclose(shown[codes == 255], np.broadcast_to(gray, shown.shape)[codes == 255], atol=0.5)
    yellow = np.array([252, 255, 164])  # the last of inferno
    expected = (1 - strength) * gray + strength * yellow
    np.testing.assert_allclose(shown[codes == 0], expected[codes == 0], atol=1)
    expected = (1 - 0.6 * strength) * gray + 0.6 * strength * np.array([88, 140, 255])
    np.testing.assert_allclose(shown[codes == 256], expected[codes == 256], atol=1)


def test_a_tint_stays_within_a_byte():
    for strength, shade in itertools.product((0, 0.3, 1), (0, 128, 255)):
        tint = doubt(strength)
        assert (tint[:, :1] * shade + tint[:, 1:] + (1 << 15) >> 16).min() >= 0
        assert (tint[:, :1] * 255 + tint[:, 1:] + (1 << 15) >> 16).max() <= 255
    assert over_gray(doubt(0)).tolist() == [[128] * 3] * 257


def test_a_panel_shows_reference_frame_and_confidence():
    reference, frame, rho, validity = pictures = pattern()
    layout, out = draw("panel", pictures)
    for number, picture in enumerate((reference, frame)):
        np.testing.assert_array_equal(cut(layout, out, number), picture[..., np.newaxis].repeat(3, 2))
    np.testing.assert_array_equal(cut(layout, out, 2), GRAY[codes_of(rho, validity)])
    assert layout.titles == ("static reference", "dynamic frame", "confidence")
    assert PreviewLayout.choose("panel", 1920, (120, 160), warped=True).titles[1] == "warped dynamic frame"
    lefts = [left for _, left in layout.places]
    assert len({top for top, _ in layout.places}) == 1
    assert all(after - before > 160 for before, after in itertools.pairwise(lefts))


def test_smaller_pictures_are_means_over_what_was_measured():
    reference, frame, rho, validity = pattern(480, 640)
    layout, out = draw("panel", (reference, frame, rho, validity), limit=256)
    height, width = layout.shape
    assert width == 83
    rows = [range(y * 480 // height, (y + 1) * 480 // height) for y in range(height)]
    columns = [range(x * 640 // width, (x + 1) * 640 // width) for x in range(width)]
    expected = np.empty(layout.shape, int)
    for (y, inside), (x, across) in itertools.product(enumerate(rows), enumerate(columns)):
        area = np.ix_(inside, across)
        measured = validity[area] == 0
        value = np.maximum(rho[area], 0)[measured].mean() if measured.any() else 0.0
        expected[y, x] = np.floor(255 * value + 0.5) if 2 * measured.sum() >= measured.size else 256
    assert {*np.unique(expected)} > {0, 256}
    np.testing.assert_allclose(cut(layout, out), GRAY[expected], atol=1)


def test_pictures_do_not_depend_on_the_number_of_threads():
    pictures = pattern(301, 403)
    for style in STYLES:
        one, four = (draw(style, pictures, limit=400, threads=threads)[1] for threads in (1, 4))
        np.testing.assert_array_equal(one, four)


def test_one_mapping_brings_deep_codes_and_floats_to_8_bits():
    codes = np.array([[0, 100], [512, 1000]], np.uint16)
    eight, ten = CodeRange.of_bits(8), CodeRange.of_bits(10)
    assert Shades.of(codes, ten) == Shades(0, 1023)
    assert Shades.of(codes, CodeRange(10, 0, 65472)) == Shades(0, 65472)  # the high bits of 16
    assert Shades.of(codes, ten).for_frames(ten, eight, 1) == Shades(0, 255)
    assert Shades.of(codes, ten).for_frames(ten, ten, 64) == Shades(0, 64 * 1023)
    assert Shades.of(codes, ten).for_frames(ten, CodeRange.of_bits(8, limited=True), 256) == Shades(4096, 60160)
    values = np.linspace(0, 4, 10_001, dtype=np.float32).reshape(73, 137)
    values[0, :3] = np.nan, np.inf, 1e9
    floats = Shades.of(values, None)
    assert floats.black == 0
    assert floats.white == pytest.approx(4, rel=0.01)
    assert floats.for_frames(None, None, 1) == floats
    assert floats.for_frames(None, eight, 256) == Shades(0, 256 * 255)
    assert Shades.of(codes, ten).for_frames(ten, None, 1) == Shades(0, 1)
    for odd in (np.full((2, 2), np.nan, np.float32), np.zeros((2, 2), np.float32)):
        assert Shades.of(odd, None) == Shades(0, 1)
    assert Shades.of(values - 2, None).black == pytest.approx(-2, rel=0.01)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deep_and_colour_frames_are_shown(dtype):
    planes = np.stack([np.full((40, 200), value) for value in (10_000, 20_000, 40_000)]).astype(dtype)
    planes[0, 0, 0] = 65_535
    pictures = planes, planes, np.ones((40, 200), np.float32), np.zeros((40, 200), np.uint8)
    bits = 16 if dtype == "uint16" else None
    dynamic = Shades(0, 65_535)
    layout, out = draw("panel", pictures, bits=bits, dynamic=dynamic)
    luma = 255 * (0.299 * 10_000 + 0.587 * 20_000 + 0.114 * 40_000) / 65_535
    np.testing.assert_allclose(cut(layout, out, 1)[1:], luma, atol=0.51)


@pytest.mark.parametrize("code", [8, 9])
def test_a_frame_of_which_there_is_nothing_is_struck_out(code):
    reference, frame, rho, validity = pattern(240, 320)
    for style in STYLES:
        layout, out = draw(style, (reference, frame, rho, np.full_like(validity, code)), mean=None)
        shown = cut(layout, out).astype(int)
        red = (shown[..., 0] > shown[..., 1] + 30).mean()
        assert red > 0.8  # stripes, and what is written across them
        some = draw(style, (reference, frame, rho, np.where(rho > 0.5, code, validity).astype(np.uint8)))[1]
        assert (some != out).any()
    layout, out = draw("panel", (reference, frame, rho, np.full_like(validity, code)), mean=None)
    np.testing.assert_array_equal(cut(layout, out, 0)[..., 0], reference)
    assert (cut(layout, out, 1)[..., 0] != frame).mean() > 0.9


def test_a_frame_that_was_never_read_and_one_without_a_warp_are_told_apart():
    reference, frame, rho, validity = pattern(240, 320)
    missing, unwarped = (
        draw("panel", (reference, frame, rho, np.full_like(validity, code)), mean=None)[1] for code in (8, 9)
    )
    assert (missing != unwarped).any()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("code", [1, 3, 4, 5, 7])
def test_a_frame_without_any_measurement_is_all_neutral(style, code):
    reference, frame, rho, validity = pattern()
    rho[:] = np.nan
    layout, out = draw(style, (reference, frame, rho, np.full_like(validity, code)), mean=None)
    shown = cut(layout, out)
    if style != "overlay":
        assert np.unique(shown.reshape(-1, 3), axis=0).tolist() == [[128] * 3 if style == "heat" else BLUE]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("name", "limit"), [(name, limit) for name in SIZES for limit in (256, 257, 1920)])
def test_nothing_is_larger_than_the_limit_or_odd(name, limit, style):
    shape = SIZES[name]
    layout, out = draw(style, pattern(*shape), limit=limit)
    assert max(layout.height, layout.width) <= limit
    assert (layout.height % 2, layout.width % 2) == (0, 0)
    for number in range(len(layout.places)):
        assert cut(layout, out, number).shape[:2] == layout.shape
    assert layout.zoom == 1 or max(shape) * layout.zoom <= 144
    # Pictures stand neither in each other nor in the text.
    boxes = [(top, left, top + layout.zoom * layout.shape[0], left + layout.zoom * layout.shape[1])
             for top, left in layout.places]  # fmt: skip
    for one, other in itertools.combinations(boxes, 2):
        assert one[2] <= other[0] or one[3] <= other[1]
    assert all(bottom <= layout.footer for *_, bottom, _ in boxes)
    assert layout.footer + (2 if layout.columns else 5) * layout.line <= layout.height + 1


def test_wide_pictures_stand_above_each_other():
    layout = PreviewLayout.choose("panel", 1920, (100, 1000))
    assert len({left for _, left in layout.places}) == 1
    assert layout.shape[1] == 1000


def test_number_time_and_mean_are_written():
    pictures = pattern(240, 320)
    layout, before = draw("heat", pictures, index=122, mean=0.25)
    for options in ({"index": 123, "mean": 0.25}, {"index": 122, "mean": 0.26}, {"index": 122, "mean": None}):
        _, after = draw("heat", pictures, **options)
        rows, columns = np.nonzero((before != after).any(axis=2))
        assert rows.min() >= layout.footer
        assert columns.max() < layout.text_width
    # A number of as many digits as there can be stays out of what stands beside it.
    _, long = draw("heat", pictures, index=2**31 - 1, mean=0.25)
    assert (long[:, layout.text_width + layout.margin :] == before[:, layout.text_width + layout.margin :]).all()


@pytest.mark.parametrize("size", [11, 14, 26])
def test_words_stand_apart(size):
    """The space between two words is clearly wider than that between two letters."""

    def gaps(drawn):
        ink = np.flatnonzero((drawn != 0).any(axis=(0, 2)))
        return np.diff(ink).max()

    line, width = round(1.6 * size), text_width("mm mm", size)
    canvas = np.zeros((line, width + 8, 3), np.uint8)
    Writer(size, (255, 255, 255), (0, 0, 0)).write(canvas, "mm mm", 2, 0, width + 4)
    assert gaps(canvas) > 0.3 * size
    image = Image.new("RGB", (width + 8, line))
    draw_text(ImageDraw.Draw(image), 2, line / 2, "mm mm", size, (255, 255, 255))
    assert gaps(np.asarray(image)) > 0.3 * size
    assert np.flatnonzero(np.asarray(image).any(axis=(0, 2))).max() <= 2 + width


def test_the_scale_goes_from_no_to_full_confidence():
    for mode in ("RGB", "L"):
        image = Image.new(mode, (300, 40), 255 if mode == "L" else (255, 255, 255))
        draw_scale(image, (0, 0, 300, 40), GRAY, 12, (40, 40, 40))
        bar = np.asarray(image.convert("L"))[10].astype(int)
        first, last = np.flatnonzero(bar != 255)[[0, -1]]
        inside = bar[first + 1 : last]
        assert (inside[0], inside[-1]) == (0, 255)
        assert np.diff(inside).min() >= 0
        ticks = np.flatnonzero(np.asarray(image.convert("L"))[22] == 40)
        assert len(ticks) == 5


def decoded(path):
    """All pictures as ffmpeg shows them, and their times."""
    size = next(
        part for part in describe(path).split("Video:")[1].split() if part.rstrip(",").replace("x", "").isdigit()
    )
    width, height = map(int, size.rstrip(",").split("x"))
    pictures, times = decode(path, "rgb24")
    return pictures.reshape(-1, height, width, 3), times


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("suffix", thinned([".mp4", ".mov", ".mkv"], ".mp4"))
def test_the_video_has_every_frame_at_its_time(style, suffix, here):
    report = make(preview="new/preview" + suffix, output_format={"preview_style": style})
    assert report.others == {"preview": Path("new/preview" + suffix)}
    pictures, times = decoded(report.others["preview"])
    rows = json.loads(Path("out.mkv.json").read_text())["frames"]
    assert len(pictures) == 9
    np.testing.assert_allclose([float(time) for time in times], [row["pts_seconds"] for row in rows], atol=6e-4)
    layout = PreviewLayout.choose(style, 1920, (144, 176))
    assert pictures.shape[1:3] == (layout.height, layout.width)
    assert (np.abs(pictures[0].astype(int) - PAPER) <= 6).all(axis=2).mean() > 0.1
    assert verify("out.mkv").problems == []
    assert_nothing_runs()


def test_colours_survive_the_encoder(tmp_path):
    colours = np.array([[200, 30, 40], [40, 180, 60], [50, 60, 210], [128, 128, 128], [253, 231, 37], [68, 1, 84]])
    picture = colours.astype(np.uint8).reshape(2, 3, 3).repeat(32, 0).repeat(32, 1)
    announced = map_format(shape=picture.shape[:2])
    announced = type(announced)(64, 96, announced.dtype, Fraction(25), None, {}, components=3)
    with VideoSink(tmp_path / "out.mp4", announced, codec="h264", quality=1) as sink:
        sink.write(picture, 0, 0.0)
        sink.commit()
    assert "bt709" in describe(tmp_path / "out.mp4")
    shown = media.ffmpeg("-i", tmp_path / "out.mp4", "-vf", "scale=in_color_matrix=bt709:in_range=limited",
                         "-pix_fmt", "rgb24", "-f", "rawvideo", "-")  # fmt: skip
    shown = np.frombuffer(shown, np.uint8).reshape(picture.shape)
    np.testing.assert_allclose(shown[16::32, 16::32].astype(int), picture[16::32, 16::32], atol=4)
    with pytest.raises(SpecError, match="codec ffv1 cannot hold"):
        VideoSink(tmp_path / "out.mkv", announced, codec="ffv1")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"output": "out.npy"},
        {"output": "out.mp4"},
        {"output": "out.tif", "ncc": {"smooth_sigma": 1, "border": "valid"}},
        {"output": "out.npy", "warp": {"method": "flow", "forward_backward": "weight"}, "warped": "warped.npy"},
        {"ncc": {"channel": "joint"}},
    ],
    ids=str,
)
def test_a_preview_changes_no_map(options, here):
    if options.get("output") == "out.tif":
        options = {**options, "output": "maps/%d.tif"}
    contents = []
    for preview in (None, "preview.mp4"):
        make(preview=preview, overwrite=True, **options)
        kept = [name for name in visible(here) if "preview" not in name and not name.endswith(".json")]
        contents.append({name: (here / name).read_bytes() for name in kept if (here / name).is_file()})
    assert contents[0] == contents[1]
    assert len(contents[0]) >= 1


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("style", thinned(STYLES, "panel"))
def test_clips_of_any_size_and_of_one_frame(name, style, here):
    height, width = SIZES[name]
    np.save("in.npy", media.random_frames(1, height, width))
    make(input="in.npy", output="out.npy", frames=None, output_format={"preview_style": style, "preview_size": 320})
    pictures, _ = decoded(Path("preview.mp4"))
    assert len(pictures) == 1
    assert max(pictures.shape[1:3]) <= 320
    assert verify("out.npy").problems == []


def test_a_clip_in_which_nothing_is_measured(here):
    np.save("in.npy", np.full((3, 40, 60), 7, np.uint8))
    report = make(input="in.npy", output="out.npy", frames=None)
    assert report.mean_confidence is None
    assert len(decoded(Path("preview.mp4"))[0]) == 3


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deep_clips_in_which_frames_are_warped(dtype, here):
    frames = media.random_frames(3, 64, 96, bits=12).repeat(4, 1).repeat(4, 2).astype(dtype)
    np.save("in.npy", frames)
    make(
        input="in.npy",
        output="out.npy",
        frames=None,
        warp={"method": "translation"},
        output_format={"preview_quality": 1},
    )
    layout = PreviewLayout.choose("panel", 1920, (256, 384), warped=True)
    picture = decoded(Path("preview.mp4"))[0][0]
    static, dynamic = (cut(layout, picture, number).astype(int)[8:-8, 8:-8] for number in (0, 1))
    assert np.abs(static - dynamic).mean() < 3  # frame 0 is the reference itself
    assert static.std() > 50


def test_a_preview_is_read_back_and_damage_to_it_is_found(here):
    make(output_format={"preview_style": "heat"}, verify="full")
    rows = json.loads(Path("out.mkv.json").read_text())["frames"]
    assert all(row["digests"]["preview"] for row in rows)
    assert len({row["digests"]["preview"] for row in rows}) == len(rows)
    make(output="other.mkv", preview="other.mp4", output_format={"preview_style": "gray"})
    Path("other.mp4").replace("preview.mp4")
    assert any(re.match(r"preview '.*preview\.mp4': frame 0 ", problem) for problem in verify("out.mkv").problems)


def test_the_same_run_leaves_the_same_preview(here):
    for name in ("one", "two"):
        make(preview=name + ".mp4", output=name + ".mkv", segment_frames=4)
    assert Path("one.mp4").read_bytes() == Path("two.mp4").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preview": "preview.avi"}, "preview 'preview.avi' must end in one of .mkv, .mp4, .mov"),
        ({"preview": "out.mkv"}, "preview 'out.mkv' is the output itself"),
        ({"output_format": {"preview_size": 100}}, "output_format.preview_size"),
        ({"output_format": {"preview_style": "jet"}}, "output_format.preview_style"),
        ({"output_format": {"preview_strength": 1.5}}, "output_format.preview_strength"),
    ],
    ids=str,
)
def test_what_cannot_be_had_is_said_in_one_line(options, message, here):
    with pytest.raises(SpecError) as caught:
        make(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert visible(here) == []


def test_times_that_no_video_holds_are_an_error(tmp_path):
    announced = map_format(shape=(64, 96))
    announced = type(announced)(64, 96, announced.dtype, Fraction(25), None, {}, components=3)
    with VideoSink(tmp_path / "p.mp4", announced, codec="h264") as sink, pytest.raises(SinkError, match="leave it out"):
        sink.write(np.zeros((64, 96, 3), np.uint8), 0, -1.0)
