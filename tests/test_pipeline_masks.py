"""Whole runs with masks, channels and a second output: the same maps as on arrays, and why each pixel has none."""

import json
from pathlib import Path

import media
import numpy as np
import pytest
import tolerances
from oracle import oracle
from PIL import Image
from running import command
from sink_readback import decode_gray, names, visible

from framencc import Reference, SinkError, SourceError, SpecError, run
from framencc.cli import main
from framencc.config import make_spec
from framencc.pipeline import describe
from framencc.pipeline.publishing import Move
from framencc.sidecar import read_sidecar

FOOTAGE = media.footage()
SHAPE = (144, 176)
N = 6


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return media.decode_luma(FOOTAGE, *SHAPE)[:N]


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """Four regions: background 0, and three parts of a head and shoulders."""
    picture = np.zeros(SHAPE, np.uint8)
    picture[20:90, 50:130] = 1
    picture[60:80, 70:110] = 2
    picture[95:, 20:150] = 3
    return picture


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(output: str, **options: object):
    return make_spec({"input": str(FOOTAGE), "output": output, "reference": 0, "frames": f"0:{N}", **options})


def test_a_masked_run_is_the_masked_correlation_of_the_frames(folder, frames, labels) -> None:
    Image.fromarray(labels).save("regions.png")
    moving = (media.random_frames(120, *SHAPE, seed=3) > 40).astype(np.uint8)
    np.save("moving.npy", moving)
    ncc = {"radius": [2, 4], "smooth_sigma": 0.8, "min_valid_fraction": 0.4}
    still = run(job("still.npy", ncc=ncc | {"mask": "regions.png", "mask_labels": [1, 3]}))
    each = run(job("each.npy", ncc=ncc | {"mask": "moving.npy"}))
    on_arrays = Reference(frames[0], **ncc, mask=labels, mask_labels=[1, 3])
    unmasked = Reference(frames[0], **ncc)
    for index, frame in enumerate(frames):
        tolerances.assert_same_bits(np.load(still.output)[index], on_arrays.ncc(frame))
        tolerances.assert_same_bits(np.load(each.output)[index], unmasked.ncc(frame, mask=moving[index]))
    assert read_sidecar(still.sidecar)["mask"]["kind"] == "one for the whole job"
    assert read_sidecar(each.sidecar)["mask"]["kind"] == "one for each frame"
    assert read_sidecar(still.sidecar)["mask"]["bytes"] == Path("regions.png").stat().st_size


def test_a_masked_run_agrees_with_the_oracle(folder) -> None:
    clip = media.random_frames(2, 14, 18)
    mask = media.random_frames(2, 14, 18, seed=2) > 90
    np.save("in.npy", clip)
    np.save("mask.npy", mask)
    spec = {"input": "in.npy", "output": "out.npy", "reference": 1, "validity": "why.npy", "ncc": {"mask": "mask.npy"}}
    report = run(make_spec(spec))
    for index in range(2):
        rho, codes = oracle(clip[1], clip[index], 3, frame_mask=mask[index])
        tolerances.assert_maps_close(np.load(report.output)[index], rho, tolerances.INTEGER)
        np.testing.assert_array_equal(np.load("why.npy")[index], codes)


@pytest.mark.parametrize("channel", ["red", "green", "blue", "joint"])
def test_channels_of_video_are_those_of_its_rgb_pictures(folder, channel) -> None:
    rgb = media.random_frames(3, channels=3)
    media.write_clip(Path("in.mkv"), media.gbr_planes(rgb), pixel_format="gbrp")
    Image.fromarray(rgb[1]).save("neutral.png")
    Path("pictures").mkdir()
    for index, frame in enumerate(rgb):
        Image.fromarray(frame).save(f"pictures/{index}.png")
    np.save("in.npy", rgb)
    reference = Reference(rgb[1], channel=channel)
    for given in ("in.mkv", "pictures", "in.npy"):
        for number, chosen in enumerate(("neutral.png", 1)):
            spec = {"input": given, "output": f"{Path(given).name}{number}.npy", "reference": chosen}
            report = run(make_spec(spec | {"ncc": {"channel": channel}}))
            for rho, frame in zip(np.load(report.output), rgb, strict=True):
                tolerances.assert_same_bits(rho, reference.ncc(frame))


def test_the_matrix_and_range_of_a_conversion_are_in_the_sidecar(folder) -> None:
    report = run(job("out.npy", ncc={"channel": "joint"}))
    conversion = {"kind": "RGB from YUV", "matrix": "bt601", "range": "limited"}
    sidecar = read_sidecar(report.sidecar)
    assert sidecar["stream"]["conversion"] == sidecar["reference"]["conversion"] == conversion
    assert sidecar["stream"]["n_channels"] == 3
    report = run(job("wide.npy", ncc={"channel": "green", "rgb_matrix": "bt2020", "rgb_range": "full"}))
    conversion = {"kind": "RGB from YUV", "matrix": "bt2020", "range": "full"}
    assert read_sidecar(report.sidecar)["stream"]["conversion"] == conversion


@pytest.mark.parametrize("tag", ["bt709", "smpte170m"])
def test_the_luma_of_a_reference_picture_has_the_videos_weights(folder, tag) -> None:
    rgb = media.random_frames(1, channels=3)
    weights = (0.2126, 0.7152, 0.0722) if tag == "bt709" else (0.299, 0.587, 0.114)
    luma = np.rint(sum(weight * rgb[..., channel] for channel, weight in enumerate(weights))).astype(np.uint8)
    tags = ("-colorspace", tag)
    media.write_clip(Path("in.mkv"), media.yuv444(luma), *tags, pixel_format="yuv444p", input_options=tags)
    Image.fromarray(rgb[0]).save("neutral.png")
    report = run(make_spec({"input": "in.mkv", "output": "out.npy", "reference": "neutral.png"}))
    tolerances.assert_same_bits(np.load(report.output)[0], Reference(luma[0]).ncc(luma[0]))
    matrix = "bt601" if tag == "smpte170m" else tag
    conversion = {"kind": "luma from RGB", "matrix": matrix, "range": "full"}
    assert read_sidecar(report.sidecar)["reference"]["conversion"] == conversion


@pytest.mark.parametrize("alpha", ["reference", "frame", "both"])
def test_alpha_masks_whose_it_is_asked_for(folder, alpha) -> None:
    rgba = media.random_frames(3, channels=4)
    rgba[..., 3] = (media.random_frames(3, seed=7) > 60) * 200
    np.save("in.npy", rgba)
    spec = {"input": "in.npy", "output": "out.npy", "reference": 1, "ncc": {"alpha": alpha, "channel": "joint"}}
    maps = np.load(run(make_spec(spec)).output)
    plain = Reference(rgba[1, ..., :3], channel="joint", mask=rgba[1, ..., 3] if alpha != "frame" else None)
    for rho, frame in zip(maps, rgba, strict=True):
        tolerances.assert_same_bits(rho, Reference(rgba[1], channel="joint", alpha=alpha).ncc(frame))
        mask = frame[..., 3] if alpha != "reference" else None
        tolerances.assert_same_bits(rho, plain.ncc(frame[..., :3], mask=mask))


@pytest.mark.parametrize("name", ["why.mkv", "why/%04d.png", "why/%04d.tif", "why/%04d.npy", "why.npy"])
def test_validity_is_written_as_it_is(folder, frames, labels, name) -> None:
    Image.fromarray(labels).save("mask.png")
    report = run(job("out.mp4", validity=name, ncc={"mask": "mask.png", "border": "valid"}))
    reference = Reference(frames[0], mask=labels, border="valid")
    expected = np.stack([reference.ncc(frame, return_validity=True)[1] for frame in frames])
    assert set(np.unique(expected)) > {0, 3, 4}
    if name == "why.npy":
        found = np.load(name)
    elif name == "why.mkv":
        found, _ = decode_gray(folder / name, "uint8", SHAPE)
    else:
        load = np.load if name.endswith("npy") else lambda path: np.asarray(Image.open(path))
        found = np.stack([load(name % index) for index in range(N)])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8
    assert report.others == {"validity": Path(name)}
    rows = read_sidecar(report.sidecar)["frames"]
    for row, codes in zip(rows, expected, strict=True):
        assert row["code_shares"] == [float(np.mean(codes == code)) for code in range(10)]
        assert row["valid_share"] == row["code_shares"][0]


def test_the_maps_do_not_change_with_a_validity_output(folder, labels) -> None:
    Image.fromarray(labels).save("mask.png")
    ncc = {"mask": "mask.png", "radius": [1, 3], "smooth_sigma": 1}
    for threads in (1, 2, 4):
        run(job(f"with{threads}.mkv", validity=f"why{threads}.mkv", threads=threads, ncc=ncc))
    run(job("without.mkv", ncc=ncc))
    assert len({Path(f"{name}.mkv").read_bytes() for name in ("with1", "with2", "with4", "without")}) == 1
    assert len({Path(f"why{threads}.mkv").read_bytes() for threads in (1, 2, 4)}) == 1


def test_any_split_of_the_frames_gives_the_same_bits(folder, labels) -> None:
    moving = (media.random_frames(120, *SHAPE, seed=3) > 40).astype(np.uint8)
    np.save("moving.npy", moving)
    ncc = {"mask": "moving.npy", "radius": [1, 3], "channel": "joint", "smooth_sigma": 0.6, "noise_sigma": 2}
    whole = np.load(run(job("whole.npy", ncc=ncc)).output)
    parts = [np.load(run(job(f"{part}.npy", frames=part, ncc=ncc)).output) for part in ("0:1", "1:4", f"4:{N}")]
    tolerances.assert_same_bits(np.concatenate(parts), whole)


def test_an_old_validity_output_is_replaced_or_comes_back(folder, monkeypatch) -> None:
    run(job("out.npy", validity="why/%d.png"))
    with pytest.raises(SpecError, match=r"^output 'out\.npy' exists"):
        run(job("out.npy", validity="other.npy"))
    with pytest.raises(SpecError, match=r"^validity 'why/%d\.png' exists; give --overwrite to replace it"):
        run(job("new.npy", validity="why/%d.png"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = job("out.npy", validity="why/%d.png", frames="0:2", overwrite=True, ncc={"radius": 1})
    with monkeypatch.context() as broken:
        broken.setattr(Move, "carry_out", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(SinkError, match="No space left"):
            run(again)
    assert {path: path.read_bytes() for path in before} == before
    assert visible(folder) == sorted({*(str(path.relative_to(folder)) for path in before), "why"})
    run(again)
    assert sorted(names(folder)) == ["out.npy", "out.npy.json", "why", "why/0.png", "why/1.png"]


def test_masks_that_run_out_fail_the_run_and_leave_nothing(folder) -> None:
    media.write_clip(Path("masks.mkv"), media.random_frames(3, *SHAPE))
    with pytest.raises(SourceError, match=r"^ncc\.mask: 'masks\.mkv' ends before frame 3"):
        run(job("out.mkv", validity="why.mkv", ncc={"mask": "masks.mkv"}))
    assert names(folder) == ["masks.mkv"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ncc": {"rgb_matrix": "bt709"}}, "ncc.rgb_matrix = bt709 cannot apply"),
        ({"ncc": {"alpha": "both"}}, "has no alpha channel that can be read, so ncc.alpha cannot mask it"),
        ({"ncc": {"combine": "max"}}, "ncc: combine = max cannot apply to radius = 3"),
        ({"output": "d/%d.npy", "validity": "d/5.npy"}, "validity 'd/5.npy' is the output itself"),
        ({"output": "d/5.npy", "validity": "d/%d.npy"}, "validity 'd/%d.npy' is the output itself"),
        ({"validity": "why.mp4"}, "validity 'why.mp4' must end in .mkv"),
        ({"validity": "why.png"}, "validity 'why.png' needs a frame number in its name"),
        ({"validity": "out.mkv"}, "validity 'out.mkv' is the output itself"),
        ({"validity": "sub/../out.mkv"}, "is the output itself"),
        ({"ncc": {"mask": "out.mkv"}}, "output 'out.mkv' is the ncc.mask itself"),
    ],
)
def test_what_cannot_apply_is_refused_by_name(folder, options, problem, capsys) -> None:
    with pytest.raises(SpecError) as caught:
        run(job(**{"output": "out.mkv"} | options))
    assert problem in str(caught.value)
    assert names(folder) == []


def test_a_gray_reference_cannot_be_compared_in_colour(folder, frames) -> None:
    Image.fromarray(frames[0]).save("neutral.png")
    with pytest.raises(
        SpecError, match=r"reference 'neutral\.png' is gray, input .* is in colour; ncc\.channel = joint"
    ):
        run(job("out.mkv", reference="neutral.png", ncc={"channel": "joint"}))


def test_describing_names_the_mask_and_writes_nothing(folder, labels) -> None:
    Image.fromarray(labels).save("mask.png")
    plan = describe(job("out.mkv", validity="why.mkv", ncc={"mask": "mask.png", "mask_labels": [2]}))
    assert plan["mask"]["kind"] == "one for the whole job"
    assert plan["validity"] == str(folder / "why.mkv")
    assert json.dumps(plan)
    assert names(folder) == ["mask.png"]


def test_a_config_files_mask_is_beside_it(folder, labels) -> None:
    Path("job").mkdir()
    Image.fromarray(labels).save("job/mask.png")
    Path("job/job.toml").write_text(
        f'input = "{FOOTAGE}"\noutput = "out.npy"\nreference = 0\nframes = "0:2"\nvalidity = "why.npy"\n'
        '[ncc]\nmask = "mask.png"\nmask_labels = [1, 2]\n'
    )
    result = command("run", "--config", "job/job.toml")
    assert (result.returncode, result.stdout) == (0, "job/out.npy\njob/why.npy\n")
    assert np.array_equal(np.load("job/why.npy")[0] == 4, ~np.isin(labels, [1, 2]))


def test_flags_choose_mask_and_labels(folder, labels, capsys) -> None:
    Image.fromarray(labels).save("mask.png")
    words = ["run", str(FOOTAGE), "out.npy", "--reference", "0", "--frames", "0:1", "--ncc.mask", "mask.png"]
    assert main([*words, "--ncc.mask-labels", "1,3", "--validity", "why.npy"]) == 0
    assert np.array_equal(np.load("why.npy")[0] == 4, ~np.isin(labels, [1, 3]))
    assert main([*words, "--ncc.mask-labels", "9", "--overwrite"]) == 2
    assert "ncc.mask: 'mask.png' has no pixel of label 9" in capsys.readouterr().err
