"""Remake the pictures of docs/previews.md: ``python scripts/make_preview_pictures.py``.

Everything comes from the demo: the same frames, settings and warp.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from framencc.demo import SETTINGS, WARP, DemoFiles, run_demo
from framencc.demo.sheet import save_png
from framencc.ffmpeg import executable, file_url
from framencc.pipeline import run
from framencc.render import PreviewLayout
from framencc.sources import VideoSource
from framencc.spec import OutputFormatSpec, PreviewStyle, RunSpec

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "previews"
MOMENT = "40:41"
SIZES: dict[PreviewStyle, int] = {"panel": 900, "gray": 420, "heat": 420, "overlay": 420}
MOVING = "12:72:2"
MOVING_SIZE, MILLISECONDS = 720, 80


def main() -> None:
    """Draw a moment of the demo in every style, and let the panel move."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_demo(folder, progress=True)
        for style, size in SIZES.items():
            picture = Image.fromarray(draw(folder, style, size, MOMENT)[0])
            # 256 colours are enough for grays or one table, and make a smaller file.
            save_png(picture.quantize(256), FOLDER / f"{style}.png")
        first, *others = map(Image.fromarray, draw(folder, "panel", MOVING_SIZE, MOVING))
        target = FOLDER / "panel.webp"
        first.save(target, save_all=True, append_images=others, duration=MILLISECONDS, loop=0, quality=45, method=6)
    for path in sorted(FOLDER.iterdir()):
        print(f"{path} ({path.stat().st_size // 1000} kB)")


def draw(folder: Path, style: PreviewStyle, size: int, frames: str) -> np.ndarray:
    """Return the preview of some frames of the demo, (N, H, W, 3) uint8, as a player would show it."""
    files = DemoFiles.inside(folder)
    spec = RunSpec(
        input=str(files.dynamic),
        output=str(folder / "maps.mkv"),
        reference=str(files.reference),
        preview=str(folder / "drawn.mp4"),
        frames=frames,
        overwrite=True,
        ncc=SETTINGS,
        warp=WARP,
        output_format=OutputFormatSpec(preview_style=style, preview_size=size, preview_quality=4),
    )
    run(spec)
    with VideoSource(str(files.dynamic)) as source:
        shape = source.info.height, source.info.width
    layout = PreviewLayout.choose(style, size, shape, warped=True)
    command = [executable(), "-nostdin", "-loglevel", "error", "-i", file_url(folder / "drawn.mp4")]
    command += ["-vf", "scale=in_color_matrix=bt709", "-fps_mode", "passthrough", "-pix_fmt", "rgb24"]
    raw = subprocess.run([*command, "-f", "rawvideo", "pipe:1"], check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, layout.height, layout.width, 3)


if __name__ == "__main__":
    main()
