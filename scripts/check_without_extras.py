"""Check that a plain installation, without any extra, does all that needs none, and names the extra for what does.

For an environment with nothing but ``pip install .`` in it: ``python -P scripts/check_without_extras.py``.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from skimage import data

OPTIONAL = ("cv2", "OpenEXR", "jinja2", "plotly", "dask")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run([sys.executable, "-P", "-m", "framencc", *words], capture_output=True, text=True, check=False)


def main() -> None:
    """Run jobs in a temporary folder."""
    installed = [name for name in OPTIONAL if importlib.util.find_spec(name)]
    if installed:
        raise SystemExit(f"this environment has {', '.join(installed)}, so it proves nothing")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        face = data.astronaut()[:256, 100:356, 1]
        np.save("in.npy", np.stack([face, np.roll(face, (3, -2), (0, 1))]))
        np.save("fields.npy", np.zeros((2, 256, 256, 2), np.float32))
        job = ("run", "in.npy", "--reference", "0", "--overwrite", "-q")
        for options in (
            ("--output", "plain.mkv"),
            ("--output", "pictures/%d.png", "--validity", "why.npy"),
            ("--output", "shifted.npy", "--warp", "translation", "--fields", "flow/%d.flo"),
            ("--output", "given.npy", "--warp", "field", "--warp.field", "fields.npy"),
        ):
            result = command(*job, *options)
            if result.returncode != 0:
                raise SystemExit(f"{options}: {result.stderr}")
        shift = np.median(np.load("shifted.npy")[1])
        if not shift > 0.99:
            raise SystemExit(f"the shifted frame was not registered: {shift}")
        report = command("report", "plain.mkv")
        if report.returncode != 2 or 'pip install "framencc[report]"' not in report.stderr:
            raise SystemExit(f"report: exit {report.returncode}, {report.stderr}")
        for options, extra in (
            (("--output", "o.mkv", "--warp", "flow"), "opencv"),
            (("--output", "o.mkv", "--warp", "affine"), "opencv"),
            (("--output", "o.mkv", "--warp", "translation", "--fields", "flow/%d.exr"), "exr"),
        ):
            result = command(*job, *options)
            if (
                result.returncode != 2
                or f'pip install "framencc[{extra}]"' not in result.stderr
                or Path("o.mkv").exists()
            ):
                raise SystemExit(f"{options}: exit {result.returncode}, {result.stderr}")
    print("without extras: all that needs none works, and the others name theirs")


if __name__ == "__main__":
    main()
