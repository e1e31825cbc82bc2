"""A textured H.264 clip to work on, and ffmpeg on its own."""

import subprocess
from pathlib import Path

from benchmarks.pictures import NOISE_CODES, astronaut
from framencc.ffmpeg import executable, file_url

# The encoding of framencc's own .mkv output.
FFV1 = ("-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1")


def make_clip(folder: Path, width: int, height: int, n_frames: int) -> Path:
    """The astronaut, drifting before a noisy camera."""
    from PIL import Image

    margin = 32
    still, clip = folder / "still.png", folder / "clip.mp4"
    Image.fromarray(astronaut(width + margin, height + margin)).save(still)
    drift = f"crop={width}:{height}:{margin // 2}*(1+sin(n/20)):{margin // 2}*(1+cos(n/30))"
    _run(
        *("-loop", "1", "-framerate", "25", "-i", file_url(still), "-frames:v", str(n_frames)),
        *("-vf", f"{drift},noise=alls={2 * NOISE_CODES:.0f}:allf=t,format=yuv420p"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", file_url(clip)),
    )
    return clip


def transcode(clip: Path, target: Path) -> None:
    """Decode a clip and encode its gray plane, with nothing in between."""
    _run(
        *("-i", file_url(clip), "-map", "0:v:0", "-fps_mode", "passthrough"),
        *("-vf", "extractplanes=y", "-pix_fmt", "gray", *FFV1, file_url(target)),
    )


def decode(clip: Path) -> None:
    """Decode a clip's gray plane to nowhere."""
    _run("-i", file_url(clip), "-map", "0:v:0", "-vf", "extractplanes=y", "-f", "null", "-")


def encode_gray(raw: Path, width: int, height: int, target: Path) -> None:
    """Encode raw 8-bit gray pictures."""
    given = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-i", file_url(raw))
    _run(*given, *FFV1, file_url(target))


def count_frames(clip: Path) -> int:
    """Count the packets of a clip, one a frame, without decoding them."""
    listing = _run("-i", file_url(clip), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1")
    return sum(not line.startswith("#") for line in listing.splitlines())


def _run(*arguments: str) -> str:
    command = [executable(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
