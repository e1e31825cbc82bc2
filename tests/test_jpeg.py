"""JPEG files: whole ones of every kind pass, and what can be seen of damage without decoding is seen."""

import io

import media
import numpy as np
import pytest
from PIL import Image

from framencc.errors import DamagedInputError
from framencc.jpeg import check
from framencc.sources import read_picture

PICTURE = Image.fromarray(media.random_frames(1, 75, 101, channels=3)[0])
KINDS = {
    "plain": {},
    "coarse": {"quality": 5},
    "finest": {"quality": 100, "subsampling": 0},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "with a comment, a profile and EXIF": {"comment": b"\xff\xd9\xff\xd0" * 20, "icc_profile": bytes(range(256)) * 9},
    "with restarts": {"restart_marker_blocks": 3},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}


def encode(picture=PICTURE, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_whole_files_pass(kind, mode):
    check(encode(PICTURE.convert(mode), **KINDS[kind]), "picture")


def test_what_follows_the_end_does_not_matter():
    check(encode() + b"a second picture of a panorama", "picture")


def test_what_a_camera_fills_up_does_not_matter():
    content = encode()
    check(content[:20] + b"\0" * 7 + b"\xff" * 3 + content[20:], "picture")


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_damaged_wherever_it_is_cut(kind):
    content = encode(**KINDS[kind])
    for end in [*range(2, 700, 3), *range(700, len(content), 97), *range(len(content) - 5, len(content))]:
        with pytest.raises(DamagedInputError, match=r"^picture is damaged: "):
            check(content[:end], "picture")


def test_a_lost_part_between_restarts_is_damage():
    content = encode(restart_marker_blocks=3)
    second, third = content.index(b"\xff\xd1"), content.index(b"\xff\xd2")
    with pytest.raises(DamagedInputError, match=rf"^picture is damaged: samples are missing before byte {second}$"):
        check(content[:second] + content[third:], "picture")


def test_a_wrong_length_is_damage():
    content = encode()
    place = content.index(b"\xff\xdb")
    longer = content[: place + 3] + bytes([content[place + 3] + 1]) + content[place + 4 :]
    with pytest.raises(DamagedInputError, match=r"^picture is damaged: there is no marker at byte \d+$"):
        check(longer, "picture")


def test_a_file_without_pixels_is_damaged():
    with pytest.raises(DamagedInputError, match="it ends before its first pixel"):
        check(b"\xff\xd8\xff\xd9", "picture")


def test_markers_that_damage_makes_are_seen_through_the_reader(tmp_path):
    content = bytearray(encode())
    place = content.rindex(b"\xff\xda") + 200
    content[place : place + 2] = b"\xff\xd3"
    (tmp_path / "p.jpg").write_bytes(content)
    with pytest.raises(
        DamagedInputError, match=rf"picture '.*p\.jpg' is damaged: samples are missing before byte {place}"
    ):
        read_picture(tmp_path / "p.jpg")


def test_no_bytes_make_it_hang_or_fail_otherwise():
    rng = np.random.default_rng(0)
    whole = bytearray(encode(progressive=True))
    for _ in range(300):
        content = whole.copy()
        for place in rng.integers(0, len(content), 5):
            content[place] = rng.choice([0, 0xFF, 0xD9, 0xDA, rng.integers(256)])
        try:
            check(bytes(content), "picture")
        except DamagedInputError as error:
            assert str(error).startswith("picture is damaged: ")  # noqa: PT017  (it may also be whole)
