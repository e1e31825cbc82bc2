"""The samples of every pixel format arrive unchanged."""

import re
from pathlib import Path

import media
import numpy as np
import pytest

from framencc.errors import SourceError
from framencc.sources import VideoSource
from framencc.sources.pixel_formats import find_layout

LOSSLESS_H264 = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")


def read(path: Path) -> np.ndarray:
    with VideoSource(str(path)) as source:
        return np.stack([frame.data for frame in source.frames()])


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_gray_of_every_depth_is_exact(tmp_path: Path, bits: int) -> None:
    luma = media.random_frames(3, bits=bits)
    pixel_format = "gray" if bits == 8 else f"gray{bits}le"
    frames = read(media.write_clip(tmp_path / "in.mkv", luma, pixel_format=pixel_format))
    assert frames.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(frames, luma)


@pytest.mark.parametrize("colour_range", ["tv", "pc"])
@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
def test_luma_planes_keep_their_codes(tmp_path: Path, bits: int, colour_range: str) -> None:
    luma = media.random_frames(2, bits=bits)
    pixel_format = "yuv444p" if bits == 8 else f"yuv444p{bits}le"
    path = media.write_clip(
        tmp_path / "in.mkv",
        media.yuv444(luma, bits),
        *("-color_range", colour_range),
        pixel_format=pixel_format,
        input_options=("-color_range", colour_range),
    )
    with VideoSource(str(path)) as source:
        np.testing.assert_array_equal(np.stack([frame.data for frame in source.frames()]), luma)
        assert source.info.bits == bits
        assert source.info.details is not None
        assert source.info.details["colour_range"] == colour_range


def test_limited_range_is_not_stretched(tmp_path: Path) -> None:
    luma = np.full((1, 36, 52), 235, np.uint8)
    luma[:, :, 26:] = 16
    path = tmp_path / "in.mp4"
    tags = ("-color_range", "tv")
    media.write_clip(path, media.yuv444(luma), *tags, pixel_format="yuv444p", codec=LOSSLESS_H264, input_options=tags)
    np.testing.assert_array_equal(read(path), luma)


@pytest.mark.parametrize(("name", "pixel_format"), [("in.mov", "uyvy422"), ("in.avi", "yuyv422"), ("in.avi", "nv12")])
def test_packed_luma_is_exact(tmp_path: Path, name: str, pixel_format: str) -> None:
    luma = media.random_frames(2)
    full = media.yuv444(luma)
    if pixel_format == "nv12":
        raw = np.concatenate([full[:, 0].reshape(2, -1), np.full((2, 36 * 52 // 2), 128, np.uint8)], axis=1)
    else:
        raw = np.stack([luma, np.full_like(luma, 128)], axis=-1)
        raw = raw[..., ::-1] if pixel_format == "uyvy422" else raw
    arguments = ("-f", "rawvideo", "-pix_fmt", pixel_format, "-s", "52x36", "-i", "-", "-c:v", "rawvideo")
    media.ffmpeg(*arguments, "-pix_fmt", pixel_format, tmp_path / name, stdin=np.ascontiguousarray(raw).tobytes())
    frames = read(tmp_path / name)
    np.testing.assert_array_equal(frames, luma)


def test_10_bit_packed_luma_is_exact(tmp_path: Path) -> None:
    luma = media.random_frames(2, 36, 48, bits=10).clip(4, 1019)  # v210 keeps the ends for itself
    path = tmp_path / "in.mov"
    planes = media.yuv444(luma, 10)
    media.write_clip(path, planes, "-pix_fmt", "yuv422p10le", pixel_format="yuv444p10le", codec=("-c:v", "v210"))
    np.testing.assert_array_equal(read(path), luma)


@pytest.mark.parametrize("polarity", ["monob", "monow"])
def test_one_bit_video_is_black_and_white(tmp_path: Path, polarity: str) -> None:
    bits = media.random_frames(2, 36, 48) > 127
    packed = np.packbits(bits if polarity == "monob" else ~bits, axis=2)
    arguments = ("-f", "rawvideo", "-pix_fmt", polarity, "-s", "48x36", "-i", "-", "-c:v", "rawvideo")
    media.ffmpeg(*arguments, "-pix_fmt", polarity, tmp_path / "in.nut", stdin=packed.tobytes())
    np.testing.assert_array_equal(read(tmp_path / "in.nut"), bits * np.uint8(255))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_rgb_is_reduced_to_luma(tmp_path: Path, bits: int) -> None:
    rgb = media.random_frames(2, bits=bits, channels=3)
    pixel_format = "gbrp" if bits == 8 else f"gbrp{bits}le"
    path = media.write_clip(tmp_path / "in.mkv", media.gbr_planes(rgb), pixel_format=pixel_format)
    with VideoSource(str(path)) as source:
        np.testing.assert_array_equal(np.stack([frame.data for frame in source.frames()]), media.luma_of_rgb(rgb))
        assert source.info.bits == bits


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_alpha_does_not_touch_the_colours(tmp_path: Path, bits: int) -> None:
    rgb = media.random_frames(2, bits=bits, channels=3)
    alpha = media.random_frames(2, bits=bits, seed=1)
    planes = np.concatenate([media.gbr_planes(rgb), alpha[:, None]], axis=1)
    pixel_format = "gbrap" if bits == 8 else f"gbrap{bits}le"
    codec = ("-c:v", "png") if bits == 8 else media.FFV1
    path = media.write_clip(tmp_path / "in.mkv", planes, pixel_format=pixel_format, codec=codec)
    np.testing.assert_array_equal(read(path), media.luma_of_rgb(rgb))


def test_palette_video(tmp_path: Path) -> None:
    rgb = np.array([[10, 200, 30], [250, 1, 77]], np.uint8)[(media.random_frames(1) > 127).astype(int)]
    path = media.write_clip(
        tmp_path / "in.gif",
        np.repeat(rgb, 2, axis=0),
        *("-vf", "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none"),
        pixel_format="rgb24",
        codec=(),
    )
    np.testing.assert_array_equal(read(path)[0], media.luma_of_rgb(rgb)[0])


def test_float_video_is_refused(tmp_path: Path) -> None:
    planes = np.zeros((1, 3, 36, 52), np.float32)
    path = media.write_clip(tmp_path / "in.mov", planes, pixel_format="gbrpf32le", codec=("-c:v", "exr"))
    with pytest.raises(SourceError, match="pixel format gbrpf32le, whose samples cannot be read unchanged"):
        VideoSource(str(path))


def test_depths_are_those_of_ffmpeg() -> None:
    unknown = set()
    for line in media.ffmpeg("-pix_fmts").decode().splitlines():
        match = re.match(r"I[O.]\.[P.][B.] (?P<name>\w+) +\d+ +\d+ +(?P<depth>\d+)", line)
        if match is None:  # the legend, hardware surfaces, and what ffmpeg itself cannot convert
            continue
        layout = find_layout(match["name"])
        if layout is None:
            unknown.add(re.match(r"bayer|xyz12|.*f(16|32)", match["name"]))
        else:
            # Fewer than 8 bits a channel (rgb565, a palette's index, 1-bit) are expanded to 8.
            assert layout.bits == max(8, int(match["depth"])), line
    assert unknown
    assert None not in unknown


@pytest.mark.parametrize(
    "name",
    ["gbrpf32le", "grayf32le", "grayf16be", "rgbaf16le", "yaf32le", "gray32le", "xyz12le", "bayer_rggb8", "vaapi"],
)
def test_formats_that_cannot_be_had_unchanged(name: str) -> None:
    assert find_layout(name) is None
