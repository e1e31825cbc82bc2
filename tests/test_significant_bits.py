"""Pictures of 8 to 14 significant bits in files of 16: what is white in them, how that is known, and what uses it."""

import struct
import zlib
from pathlib import Path

import media
import numpy as np
import pytest
import tifffile
import tolerances
from cut_off_runs import cut_off
from known_motion import face, moved_by_field, moved_by_matrix, smooth_field
from PIL import Image
from running import WindowedNcc, command

from framencc import local_ncc, run
from framencc.config import make_spec
from framencc.errors import SourceError, SpecError
from framencc.frames import CodeRange
from framencc.sidecar import read_sidecar
from framencc.sources import probe_source

RNG = np.random.default_rng(3)
Y, X = np.indices((40, 56))
# 0 to 1, both reached: waves over a slope.
SCENE = 0.5 + 0.3 * np.sin(X / 3 + Y / 7) * np.cos(Y / 4) + 0.2 * (X / 27.5 - 1)
SCENE = (SCENE - SCENE.min()) / np.ptp(SCENE)
FRAME = np.clip(np.rint(SCENE * 255 + RNG.normal(0, 2, SCENE.shape)), 0, 255).astype(np.uint8)
# What is white, and by how much codes are shifted.
DEPTHS = {"8": (255, 0), "16": (65535, 0), "8 in 16": (255, 0), "10 in 16": (1023, 0), "12 in 16": (4095, 0)}
DEPTHS |= {"14 in 16": (16383, 0), "12 high": (4095, 4), "10 high": (1023, 6)}
NOISE = {"radius": 5, "noise_sigma": 3, "flat": 1}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def coded(scene: np.ndarray, depth: str) -> np.ndarray:
    white, shift = DEPTHS[depth]
    return (np.rint(scene * white).astype(np.uint16) << shift).astype(np.uint8 if depth == "8" else np.uint16)


def span(depth: str) -> int:
    white, shift = DEPTHS[depth]
    return white << shift


def save(path: str, picture: np.ndarray) -> str:
    tifffile.imwrite(path, picture) if path.endswith(".tif") else Image.fromarray(picture).save(path)
    return path


def png_with_bits(path: str, picture: np.ndarray, bits: int) -> str:
    """Write a 16-bit PNG that says how many of its bits are significant, in an sBIT chunk behind the header."""
    save(path, picture)
    content = Path(path).read_bytes()
    data = bytes([bits])
    chunk = struct.pack(">I", len(data)) + b"sBIT" + data + struct.pack(">I", zlib.crc32(b"sBIT" + data))
    Path(path).write_bytes(content[:33] + chunk + content[33:])
    return path


def go(given: str, reference: int | str, output: str = "out.npy", **options):
    spec = {"input": given, "output": output, "reference": reference, "overwrite": True} | options
    report = run(make_spec(spec))
    return np.load(output), read_sidecar(report.sidecar), report


def told(section) -> tuple[int, int, int, str]:
    return section["bits"], section["black"], section["white"], section["bits_from"]


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_reference_of_any_depth_serves_an_8_bit_clip_and_noise_means_the_same(here, depth):
    np.save("in.npy", FRAME[np.newaxis])
    reference = coded(SCENE, depth)
    save("ref.tif", reference)
    factor = span(depth) / 255
    for ncc in (NOISE, NOISE | {"radius": (2, 3)}, {"noise_sigma": 2}):
        maps, sidecar, _ = go("in.npy", "ref.tif", ncc=ncc)
        exact = local_ncc(
            reference.astype(np.float32),
            FRAME * np.float32(factor),
            **ncc | {"noise_sigma": ncc["noise_sigma"] * factor},
        )
        np.testing.assert_allclose(maps[0], exact, atol=2e-6)
        assert sidecar["frames"][0]["gain"] == pytest.approx(FRAME.std() / (reference.std() / factor), rel=1e-6)
        assert sidecar["frames"][0]["gain"] == pytest.approx(1, abs=0.01)
    assert sidecar["reference"]["white"] == span(depth)


@pytest.mark.parametrize("depth", ["12 in 16", "10 in 16", "12 high"])
@pytest.mark.parametrize("reference", ["8", "16", "12 in 16"])
def test_noise_is_in_the_codes_of_a_deep_clip(here, depth, reference):
    frame = coded(FRAME / 255, depth)
    np.save("in.npy", np.stack([frame] * 2))
    picture = coded(SCENE, reference)
    save("ref.png", picture)
    sigma = 3 * span(depth) / 255
    maps, sidecar, _ = go("in.npy", "ref.png", ncc=NOISE | {"noise_sigma": sigma})
    exact = WindowedNcc(picture * (span(depth) / span(reference)), 5, noise_sigma=sigma, flat=1.0)(frame)
    tolerances.assert_maps_close(maps[1], exact, tolerances.INTEGER)
    assert sidecar["frames"][1]["gain"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("mask", ["one.npy", "each.npy"])
def test_masks_change_nothing_of_that(here, mask):
    use = RNG.random(SCENE.shape) > 0.2
    use[:10, :20] = False
    np.save("one.npy", use.astype(np.uint8))
    np.save("each.npy", use[np.newaxis].astype(np.uint8))
    np.save("in.npy", FRAME[np.newaxis])
    picture = coded(SCENE, "12 in 16")
    save("ref.png", picture)
    maps, _, _ = go("in.npy", "ref.png", ncc=NOISE | {"mask": mask})
    scaled = (picture / np.float32(span("12 in 16") / 255)).astype(np.float32)
    exact = local_ncc(scaled, FRAME.astype(np.float32), **NOISE, mask=use)
    np.testing.assert_allclose(maps[0], exact, atol=1e-5)


def test_channels_are_pooled_in_the_same_scale(here):
    colours = np.stack([SCENE, SCENE[::-1], 1 - SCENE], axis=-1)
    noise = RNG.normal(0, 2, colours.shape)
    frame = np.clip(np.rint(colours * 255 + noise), 0, 255).astype(np.uint8)
    np.save("in.npy", frame[np.newaxis])
    picture = np.rint(colours * 4095).astype(np.uint16)
    tifffile.imwrite("ref.tif", picture, photometric="rgb")
    maps, sidecar, _ = go("in.npy", "ref.tif", ncc=NOISE | {"channel": "joint"})
    factor = 4095 / 255
    exact = local_ncc(
        picture.astype(np.float32), frame * np.float32(factor), **NOISE | {"noise_sigma": 3 * factor}, channel="joint"
    )
    np.testing.assert_allclose(maps[0], exact, atol=2e-6)
    assert sidecar["frames"][0]["gain"] == pytest.approx(1, abs=0.01)
    # The red channel is darker than the others, and no less deep for that.
    picture[..., 0] //= 8
    tifffile.imwrite("ref.tif", picture, photometric="rgb")
    assert go("in.npy", "ref.tif", ncc={"channel": "red"})[1]["reference"]["bits"] == 12


def test_a_frame_of_the_input_has_the_depth_of_the_input(here):
    clip = np.stack([coded(SCENE * light, "12 in 16") for light in (1, 0.2)])
    np.save("in.npy", clip)
    maps, sidecar, report = go("in.npy", 1, ncc=NOISE | {"noise_sigma": 48})
    assert told(sidecar["reference"]) == told(sidecar["stream"]) == (12, 0, 4095, "content")
    tolerances.assert_maps_close(
        maps[0], WindowedNcc(clip[1], 5, noise_sigma=48, flat=1.0)(clip[0]), tolerances.INTEGER
    )
    assert sidecar["frames"][0]["gain"] == pytest.approx(5, rel=0.01)
    assert len(report.warnings) == 1


@pytest.mark.parametrize(
    ("method", "depths"),
    [
        ("flow", ("8", "12 in 16")),
        ("flow", ("10 in 16", "8")),
        ("flow", ("8 in 16", "8 in 16")),
        ("flow", ("12 in 16", "12 in 16")),
        ("flow", ("12 high", "10 in 16")),
        ("euclidean", ("10 in 16", "8")),
        ("affine", ("14 in 16", "12 in 16")),
    ],
)
def test_warps_are_found_as_well_as_in_8_bits(here, method, depths):
    scene = face()[90:280, 120:340] / 255
    light = 0.55 + 0.45 * np.arange(scene.shape[1]) / scene.shape[1]
    if method == "flow":
        true = smooth_field(scene.shape, 0.4)
        frame = moved_by_field(scene, true) * light
    else:
        matrix = np.array([[0.9994, -0.0349, 6.3], [0.0349, 0.9994, -4.6], [0, 0, 1]])
        y, x = np.indices(scene.shape)
        true = np.stack([matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] for i in (0, 1)], axis=-1)
        true -= np.stack([x, y], axis=-1)
        frame = moved_by_matrix(scene, matrix) * light
    frame = np.clip(frame + np.random.default_rng(1).normal(0, 2 / 255, frame.shape), 0, 1)
    errors, means = [], []
    for reference, of_frame in (("8", "8"), depths):
        np.save("in.npy", coded(frame, of_frame)[np.newaxis])
        save("ref.tif", coded(scene, reference))
        maps, _, _ = go("in.npy", "ref.tif", warp={"method": method}, fields="fields.npy", ncc={"radius": 5})
        inner = np.s_[15:-15, 15:-15]
        errors.append(np.linalg.norm(np.load("fields.npy")[0] - true, axis=-1)[inner].mean())
        means.append(maps[0][inner].mean())
    assert errors[1] <= errors[0] + 0.05
    assert means[1] == pytest.approx(means[0], abs=0.01)


@pytest.mark.parametrize(("depth", "gain"), [("8 in 16", 64), ("10 in 16", 16), ("12 in 16", 4), ("12 high", 1)])
def test_sampled_frames_are_not_cut_although_others_were_darker(here, depth, gain):
    dark, bright = coded(SCENE * 0.9, depth), coded(SCENE, depth)
    if gain > 1:
        bright = (bright * 3.9).astype(np.uint16)
    clip = np.stack([dark] * 3 + [bright] + [dark] * 7)  # no frame that is looked at
    np.save("in.npy", clip)
    np.save("still.npy", np.zeros((len(clip), *SCENE.shape, 2), np.float32))
    maps, sidecar, _ = go("in.npy", 0, warp={"method": "field", "field": "still.npy"}, warped="warped.npy")
    assert sidecar["warp_gain"] == gain
    warped = np.load("warped.npy")
    np.testing.assert_array_equal(warped[3], bright.astype(int) * gain)
    assert sidecar["frames"][3]["gain"] == pytest.approx(bright.std() / dark.std(), rel=1e-5)
    assert maps[3].mean() > 0.9


def test_codes_that_would_be_cut_end_the_run_with_the_option_to_set(here):
    dark, bright = coded(SCENE, "10 in 16"), coded(SCENE, "14 in 16")
    np.save("in.npy", np.stack([dark] * 3 + [bright] + [dark] * 7))
    with pytest.raises(SpecError, match=r"frame 3 holds code 16383, .* 10 significant bits .* set input_bits = 14$"):
        go("in.npy", 0, warp={"method": "translation"})
    _, sidecar, _ = go("in.npy", 0, warp={"method": "translation"}, input_bits=14)
    assert told(sidecar["stream"]) == (14, 0, 16383, "option")
    assert go("in.npy", 0)[1]["complete"]  # what is not sampled needs no room


def test_depth_depends_neither_on_the_selection_nor_on_dark_frames(here):
    frames = [coded(SCENE * light, "12 in 16") for light in (0.02, 0.02, 0.02, 0.1, 0.5, 0.9, 1, 1, 1)]
    np.save("in.npy", np.stack(frames))
    Path("in").mkdir()
    for index, frame in enumerate(frames):
        save(f"in/f_{index}.png", frame)
    save("ref.png", coded(SCENE, "8"))
    whole, sidecar, _ = go("in.npy", "ref.png", ncc=NOISE)
    assert told(sidecar["stream"]) == (12, 0, 4095, "content")
    for given in ("in.npy", "in"):
        part, sidecar, _ = go(given, "ref.png", ncc=NOISE, frames="0:2")
        assert told(sidecar["stream"]) == (12, 0, 4095, "content")
        np.testing.assert_array_equal(part, whole[:2])


def test_pictures_that_are_not_selected_may_be_unreadable(here):
    Path("in").mkdir()
    for index in range(9):
        save(f"in/f_{index}.png", coded(SCENE, "12 in 16"))
    Path("in/f_8.png").write_bytes(b"no picture")
    save("in/f_4.png", FRAME)
    _, sidecar, _ = go("in", 0, frames="0:2")
    assert told(sidecar["stream"]) == (12, 0, 4095, "content")


@pytest.mark.parametrize(
    ("lights", "bits"),
    [
        ((0.26, 0.24), (12, 12)),  # on either side of where 10 bits would do: one camera
        ((0.24, 0.27), (12, 12)),
        ((0.9, 0.2), (12, 10)),
    ],
)
def test_reference_and_input_that_are_alike_have_one_depth(here, lights, bits):
    save("ref.png", coded(SCENE * lights[0], "12 in 16"))
    np.save("in.npy", coded(SCENE * lights[1], "12 in 16")[np.newaxis])
    _, sidecar, report = go("in.npy", "ref.png")
    assert (sidecar["reference"]["bits"], sidecar["stream"]["bits"]) == bits
    if bits[0] == bits[1]:
        assert sidecar["frames"][0]["gain"] == pytest.approx(lights[1] / lights[0], rel=0.01)
    assert len(report.warnings) == 2
    options = {"reference_bits": 12, "input_bits": 12}
    _, sidecar, report = go("in.npy", "ref.png", **options)
    assert sidecar["frames"][0]["gain"] == pytest.approx(lights[1] / lights[0], rel=0.01)
    assert report.warnings == ()


def tiff_tag(code: int, value: int):
    return {"extratags": [(code, 3, 1, value, True)]}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: png_with_bits("r.png", coded(p * 0.1, "12 in 16"), 12), (12, 0, 4095, "stored")),
        (lambda p: png_with_bits("r.png", coded(p, "12 high"), 12), (12, 0, 65520, "stored")),
        # As PNG asks for: few bits are spread over all.
        (
            lambda p: png_with_bits("r.png", np.rint(coded(p, "12 in 16") * (65535 / 4095)).astype("u2"), 12),
            (12, 0, 65535, "stored"),
        ),
        (lambda p: png_with_bits("r.png", coded(p * 0.1, "16"), 16), (16, 0, 65535, "stored")),
        (
            lambda p: tifffile.imwrite("r.tif", coded(p * 0.1, "12 in 16"), **tiff_tag(281, 4095)),
            (12, 0, 4095, "stored"),
        ),
        (
            lambda p: tifffile.imwrite("r.tif", coded(p * 0.1, "14 in 16"), **tiff_tag(341, 16383)),
            (14, 0, 16383, "stored"),
        ),
        (lambda p: tifffile.imwrite("r.tif", coded(p * 0.1, "16"), **tiff_tag(281, 65535)), (16, 0, 65535, "stored")),
        # The largest value of this picture is not what is white.
        (lambda p: tifffile.imwrite("r.tif", coded(p, "12 in 16"), **tiff_tag(281, 3999)), (12, 0, 4095, "content")),
        (
            lambda p: tifffile.imwrite(
                "r.ome.tif", coded(p * 0.1, "12 in 16"), metadata={"axes": "YX", "SignificantBits": 12}
            ),
            (12, 0, 4095, "stored"),
        ),
        (lambda p: save("r.png", coded(p, "12 high")), (12, 0, 65520, "content")),
        (lambda p: save("r.png", coded(p * 0.2, "12 high")), (12, 0, 65520, "content")),
        (lambda p: save("r.png", coded(p, "16")), (16, 0, 65535, "content")),
        (lambda p: save("r.png", coded(p * 0, "16")), (16, 0, 65535, "stored")),
        (lambda p: save("r.png", coded(p, "8")), (8, 0, 255, "stored")),
    ],
)
def test_a_file_says_its_depth_or_its_codes_do(here, make, expected):
    make(SCENE)
    (path,) = Path().glob("r.*")
    info = probe_source(path)
    codes = info.code_range
    assert (codes.bits, codes.black, codes.white, codes.bits_from) == expected
    np.save("in.npy", FRAME[np.newaxis])
    if expected[0] > 8 and SCENE.shape and expected[3] == "stored" and "p * 0" not in str(make):
        assert told(go("in.npy", str(path))[1]["reference"]) == expected


def test_a_16_bit_picture_that_is_dark_needs_the_option(here):
    np.save("in.npy", (FRAME * 0.2).astype(np.uint8)[np.newaxis])
    save("ref.png", coded(SCENE * 0.2, "16"))
    _, sidecar, report = go("in.npy", "ref.png")
    assert sidecar["reference"]["bits"] == 14
    (warning,) = report.warnings
    assert "'ref.png' does not say how many of its 16 bits are significant" in warning
    assert "reference_bits" in warning
    _, sidecar, report = go("in.npy", "ref.png", reference_bits=16)
    assert told(sidecar["reference"]) == (16, 0, 65535, "option")
    assert sidecar["frames"][0]["gain"] == pytest.approx(1, abs=0.02)
    assert report.warnings == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference_bits": 10}, "reference_bits = 10 cannot apply: the reference holds code 4095"),
        ({"input_bits": 12}, "input_bits = 12 cannot apply: the input has 8-bit samples"),
        (
            {"reference": 0, "reference_bits": 8},
            "reference_bits = 8 cannot apply to a frame of the input; use input_bits",
        ),
        (
            {"reference": "float.npy", "reference_bits": 8},
            "reference_bits = 8 cannot apply: the reference has floating",
        ),
        ({"input": "deep.mkv", "input_bits": 12}, "input_bits = 12 cannot apply: the input has 10-bit samples"),
    ],
)
def test_bits_that_cannot_be_are_refused(here, options, message):
    np.save("in.npy", FRAME[np.newaxis])
    np.save("float.npy", SCENE)
    save("ref.png", coded(SCENE, "12 in 16"))
    media.write_clip(Path("deep.mkv"), coded(SCENE, "10 in 16")[np.newaxis], pixel_format="gray10le")
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        go(
            **{"given": "in.npy", "reference": "ref.png"}
            | {("given" if k == "input" else k): v for k, v in options.items()}
        )


@pytest.mark.parametrize("frames", [None, "6:8"])
def test_a_video_of_16_bits_may_hold_fewer(here, frames):
    clip = np.stack([coded(FRAME / 255, "12 in 16")] * 6 + [coded(FRAME / 2550, "12 in 16")] * 2)
    media.write_clip(Path("in.mkv"), clip, pixel_format="gray16le")
    save("ref.png", coded(SCENE, "8"))
    for options, how in (({}, "content"), ({"input_bits": 12}, "option")):
        _, sidecar, report = go("in.mkv", "ref.png", ncc=NOISE, frames=frames, **options)
        assert told(sidecar["stream"]) == (12, 0, 4095, how)
        assert sidecar["frames"][0]["gain"] == pytest.approx(1 if frames is None else 0.1, rel=0.02)
        assert len(report.warnings) == (how == "content")
    assert told(go("in.mkv", 7)[1]["reference"]) == (12, 0, 4095, "content")


def test_a_damaged_video_of_16_bits_is_no_other_error(here):
    clip = np.stack([coded(FRAME / 255, "12 in 16")] * 6)
    media.cut(media.write_clip(Path("in.mkv"), clip, pixel_format="gray16le"), Path("cut.mkv"), 0.4)
    save("ref.png", coded(SCENE, "8"))
    with pytest.raises(SourceError, match=r"input 'cut\.mkv' is damaged"):
        go("cut.mkv", "ref.png")


def test_the_command_says_what_it_took_for_granted(here):
    np.save("in.npy", FRAME[np.newaxis])
    save("ref.png", coded(SCENE, "12 in 16"))
    result = command("run", "in.npy", "out.npy", "--reference", "ref.png")
    assert result.returncode == 0
    assert "framencc: warning: reference 'ref.png' does not say how many of its 16 bits" in result.stderr
    result = command("run", "in.npy", "out.npy", "--reference", "ref.png", "--reference-bits", 12, "--overwrite")
    assert (result.returncode, "warning" in result.stderr) == (0, False)
    result = command("probe", "ref.png")
    assert [line.split() for line in result.stdout.splitlines() if line.startswith(("bits", "white"))] == [
        ["bits", "12"],
        ["white", "4095"],
        ["bits_from", "content"],
    ]


def test_a_resumed_run_of_a_clip_whose_depth_was_found_has_the_same_bytes(here, monkeypatch):
    Path("in").mkdir()
    for index in range(9):
        save(f"in/f_{index}.png", coded(SCENE * (0.1 + index / 9), "12 in 16"))
    save("ref.png", coded(SCENE, "8"))
    options = {"ncc": NOISE, "segment_frames": 2, "warp": {"method": "translation"}}
    whole, _, _ = go("in", "ref.png", **options)
    spec = {"input": "in", "output": "part.npy", "reference": "ref.png"} | options
    cut_off(make_spec(spec), monkeypatch, 5)
    run(make_spec(spec | {"resume": True}))
    assert read_sidecar("part.npy.json")["timings"]["resumed_from"] == 4
    tolerances.assert_same_bits(np.load("part.npy"), whole)


def test_ranges_of_codes_say_how_much_one_is_worth_in_another():
    eight, limited = CodeRange.of_bits(8), CodeRange.of_bits(10, limited=True)
    assert (limited.black, limited.white) == (64, 940)
    assert limited.units(eight) == 876 / 255
    assert eight.units(eight) == 1.0
