"""Which channels of an EXR are the field: read where that is clear, otherwise refused with the way out."""

import numpy as np
import pytest
from field_files import H, W, ramp, write_exr
from running import command

from framencc.errors import SourceError
from framencc.fields import read_field
from framencc.fields.files import load_field
from framencc.sidecar import read_sidecar

X, Y = ramp()[..., 0], ramp()[..., 1]


def written(folder, horizontal, vertical, *others):
    return write_exr(folder / "f.exr", {horizontal: X, vertical: Y, **dict.fromkeys(others, X[::-1])})


@pytest.mark.parametrize(
    "names",
    [
        ("U", "V"),
        ("X", "Y"),
        ("Dx", "Dy"),
        ("DX", "DY"),
        ("r", "g", "b"),
        ("U", "v"),
        ("red", "green", "blue", "alpha"),
        ("stmap.red", "stmap.green"),
        ("Motion.X", "Motion.Y"),
        ("motion.x", "motion.y", "motion.z"),
        ("Vector.X", "Vector.Y"),
        ("forward.U", "forward.V"),
        ("View.L.U", "View.L.V", "Z"),
        ("U", "V", "valid"),
        ("u", "v", "N.X", "N.Y", "N.Z"),
        ("dx", "dy", "Vector.X", "Vector.Y", "Vector.Z", "Vector.W"),
    ],
)
def test_a_pair_is_read_in_any_case(tmp_path, names) -> None:
    np.testing.assert_array_equal(read_field(written(tmp_path, *names), (H, W)), ramp())


@pytest.mark.parametrize(
    "names",
    [
        ("u", "v", "U", "V"),
        ("u", "v", "V"),
        ("R", "G", "B", "U", "V"),
        ("R", "G", "Motion.X", "Motion.Y"),
        ("forward.u", "forward.v", "backward.u", "backward.v"),
        ("Left.U", "Left.V", "Right.U", "Right.V"),
        ("R", "G", "stmap.red", "stmap.green"),
        ("x", "y", "dx", "dy"),
    ],
)
def test_two_readings_are_refused_and_both_are_named(tmp_path, names) -> None:
    with pytest.raises(SourceError, match=r"has more than one pair of channels that may .*; keep only one$"):
        read_field(written(tmp_path, *names), (H, W))


@pytest.mark.parametrize("layer", ["", "Vector.", "ViewLayer.Vector.", "vector."])
@pytest.mark.parametrize("names", ["XYZW", "xyzw"])
def test_the_motion_to_two_frames_is_refused_with_the_names_that_are_read(tmp_path, layer, names) -> None:
    x, y, z, w = (layer + name for name in names)
    with pytest.raises(
        SourceError, match=r"two lead to the frame before and two to the next.*; rename .* to dx and dy$"
    ):
        read_field(written(tmp_path, x, y, z, w), (H, W))


@pytest.mark.parametrize("colours", [("R", "G", "B", "A"), ("Combined.R", "Combined.G", "Combined.B")])
def test_a_picture_beside_the_motion_to_two_frames_is_not_the_field(tmp_path, colours) -> None:
    vector = [f"ViewLayer.Vector.{name}" for name in "XYZW"]
    with pytest.raises(SourceError, match=r"of the four in 'ViewLayer.Vector' two lead to the frame before"):
        read_field(written(tmp_path, *colours, *vector), (H, W))


@pytest.mark.parametrize("names", [("A", "B"), ("flow.0", "flow.1"), ("U", "Z"), ("a.U", "b.V"), ("horizontal", "Y")])
def test_other_names_are_refused_with_the_way_to_rename_them(tmp_path, names) -> None:
    with pytest.raises(SourceError, match=r"has channels .*\(u, v\).*, in capitals or not: rename its two channels$"):
        read_field(written(tmp_path, *names), (H, W))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("U", "V"), ()),
        (("R", "G", "B", "A"), ()),
        (("motion.x", "motion.y", "other.mask"), ()),
        (("forward.u", "forward.v"), ("Nuke counts v upwards and framencc downwards",)),
        (("main.backward.u", "main.backward.v"), ("negate main.backward.v if Nuke has written it",)),
        (("u", "v", "valid"), ("has a channel 'valid' beside u and v, which is not read: NaN marks",)),
        (("a.U", "a.V", "a.Mask"), ("has a channel 'a.Mask' beside a.U and a.V",)),
    ],
)
def test_what_a_user_should_know_of_the_channels_is_said(tmp_path, names, said) -> None:
    notes = load_field(written(tmp_path, *names), (H, W), convention="displacement").notes
    assert len(notes) == len(said)
    for note, text in zip(notes, said, strict=True):
        assert text in note.text


def test_a_run_with_a_warning_says_it_once_on_stderr_and_in_the_sidecar(tmp_path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "in.npy", rng.integers(0, 256, (2, 24, 32), dtype=np.uint8))
    planes = dict.fromkeys(["forward.u", "forward.v"], np.zeros((24, 32), np.float32))
    for number in range(2):
        write_exr(tmp_path / f"f_{number}.exr", planes)
    options = ("--warp", "field", "--warp.field", "f_%d.exr", "-q")
    result = command("run", "in.npy", "o.npy", "--reference", "0", *options, cwd=tmp_path)
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("framencc: warning: warp.field 'f_%d.exr' has channels forward.u and forward.v")
    assert read_sidecar(tmp_path / "o.npy.json")["warnings"] == [line.removeprefix("framencc: warning: ")]
