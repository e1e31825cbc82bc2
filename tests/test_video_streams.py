"""Which stream of a video is read, how wide its pixels are shown, and what a decoder would pass over in silence."""

import json
import struct
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import media
import numpy as np
import pytest
from PIL import Image
from running import command

from framencc.errors import FramenccError, SourceError, SpecError
from framencc.sources import VideoSource, probe_source
from framencc.sources.tolerant import TolerantVideoSource
from framencc.sources.wanted import WantedChannels, WantedMask

SIZE = (48, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    media.write_clip(folder / "one.mkv", media.random_frames(3, *SIZE))
    media.write_clip(folder / "other.mkv", media.random_frames(3, 24, 32, seed=1))
    Image.fromarray(media.random_frames(1, 20, 30)[0]).save(folder / "cover.png")
    return folder


def joined(folder: Path, *names: str, suffix: str = ".mkv", options: tuple[object, ...] = ()) -> Path:
    target = folder / f"{'_'.join(Path(name).stem for name in names)}{len(options)}{suffix}"
    inputs = (part for name in names for part in ("-i", folder / name))
    maps = (part for place in range(len(names)) for part in ("-map", place))
    media.ffmpeg(*inputs, *maps, "-c", "copy", *options, target)
    return target


# ---------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_of_several_video_streams_the_first_is_read_and_the_others_are_named(folder: Path, suffix: str) -> None:
    for names, size, other in ((("one", "other"), (48, 64), "32 x 24"), (("other", "one"), (24, 32), "64 x 48")):
        path = joined(folder, *(f"{name}.mkv" for name in names), suffix=suffix)
        info = probe_source(path)
        assert (info.height, info.width) == size
        assert info.details is not None
        assert (info.details["video_streams"], info.details["stream"]) == (2, 0)
        (warning,) = info.warnings
        assert "holds 2 video streams; only stream 0 (" in warning
        assert f"is read, not 1 ({other}, ffv1)" in warning


def test_a_run_says_which_stream_it_reads(folder: Path, tmp_path: Path) -> None:
    path = joined(folder, "one.mkv", "other.mkv", "one.mkv")
    result = command("run", path, tmp_path / "o.npy", "--reference", 0)
    assert result.returncode == 0
    assert f"framencc: warning: input '{path}' holds 3 video streams; only stream 0 (64 x 48, ffv1)" in result.stderr
    head = json.loads((tmp_path / "o.npy.json").read_text())
    assert ["3 video streams" in warning for warning in head["warnings"]] == [True]
    shown = command("probe", path)
    assert "video_streams        3\n" in shown.stdout
    assert "warning" in shown.stderr
    assert len(json.loads(command("probe", path, "--json").stdout)["warnings"]) == 1


def test_a_second_stream_of_which_no_size_is_known_does_not_matter(folder: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc2=s=96x80:r=5:d=8")
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "100", "-sc_threshold", "0")
    media.ffmpeg(*source, *codec, folder / "headless.ts")
    content = (folder / "headless.ts").read_bytes()
    (folder / "headless.ts").write_bytes(content[len(content) // 5 // 188 * 188 :])
    both = ("-i", folder / "gray.ts", "-i", folder / "headless.ts", "-map", "0", "-map", "1")
    media.ffmpeg(*source, *codec, folder / "gray.ts")
    media.ffmpeg("-v", "fatal", *both, "-c", "copy", "-copyinkf", folder / "programs.ts")
    with VideoSource(str(folder / "programs.ts")) as video:
        assert len(list(video.frames())) == 40
        assert "only stream 0 (96 x 80, h264) is read, not 1 (size unknown, h264)" in video.warnings[0]


def test_cover_art_is_no_second_video(folder: Path) -> None:
    for names in (("one.mkv", "cover.png"), ("cover.png", "one.mkv")):
        place = names.index("cover.png")
        options = (f"-disposition:v:{place}", "attached_pic", "-c:v:1" if place else "-c:v:0", "copy")
        path = joined(folder, *names, suffix=".mp4", options=("-strict", "-2", *options))
        info = probe_source(path)
        assert (info.height, info.width) == SIZE
        assert info.warnings == ()
        assert info.details is not None
        assert (info.details["video_streams"], info.details["stream"], info.n_frames) == (1, 0, 3)


def test_a_file_with_nothing_but_cover_art_holds_no_video(folder: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine=d=0.2")
    art = ("-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v:0", "attached_pic")
    media.ffmpeg(*sound, "-i", folder / "cover.png", *art, folder / "song.m4a")
    with pytest.raises(SourceError, match=r"holds no video stream, only images about it \(cover art\)"):
        probe_source(folder / "song.m4a")


# ----------------------------------------------------------------------------------------------- pixel aspect


def shown_size(path: Path) -> tuple[float, int]:
    """Width and height as a player shows a video."""
    info = probe_source(path)
    return info.width * float(info.pixel_aspect), info.height


@pytest.fixture(scope="module")
def anamorphic(folder: Path) -> Path:
    path = folder / "anamorphic.mkv"
    media.ffmpeg("-i", folder / "one.mkv", "-vf", "setsar=32/27", *media.FFV1, path)
    return path


def test_square_and_unknown_pixels_are_no_matter(folder: Path) -> None:
    info = probe_source(folder / "one.mkv")
    assert (info.pixel_aspect, info.warnings, info.size_note) == (1, (), "")


def test_pixels_that_are_not_square_are_named(anamorphic: Path) -> None:
    info = probe_source(anamorphic)
    assert info.pixel_aspect == Fraction(32, 27)
    assert info.display_size == (76, 48)
    (warning,) = info.warnings
    assert "pixels that are not square (32:27): players show its 64 x 48 pixels as 76 x 48" in warning


@pytest.mark.parametrize("output", ["o.mkv", "o.mp4", "o.mov"])
def test_videos_of_a_run_keep_the_aspect_of_its_input(anamorphic: Path, tmp_path: Path, output: str) -> None:
    others = ("--validity", tmp_path / "v.mkv", "--preview", tmp_path / "p.mp4")
    result = command("run", anamorphic, tmp_path / output, "--reference", 0, *others)
    assert result.returncode == 0
    assert "not square (32:27)" in result.stderr
    for path in (tmp_path / output, tmp_path / "v.mkv"):
        width, height = shown_size(path)
        assert width / height == pytest.approx(64 / 48 * 32 / 27, abs=0.02)
    assert probe_source(tmp_path / "p.mp4").pixel_aspect == pytest.approx(32 / 27, abs=0.02)


def test_an_odd_size_keeps_the_aspect_of_a_pixel(tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    media.write_clip(path, media.random_frames(2, 35, 51), "-vf", "setsar=4/3")
    assert command("run", path, tmp_path / "o.mp4", "--reference", 0).returncode == 0
    assert probe_source(tmp_path / "o.mp4").pixel_aspect == Fraction(4, 3)  # of 52 x 36 pixels


def test_a_turned_video_turns_its_pixels(folder: Path, tmp_path: Path) -> None:
    media.ffmpeg("-i", folder / "one.mkv", "-vf", "setsar=4/3", "-c:v", "libx264", "-qp", 0, tmp_path / "x.mp4")
    media.ffmpeg("-display_rotation", 90, "-i", tmp_path / "x.mp4", "-c", "copy", tmp_path / "turned.mp4")
    info = probe_source(tmp_path / "turned.mp4")
    assert (info.width, info.height, info.pixel_aspect, info.display_size) == (48, 64, Fraction(3, 4), (36, 64))


def test_images_of_the_size_that_players_show_are_refused_with_the_reason(anamorphic: Path, tmp_path: Path) -> None:
    Image.fromarray(media.random_frames(1, 48, 76)[0]).save(tmp_path / "player.png")
    for options in (
        ("--reference", tmp_path / "player.png"),
        ("--reference", 0, "--ncc.mask", tmp_path / "player.png"),
        ("--reference", 0, "--scores.regions", tmp_path / "player.png"),
    ):
        result = command("run", anamorphic, tmp_path / "o.npy", *options)
        assert result.returncode == 2
        assert "the input's pixels are not square (32:27), and players show and save them as 76 x 48" in result.stderr


# --------------------------------------------------------------------------------------------- separate alpha


def matte(path: Path, codec: str, *options: object, transparent: int = 0) -> Path:
    """Write two frames of noise whose right half is transparent."""
    luma = media.random_frames(2, *SIZE)
    alpha = np.full(luma.shape, 255, np.uint8)
    alpha[:, :, 32:] = transparent
    half = np.full((2, SIZE[0] * SIZE[1] // 2), 128, np.uint8)
    data = np.concatenate([luma.reshape(2, -1), half, alpha.reshape(2, -1)], axis=1)
    raw = ("-f", "rawvideo", "-pix_fmt", "yuva420p", "-s", "64x48", "-r", 5, "-i", "-")
    media.ffmpeg(*raw, "-c:v", codec, *options, path, stdin=data.tobytes())
    return path


@pytest.mark.parametrize(("codec", "suffix"), [("libvpx-vp9", ".webm"), ("libvpx", ".webm"), ("libvpx-vp9", ".mkv")])
def test_the_alpha_layer_of_a_webm_is_read(tmp_path: Path, codec: str, suffix: str) -> None:
    path = matte(tmp_path / f"matte{suffix}", codec, "-auto-alt-ref", 0)
    for kind in (VideoSource, TolerantVideoSource):
        frames = list(kind(str(path), wanted=WantedChannels(alpha=True)).frames())
        assert len(frames) == 2
        for frame in frames:
            assert frame.use is not None
            assert frame.use[:, :28].all()
            assert not frame.use[:, 36:].any()
    with pytest.raises(SourceError, match="alpha channel that is not opaque everywhere"):
        list(VideoSource(str(path), wanted=WantedMask()).frames())


def test_the_alpha_layer_does_not_matter_where_it_is_not_asked_for(tmp_path: Path) -> None:
    path = matte(tmp_path / "matte.webm", "libvpx-vp9", "-auto-alt-ref", 0)
    info = probe_source(path)
    assert info.details is not None
    assert info.details["pixel_format"] == "yuv420p"
    assert [frame.use for frame in VideoSource(str(path)).frames()] == [None, None]


def test_a_mask_whose_layer_is_opaque_is_read(tmp_path: Path) -> None:
    path = matte(tmp_path / "opaque.webm", "libvpx-vp9", "-auto-alt-ref", 0, transparent=255)
    assert len(list(VideoSource(str(path), wanted=WantedMask()).frames())) == 2


def test_a_tag_does_not_make_alpha(tmp_path: Path) -> None:
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", "64x48", "-r", 5, "-i", "-")
    options = ("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", "-metadata", "alpha_mode=1")
    media.ffmpeg(*raw, *options, tmp_path / "x.webm", stdin=media.random_frames(2, *SIZE).tobytes())
    with pytest.raises(SpecError, match="has no alpha channel that can be read"):
        VideoSource(str(tmp_path / "x.webm"), wanted=WantedChannels(alpha=True))


def test_a_truncated_webm_header_is_no_error_of_ours(tmp_path: Path) -> None:
    path = matte(tmp_path / "matte.webm", "libvpx-vp9", "-auto-alt-ref", 0)
    for fraction in (0.05, 0.3, 0.6):
        cut = media.cut(path, tmp_path / "cut.webm", fraction)
        with pytest.raises(FramenccError):
            list(VideoSource(str(cut), wanted=WantedMask()).frames())


def test_without_its_decoder_an_alpha_layer_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = matte(tmp_path / "matte.webm", "libvpx-vp9", "-auto-alt-ref", 0)
    program = tmp_path / "ffmpeg"
    lack = "echo \"[fatal] Unknown decoder 'libvpx-vp9'\" >&2; exit 8"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *libvpx*) {lack};; esac\nexec {imageio_ffmpeg.get_ffmpeg_exe()} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(SpecError, match=r"alpha as a second picture beside each frame \(VP9\).* no working decoder"):
        VideoSource(str(path), wanted=WantedMask())


def test_the_alpha_image_of_an_avif_is_refused_by_name(tmp_path: Path) -> None:
    graph = "split[a][b];[b]alphaextract[c]"
    source = "color=red:s=64x48,format=yuva420p,geq=lum=X:cb=128:cr=128:a='if(lt(X,32),255,0)'"
    maps = ("-map", "[a]", "-map", "[c]", "-c:v", "libaom-av1", "-still-picture", 1, "-cpu-used", 8)
    formats = ("-pix_fmt:0", "yuv420p", "-pix_fmt:1", "gray", "-frames:v", 1)
    media.ffmpeg("-f", "lavfi", "-i", source, "-filter_complex", graph, *maps, *formats, tmp_path / "x.avif")
    for wanted in (WantedMask(), WantedChannels(alpha=True)):
        with pytest.raises(SpecError, match=r"stores its alpha as an image of its own \(AVIF, HEIF\)"):
            VideoSource(str(tmp_path / "x.avif"), wanted=wanted)
    assert len(list(VideoSource(str(tmp_path / "x.avif")).frames())) == 1


# -------------------------------------------------------------------------------------------- unknown fourccs


def camera(path: Path, data: np.ndarray, fourcc: str) -> Path:
    """Write raw frames under a fourcc as a camera's software does."""
    raw = ("-f", "rawvideo", "-pix_fmt", "gray" if data.dtype == np.uint8 else "gray16le", "-s", "64x48", "-r", 25)
    media.ffmpeg(*raw, "-i", "-", "-c:v", "rawvideo", path, stdin=data.tobytes())
    content = bytearray(path.read_bytes())
    if path.suffix == ".avi":
        for name, offset, value in ((b"strh", 12, fourcc), (b"strf", 24, fourcc), (b"strf", 16, "\x30\0\0\0")):
            place = content.index(name) + offset
            content[place : place + 4] = value.encode()
    else:
        place = content.index(b"stsd") + 16
        content[place : place + 4] = fourcc.encode()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("fourcc", ["GREY", "Y800", "Y8  "])
def test_gray_of_eight_bits_is_read(tmp_path: Path, fourcc: str) -> None:
    frames = media.random_frames(3, *SIZE)
    source = VideoSource(str(camera(tmp_path / "x.avi", frames, fourcc)))
    np.testing.assert_array_equal([frame.data for frame in source.frames()], frames)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".avi", ".mov"])
def test_gray_in_words_is_read(tmp_path: Path, bits: int, suffix: str) -> None:
    frames = media.random_frames(3, *SIZE, bits=bits)
    path = camera(tmp_path / f"x{suffix}", frames, f"Y{bits} ")
    for kind in (VideoSource, TolerantVideoSource):
        source = kind(str(path))
        assert source.info.dtype == np.uint16
        np.testing.assert_array_equal([frame.data for frame in source.frames()], frames)


@pytest.mark.parametrize("fourcc", ["BA81", "BYR2", "GRBG", "RG12"])
def test_raw_sensor_data_is_refused_by_name(tmp_path: Path, fourcc: str) -> None:
    path = camera(tmp_path / "x.avi", media.random_frames(2, *SIZE), fourcc)
    with pytest.raises(
        SourceError, match=rf"fourcc {fourcc} stands for raw sensor data \(Bayer\).* convert it to gray"
    ):
        probe_source(path)


@pytest.mark.parametrize("fourcc", ["XYZ1", "Y42T", "Q.x "])
def test_an_unknown_fourcc_is_named(tmp_path: Path, fourcc: str) -> None:
    path = camera(tmp_path / "x.avi", media.random_frames(2, *SIZE), fourcc)
    with pytest.raises(SourceError, match=r"no decoder is known for fourcc '") as raised:
        probe_source(path)
    assert repr(fourcc.strip()) in str(raised.value)


# ------------------------------------------------------------------------------------------------ stills


def box(name: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), name) + data


def full(name: bytes, *content: bytes, flags: int = 0, version: int = 0) -> bytes:
    return box(name, struct.pack(">I", version << 24 | flags), *content)


def content_of(data: bytes, name: bytes) -> bytes:
    start = data.index(name) - 4
    return data[start : start + struct.unpack(">I", data[start : start + 4])[0]]


def tiled_avif(folder: Path, rows: int, columns: int) -> Path:
    """Put a still image together from one tile, again and again."""
    one = folder / "tile.avif"
    graph = ("-f", "lavfi", "-i", "testsrc2=s=64x64", "-frames:v", 1, "-c:v", "libaom-av1", "-cpu-used", 8)
    media.ffmpeg(*graph, "-still-picture", 1, one)
    data = one.read_bytes()
    tile = content_of(data, b"mdat")[8:]
    n_tiles = rows * columns
    numbers = range(1, n_tiles + 1)
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, 64 * columns, 64 * rows)
    items = [full(b"infe", struct.pack(">HH4sx", number, 0, b"av01"), version=2) for number in numbers]
    items.append(full(b"infe", struct.pack(">HH4sx", n_tiles + 1, 0, b"grid"), version=2))
    sizes = [full(b"ispe", struct.pack(">II", *size)) for size in ((64, 64), (64 * columns, 64 * rows))]
    uses = [struct.pack(">HBBB", number, 2, 1, 0x82) for number in numbers]
    uses.append(struct.pack(">HBB", n_tiles + 1, 1, 3))
    properties = box(b"ipco", sizes[0], content_of(data, b"av1C"), sizes[1])
    derived = box(b"dimg", struct.pack(">HH", n_tiles + 1, n_tiles), *(struct.pack(">H", n) for n in numbers))

    def meta(start: int) -> bytes:
        places = [struct.pack(">HHHHII", number, 0, 0, 1, start, len(tile)) for number in numbers]
        places.append(struct.pack(">HHHHII", n_tiles + 1, 1, 0, 1, 0, len(grid)))
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", n_tiles + 1)),
            full(b"iinf", struct.pack(">H", n_tiles + 1), *items),
            full(b"iref", derived),
            box(b"iprp", properties, full(b"ipma", struct.pack(">I", len(uses)), *uses)),
            full(b"iloc", struct.pack(">HH", 0x4400, n_tiles + 1), *places, version=1),
            box(b"idat", grid),
        )

    kind = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    path = folder / f"tiles{rows}x{columns}.avif"
    path.write_bytes(kind + meta(len(kind) + len(meta(0)) + 8) + box(b"mdat", tile))
    return path


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 3)])
def test_a_still_of_tiles_is_refused_by_name(tmp_path: Path, rows: int, columns: int) -> None:
    path = tiled_avif(tmp_path, rows, columns)
    with pytest.raises(SourceError, match=f"still image that is stored as a grid of {rows * columns} tiles.* to PNG"):
        probe_source(path)
    assert probe_source(tmp_path / "tile.avif").width == 64
