"""Red, green, blue, luma and alpha arrive as the formulas say, from every kind of input."""

from pathlib import Path

import media
import numpy as np
import pytest
import tifffile
from PIL import Image

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import Conversion
from framencc.sources import ArraySource, ImageSequenceSource, Source, VideoSource
from framencc.sources.wanted import WantedChannels

# K_R and K_B of BT.601-7, BT.709-6 and BT.2020-2; what they leave is K_G.
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
COLOURS = ("red", "green", "blue")


def rgb_of_yuv(yuv: np.ndarray, bits: int, matrix: str, colour_range: str) -> np.ndarray:
    """(N, 3, H, W) Y, Cb, Cr codes to full-range R, G, B codes, in the steps of the recommendations, in float64."""
    y, cb, cr = (yuv[:, plane].astype(np.float64) for plane in range(3))
    maximum, unit = 2**bits - 1, 2 ** (bits - 8)
    if colour_range == "limited":
        y, cb, cr = (y - 16 * unit) / (219 * unit), (cb - 128 * unit) / (224 * unit), (cr - 128 * unit) / (224 * unit)
    else:
        y, cb, cr = y / maximum, (cb - 128 * unit) / maximum, (cr - 128 * unit) / maximum
    k_red, k_blue = WEIGHTS[matrix]
    red, blue = y + 2 * (1 - k_red) * cr, y + 2 * (1 - k_blue) * cb
    green = (y - k_red * red - k_blue * blue) / (1 - k_red - k_blue)
    return np.clip(np.stack([red, green, blue], axis=1) * maximum, 0, maximum)


def yuv_clip(path: Path, bits: int = 8, *tags: str, alpha: np.ndarray | None = None) -> np.ndarray:
    planes = np.stack([media.random_frames(2, bits=bits, seed=seed) for seed in range(3)], axis=1)
    stored = planes if alpha is None else np.concatenate([planes, alpha[:, np.newaxis]], axis=1)
    pixel_format = f"yuv{'' if alpha is None else 'a'}444p" + ("" if bits == 8 else f"{bits}le")
    media.write_clip(path, stored, *tags, pixel_format=pixel_format, input_options=tags)
    return planes


def read(source: Source) -> tuple[np.ndarray, list[np.ndarray | None]]:
    with source:
        frames = list(source.frames())
        for frame in frames:
            assert frame.data.dtype == source.info.dtype
            assert (1 if frame.data.ndim == 2 else len(frame.data)) == source.info.n_channels
        return np.stack([frame.data for frame in frames]), [frame.use for frame in frames]


@pytest.mark.parametrize("colour_range", ["limited", "full"])
@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_rgb_of_yuv_is_the_formula_rounded(tmp_path: Path, bits: int, matrix: str, colour_range: str) -> None:
    yuv = yuv_clip(tmp_path / "in.mkv", bits)
    exact = rgb_of_yuv(yuv, bits, matrix, colour_range)
    wanted = {"rgb_matrix": matrix, "rgb_range": colour_range}
    joint, _ = read(VideoSource(str(tmp_path / "in.mkv"), wanted=WantedChannels("joint", **wanted)))
    assert np.abs(joint - exact).max() <= 0.5 + 1e-6
    for index, colour in enumerate(COLOURS):
        source = VideoSource(str(tmp_path / "in.mkv"), wanted=WantedChannels(colour, **wanted))
        assert source.info.conversion == Conversion("RGB from YUV", matrix, colour_range)
        np.testing.assert_array_equal(read(source)[0], joint[:, index])


@pytest.mark.parametrize(
    ("tags", "matrix", "colour_range"),
    [
        ((), "bt601", "limited"),  # a small picture that says nothing
        (("-colorspace", "bt709"), "bt709", "limited"),
        (("-colorspace", "smpte170m", "-color_range", "pc"), "bt601", "full"),
        (("-colorspace", "bt470bg"), "bt601", "limited"),
        (("-colorspace", "bt2020nc", "-color_range", "tv"), "bt2020", "limited"),
    ],
)
def test_matrix_and_range_are_those_that_the_video_names(tmp_path: Path, tags, matrix, colour_range) -> None:
    yuv = yuv_clip(tmp_path / "in.mkv", 8, *tags)
    source = VideoSource(str(tmp_path / "in.mkv"), wanted=WantedChannels("joint"))
    assert source.info.matrix == matrix
    assert source.info.conversion == Conversion("RGB from YUV", matrix, colour_range)
    assert np.abs(read(source)[0] - rgb_of_yuv(yuv, 8, matrix, colour_range)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("size", "matrix"),
    [("720x576", "bt601"), ("576x720", "bt601"), ("1024x576", "bt601"), ("1280x720", "bt709"), ("722x578", "bt709")],
)
def test_a_video_that_names_no_matrix_has_its_sizes(tmp_path: Path, size: str, matrix: str) -> None:
    media.ffmpeg(
        "-f", "lavfi", "-i", f"color=gray:s={size}", "-frames:v", 1, "-pix_fmt", "yuv420p", tmp_path / "in.mp4"
    )
    with VideoSource(str(tmp_path / "in.mp4")) as source:
        assert source.info.matrix == matrix


def test_an_unknown_matrix_needs_to_be_named(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    yuv_clip(path, 8, "-colorspace", "ycgco")
    with pytest.raises(SpecError, match=r"has colour space ycgco, which is not known here; set ncc\.rgb_matrix$"):
        VideoSource(str(path), wanted=WantedChannels("green"))
    with VideoSource(str(path), wanted=WantedChannels("green", rgb_matrix="bt601")) as source:
        assert source.info.conversion == Conversion("RGB from YUV", "bt601", "limited")
    with VideoSource(str(path)) as source:  # luma is read as it is stored
        assert (source.info.matrix, source.info.conversion) == ("unknown", None)


@pytest.mark.parametrize("colour_range", ["full", "limited"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "nv12", "yuv422p10le"])
def test_spreading_chroma_leaves_luma_and_flat_chroma_alone(tmp_path: Path, pixel_format: str, colour_range) -> None:
    bits, rows = (10, 1) if "10" in pixel_format else (8, 2)
    luma = media.random_frames(1, bits=bits)
    yuv = np.stack([luma, np.full_like(luma, 90 << (bits - 8)), np.full_like(luma, 170 << (bits - 8))], axis=1)
    chroma = yuv[0, 1:, ::rows, ::2]
    stored = [luma.tobytes(), np.moveaxis(chroma, 0, 2).tobytes() if pixel_format == "nv12" else chroma.tobytes()]
    path = tmp_path / ("in.avi" if pixel_format == "nv12" else "in.mkv")
    codec = {"nv12": ("-c:v", "rawvideo"), "yuvj420p": ("-c:v", "libx264", "-qp", "0")}.get(pixel_format, media.FFV1)
    size = ("-s", f"{luma.shape[2]}x{luma.shape[1]}")
    media.ffmpeg("-f", "rawvideo", "-pix_fmt", pixel_format, *size, "-i", "-", *codec, path, stdin=b"".join(stored))
    source = VideoSource(str(path), wanted=WantedChannels("joint", rgb_matrix="bt709", rgb_range=colour_range))
    assert np.abs(read(source)[0] - rgb_of_yuv(yuv, bits, "bt709", colour_range)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("alpha", [False, True])
def test_rgb_video_gives_its_own_codes(tmp_path: Path, bits: int, alpha: bool) -> None:
    rgb = media.random_frames(2, bits=bits, channels=3)
    planes = media.gbr_planes(rgb)
    transparency = media.random_frames(2, bits=bits, seed=9) * (media.random_frames(2, seed=8) > 100)
    if alpha:
        planes = np.concatenate([planes, transparency[:, np.newaxis]], axis=1)
    pixel_format = ("gbrap" if alpha else "gbrp") + ("" if bits == 8 else f"{bits}le")
    path = media.write_clip(tmp_path / "in.mkv", planes, pixel_format=pixel_format)
    joint, use = read(VideoSource(str(path), wanted=WantedChannels("joint", alpha=alpha)))
    np.testing.assert_array_equal(joint, np.moveaxis(rgb, 3, 1))
    if alpha:
        np.testing.assert_array_equal(use, transparency > 0)
    else:
        assert use == [None, None]
    for index, colour in enumerate(COLOURS):
        source = VideoSource(str(path), wanted=WantedChannels(colour, alpha=alpha))
        assert source.info.conversion is None
        np.testing.assert_array_equal(read(source)[0], rgb[..., index])


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("channel", ["luma", "joint"])
def test_alpha_of_yuv_video_masks_and_changes_nothing_else(tmp_path: Path, bits: int, channel: str) -> None:
    transparency = media.random_frames(2, bits=bits, seed=9) * (media.random_frames(2, seed=8) > 100)
    yuv = yuv_clip(tmp_path / "in.mkv", bits, alpha=transparency)
    data, use = read(VideoSource(str(tmp_path / "in.mkv"), wanted=WantedChannels(channel, alpha=True)))
    np.testing.assert_array_equal(use, transparency > 0)
    if channel == "luma":
        np.testing.assert_array_equal(data, yuv[:, 0])
    without, _ = read(VideoSource(str(tmp_path / "in.mkv"), wanted=WantedChannels(channel)))
    np.testing.assert_array_equal(data, without)


@pytest.mark.parametrize("matrix", WEIGHTS)
def test_luma_of_rgb_has_the_weights_that_are_asked_for(tmp_path: Path, matrix: str) -> None:
    rgb = media.random_frames(3, channels=3)
    media.write_clip(tmp_path / "in.mkv", media.gbr_planes(rgb), pixel_format="gbrp")
    np.save(tmp_path / "in.npy", rgb)
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(rgb):
        Image.fromarray(frame).save(tmp_path / "in" / f"{index}.png")
    k_red, k_blue = WEIGHTS[matrix]
    exact = k_red * rgb[..., 0] + (1 - k_red - k_blue) * rgb[..., 1] + k_blue * rgb[..., 2]
    wanted = WantedChannels(rgb_matrix=matrix)
    for source in (
        VideoSource(str(tmp_path / "in.mkv"), wanted=wanted),
        ArraySource(tmp_path / "in.npy", wanted=wanted),
        ImageSequenceSource(str(tmp_path / "in"), wanted=wanted),
    ):
        assert source.info.conversion == Conversion("luma from RGB", matrix)
        assert np.abs(read(source)[0] - exact).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pictures_and_arrays_give_channels_and_alpha(tmp_path: Path, dtype: type) -> None:
    rgba = media.random_frames(2, bits=8 if dtype == np.uint8 else 16, channels=4).astype(dtype)
    rgba[..., 3] *= media.random_frames(2, seed=5) > 100
    np.save(tmp_path / "in.npy", rgba)
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(rgba):
        tifffile.imwrite(tmp_path / "in" / f"{index}.tif", frame, photometric="rgb", extrasamples=["unassalpha"])
    for channel in (*COLOURS, "joint"):
        wanted = WantedChannels(channel, alpha=True)
        expected = np.moveaxis(rgba[..., :3], 3, 1) if channel == "joint" else rgba[..., COLOURS.index(channel)]
        for source in (
            ArraySource(tmp_path / "in.npy", wanted=wanted),
            ImageSequenceSource(str(tmp_path / "in"), wanted=wanted),
        ):
            assert source.info.conversion is None
            data, use = read(source)
            np.testing.assert_array_equal(data, expected)
            np.testing.assert_array_equal(use, rgba[..., 3] > 0)


def test_transparency_of_palettes_and_keyed_colours_is_alpha(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([255, 255, 255, 10, 20, 30, 200, 0, 0])
    palette.save(tmp_path / "palette.png", transparency=1)
    Image.fromarray(np.array([[9, 8, 9]], np.uint8)).save(tmp_path / "keyed.png", transparency=8)
    for name in ("palette", "keyed"):
        (_,), (use,) = read(ImageSequenceSource(str(tmp_path / f"{name}.png"), wanted=WantedChannels(alpha=True)))
        assert use.tolist() == [[True, False, True]]


def test_joint_of_gray_is_gray(tmp_path: Path) -> None:
    gray = media.random_frames(2)
    media.write_clip(tmp_path / "in.mkv", gray)
    np.save(tmp_path / "in.npy", gray)
    for source in (
        VideoSource(str(tmp_path / "in.mkv"), wanted=WantedChannels("joint")),
        ArraySource(tmp_path / "in.npy", wanted=WantedChannels("joint")),
    ):
        assert source.info.n_channels == 1
        np.testing.assert_array_equal(read(source)[0], gray)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (WantedChannels("red"), "is gray, so ncc.channel = red cannot be taken from it"),
        (WantedChannels(alpha=True), "has no alpha channel"),
    ],
)
@pytest.mark.parametrize("kind", ["video", "array", "pictures"])
def test_what_an_input_does_not_have_is_refused_by_name(tmp_path: Path, wanted, problem: str, kind: str) -> None:
    gray = media.random_frames(2)
    media.write_clip(tmp_path / "in.mkv", gray)
    np.save(tmp_path / "in.npy", gray)
    Image.fromarray(gray[0]).save(tmp_path / "in.png")
    opened = {
        "video": lambda: VideoSource(str(tmp_path / "in.mkv"), wanted=wanted),
        "array": lambda: ArraySource(tmp_path / "in.npy", wanted=wanted),
        "pictures": lambda: ImageSequenceSource(str(tmp_path / "in.png"), wanted=wanted),
    }
    with pytest.raises(SpecError, match=problem):
        opened[kind]()


def test_a_sequence_that_turns_gray_is_refused_with_the_frame(tmp_path: Path) -> None:
    rgb = media.random_frames(3, channels=3)
    for index, frame in enumerate(rgb):
        Image.fromarray(frame if index < 2 else frame[..., 0]).save(tmp_path / f"f{index}.png")
    source = ImageSequenceSource(str(tmp_path), wanted=WantedChannels("joint"))
    with pytest.raises(SourceError, match=r"f2\.png' \(frame 2, 0\.080 s\) is gray, but 'f0\.png' is in colour"):
        list(source.frames())


@pytest.mark.parametrize("second", [(0, 6), (1, 1)], ids=["another matrix", "another range"])
def test_codes_that_mean_other_colours_from_a_frame_on_are_damage(tmp_path: Path, second: tuple[int, int]) -> None:
    parts = []
    for full, matrix in ((0, 1), second):
        part = tmp_path / f"{full}{matrix}.h264"
        tags = f"h264_metadata=video_full_range_flag={full}:matrix_coefficients={matrix}"
        made = ("-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.4", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-qp", 0)
        media.ffmpeg(*made, "-bsf:v", tags, part)
        parts.append(part.read_bytes())
    (tmp_path / "in.h264").write_bytes(b"".join(parts))
    with (
        VideoSource(str(tmp_path / "in.h264"), wanted=WantedChannels("joint")) as source,
        pytest.raises(DamagedInputError, match="the picture changes to 64 x 64"),
    ):
        list(source.frames())
    with VideoSource(str(tmp_path / "in.h264")) as source:  # luma is taken as it is stored, from black to white
        if second[0] == 0:
            assert len(list(source.frames())) == 20
        else:
            with pytest.raises(DamagedInputError, match="the picture changes to 64 x 64"):
                list(source.frames())
