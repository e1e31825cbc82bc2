"""Every option has an end on either side: what lies beyond is refused at once, and what lies within works."""

import math
from fractions import Fraction

import media
import numpy as np
import pytest
from oracle import oracle
from PIL import Image
from tolerances import INTEGER, assert_maps_close

from framencc import local_ncc
from framencc.cli import main
from framencc.config import make_spec
from framencc.errors import SpecError
from framencc.pipeline import run
from framencc.sidecar import read_sidecar
from framencc.spec import MAX_FRAME_NUMBER, parse_frame_rate
from framencc.spec.ncc import MAX_FLOAT, MAX_NOISE_SIGMA, MIN_SIGMA

JOB = {"input": "a.mp4", "output": "b.mkv", "reference": 0}
BEYOND = [
    ({"limits": {"stall_seconds": 1e10}}, r"limits\.stall_seconds: .*1000000 \(got 1"),
    ({"limits": {"stall_seconds": math.inf}}, r"limits\.stall_seconds: .*\(got inf\)"),
    ({"limits": {"stall_seconds": math.nan}}, r"limits\.stall_seconds: .*\(got nan\)"),
    *(
        ({"ncc": {"noise_sigma": sigma}}, r"ncc\.noise_sigma: ")
        for sigma in (1e200, 1e20, 1.001e6, 9.9e-7, 1e-20, 5e-324, -1.0, math.nan, math.inf)
    ),
    *(({"ncc": {"smooth_sigma": sigma}}, r"ncc\.smooth_sigma: ") for sigma in (1e-200, 1e-7, 127.1, math.nan)),
    *(({"ncc": {"fill": fill}}, r"ncc\.fill: .*float32, or nan") for fill in (1e300, -3.5e38, math.inf)),
    *(
        ({"frame_rate": rate}, "frame_rate: must be frames per second, .*; 1/86400 to 1000000 can be had")
        for rate in ("1e99999999", "1e-99999999", "0", "-25", "1/0", "nan", "1000001", "1/86401", "9" * 5000, "fast")
    ),
    *(
        ({"frames": frames}, "frames: ")
        for frames in ("0:99999999999999999999", f"{2**31}:", f"0:9:{2**31}", "0:" + "9" * 5000)
    ),
    ({"reference": 2**31}, "reference: a frame index is at most 2147483647"),
    ({"reference": 99999999999999999999}, "reference: a frame index is at most 2147483647"),
    *(({name: "a\0b.mkv"}, f"{name}: no path holds a NUL") for name in ("input", "output", "reference", "validity")),
    ({"ncc": {"mask": "a\0.png"}}, r"ncc\.mask: no path holds a NUL"),
]


@pytest.mark.parametrize(("options", "message"), BEYOND)
def test_what_lies_beyond_is_refused_in_one_line(options, message):
    with pytest.raises(SpecError, match=f"^{message}") as caught:
        make_spec(JOB | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"limits": {"stall_seconds": 1e6}},
        *({"ncc": {"noise_sigma": sigma}} for sigma in (0.0, MIN_SIGMA, 1e-4, 0.01, MAX_NOISE_SIGMA)),
        *({"ncc": {"smooth_sigma": sigma}} for sigma in (0.0, MIN_SIGMA, 127)),
        *({"ncc": {"fill": fill}} for fill in (MAX_FLOAT, -MAX_FLOAT, math.nan)),
        {"frames": f"0:{MAX_FRAME_NUMBER}"},
        {"reference": MAX_FRAME_NUMBER},
        *({"frame_rate": rate} for rate in ("1/86400", 1_000_000, "1e-3", 23.976)),
    ],
)
def test_what_lies_within_is_taken(options):
    make_spec(JOB | options)


def test_the_command_refuses_as_well(capfd):
    words = ["run", "a.mp4", "b.mkv", "--reference", "0"]
    for option in (["--frame-rate", "1e99999999"], ["--limits.stall-seconds", "1e10"], ["--ncc.fill", "1e300"]):
        assert main([*words, *option]) == 2
        stdout, stderr = capfd.readouterr()
        assert stdout == ""
        assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("radius", [3, 12])
@pytest.mark.parametrize("noise_sigma", [MIN_SIGMA, 1e-4, MAX_NOISE_SIGMA])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_at_the_ends_of_its_range_is_as_exact_as_ever(dtype, noise_sigma, radius):
    rng = np.random.default_rng(1)
    reference, frame = rng.integers(0, np.iinfo(dtype).max, (2, 22, 24)).astype(dtype)
    reference[:10, :10] = 7  # flat here and there, where the noise alone is divided by
    frame[:14, :5] = 9
    expected, _ = oracle(reference, frame, radius, noise_sigma=noise_sigma, flat=0.7)
    assert_maps_close(local_ncc(reference, frame, radius, noise_sigma=noise_sigma, flat=0.7), expected, INTEGER)


def test_small_noise_of_pictures_between_0_and_1():
    rng = np.random.default_rng(2)
    reference, frame = rng.random((2, 20, 22), dtype=np.float32) * np.float32(1e-3)
    for noise_sigma in (1e-5, 1e-4, 1e-3):
        expected, _ = oracle(reference, frame, 3, noise_sigma=noise_sigma)
        assert_maps_close(local_ncc(reference, frame, 3, noise_sigma=noise_sigma), expected, 1e-6)


def test_the_extreme_fills_arrive():
    picture = media.random_frames(1)[0]
    for fill in (MAX_FLOAT, -MAX_FLOAT):
        assert local_ncc(picture, picture, border="valid", fill=fill)[0, 0] == np.float32(fill)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("25", Fraction(25)),
        ("30000/1001", Fraction(30000, 1001)),
        ("23.976", Fraction(23976, 1000)),
        ("23.976023976023976", Fraction(24000, 1001)),
        ("29.97002997002997", Fraction(30000, 1001)),
        ("59.94005994005994", Fraction(60000, 1001)),
        ("1000000/33367", Fraction(1000000, 33367)),
        ("1/86400", Fraction(1, 86400)),
    ],
)
def test_frame_rates_are_exact_or_the_nearest_that_files_can_hold(text, rate):
    assert parse_frame_rate(text) == rate


@pytest.mark.parametrize(
    ("output", "rate"),
    [
        *(("out.mp4", rate) for rate in ("23.976023976023976", "29.970029", "1/86400", "999999.999", "1000000")),
        *(("out.mkv", rate) for rate in ("23.976023976023976", "1/86400", "1000")),  # it counts whole milliseconds
    ],
)
def test_every_rate_can_be_written(tmp_path, output, rate):
    (tmp_path / "in").mkdir()
    for index, picture in enumerate(media.random_frames(3)):
        Image.fromarray(picture).save(tmp_path / f"in/{index}.png")
    job = {"input": str(tmp_path / "in"), "output": str(tmp_path / output), "reference": 0, "frame_rate": rate}
    report = run(make_spec(job))
    assert report.n_frames == 3
    assert read_sidecar(report.sidecar)["stream"]["frame_rate"] == str(parse_frame_rate(rate))
