"""Every option is a flag, with the same words in the help; flags win over the config file."""

import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from running import command

from framencc.cli import main
from framencc.config import make_spec
from framencc.pipeline import RunReport
from framencc.spec import RunSpec, leaf_fields

LEAVES = dict(leaf_fields(RunSpec))
JOB = {"input": "a.mp4", "output": "b.mkv", "reference": 0}


@pytest.fixture
def asked(monkeypatch):
    """Give the command line, get the job that it would have run."""
    specs = []

    def note(spec, *, progress, opening):
        specs.append(spec)
        return RunReport(Path(spec.output), Path(spec.output + ".json"), 1, 0.5, 1.0)

    monkeypatch.setattr("framencc.pipeline.run", note)

    def ask(*words):
        specs.clear()
        assert main(["run", "-q", *map(str, words)]) == 0
        (spec,) = specs
        return spec

    return ask


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def choices(annotation):
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in choices(part)]


def _methods(*names):
    return {f"warp.{name}": {"warp": {"method": names[-1]}} for name in names[:-1]}


# What an option cannot do without.
NEEDED = {
    "ncc.mask_labels": {"ncc": {"mask": "face.png"}},
    "scores.region_names": {"scores": {"regions": "regions.png"}},
    "ncc.combine": {"ncc": {"radius": [2, 3]}},
    "warped": {"warp": {"method": "translation"}},
    "fields": {"warp": {"method": "translation"}},
    "warp.method": {"warp": {}},
    **_methods("interpolation", "estimation_size", "region", "upsample_factor", "window", "restart", "translation"),
    **_methods("normalisation_sigma", "max_iterations", "epsilon", "on_failure", "affine"),
    **_methods("preset", "warm_start", "forward_backward", "forward_backward_limit", "forward_backward_scale", "flow"),
    "warp.field": {"warp": {"method": "field"}},
    "warp.field_convention": {"warp": {"method": "field", "field": "f/%d.flo"}},
}


def job_with(name, value):
    """Return a job with one option set, and what that option cannot do without."""
    given = nested(name, value)
    for section, others in NEEDED.get(name, {}).items():
        if isinstance(others, dict):
            given[section] = {**others, **given.get(section, {})}
    return JOB | given


def other_value(name):
    """Find a legal value of an option, other than its default where there is one."""
    field = LEAVES[name]
    for value in [*(field.examples or ()), *reversed(choices(field.annotation)), True, False, 2, 0.25]:
        try:
            make_spec(job_with(name, value))
        except ValueError:
            continue
        if value != field.default or choices(field.annotation) == [value]:
            return value
    raise AssertionError(f"no value found for {name}")


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_is_a_flag(asked, name):
    value = other_value(name)
    words = {part: f"--{part}={given}" for part, given in JOB.items()}
    flag = "--" + name.replace("_", "-")
    words[name] = flag if value is True else f"{flag}={value}"
    for section, others in NEEDED.get(name, {}).items():
        words |= {f"{section}.{other}": f"--{section}.{other}={given}" for other, given in others.items()}
    assert asked(*words.values()) == make_spec(job_with(name, value))


def test_every_option_is_in_the_help_with_its_description():
    result = command("run", "--help", COLUMNS="500")  # in a process of its own: the width is looked up once
    assert result.returncode == 0
    shown = re.sub(r"[\s│]", "", result.stdout)
    for name, field in LEAVES.items():
        assert "--" + name.replace("_", "-") in shown
        assert re.sub(r"\s", "", field.description) in shown


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("--radius=5", "--ncc.radius=5"),
        ("--warp=none", "--warp.method=none"),
        ("--scores=s.csv", "--scores.path=s.csv"),
    ],
)
def test_shortcuts_mean_the_same_as_the_full_names(asked, short, long):
    job = ("a.mp4", "b.mkv", "--reference", "neutral.png")
    assert asked(*job, short) == asked(*job, long)


@pytest.mark.parametrize("flag", ["--ncc.noise-sigma", "--threads", "--radius"])
def test_none_is_no_number(flag, capfd):
    assert main(["run", "a.mp4", "b.mkv", "--reference", "0", flag, "none"]) == 2
    assert re.fullmatch(r"framencc: error: .*none.*\n", capfd.readouterr().err)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--reference", "7"], 7),
        (["--reference", "./7"], "./7"),
        (["--reference", "3.5"], "3.5"),
        (["--reference=a b.png"], "a b.png"),
    ],
)
def test_a_reference_is_an_index_only_if_it_is_a_whole_number(asked, words, value):
    assert asked("a.mp4", "b.mkv", *words).reference == value


def test_flags_win_over_the_config_and_the_config_over_the_defaults(asked, tmp_path):
    (tmp_path / "job.toml").write_text(
        'input = "a.mp4"\noutput = "b.mkv"\nreference = 3\noverwrite = true\n[ncc]\nradius = 5\nflat = 0.5\n'
    )
    spec = asked("--config", tmp_path / "job.toml", "--radius", 7, "--no-overwrite")
    assert (spec.ncc.radius, spec.ncc.flat, spec.ncc.border) == (7, 0.5, "shrink")
    assert (spec.reference, spec.overwrite) == (3, False)


def test_paths_in_a_config_are_relative_to_it_and_paths_in_flags_are_not(asked, tmp_path, monkeypatch):
    (tmp_path / "jobs").mkdir()
    config = tmp_path / "jobs/job.toml"
    config.write_text(f'input = "a.mp4"\noutput = "../b.mkv"\nreference = "{tmp_path}/n.png"\n')
    monkeypatch.chdir(tmp_path)
    spec = asked("--config", "jobs/job.toml")
    assert (Path(spec.input), Path(spec.output)) == (Path("jobs/a.mp4"), Path("jobs/../b.mkv"))
    assert spec.reference == f"{tmp_path}/n.png"
    spec = asked("c.mp4", "d.mkv", "--config", "jobs/job.toml", "--reference", "n.png")
    assert (spec.input, spec.output, spec.reference) == ("c.mp4", "d.mkv", "n.png")
