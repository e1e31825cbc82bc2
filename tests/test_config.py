"""The spec and its config files: one home of names, defaults and ranges, and no value that passes in silence."""

import json
import math
import tomllib
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from running import assert_nothing_runs
from sink_readback import names

from framencc.cli import main
from framencc.config import load_config, make_ncc_spec, make_spec
from framencc.errors import SpecError
from framencc.sidecar import read_sidecar
from framencc.spec import (
    FRAME_NUMBER_PATTERN,
    MAX_FRAME_NUMBER,
    LimitsSpec,
    OutputFormatSpec,
    RunSpec,
    is_sequence_pattern,
    leaf_fields,
    parse_frames,
    resolve_encoding,
)
from framencc.spec.ncc import MAX_FLOAT, NccSpec

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.toml"))
JOB = {"input": "a.mp4", "output": "b.mkv", "reference": 0}


def leaves_of(values, prefix=""):
    found = []
    for name, value in values.items():
        found += leaves_of(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return found


def test_the_printed_config_is_the_one_in_the_repository(capsys):
    assert main(["config"]) == 0
    printed = capsys.readouterr().out
    assert printed.encode() == (CONFIGS[0].parent / "full.toml").read_bytes()


def test_the_printed_config_loads_and_holds_the_defaults(tmp_path, capsys):
    main(["config"])
    path = tmp_path / "job.toml"
    path.write_text(capsys.readouterr().out)
    spec = load_config(path)
    given = {name: getattr(spec, name) for name in ("input", "output", "reference")}
    assert spec == RunSpec(**given)
    examples = {name: RunSpec.model_fields[name].examples[0] for name in given}
    assert given == {name: str(tmp_path / example) for name, example in examples.items()}


def test_the_printed_config_names_every_option_in_the_specs_order(capsys):
    main(["config"])
    lines = capsys.readouterr().out.splitlines()
    # An option without a default stands there as a comment that shows an example.
    uncommented = [line.removeprefix("# ") if line.startswith("# ") and " = " in line[:30] else line for line in lines]
    assert leaves_of(tomllib.loads("\n".join(uncommented))) == [name for name, _ in leaf_fields(RunSpec)]


def test_the_printed_config_says_what_each_option_means(capsys):
    main(["config"])
    text = "".join(capsys.readouterr().out.split()).replace("#", "")
    for name, field in leaf_fields(RunSpec):
        assert field.description, name
        assert "".join(field.description.split()) in text


def test_the_schema_is_json_and_names_every_option(capsys):
    assert main(["config", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)

    def properties(part):
        found = {}
        for name, value in part["properties"].items():
            below = schema["$defs"][value["$ref"].rsplit("/", 1)[1]] if "$ref" in value else value
            found[name] = properties(below) if "properties" in below else {}
            assert "properties" in below or value["description"]
        return found

    def flat(tree, prefix=""):
        for name, below in tree.items():
            yield from flat(below, f"{prefix}{name}.") if below else [prefix + name]

    assert list(flat(properties(schema))) == [name for name, _ in leaf_fields(RunSpec)]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads_and_runs(path, tmp_path, capfd):
    spec = load_config(path)
    output = tmp_path / Path(spec.output).name
    own = {"input": str(media.footage()), "output": str(output), "reference": 0, "frames": "0:3"}
    own |= {name: str(tmp_path / Path(other).name) for name, other in spec.outputs.items() if name != "output"}
    expected = [own[name] for name in spec.outputs]
    words = [f"--{name}={value}" for name, value in own.items()]
    ncc, warp = spec.ncc, spec.warp
    if warp.field is not None:
        fields = np.lib.format.open_memmap(tmp_path / "fields.npy", "w+", np.float32, (120, 144, 176, 2))
        fields[:] = 0.25
        del fields
        words.append(f"--warp.field={tmp_path / 'fields.npy'}")
        warp = warp.model_copy(update={"field": str(tmp_path / "fields.npy")})
    if ncc.mask is not None:
        labels = np.zeros((144, 176), np.uint8)
        labels[20:90, 50:130], labels[100:, 20:150] = ncc.mask_labels
        np.save(tmp_path / "mask.npy", labels)
        words.append(f"--ncc.mask={tmp_path / 'mask.npy'}")
        ncc = ncc.model_copy(update={"mask": str(tmp_path / "mask.npy")})
    assert main(["run", *words, "--config", str(path)]) == 0
    assert capfd.readouterr().out.splitlines() == expected
    sidecar = read_sidecar(f"{output}.json")
    assert sidecar["summary"]["n_frames"] == 3
    assert make_spec(sidecar["spec"]) == spec.model_copy(update={**own, "ncc": ncc, "warp": warp})
    made = {*expected, f"{output}.json", *tmp_path.glob("mask.npy"), *tmp_path.glob("fields.npy")}
    assert {tmp_path / name for name in names(tmp_path)} == set(map(Path, made))
    assert_nothing_runs()


def test_a_config_may_set_everything(tmp_path):
    (tmp_path / "job.toml").write_text(
        """
        input = "in/%04d.png"
        output = "/elsewhere/out.npy"
        reference = "neutral.png"
        frames = "0:300:2"
        frame_rate = 30
        allow_gaps = true
        threads = 1
        [ncc]
        radius = 5
        flat = nan
        [output_format]
        encoding = "signed"
        bits = 16
        [limits]
        stall_seconds = 5
        """
    )
    spec = load_config(tmp_path / "job.toml")
    assert spec == RunSpec(
        input=f"{tmp_path}/in/%04d.png",
        output="/elsewhere/out.npy",
        reference=f"{tmp_path}/neutral.png",
        frames="0:300:2",
        frame_rate="30",
        allow_gaps=True,
        threads=1,
        ncc=NccSpec(radius=5, flat=spec.ncc.flat),
        output_format=OutputFormatSpec(encoding="signed", bits=16),
        limits=LimitsSpec(stall_seconds=5),
    )
    assert math.isnan(spec.ncc.flat)


def test_overrides_win_name_by_name(tmp_path):
    (tmp_path / "job.toml").write_text(
        'input = "a.mp4"\noutput = "b.mkv"\nreference = 1\n[ncc]\nradius = 5\nflat = 1\n'
    )
    spec = load_config(tmp_path / "job.toml", {"output": "c.mkv", "ncc": {"radius": 9}})
    assert (spec.input, spec.output, spec.reference) == (f"{tmp_path}/a.mp4", "c.mkv", 1)
    assert (spec.ncc.radius, spec.ncc.flat) == (9, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inptu = 3", "unknown option 'inptu'; did you mean 'input'?"),
        ("[ncc]\nflatt = 1", "unknown option 'ncc.flatt'; did you mean 'ncc.flat'?"),
        ("[limits]\nradius = 1", "unknown option 'limits.radius'; did you mean 'ncc.radius'?"),
        ("radius = 1", "unknown option 'radius'; did you mean 'ncc.radius'?"),
        ("ncc = 3", "ncc: input should be a valid dictionary or instance of NccSpec (got 3)"),
        ("frames = 3", "frames: input should be a valid string (got 3)"),
        ("[input]\npath = 3", "input: input should be a valid string"),
        ("reference = true", "reference: must be a picture's path or a frame index (got True)"),
        ("[output_format]\nbits = 12", "output_format.bits: input should be 8 or 16 (got 12)"),
        ("[ncc]\nnoise_sigma = inf", "ncc.noise_sigma: input should be a finite number (got inf)"),
        ("[ncc]\nflat = 1.5", "ncc.flat: must be between -1 and 1, or nan (got 1.5)"),
        ("[ncc]\nfill = inf", "ncc.fill: must be a finite number within the range of float32, or nan (got inf)"),
        ("[ncc]\nflat = nan\nnoise_sigma = 1", "ncc: flat = nan needs noise_sigma = 0"),
        ("[ncc]\nradius = 3.5", "ncc.radius: "),
        ("[limits]\nstall_seconds = -1", "limits.stall_seconds: input should be greater than 0 (got -1)"),
        ("frame_rate = 0", "frame_rate: must be frames per second, such as 25 or 30000/1001, not 0"),
        ('frame_rate = "25/0"', "frame_rate: must be frames per second, such as 25 or 30000/1001, not '25/0'"),
        ('frame_rate = "fast"', "frame_rate: must be frames per second, such as 25 or 30000/1001, not 'fast'"),
        ('frames = "1-3"', "frames: must be start:stop or start:stop:step, counted from 0, not '1-3'"),
        ('frames = "0:9:0"', "frames: the step must be at least 1"),
        ("threads = 0", "threads: input should be greater than or equal to 1 (got 0)"),
    ],
)
def test_a_wrong_config_is_one_line_that_names_the_option(tmp_path, text, message):
    path = tmp_path / "job.toml"
    path.write_text(
        'output = "b.mkv"\n'
        + ("" if "reference" in text else "reference = 0\n")
        + ("" if "[input]" in text else 'input = "a.mp4"\n')
        + text
    )
    with pytest.raises(SpecError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"config {str(path)!r}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["input", "output", "reference"])
def test_what_has_no_default_must_be_given(name):
    with pytest.raises(SpecError, match=f"^{name} is missing$"):
        make_spec({other: value for other, value in JOB.items() if other != name})


def test_a_spec_cannot_be_changed():
    spec = make_spec(JOB)
    with pytest.raises(ValidationError, match="frozen"):
        spec.input = "c.mp4"
    with pytest.raises(ValidationError, match="frozen"):
        spec.ncc.radius = 4


def test_numbers_of_numpy_and_paths_are_taken_and_truth_is_no_number():
    spec = RunSpec(input=Path("a.mp4"), output=Path("b.mkv"), reference=Path("n.png"))
    assert (spec.input, spec.output, spec.reference) == ("a.mp4", "b.mkv", "n.png")
    spec = make_ncc_spec(radius=np.int64(4), flat=np.float32(0.5), noise_sigma=2)
    assert (spec.radius, spec.flat, spec.noise_sigma) == (4, 0.5, 2.0)
    for truth in (True, np.True_):
        with pytest.raises(SpecError, match=r"^radius: "):
            make_ncc_spec(radius=truth)
        with pytest.raises(SpecError, match=r"^flat: a number is expected"):
            make_ncc_spec(flat=truth)


@pytest.mark.parametrize(("radius", "legal"), [(0, False), (1, True), (127, True), (128, False), (-3, False)])
def test_the_range_of_the_radius(radius, legal):
    if legal:
        assert make_ncc_spec(radius=radius).radius == radius
        return
    with pytest.raises(SpecError, match=rf"^radius: .*{radius}"):
        make_ncc_spec(radius=radius)


@settings(deadline=None)
@given(
    start=st.none() | st.integers(0, 50),
    length=st.none() | st.integers(1, 50),
    step=st.none() | st.integers(1, 60),
    spaces=st.sampled_from(["", " "]),
)
def test_frames_mean_what_a_slice_means(start, length, step, spaces):
    stop = None if length is None else (start or 0) + length
    parts = ["" if part is None else str(part) for part in (start, stop, step)]
    text = (spaces + ":" + spaces).join(parts if step is not None else parts[:2])
    assert list(range(100))[parse_frames(text)] == list(range(100))[slice(start, stop, step)]


@pytest.mark.parametrize(
    "text", ["", "3", "-1:", ":-1", "1:2:3:4", "1.5:2", "a:b", "5:5", "5:4", "0:0", "::0", "1:2:-1"]
)
def test_frames_that_mean_nothing_are_refused(text):
    with pytest.raises(ValueError, match=r"must be start:stop|selects no frame|at least 1"):
        parse_frames(text)


@pytest.mark.parametrize(
    ("output", "options", "encoding"),
    [
        ("a.mkv", {}, "clip"),
        ("a.MP4", {}, "clip"),
        ("a.mov", {"encoding": "signed"}, "signed"),
        ("a.mkv", {"bits": 16}, "clip"),
        ("a.mkv", {"codec": "h264"}, "clip"),
        ("a.npy", {}, "float"),
        ("a.npy", {"encoding": "clip", "bits": 16}, "clip"),
        ("d/%06d.npy", {}, "float"),
        ("done_100%done.npy", {}, "float"),
        ("d/%06d.png", {}, "clip"),
        ("d/%d.tif", {}, "float"),
        ("d/%d.tiff", {"encoding": "signed"}, "signed"),
    ],
)
def test_the_encoding_of_an_output(output, options, encoding):
    assert make_spec(JOB | {"output": output, "output_format": options}).encoding == encoding


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("a", {}, "must end in one of"),
        ("a.avi", {}, "must end in one of"),
        ("d/%06d", {}, "must end in one of"),
        ("a.png", {}, "needs a frame number in its name, such as dir/%06d.png"),
        ("%d/a.tif", {}, "needs a frame number"),
        ("done_100%done.png", {}, "needs a frame number"),
        ("100%%04d.png", {}, "needs a frame number"),
        ("a.mkv", {"encoding": "float"}, "cannot be held by .mkv"),
        ("%d.png", {"encoding": "float"}, "cannot be held by .png"),
        ("a.npy", {"codec": "ffv1"}, "needs a video output"),
        ("a.mp4", {"codec": "ffv1"}, "needs .mkv"),
        ("a.mp4", {"bits": 16}, "bits = 16 cannot be held by H.264"),
        ("a.mkv", {"bits": 16, "codec": "h264"}, "bits = 16 cannot be held by H.264"),
    ],
)
def test_outputs_that_cannot_hold_what_is_asked(output, options, message):
    with pytest.raises(SpecError, match=message):
        make_spec(JOB | {"output": output, "output_format": options})
    with pytest.raises(ValueError, match=message):
        resolve_encoding(output, OutputFormatSpec(**options))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("frame_%04d.png", "%04d"),
        ("%06d.png", "%06d"),
        ("%3d.png", "%3d"),
        ("take_%d.tif", "%d"),
        ("50%_%d_b.tif", "%d"),
        ("f%04dx.png", "%04d"),
        ("f%dx.png", None),
        ("done_100%done.npy", None),
        ("a%%d.npy", None),
        ("a%%04d.npy", None),
        ("a%s.png", None),
        ("%dir/a.png", None),
        ("%04d/a.png", None),
    ],
)
def test_which_names_hold_a_frame_number(name, number):
    match = FRAME_NUMBER_PATTERN.search(Path(name).name)
    assert (match and match[0]) == number
    assert is_sequence_pattern(name) is (number is not None)


@pytest.mark.parametrize("rate", [25, "25", "30000/1001", 23.976, Fraction(24000, 1001)])
def test_frame_rates_are_kept_as_written(rate):
    spec = make_spec(JOB | {"frame_rate": rate})
    assert Fraction(spec.frame_rate) == Fraction(str(rate))


@settings(deadline=None)
@given(
    radius=st.integers(1, 127),
    border=st.sampled_from(["shrink", "valid", "reflect"]),
    flat=st.floats(-1, 1) | st.just(math.nan),
    fill=st.floats(-MAX_FLOAT, MAX_FLOAT) | st.just(math.nan),
    reference=st.integers(0, MAX_FRAME_NUMBER)
    | st.text(min_size=1).filter(lambda text: "\0" not in text and text.isprintable()),
    stall_seconds=st.floats(0.001, 1e6),
)
def test_a_spec_survives_json(radius, border, flat, fill, reference, stall_seconds):
    ncc = {"radius": radius, "border": border, "flat": flat, "fill": fill}
    spec = make_spec(JOB | {"reference": reference, "ncc": ncc, "limits": {"stall_seconds": stall_seconds}})
    back = RunSpec.model_validate(json.loads(spec.model_dump_json()))
    assert back.model_dump_json() == spec.model_dump_json()
    np.testing.assert_equal([back.ncc.flat, back.ncc.fill], [flat, fill])
    assert type(back.reference) is type(reference)
    assert back.reference == reference
