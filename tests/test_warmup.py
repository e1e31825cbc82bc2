"""After `framencc warmup` nothing is left to compile for a usual job."""

import json
import re
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image
from running import python

import framencc

PACKAGE = Path(framencc.__file__).parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1300)]

WARM_UP = """
import importlib, json, pkgutil
import numba
import framencc.kernels
from framencc.warmup import warm_up

warm_up()
# By where each is defined: a kernel is imported by others under its name, too.
found = {}
for module in pkgutil.iter_modules(framencc.kernels.__path__, "framencc.kernels."):
    for value in vars(importlib.import_module(module.name)).values():
        if isinstance(value, numba.core.dispatcher.Dispatcher):
            found[f"{value.py_func.__module__}.{value.__name__}"] = len(value.signatures)
print(json.dumps(found))
"""

JOBS = """
import json, os, sys
import numpy as np
from numba.core import event
import framencc
from framencc.config import make_spec
from framencc.pipeline import run

class Compiled(event.Listener):
    names = []
    def on_start(self, event):
        kernel = event.data["dispatcher"].py_func
        self.names.append(f"{kernel.__module__}.{kernel.__name__}{event.data['args']}")
    def on_end(self, event):
        pass

event.register("numba:compile", Compiled())  # what is loaded from disk is not compiled
os.chdir(sys.argv[1])
outputs = iter(range(100))

def job(given, output="%d.npy", **options):
    output %= next(outputs)
    run(make_spec({"input": given, "output": output, "reference": 0, "overwrite": True, **options}))

for given in ("gray.mkv", "deep.mkv", "colour.mp4", "pictures", "floats.npy"):
    job(given)
    job(given, "codes_%d.mkv", output_format={"bits": 16}, validity="why_%d.mkv" % next(outputs))
    job(given, "signed_%d.mkv", output_format={"encoding": "signed"}, ncc={"flat": float("nan")})
    job(given, ncc={"radius": 12, "border": "reflect", "noise_sigma": 2, "flat": 1})
    job(given, ncc={"radius": [2, 12], "combine": "min", "smooth_sigma": 1.5, "border": "valid"})
    job(given, ncc={"mask": "mask.png", "noise_sigma": 2, "fill": float("nan")})
    job(given, ncc={"radius": 12, "mask": "mask.png"})
    for style in ("gray", "heat", "overlay", "panel"):
        job(given, preview="look_%d.mp4" % next(outputs), output_format={"preview_style": style})
for given in ("colour.mp4", "deep_colour.mkv", "pictures"):
    for channel in ("red", "joint"):
        job(given, ncc={"channel": channel})
for dtype in ("u1", "u2", "f4", "f8"):
    pair = np.random.default_rng(0).integers(0, 200, (2, 40, 50, 3)).astype(dtype)
    for channel in ("luma", "green", "joint"):
        framencc.local_ncc(*pair, channel=channel, radius=[3, 10], return_validity=True)
    framencc.local_ncc(pair[0, :, ::2, 0], pair[1, :, ::2, 0].astype("f4"))
print(json.dumps(Compiled.names))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """An empty folder: what other tests have left on disk would hide what is missing."""
    return {"NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("cache")), "NUMBA_NUM_THREADS": "2"}


@pytest.fixture(scope="module")
def counts(cache):
    result = python(WARM_UP, **cache, seconds=580)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    gray = media.random_frames(2)
    colour = media.random_frames(2, channels=3)
    media.write_clip(folder / "gray.mkv", gray)
    media.write_clip(folder / "deep.mkv", media.random_frames(2, bits=10), pixel_format="gray10le")
    media.write_clip(
        folder / "deep_colour.mkv", media.yuv444(media.random_frames(2, bits=10), 10), pixel_format="yuv444p10le"
    )
    media.write_clip(
        folder / "colour.mp4", colour, "-pix_fmt", "yuv420p", pixel_format="rgb24", codec=("-c:v", "libx264")
    )
    (folder / "pictures").mkdir()
    for index, picture in enumerate(colour):
        Image.fromarray(picture).save(folder / f"pictures/{index}.png")
    np.save(folder / "floats.npy", gray.astype(np.float32))
    Image.fromarray(gray[0] // 200).save(folder / "mask.png")
    return folder


def test_usual_jobs_compile_nothing_more(cache, counts, jobs):
    result = python(JOBS, jobs, **cache, seconds=580)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == []


def test_no_kernel_that_is_called_from_outside_is_left_out(counts):
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.parent.name != "kernels")
    public = {name for name in counts if "._" not in name}
    imported = dict.fromkeys(re.findall(r"from framencc\.kernels\.(\w+) import ([^\n]+)", code))
    names = {f"{home}.{one.strip()}" for home, line in imported for one in line.split(",")}
    names |= set(re.findall(r"(?<!kernels\.)\b(\w+\.\w+)\b", code))
    called = {name for name in public if name.removeprefix("framencc.kernels.") in names}
    assert len(called) >= 9
    assert {name for name in called if not counts[name]} == set()
