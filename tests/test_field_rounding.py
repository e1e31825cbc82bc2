"""Fields that hold their numbers coarsely: a run goes on, and says how coarse they are."""

import numpy as np
import pytest
from field_files import png_bytes, write_exr

from framencc import run
from framencc.config import make_spec
from framencc.pipeline import describe
from framencc.sidecar import read_sidecar

H = 8


def positions(width: int, height: int = H) -> np.ndarray:
    """The STMap of no displacement, (H, W, 2) float64."""
    x, y = (np.arange(width) + 0.5) / width, (height - 0.5 - np.arange(height)) / height
    return np.stack(np.broadcast_arrays(x, y[:, np.newaxis]), axis=-1)


def as_exr(folder, values, dtype=np.float16):
    write_exr(folder / "f.exr", {"R": values[..., 0].astype(dtype), "G": values[..., 1].astype(dtype)})
    return "f.exr"


def as_npy(folder, values, dtype=np.float16):
    np.save(folder / "f.npy", values.astype(dtype))
    return "f.npy"


def as_stack(folder, values, dtype=np.float16):
    np.save(folder / "f.npy", values[np.newaxis].astype(dtype))
    return "f.npy"


def as_png(folder, values):
    codes = np.rint(np.concatenate([values, values[..., :1]], axis=-1) * 65535).astype(np.uint16)
    (folder / "f.png").write_bytes(png_bytes(codes))
    return "f.png"


def as_kitti(folder, values):
    codes = np.ones((*values.shape[:2], 3), np.uint16)
    codes[..., :2] = np.rint(values * 64 + 32768)
    (folder / "f.png").write_bytes(png_bytes(codes))
    return "f.png"


def job(folder, field, width, height=H, convention="displacement", **options):
    np.save(folder / "in.npy", np.random.default_rng(0).integers(0, 256, (1, height, width), dtype=np.uint8))
    warp = {"method": "field", "field": field, "field_convention": convention}
    return make_spec({"input": "in.npy", "output": "o.npy", "reference": 0, "warp": warp, **options})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("write", "width", "height", "kind", "step", "error"),
    [
        (as_exr, 1024, H, "half floats", "0.5", "0.25"),
        (as_npy, 256, H, "half floats", "0.125", "0.0625"),
        (as_stack, 64, H, "half floats", "0.0312", "0.0156"),
        (as_exr, H, 128, "half floats", "0.0625", "0.0312"),
        (as_png, 2048, H, "16-bit codes", "0.0313", "0.0156"),
    ],
)
def test_a_coarse_stmap_is_warned_of_with_its_size_in_pixels(here, write, width, height, kind, step, error):
    field = write(here, positions(width, height))
    report = run(job(here, field, width, height, "stmap"))
    text = (
        f"warp.field {field!r} holds {kind}: at {width} x {height} they round positions to steps of up to {step} px, "
        f"so that these are off by up to {error} px; store 32-bit floats"
    )
    assert report.warnings == (text,)
    assert read_sidecar("o.npy.json")["warnings"] == [text]


@pytest.mark.parametrize(
    ("write", "largest", "step"),
    [(as_npy, 32, "0.0312"), (as_exr, -70.5, "0.0625"), (as_stack, 300, "0.25"), (as_npy, 1500, "1")],
)
def test_half_floats_of_large_displacements_are_warned_of(here, write, largest, step):
    values = np.full((H, 64, 2), np.nan)
    values[:4] = 1.5
    values[0, 0, 1] = largest
    (warning,) = run(job(here, write(here, values), 64)).warnings
    assert f"holds half floats: at 64 x 8 they round displacements to steps of up to {step} px" in warning


@pytest.mark.parametrize(
    ("write", "values", "convention"),
    [
        (as_exr, positions(32), "stmap"),
        (as_png, positions(1000), "stmap"),
        (lambda *words: as_exr(*words, np.float32), positions(4096), "stmap"),
        (lambda *words: as_npy(*words, np.float64), positions(4096), "stmap"),
        (as_npy, np.full((H, 64, 2), 31.9), "displacement"),
        (as_kitti, np.full((H, 64, 2), 400.25), "displacement"),
        (lambda *words: as_npy(*words, np.float32), np.full((H, 64, 2), 3000.3), "displacement"),
    ],
)
def test_what_is_at_least_as_fine_as_kittis_steps_needs_no_warning(here, write, values, convention):
    assert run(job(here, write(here, values), values.shape[1], convention=convention)).warnings == ()


def test_the_coarsest_of_a_sequence_is_named_once(here):
    (here / "flow").mkdir()
    np.save("in.npy", np.random.default_rng(0).integers(0, 256, (3, H, 64), dtype=np.uint8))
    for number, length in enumerate((1, 100, 40)):
        np.save(f"flow/{number}.npy", np.full((H, 64, 2), length, np.float16))
    warp = {"method": "field", "field": "flow"}
    (warning,) = run(make_spec({"input": "in.npy", "output": "o.npy", "reference": 0, "warp": warp})).warnings
    assert warning.startswith("warp.field 'flow' holds half floats")
    assert "steps of up to 0.0625 px" in warning


def test_a_dry_run_and_a_finished_run_say_it_too(here):
    spec = job(here, as_exr(here, positions(64)), 64, convention="stmap", resume=True)
    (warning,) = describe(spec)["warnings"]
    assert "holds half floats" in warning
    assert run(spec).warnings == (warning,)
    assert run(spec).warnings == (warning,)
