"""A run is resumed only where the processor would give the same bits, and then everywhere."""

import os
import subprocess
import sys

import numpy as np
import pytest
from cut_off_runs import cut_off
from running import command

from framencc.config import make_spec
from framencc.errors import SpecError
from framencc.pipeline import run
from framencc.warps import processor

cv2 = pytest.importorskip("cv2", reason="OpenCV is an optional extra")
pytestmark = pytest.mark.timeout(300)

N_FRAMES = 9
HERE, THERE = "SSE SSE2 *SSE4.1 *AVX *FP16 *AVX2", "SSE SSE2 *SSE4.1 *AVX *FP16? *AVX2?"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texture = np.random.default_rng(0).integers(0, 255, (16, 20)).astype(np.uint8)
    picture = cv2.resize(texture, (80, 64), interpolation=cv2.INTER_CUBIC)
    np.save("in.npy", np.stack([np.roll(picture, index, axis=1) for index in range(N_FRAMES)]))
    monkeypatch.setattr(cv2, "getCPUFeaturesLine", lambda: HERE)
    return tmp_path


def job(**options):
    return make_spec({"input": "in.npy", "output": "out.npy", "reference": 0, "segment_frames": 4, **options})


METHODS = ["flow", "affine"]


@pytest.mark.parametrize("method", METHODS)
def test_it_is_not_with_a_warp_of_opencv_on_another_processor(method, here, monkeypatch):
    cut_off(job(warp={"method": method}), monkeypatch, 6)
    with monkeypatch.context() as patch:
        patch.setattr(cv2, "getCPUFeaturesLine", lambda: THERE)
        with pytest.raises(SpecError) as caught:
            run(job(warp={"method": method}, resume=True))
    (line,) = str(caught.value).splitlines()
    assert f"processor features for warp.method = {method}: FP16, AVX2 were in use, now are not; " in line
    assert "--overwrite" in line
    assert run(job(warp={"method": method}, resume=True)).n_resumed == 4


def test_a_feature_more_is_another_processor_too(here, monkeypatch):
    monkeypatch.setattr(cv2, "getCPUFeaturesLine", lambda: THERE)
    cut_off(job(warp={"method": "flow"}), monkeypatch, 6)
    monkeypatch.setattr(cv2, "getCPUFeaturesLine", lambda: HERE.replace("*FP16", "*FP16?"))
    with pytest.raises(SpecError, match=r"processor features for warp\.method = flow: AVX2 is in use, was not; give"):
        run(job(warp={"method": "flow"}, resume=True))


def test_switched_off_optimisations_are_another_processor_too(here, monkeypatch):
    monkeypatch.setattr(cv2.ipp, "useIPP", lambda: True)
    monkeypatch.setattr(cv2.ipp, "getIppVersion", lambda: "ippIP AVX2 (l9) 2026.0.0")
    cut_off(job(warp={"method": "flow"}), monkeypatch, 6)
    monkeypatch.setattr(cv2.ipp, "useIPP", lambda: False)
    with pytest.raises(SpecError, match=r"warp\.method = flow: IPP AVX2 was in use, now is not"):
        run(job(warp={"method": "flow"}, resume=True))


OTHER_EXP = {
    "warp.forward_backward = weight": ({"warp": {"method": "flow", "forward_backward": "weight"}}, "exp"),
    "ncc.smooth_sigma": ({"ncc": {"smooth_sigma": 1}}, "NumPy's exp"),
}


@pytest.mark.parametrize(("options", "function"), OTHER_EXP.values(), ids=OTHER_EXP)
def test_it_is_not_where_the_exponential_function_has_other_bits(options, function, here, monkeypatch):
    cut_off(job(**options), monkeypatch, 6)
    with monkeypatch.context() as patch:
        module = sys.modules["framencc.pipeline.processor"]
        patch.setattr(module, "_N_EXPONENTS", module._N_EXPONENTS - 1)
        with pytest.raises(SpecError, match=rf"processor features for .*: {function} \w{{8}} was in use, now is not; "):
            run(job(**options, resume=True))
    assert run(job(**options, resume=True)).n_resumed == 4


INDEPENDENT = {
    "plain": {},
    "pictures": {"output": "%d.png", "output_format": {"bits": 16}},
    "video": {"output": "out.mkv"},
    "several radii": {"ncc": {"radius": [1, 3], "noise_sigma": 2}},
    "given fields": {"warp": {"method": "field", "field": "fields.npy"}},
}


@pytest.mark.parametrize("options", INDEPENDENT.values(), ids=INDEPENDENT)
def test_it_is_everywhere_where_only_integers_and_exact_operations_count(options, here, monkeypatch):
    np.save("fields.npy", np.zeros((N_FRAMES, 64, 80, 2), np.float32))
    cut_off(job(**options), monkeypatch, 6)
    monkeypatch.setattr(cv2, "getCPUFeaturesLine", lambda: THERE)
    monkeypatch.setattr(processor, "_numpy_features", lambda: ["none"])
    monkeypatch.setattr("framencc.warps.processor.host_features", lambda: ["none"])
    monkeypatch.setattr("framencc.pipeline.processor.host_features", lambda: ["none"])
    assert run(job(**options, resume=True)).n_resumed == 4


@pytest.mark.parametrize(
    "options",
    [{"output": "out.mp4"}, {"preview": "look.mp4"}, {"warp": {"method": "translation"}}],
    ids=["lossy maps", "preview", "translation"],
)
def test_it_is_not_where_x264_or_scipy_would_choose_other_code(options, here, monkeypatch):
    cut_off(job(**options), monkeypatch, 6)
    with monkeypatch.context() as patch:
        for module in ("framencc.warps.processor", "framencc.pipeline.processor"):
            patch.setattr(f"{module}.host_features", lambda: ["other"])
        with pytest.raises(SpecError, match=r"processor features for .*; other is in use, was not"):
            run(job(**options, resume=True))
    assert run(job(**options, resume=True)).n_resumed == 4


def test_a_finished_job_is_finished_on_every_processor(here, monkeypatch):
    run(job(warp={"method": "flow"}))
    monkeypatch.setattr(cv2, "getCPUFeaturesLine", lambda: THERE)
    assert run(job(warp={"method": "flow"}, resume=True)).n_resumed == N_FRAMES


def test_opencv_is_asked_as_the_environment_has_set_it(here, tmp_path, monkeypatch):
    """In processes of their own, with the real OpenCV."""
    words = [sys.executable, "-c", "import cv2; print(cv2.getCPUFeaturesLine())"]
    features = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    switchable = [word.strip("*") for word in features if word.startswith("*") and not word.endswith("?")]
    if "AVX2" not in switchable:
        pytest.skip("there is no feature here that can be switched off")
    monkeypatch.undo()
    os.chdir(tmp_path)
    cut_off(job(warp={"method": "flow"}), monkeypatch, 6)
    arguments = ["run", "in.npy", "out.npy", "--reference", 0, "--segment-frames", 4, "--warp", "flow", "--resume"]
    result = command(*arguments, OPENCV_CPU_DISABLE="AVX2")
    assert result.returncode == 2
    assert "AVX2 was in use, now is not" in result.stderr or "AVX2 were in use, now are not" in result.stderr
    assert command(*arguments).returncode == 0
