"""Remake the picture of a report that docs/report.md shows: ``python scripts/make_report_picture.py``.

It needs the extras opencv and report, and Chromium.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from framencc.demo import run_demo
from framencc.demo.sheet import save_png
from framencc.report import write_report

TARGET = Path(__file__).resolve().parent.parent / "docs" / "report.png"
WIDTH, HEIGHT, SHOWN_WIDTH = 1200, 1380, 900
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Run the demo, write its report and take a picture of the top of it."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = write_report(run_demo(folder, progress=True).files.confidence)
        shot = folder / "shot.png"
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'profile'}", f"--window-size={WIDTH},{HEIGHT}"),
            *("--virtual-time-budget=10000", f"--screenshot={shot}", page.as_uri()),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            size = (SHOWN_WIDTH, round(image.height * SHOWN_WIDTH / image.width))
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        save_png(small.quantize(256, dither=Image.Dither.NONE), TARGET)
    print(f"{TARGET} ({TARGET.stat().st_size // 1000} kB)")


if __name__ == "__main__":
    main()
