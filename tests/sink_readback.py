"""What the sinks' tests share: formats, maps, and readers that use nothing of the package."""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import tifffile
from PIL import Image

from framencc.config import make_spec
from framencc.sinks import MapFormat, Sink, open_sink
from framencc.spec import RunSpec

RATE = Fraction(30000, 1001)

_COARSE_OUTPUT = re.compile(r"non monotonically increasing dts to muxer|Last message repeated")


@dataclass(frozen=True)
class Kind:
    """One way of writing maps."""

    output: str
    dtype: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        return self.codec != "h264"

    @property
    def codec(self) -> str | None:
        suffix = Path(self.output).suffix
        return self.options.get("codec", {".mkv": "ffv1", ".mp4": "h264", ".mov": "h264"}.get(suffix))

    @property
    def numbered(self) -> bool:
        return "%" in self.output

    def spec(self, folder: Path, **values: Any) -> RunSpec:
        return make_spec(
            {
                "input": str(folder / "absent.mp4"),
                "output": str(folder / self.output),
                "reference": 0,
                "output_format": self.options,
                **values,
            }
        )

    def open(self, folder: Path, shape: tuple[int, int] = (37, 51), **values: Any) -> Sink:
        return open_sink(self.spec(folder, **values), map_format(self.dtype, shape))


KINDS = {
    "ffv1": Kind("new/out.mkv", "uint8"),
    "ffv1-16": Kind("new/out.mkv", "uint16", {"bits": 16}),
    "mp4": Kind("new/out.mp4", "uint8"),
    "mov": Kind("new/out.mov", "uint8"),
    "h264-mkv": Kind("new/out.mkv", "uint8", {"codec": "h264"}),
    "png": Kind("new/%06d.png", "uint8"),
    "png-16": Kind("new/%06d.png", "uint16", {"bits": 16}),
    "tif-float": Kind("new/take_%d.tif", "float32"),
    "tif": Kind("new/take_%04d.tiff", "uint8", {"encoding": "clip"}),
    "tif-16": Kind("new/take_%04d.tif", "uint16", {"encoding": "clip", "bits": 16}),
    "npy-per-frame": Kind("new/%03d.npy", "float32"),
    "array": Kind("new/out.npy", "float32"),
    "array-8": Kind("new/out.npy", "uint8", {"encoding": "clip"}),
}


def map_format(
    dtype: str = "uint8",
    shape: tuple[int, int] = (37, 51),
    *,
    frame_rate: Fraction = RATE,
    time_base: Fraction | None = None,
    metadata: dict[str, str] | None = None,
) -> MapFormat:
    return MapFormat(*shape, np.dtype(dtype), frame_rate, time_base, metadata or {})


def some_maps(n_maps: int, dtype: str = "uint8", shape: tuple[int, int] = (37, 51), seed: int = 0) -> np.ndarray:
    """Noise that uses every code: nothing that an encoder could guess."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.uniform(-1, 1, (n_maps, *shape)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (n_maps, *shape), dtype=dtype, endpoint=True)


def write_maps(sink: Sink, maps: np.ndarray, *, first: int = 0) -> None:
    rate = sink.format.frame_rate
    for index, data in enumerate(maps, first):
        sink.write(data, index, float(index / rate))


def names(folder: Path) -> list[str]:
    """Everything below a folder, hidden or not."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def visible(folder: Path) -> list[str]:
    """Everything below a folder that is neither hidden nor in a hidden folder."""
    return [name for name in names(folder) if not any(part.startswith(".") for part in Path(name).parts)]


def decode(path: Path, pixel_format: str) -> tuple[np.ndarray, list[Fraction]]:
    """Decode a video with ffmpeg itself: (N, bytes of a picture) and the exact times."""
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times"
        result = subprocess.run(
            [
                *(imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-copyts", "-i", f"file:{path}"),
                *("-map", "0:v:0", "-fps_mode", "passthrough", "-stats_enc_pre", f"file:{times}"),
                *("-stats_enc_pre_fmt", "{ptsi} {tbi}", "-pix_fmt", pixel_format, "-f", "rawvideo", "-"),
            ],
            capture_output=True,
            check=True,
        )
        # The raw output has no finer time than the nominal rate's and says so; the stamps were taken before it.
        complaints = [line for line in result.stderr.decode().splitlines() if not _COARSE_OUTPUT.search(line)]
        assert complaints == []
        rows = [line.split() for line in times.read_text().splitlines() if line]
    stamps = [int(pts) * Fraction(time_base) for pts, time_base in rows]
    return np.frombuffer(result.stdout, np.uint8).reshape(len(stamps), -1), stamps


def decode_gray(path: Path, dtype: str, shape: tuple[int, int]) -> tuple[np.ndarray, list[Fraction]]:
    pictures, stamps = decode(path, "gray" if dtype == "uint8" else "gray16le")
    return pictures.view(np.dtype(dtype).newbyteorder("<")).reshape(-1, *shape), stamps


def decode_luma(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray, list[Fraction]]:
    """The luma plane as stored, cut to `shape` (H.264 pads odd sizes)."""
    pictures, stamps = decode(path, "yuv420p")
    height, width = (size + size % 2 for size in shape)
    luma = pictures[:, : height * width].reshape(-1, height, width)
    return luma[:, : shape[0], : shape[1]], stamps


def read_back(kind: Kind, path: Path, indices: range, shape: tuple[int, int] = (37, 51)) -> np.ndarray:
    if kind.numbered:
        files = [path.with_name(path.name % index) for index in indices]
        readers = {".png": lambda file: np.array(Image.open(file)), ".npy": np.load}
        return np.stack([readers.get(path.suffix, tifffile.imread)(file) for file in files])
    if path.suffix == ".npy":
        return np.load(path)
    if kind.codec == "ffv1":
        return decode_gray(path, kind.dtype, shape)[0]
    return decode_luma(path, shape)[0]


def describe(path: Path) -> str:
    """What ffmpeg prints about a file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-i", f"file:{path}"]
    return subprocess.run(command, capture_output=True, check=False, text=True).stderr
