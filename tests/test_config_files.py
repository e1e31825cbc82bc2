"""A config file among other files and beside other options: where its paths lead, and what it is blamed for."""

import media
import pytest
from PIL import Image

from framencc.config import load_config
from framencc.errors import SpecError
from framencc.pipeline import run


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"ncc": {"radius": "500"}}, "^ncc.radius: must be a whole number of pixels from 1 to 127, not 500$"),
        ({"ncc": {"flat": 2}}, r"^ncc.flat: must be between -1 and 1, or nan \(got 2\)$"),
        ({"ncc": {"raduis": 5}}, r"^unknown option 'ncc.raduis'; did you mean 'ncc.radius'\?$"),
        ({"ncc": {"noise_sigma": 2}}, "^config '.*ok.toml' and what was given with it: ncc: flat = nan needs noise_si"),
        ({"output": "b.avi"}, "^config '.*ok.toml' and what was given with it: output 'b.avi' must end in"),
        ({"ncc": {"smooth_sigma": 1}}, r"^config '.*ok.toml': limits.stall_seconds: input should be greater than 0$"),
    ],
)
def test_a_config_is_not_blamed_for_what_was_given_beside_it(tmp_path, overrides, message):
    wrong = "stall_seconds = 0" if "smooth_sigma" in str(overrides) else ""
    path = tmp_path / "ok.toml"
    path.write_text(f'input = "a"\noutput = "b.npy"\nreference = 0\n[ncc]\nflat = nan\n[limits]\n{wrong}\n')
    with pytest.raises(SpecError, match=message):
        load_config(path, overrides)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "job.toml").write_text('input = "a"\noutput = "b.npy"\nreference = 7\n', encoding="utf-8-sig")
    assert load_config(tmp_path / "job.toml").reference == 7


def test_a_number_of_thousands_of_digits_is_told(tmp_path):
    (tmp_path / "job.toml").write_text("reference = " + "9" * 5000)
    with pytest.raises(SpecError, match=r"job\.toml' is not valid TOML: "):
        load_config(tmp_path / "job.toml")


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "{a = " * 3000, "a." * 3000 + "a = 1"])
def test_values_that_are_nested_too_deeply_are_told(tmp_path, text):
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(SpecError, match=r"job\.toml' is not valid TOML: |unknown option"):
        load_config(tmp_path / "job.toml")


@pytest.mark.parametrize("folder", ["cfg[1]", "what?", "a*b"])
def test_a_glob_is_relative_to_a_folder_whose_name_looks_like_one(tmp_path, folder):
    folder = tmp_path / folder
    for name in ("frames", "masks"):
        (folder / name).mkdir(parents=True)
        for index, picture in enumerate(media.random_frames(2)):
            Image.fromarray(picture | 1).save(folder / name / f"{index}.png")
    (folder / "job.toml").write_text(
        'input = "frames/*.png"\noutput = "out[1]/%03d.png"\nreference = "frames/0.png"\n[ncc]\nmask = "masks/?.png"\n'
    )
    spec = load_config(folder / "job.toml")
    assert run(spec).n_frames == 2
    assert sorted(path.name for path in (folder / "out[1]").glob("*.png")) == ["000.png", "001.png"]
    sequence = load_config(folder / "job.toml", {"input": str(folder / "frames/%d.png"), "ncc": {"mask": None}})
    assert run(sequence.model_copy(update={"overwrite": True})).n_frames == 2


def test_a_name_that_exists_is_no_glob(tmp_path):
    folder = tmp_path / "cfg[1]"
    (folder / "frames[2]").mkdir(parents=True)
    path = folder / "job.toml"
    for written, expected in {
        "frames[2]": folder / "frames[2]",
        "frames[2]/%04d.png": folder / "frames[2]/%04d.png",
        "absent.mp4": folder / "absent.mp4",
        "frames/*.png": tmp_path / "cfg[1]/frames/*.png",
        "/frames/*.png": "/frames/*.png",
    }.items():
        path.write_text(f'input = "{written}"\noutput = "b.npy"\nreference = "n[1].png"\n')
        spec = load_config(path)
        assert spec.input == str(expected)
        assert (spec.output, spec.reference) == (str(folder / "b.npy"), str(folder / "n[1].png"))
