"""Clips that are easily got wrong, through whole runs: the right frames, each at its right time.

Frames and times are known by construction; the clips are made without loss by the bundled ffmpeg.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest
from running import WindowedNcc
from sink_readback import decode_gray
from tolerances import INTEGER, assert_maps_close

from framencc.config import make_spec
from framencc.pipeline import run
from framencc.sidecar import read_sidecar

N_FRAMES = 12
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-bf", "2")

Clip = tuple[Path, np.ndarray, list[Fraction]]


def steady(n_frames: int = N_FRAMES, start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + Fraction(index, 25) for index in range(n_frames)]


def uneven(name: str, ticks: int) -> Callable[[Path], Clip]:
    def make(folder: Path) -> Clip:
        frames = media.random_frames(N_FRAMES)
        options = [
            "-vf",
            f"settb=1/{ticks},setpts=N*N*7+40",
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            f"1/{ticks}",
        ]
        options += ["-video_track_timescale", str(ticks)] if name.endswith(".mp4") else []
        path = media.write_clip(folder / name, media.yuv444(frames), *options, pixel_format="yuv444p", codec=LOSSLESS)
        return path, frames, [Fraction(7 * k * k + 40, ticks) for k in range(N_FRAMES)]

    return make


def turned(options: tuple[str, ...], turn: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], Clip]:
    def make(folder: Path) -> Clip:
        frames = media.random_frames(N_FRAMES)
        upright = media.write_clip(folder / "upright.mp4", media.yuv444(frames), pixel_format="yuv444p", codec=LOSSLESS)
        media.ffmpeg(*options, "-i", upright, "-c", "copy", folder / "turned.mp4")
        return folder / "turned.mp4", np.ascontiguousarray(turn(frames)), steady()

    return make


def plain(
    height: int, width: int, pixel_format: str, bits: int = 8, n_frames: int = N_FRAMES, name: str = "in.mkv"
) -> Callable[[Path], Clip]:
    def make(folder: Path) -> Clip:
        frames = media.random_frames(n_frames, height, width, bits=bits)
        deep = f"{bits}le" if bits > 8 else ""
        if pixel_format.startswith("gray"):
            path = media.write_clip(folder / name, frames, pixel_format=f"gray{deep}")
        else:
            given = media.yuv444(frames, bits)
            path = media.write_clip(folder / name, given, "-pix_fmt", pixel_format, pixel_format=f"yuv444p{deep}")
        return path, frames, steady(n_frames)

    return make


def late(folder: Path) -> Clip:
    frames = media.random_frames(N_FRAMES)
    path = media.write_clip(folder / "in.mkv", frames, "-output_ts_offset", "2.5")
    return path, frames, steady(start=Fraction(5, 2))


def everything_at_once(folder: Path) -> Clip:
    """Odd size, 10 bits, uneven times that begin late, turned and mirrored."""
    frames = media.random_frames(N_FRAMES, 37, 51, bits=10)
    options = ("-vf", "settb=1/90000,setpts=N*N*70+9000", "-fps_mode", "passthrough", "-enc_time_base", "1/90000")
    upright = media.write_clip(
        folder / "upright.mp4",
        media.yuv444(frames, 10),
        *(*options, "-video_track_timescale", "90000"),
        pixel_format="yuv444p10le",
        codec=LOSSLESS,
    )
    media.ffmpeg(
        "-display_rotation", "90", "-display_hflip", "-copyts", "-i", upright, "-c", "copy", folder / "turned.mp4"
    )
    shown = np.frombuffer(  # in which order a player turns and mirrors is ffmpeg's to say
        media.ffmpeg("-i", folder / "turned.mp4", "-fps_mode", "passthrough", "-f", "rawvideo", "-"), "<u2"
    ).reshape(N_FRAMES, 3, 51, 37)[:, 0]
    times = [Fraction(70 * k * k + 9000, 90000) for k in range(N_FRAMES)]
    assert any(np.array_equal(shown, other) for other in (np.rot90(frames, k, (1, 2))[:, ::-1] for k in (1, 3)))
    return folder / "turned.mp4", shown, times


def bursts(folder: Path) -> Clip:
    """Three frames a millisecond apart, then a long wait, at 25 frames a second on paper."""
    frames = media.random_frames(N_FRAMES)
    options = ("-vf", "settb=1/1000,setpts=floor(N/3)*400+N", "-fps_mode", "passthrough", "-enc_time_base", "1/1000")
    path = media.write_clip(folder / "in.mkv", frames, *options)
    return path, frames, [Fraction(k // 3 * 400 + k, 1000) for k in range(N_FRAMES)]


def at_one_time(folder: Path) -> Clip:
    frames = media.random_frames(N_FRAMES)
    options = ("-vf", "settb=1/1000,setpts=floor(N/2)*40", "-fps_mode", "passthrough", "-enc_time_base", "1/1000")
    path = media.write_clip(folder / "in.mkv", frames, *options)
    return path, frames, [Fraction(k // 2 * 40, 1000) for k in range(N_FRAMES)]


CLIPS: dict[str, Callable[[Path], Clip]] = {
    "uneven, mkv": uneven("in.mkv", 1000),
    "uneven, mp4": uneven("in.mp4", 90000),
    "bursts": bursts,
    "two at one time": at_one_time,
    "late": late,
    "turned left": turned(("-display_rotation", "90"), lambda frames: np.rot90(frames, 1, (1, 2))),
    "turned right": turned(("-display_rotation", "-90"), lambda frames: np.rot90(frames, 3, (1, 2))),
    "upside down": turned(("-display_rotation", "180"), lambda frames: np.rot90(frames, 2, (1, 2))),
    "mirrored": turned(("-display_hflip",), lambda frames: frames[:, :, ::-1]),
    "mirrored upside down": turned(("-display_vflip",), lambda frames: frames[:, ::-1]),
    "odd": plain(37, 51, "gray"),
    "odd, half chroma": plain(37, 51, "yuv420p"),
    "narrow": plain(3, 200, "gray"),
    "one frame": plain(36, 52, "yuv420p", n_frames=1),
    "one odd frame": plain(35, 3, "gray", n_frames=1),
    "10 bits": plain(36, 52, "yuv420p10le", 10),
    "10 bits, odd": plain(37, 51, "yuv422p10le", 10),
    "12 bits": plain(36, 52, "gray", 12),
    "16 bits": plain(36, 52, "gray", 16),
    "16 bits, colour": plain(37, 51, "yuv444p16le", 16),
    "everything at once": everything_at_once,
}


@pytest.mark.parametrize("name", CLIPS)
def test_a_run_gives_the_right_frames_at_the_right_times(name, tmp_path):
    path, frames, times = CLIPS[name](tmp_path)
    reference = len(frames) // 2
    job = {"input": str(path), "reference": reference}
    exact = np.stack([WindowedNcc(frames[reference])(frame) for frame in frames])

    report = run(make_spec(job | {"output": str(tmp_path / "out.npy")}))
    assert report.n_frames == len(frames)
    assert_maps_close(np.load(report.output), exact, INTEGER)
    rows = read_sidecar(report.sidecar)["frames"]
    assert [(row["index"], row["pts_seconds"]) for row in rows] == [(k, float(time)) for k, time in enumerate(times)]

    report = run(make_spec(job | {"output": str(tmp_path / "out.mkv")}))
    codes, stamps = decode_gray(report.output, "uint8", frames.shape[1:])
    assert codes.shape == exact.shape
    assert np.abs(codes - 255 * np.maximum(exact, 0)).max() <= 0.5 + 255 * INTEGER
    # Matroska counts in milliseconds here.
    assert max(abs(stamp - time) for stamp, time in zip(stamps, times, strict=True)) <= Fraction(1, 2000)
    assert [row["pts_seconds"] for row in read_sidecar(report.sidecar)["frames"]] == [float(time) for time in times]
