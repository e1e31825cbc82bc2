"""What comparisons of two runs say."""

import json
import re

import numpy as np
import pytest
from report_runs import change, frame_row, real_run, write_sidecar
from running import command
from test_report import NO_NUMBER, column, drawn, seen

from framencc import SpecError
from framencc.report import write_comparison
from framencc.report.differences import compare_maps, difference_colours
from framencc.report.runs import read_run

HEIGHT, WIDTH = 96, 128


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two runs over one clip, into a video and an array."""
    folder = tmp_path_factory.mktemp("pair")
    return real_run(folder, "a.mkv", n_frames=24), real_run(folder, "b.npy", n_frames=24, ncc={"radius": 6})


def measured_again(folder, name, **options):
    """Return the confidences of a run in float64, and where it measured something, by its own codes."""
    why = folder / f"{name}_why.npy"
    maps = np.load(real_run(folder, f"{name}_again.npy", n_frames=24, validity=str(why), **options))
    return np.maximum(maps.astype(np.float64), 0), np.load(why) == 0


def mean_where(size, used):
    return np.array([one[where].mean() for one, where in zip(size, used, strict=True)])


def test_all_maps_are_compared_as_confidences(pair):
    found = compare_maps(*map(read_run, pair))
    ours, first = measured_again(pair[0].parent, "a")
    theirs, second = measured_again(pair[0].parent, "b", ncc={"radius": 6})
    expected = mean_where(np.abs(theirs - ours), first & second)
    np.testing.assert_allclose(found.mean_absolute, expected, atol=0.51 / 255)
    assert sum(found.counts) == (first & second).sum() < 24 * HEIGHT * WIDTH
    assert found.certain
    assert found.panels[0].place == int(np.argmax(expected))
    assert len(found.panels) <= 12


@pytest.mark.parametrize(
    ("shares", "change_spec", "n_used"),
    [
        ([0.5, 0.5], {}, 2),  # as many zeros as windows without texture
        ([0.75, 0.25], {}, 4),  # one of the two zeros is a match that fails: which one is not known
        ([0.75, 0.25], {"ncc": {"flat": 1}}, 3),
        ([0.75, 0.25], {"ncc": {"flat": 1, "smooth_sigma": 1}}, 4),
        ([0.5, 0.5], {"warp": {"forward_backward": "weight"}}, 2),
        ([0.75, 0.25], {"ncc": {"flat": 1}, "warp": {"forward_backward": "weight"}}, 4),
        ([0.75, 0, 0, 0, 0.25], {"ncc": {"fill": 0.5}}, 3),
        ([0.75, 0, 0, 0, 0.25], {"ncc": {"fill": "nan"}}, 4),  # a map with a nan would hold no 0.5 there
    ],
)
def test_without_validity_what_was_measured_is_told_by_its_value(tmp_path, shares, change_spec, n_used):
    np.save(tmp_path / "a.npy", np.array([[[0, 0, 0.5, 1]]], np.float32))
    np.save(tmp_path / "b.npy", np.full((1, 1, 4), 0.25, np.float32))
    runs = []
    for name, codes in (("a.npy", shares), ("b.npy", [1])):
        row = frame_row(0, 0.5, valid_share=codes[0], code_shares=codes + [0] * (9 - len(codes)))
        sidecar = write_sidecar(tmp_path / name, [row], outputs={"output": name}, encoding={"encoding": "float"})
        change(tmp_path / name, lambda content: [content["spec"][key].update(new) for key, new in change_spec.items()])
        runs.append(read_run(sidecar))
    found = compare_maps(*runs)
    assert sum(found.counts) == n_used
    assert found.certain == (n_used == 4 * shares[0] or change_spec.get("ncc") == {"fill": "nan"})


@pytest.mark.parametrize("fill", [0.0, 0.7])
def test_only_what_both_measured_is_compared(tmp_path, fill):
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    masks[0, :60], masks[1, 20:] = 255, 255
    options = []
    for name, mask in zip("ab", masks, strict=True):
        np.save(tmp_path / f"{name}_mask.npy", mask)
        options.append(
            {"ncc": {"mask": str(tmp_path / f"{name}_mask.npy"), "fill": fill, "radius": 2 + 3 * (name == "b")}}
        )
    outputs = [
        real_run(tmp_path, f"{name}.mkv", validity=str(tmp_path / f"{name}_why.mkv"), n_frames=24, **one)
        for name, one in zip("ab", options, strict=True)
    ]
    (ours, first), (theirs, second) = (
        measured_again(tmp_path, name, **one) for name, one in zip("ab", options, strict=True)
    )
    used = first & second
    assert used[:, 20:60].any(axis=(1, 2)).all()
    assert not used[:, :20].any()
    found = compare_maps(*map(read_run, outputs))
    assert found.certain
    np.testing.assert_allclose(found.mean_absolute, mean_where(np.abs(theirs - ours), used), atol=1.01 / 255)
    assert sum(found.counts) == used.sum()
    assert "Gray: not measured in both, and not counted." in seen(write_comparison(*outputs)).text
    (tmp_path / "b_why.mkv").unlink()
    found = compare_maps(*map(read_run, outputs))
    assert [problem for problem in found.problems if "b_why.mkv" in problem]
    assert sum(found.counts) >= used.sum()


def test_a_comparison_shows_scores_options_and_pictures(pair):
    page = write_comparison(*pair)
    assert page == pair[0].with_name("a.mkv.vs.b.npy.html")
    parsed, data = seen(page), drawn(page)
    assert "ncc.radius" in parsed.text
    assert not NO_NUMBER.search(parsed.text)
    rows = [json.loads(path.with_name(path.name + ".json").read_text())["frames"] for path in pair]
    means = np.array([[row["mean_confidence"] for row in one] for one in rows])
    np.testing.assert_allclose(column(data, "difference"), means[1] - means[0], atol=1e-4)
    np.testing.assert_allclose(column(data, "A//mean_confidence"), means[0], atol=1e-4)
    pictures = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert pictures
    assert all("B - A" in picture["alt"] for picture in pictures)


def test_maps_of_other_encodings_do_not_differ_by_their_rounding(tmp_path):
    outputs = [
        real_run(tmp_path, "a.mkv", n_frames=24),
        real_run(tmp_path, "b.mkv", n_frames=24, output_format={"encoding": "signed", "bits": 16}),
        real_run(tmp_path, "c/%03d.tif", n_frames=24),
    ]
    for one in outputs:
        for other in outputs:
            found = compare_maps(read_run(one), read_run(other))
            assert found.panels == []
            assert np.nanmax(found.mean_absolute) == 0
    text = seen(write_comparison(outputs[0], outputs[1])).text
    assert "clip; bits 8, maximum 255" in text
    assert "signed; bits 16, maximum 65535" in text


def test_shares_below_different_thresholds_have_no_difference(tmp_path):
    sidecars = [write_sidecar(tmp_path / name, [frame_row(0, 0.5), frame_row(1, 0.4)]) for name in ("a.mkv", "b.mkv")]
    change(tmp_path / "b.mkv", lambda content: content["spec"]["scores"].update(threshold=0.8))
    text = seen(write_comparison(*sidecars)).text
    row = re.search(r"share below 0\.5 in A, 0\.8 in B\W*\d\.\d{3}\W*?\d\.\d{3}\s*(\S)", text)
    assert row is not None, text
    assert row.group(1) == "–"


def test_a_run_compared_with_itself_differs_in_nothing(pair, tmp_path):
    page = seen(write_comparison(pair[0], pair[0], tmp_path / "page.html"))
    assert "the same mean confidence in every frame" in page.text
    assert "Both runs have the same options." in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_maps_that_are_gone_leave_the_scores(tmp_path):
    outputs = [real_run(tmp_path, name, n_frames=24) for name in ("a.mkv", "b.mkv")]
    outputs[1].unlink()
    page = seen(write_comparison(*outputs))
    assert "the maps cannot be compared" in page.text


def test_runs_over_other_inputs_or_frames_are_refused(pair, tmp_path):
    other = real_run(tmp_path, "c.mkv", n_frames=20)
    with pytest.raises(SpecError, match=r"^[^\n]*different inputs, '.*take\.mkv' and '.*take\.mkv'$"):
        write_comparison(pair[0], other)
    part = real_run(pair[0].parent, "part.mkv", frames="2:9")
    with pytest.raises(SpecError, match=r"different frames, 24 frames \(0 to 23\) and 7 frames \(2 to 8\)$"):
        write_comparison(pair[0], part)
    result = command("compare", pair[0], part)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert not list(pair[0].parent.glob("*part*.html"))


def test_a_moved_input_is_the_same_input(tmp_path):
    outputs = [real_run(tmp_path, name, n_frames=24) for name in ("a.mkv", "b.mkv")]
    change(outputs[1], lambda content: content["input"].update(path="/elsewhere/take.mkv", modified="2020"))
    assert write_comparison(*outputs).is_file()


def test_maps_without_numbers_and_runs_without_maps(tmp_path):
    sidecars = [write_sidecar(tmp_path / name, [frame_row(0, None), frame_row(1, 0.5)]) for name in ("a.mkv", "b.mkv")]
    page = write_comparison(*sidecars)
    assert not NO_NUMBER.search(seen(page).text)
    assert column(drawn(page), "difference") == [None, 0]


def test_colours_of_differences():
    colours = difference_colours(np.array([[0.0, 1, -1, np.nan]], np.float32))
    assert colours.tolist() == [[[245, 245, 245], [230, 120, 0], [0, 105, 200], [150, 150, 150]]]


def test_the_command(pair, tmp_path):
    page = tmp_path / "page.html"
    result = command("compare", *pair, "-o", page)
    assert (result.returncode, result.stderr, result.stdout) == (0, "", f"{page}\n")
    assert re.search(r"<title>a.mkv and b.npy", page.read_text(encoding="utf-8"))
