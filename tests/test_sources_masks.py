"""Masks from files: which pixels they let through, and which frame each belongs to."""

import struct
import zlib
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image

from framencc.config import make_spec
from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.sources import open_mask, open_source

SHAPE = (36, 52)
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", media.random_frames(5))
    return tmp_path


def opened(mask: str, labels: object = None, **options: object):
    ncc = {"mask": mask, "mask_labels": labels}
    spec = make_spec({"input": "in.npy", "output": "out.mkv", "reference": 0, "ncc": ncc} | options)
    return open_mask(spec, open_source(spec))


def still(mask: str, labels: object = None) -> np.ndarray:
    source, use = opened(mask, labels)
    source.close()
    assert use is not None
    assert use.dtype == np.bool_
    return use


def moving(mask: str, labels: object = None, **options: object) -> dict[int, np.ndarray]:
    source, use = opened(mask, labels, **options)
    assert use is None
    with source:
        return {frame.index: frame.use for frame in source.frames()}


def labels_picture(n_labels: int = 4) -> np.ndarray:
    return (media.random_frames(1)[0] % n_labels).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.bool_])
def test_a_single_picture_lets_through_what_is_above_black(folder: Path, dtype: type) -> None:
    values = (labels_picture() * (1 if dtype != np.float32 else 0.001)).astype(dtype)
    np.save("mask.npy", values)
    np.testing.assert_array_equal(still("mask.npy"), values > 0)
    if dtype in (np.uint8, np.uint16):
        Image.fromarray(values).save("mask.png")
        np.testing.assert_array_equal(still("mask.png"), values > 0)


def test_a_faint_colour_is_above_black_too(folder: Path) -> None:
    values = np.zeros((*SHAPE, 3), np.uint8)
    values[3, 4, 2] = 1  # its luma rounds to 0
    Image.fromarray(values).save("mask.png")
    np.testing.assert_array_equal(np.argwhere(still("mask.png")), [[3, 4]])


def test_nan_is_not_above_black(folder: Path) -> None:
    values = np.ones(SHAPE, np.float32)
    values[1, 2] = np.nan
    np.save("mask.npy", values)
    np.testing.assert_array_equal(np.argwhere(~still("mask.npy")), [[1, 2]])


@pytest.mark.parametrize("labels", [1, [1, 3], "0,2", "[1, 3]"])
def test_labels_choose_their_pixels(folder: Path, labels: object) -> None:
    values = labels_picture()
    chosen = {1: [1], "0,2": [0, 2], "[1, 3]": [1, 3]}.get(str(labels) if not isinstance(labels, int) else 1, [1, 3])
    palette = Image.fromarray(values, "P")
    palette.putpalette([7, 7, 7] * 4)  # all alike: only the indices tell the labels
    palette.save("palette.png")
    Image.fromarray(values).save("gray.png")
    Image.fromarray(np.repeat(values[:, :, np.newaxis], 3, axis=2)).save("gray_rgb.png")
    Image.fromarray(values.astype(np.uint16) * 300).save("deep.png")
    np.save("mask.npy", values.astype(np.int32))
    expected = np.isin(values, chosen)
    for name in ("palette.png", "gray.png", "gray_rgb.png", "mask.npy"):
        np.testing.assert_array_equal(still(name, labels), expected, err_msg=name)
    np.testing.assert_array_equal(still("deep.png", [300 * label for label in chosen]), expected)


@pytest.mark.parametrize("kind", ["pictures", "array", "video", "gray video"])
def test_masks_of_frames_go_by_the_inputs_numbers(folder: Path, kind: str) -> None:
    values = media.random_frames(5, seed=3) * (media.random_frames(5, seed=4) > 99)
    values[2] = 0  # a frame may be masked altogether
    expected = values > 0
    if kind == "pictures":
        Path("masks").mkdir()
        for index, mask in enumerate(values):
            Image.fromarray(mask).save(f"masks/m{index:03d}.png")
        path = "masks/m%03d.png"
    elif kind == "array":
        np.save("masks.npy", values)
        path = "masks.npy"
    elif kind == "video":
        # In a video of limited range black is 16.
        path = "masks.mp4"
        yuv = media.yuv444(np.where(expected, 235, 16).astype(np.uint8))
        media.write_clip(Path(path), yuv, pixel_format="yuv444p", codec=LOSSLESS)
    else:
        path = "masks.mkv"
        media.write_clip(Path(path), values)
    found = moving(path)
    assert list(found) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(list(found.values()), expected)
    found = moving(path, frames="1:5:2")
    assert list(found) == [1, 3]
    np.testing.assert_array_equal(list(found.values()), expected[[1, 3]])


def test_labels_of_frames(folder: Path) -> None:
    values = media.random_frames(5, seed=3) % 4
    media.write_clip(Path("masks.mkv"), values)
    np.save("masks.npy", values)
    for path in ("masks.mkv", "masks.npy"):
        found = moving(path, [1, 2])
        np.testing.assert_array_equal(list(found.values()), np.isin(values, [1, 2]))


@pytest.mark.parametrize("pixel_format", ["gbrp", "rgb24"])
def test_colour_video_masks_use_every_channel(folder: Path, pixel_format: str) -> None:
    rgb = np.zeros((5, *SHAPE, 3), np.uint8)
    rgb[:, 5, 6, 2] = 1
    frames = media.gbr_planes(rgb) if pixel_format == "gbrp" else rgb
    codec = media.FFV1 if pixel_format == "gbrp" else ("-c:v", "png")
    media.write_clip(Path("masks.mkv"), frames, pixel_format=pixel_format, codec=codec)
    np.testing.assert_array_equal(np.argwhere(moving("masks.mkv")[4]), [[5, 6]])


def test_a_mask_joins_what_alpha_hides(folder: Path) -> None:
    rgba = media.random_frames(5, channels=4) % 2 * 255
    np.save("in.npy", rgba)
    values = media.random_frames(5, seed=3) % 2
    np.save("masks.npy", values)
    spec = make_spec(
        {"input": "in.npy", "output": "o.mkv", "reference": 0, "ncc": {"mask": "masks.npy", "alpha": "frame"}}
    )
    source, _ = open_mask(spec, open_source(spec))
    with source:
        found = [frame.use for frame in source.frames()]
    np.testing.assert_array_equal(found, (values > 0) & (rgba[..., 3] > 0))


def save(name: str, values: np.ndarray) -> str:
    np.save(name, values)
    return name


def rgba_mask(name: str) -> str:
    values = np.full((*SHAPE, 4), 255, np.uint8)
    values[0, 0, 3] = 0
    Image.fromarray(values).save(name)
    return name


def video_mask(name: str, n_frames: int = 5) -> str:
    media.write_clip(Path(name), media.yuv444(media.random_frames(n_frames)), pixel_format="yuv444p")
    return name


def clear_palette(name: str) -> str:
    picture = Image.fromarray(labels_picture(), "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(name, transparency=2)
    return name


def gray_alpha_video(name: str) -> str:
    frames = media.random_frames(5, channels=2)
    media.write_clip(Path(name), frames, pixel_format="ya8", codec=("-c:v", "png"))
    return name


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_labels_of_few_bits_are_not_stretched(folder: Path, depth: int) -> None:
    values = media.random_frames(1)[0] % (1 << depth)
    bits = np.unpackbits(values.astype(np.uint8)[..., np.newaxis], axis=2)[..., 8 - depth :]
    rows = b"".join(b"\0" + np.packbits(row.reshape(-1)).tobytes() for row in bits)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", SHAPE[1], SHAPE[0], depth, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in [*chunks, (b"IEND", b"")]:
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    Path("mask.png").write_bytes(content)
    np.testing.assert_array_equal(still("mask.png", [1]), values == 1)
    np.testing.assert_array_equal(still("mask.png"), values > 0)


def test_labels_of_truth_values_are_0_and_1(folder: Path) -> None:
    values = labels_picture() > 1
    np.save("mask.npy", values)
    np.testing.assert_array_equal(still("mask.npy", [1]), values)
    np.testing.assert_array_equal(still("mask.npy", [0]), ~values)


@pytest.mark.parametrize(("tag", "black"), [(None, 0), ("pc", 0), ("tv", 16)])
def test_gray_video_has_the_black_that_it_names(folder: Path, tag: str | None, black: int) -> None:
    values = media.random_frames(5) // 8
    tags = ("-color_range", tag) if tag else ()
    media.write_clip(Path("masks.mkv"), values, *tags, input_options=tags)
    np.testing.assert_array_equal(list(moving("masks.mkv").values()), values > black)


def test_masks_of_a_sequence_with_gaps_go_by_number(folder: Path) -> None:
    for folder_name, numbers in (("in", (0, 1, 3, 4)), ("same", (10, 11, 13, 14)), ("other", (0, 1, 2, 4))):
        Path(folder_name).mkdir()
        for number, picture in zip(numbers, media.random_frames(4), strict=True):
            Image.fromarray(picture).save(f"{folder_name}/f_{number:04d}.png")
    options = {"input": "in", "allow_gaps": True}
    assert list(moving("same", **options)) == [0, 1, 2, 3]
    with pytest.raises(SpecError, match=r"^ncc\.mask: 'other' has 'f_0002\.png' where the input has 'f_0003\.png'"):
        opened("other", **options)


def test_many_labels_are_read_once(folder: Path) -> None:
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.uint16)
    np.save("mask.npy", values)
    np.testing.assert_array_equal(still("mask.npy", list(range(0, 1800, 2))), (values < 1800) & (values % 2 == 0))


@pytest.mark.parametrize(
    ("make", "labels", "kind", "problem"),
    [
        (lambda: "absent.png", None, SpecError, "input 'absent.png' does not exist"),
        (lambda: save("m.npy", np.ones((36, 50))), None, SpecError, "'m.npy' is 50 x 36 pixels, the input 52 x 36"),
        (lambda: save("m.npy", np.ones((5, 9, 52))), None, SpecError, "'m.npy' is 52 x 9 pixels, the input 52 x 36"),
        (lambda: save("m.npy", np.ones((4, *SHAPE))), None, SpecError, "'m.npy' has 4 masks, the input 5 frames"),
        (lambda: save("m.npy", np.ones((6, *SHAPE))), None, SpecError, "'m.npy' has 6 masks, the input 5 frames"),
        (lambda: save("m.npy", np.zeros(SHAPE)), None, SpecError, "'m.npy' has no pixel above black"),
        (lambda: save("m.npy", np.ones(SHAPE, np.uint8)), [1, 7], SpecError, "'m.npy' has no pixel of label 7"),
        (lambda: save("m.npy", np.ones(SHAPE)), [1], SourceError, "mask 'm.npy' has samples of type float64"),
        (lambda: rgba_mask("m.png"), None, SpecError, "mask 'm.png' has an alpha channel that is not opaque"),
        (lambda: video_mask("m.mkv"), [1], SpecError, "stores no labels as such, so ncc.mask_labels cannot"),
        (lambda: clear_palette("m.png"), [1], SpecError, "mask 'm.png' has an alpha channel that is not opaque"),
        (lambda: gray_alpha_video("m.mkv"), None, SpecError, "has an alpha channel that cannot be read"),
    ],
)
def test_a_mask_that_cannot_apply_is_refused_by_the_options_name(folder: Path, make, labels, kind, problem) -> None:
    with pytest.raises(kind) as caught:
        opened(make(), labels)
    assert str(caught.value).startswith("ncc.mask: ")
    assert problem in str(caught.value)


def test_labels_in_colour_are_refused(folder: Path) -> None:
    Image.fromarray(media.random_frames(1, channels=3)[0]).save("mask.png")
    with pytest.raises(SpecError, match=r"^ncc\.mask: mask 'mask\.png' is in colour, so its labels cannot"):
        opened("mask.png", [1])


def test_a_video_of_too_few_masks_is_an_error(folder: Path) -> None:
    video_mask("masks.mkv", 3)
    source, _ = opened("masks.mkv")
    with source, pytest.raises(SourceError, match=r"^ncc\.mask: 'masks\.mkv' ends before frame 3"):
        list(source.frames())


@pytest.mark.parametrize("n_masks", [6, 8])
def test_of_too_many_masks_a_user_is_warned_when_all_frames_have_theirs(folder: Path, n_masks: int) -> None:
    video_mask("masks.mkv", n_masks)
    source, _ = opened("masks.mkv")
    with source:
        assert len(list(source.frames())) == 5
        (warning,) = source.warnings
    assert warning.startswith(f"ncc.mask: 'masks.mkv' has {n_masks} masks, the input only 5 frames")


def test_masks_that_nobody_needs_may_be_damaged(folder: Path) -> None:
    media.cut(Path(video_mask("whole.mkv", 60)), Path("masks.mkv"), 0.7)
    source, _ = opened("masks.mkv")
    with source:
        assert len(list(source.frames())) == 5
        assert len(source.warnings) == 1


def test_a_damaged_video_of_masks_is_damage(folder: Path) -> None:
    media.cut(Path(video_mask("whole.mkv", 5)), Path("masks.mkv"), 0.7)
    source, _ = opened("masks.mkv")
    with source, pytest.raises(DamagedInputError, match=r"^ncc\.mask: input 'masks\.mkv' is damaged at frame"):
        list(source.frames())


def test_a_damaged_picture_is_no_partial_result(folder: Path) -> None:
    Image.fromarray(labels_picture()).save("whole.png")
    media.cut(Path("whole.png"), Path("mask.png"), 0.5)
    with pytest.raises(SourceError) as caught:
        opened("mask.png")
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith("ncc.mask: mask 'mask.png' is damaged")


def test_labels_without_a_mask_are_refused() -> None:
    with pytest.raises(SpecError, match=r"^ncc\.mask_labels needs ncc\.mask"):
        make_spec({"input": "a", "output": "o.mkv", "reference": 0, "ncc": {"mask_labels": [1]}})


@pytest.mark.parametrize("labels", [[], [-1], [70000], [1.5], True, "a", [True]])
def test_wrong_labels_are_refused_by_name(labels: object) -> None:
    with pytest.raises(SpecError, match=r"^ncc\.mask_labels: "):
        make_spec({"input": "a", "output": "o.mkv", "reference": 0, "ncc": {"mask": "m.png", "mask_labels": labels}})
