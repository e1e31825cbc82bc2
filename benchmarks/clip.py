"""A textured H.264 clip to work on, and ffmpeg on its own."""

import re
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.pictures import NOISE_CODES, astronaut
from framencc.ffmpeg import executable, file_url

# The encoding of framencc's own .mkv output.
FFV1 = ("-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1")
_GRAY = ("-vf", "extractplanes=y")
_SLICES = re.compile(r"slices:(\d+)x(\d+)")


def make_clip(folder: Path, width: int, height: int, n_frames: int) -> Path:
    """The astronaut, drifting before a noisy camera."""
    from PIL import Image

    margin = 32
    still, clip = folder / "still.png", folder / f"clip_{n_frames}.mp4"
    Image.fromarray(astronaut(width + margin, height + margin)).save(still)
    drift = f"crop={width}:{height}:{margin // 2}*(1+sin(n/20)):{margin // 2}*(1+cos(n/30))"
    _run(
        *("-loop", "1", "-framerate", "25", "-i", file_url(still), "-frames:v", str(n_frames)),
        *("-vf", f"{drift},noise=alls={2 * NOISE_CODES:.0f}:allf=t,format=yuv420p"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", file_url(clip)),
    )
    return clip


def transcode(clip: Path, target: Path, *, slices: int, threads: int) -> None:
    """Decode a clip and encode its gray plane at once, with nothing in between."""
    _run(
        *("-threads", str(threads), "-i", file_url(clip), "-map", "0:v:0", "-fps_mode", "passthrough", *_GRAY),
        *("-pix_fmt", "gray", *_ffv1(slices, threads), file_url(target)),
    )


def decode(clip: Path, *, threads: int) -> None:
    """Decode a clip's gray plane to nowhere."""
    _run("-threads", str(threads), "-i", file_url(clip), "-map", "0:v:0", *_GRAY, "-f", "null", "-")


def encode_gray(raw: Path, width: int, height: int, target: Path, *, slices: int, threads: int) -> None:
    """Encode raw 8-bit gray pictures."""
    given = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-i", file_url(raw))
    _run(*given, *_ffv1(slices, threads), file_url(target))


def write_raw(clip: Path, raw: Path) -> None:
    """Decode a clip's gray plane into a file."""
    _run("-i", file_url(clip), "-map", "0:v:0", "-fps_mode", "passthrough", *_GRAY, "-f", "rawvideo", file_url(raw))


def read_gray(clip: Path, raw: Path, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the gray planes of a clip, (N, H, W), by way of a file."""
    write_raw(clip, raw)
    return np.fromfile(raw, np.uint8).reshape(-1, height, width)


def count_slices(video: Path) -> int:
    """Read from an FFV1 video into how many slices its pictures are cut."""
    command = [executable(), "-hide_banner", "-nostdin", "-loglevel", "debug", "-debug", "pict"]
    command += ["-i", file_url(video), "-frames:v", "1", "-f", "null", "-"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = _SLICES.search(listing)
    if found is None:
        raise AssertionError(f"{video.name}: ffmpeg does not say how many slices it has")
    return int(found[1]) * int(found[2])


def require_frames(video: Path, n_frames: int) -> None:
    """Refuse a video of another number of frames; its packets are counted, one a frame, without decoding them."""
    listing = _run("-i", file_url(video), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1")
    found = sum(not line.startswith("#") for line in listing.splitlines())
    if found != n_frames:
        raise AssertionError(f"{video.name}: {found} frames were written, {n_frames} are expected")


def _ffv1(slices: int, threads: int) -> tuple[str, ...]:
    return (*FFV1, "-slices", str(slices), "-threads", str(threads))


def _run(*arguments: str) -> str:
    command = [executable(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
