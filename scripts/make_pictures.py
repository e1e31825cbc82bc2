"""Remake the pictures that the documentation shows: ``python scripts/make_pictures.py``."""

import tempfile
from pathlib import Path

from framencc.demo import contact_sheet, run_demo
from framencc.demo.sheet import save_png

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 900


def main() -> None:
    """Run the demo and draw its contact sheet, small enough for a web page."""
    with tempfile.TemporaryDirectory() as folder:
        report = run_demo(Path(folder), progress=True)
        target = DOCS / "contact_sheet.png"
        save_png(contact_sheet(Path(folder), width=WIDTH), target)
    print(f"{target} ({target.stat().st_size // 1000} kB)")
    print(
        f"mean confidence: face {report.face_confidence:.3f}, behind the hand {report.occluder_confidence:.3f}, "
        f"inside the mouth {report.mouth_confidence:.3f}"
    )


if __name__ == "__main__":
    main()
