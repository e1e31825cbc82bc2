"""The commands; each is a few lines around one function of the package."""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from framencc import __version__
from framencc.cli.config_text import config_text
from framencc.cli.flags import spell_out, with_spec_flags
from framencc.cli.process import load_compiler
from framencc.cli.signals import work_begins
from framencc.cli.streams import flush_results, results, say
from framencc.config import load_config, make_spec
from framencc.errors import DamagedInputError, FramenccError, SinkError, SpecError
from framencc.spec import RunSpec

if TYPE_CHECKING:
    from framencc.pipeline import RunReport

# The mean of a part always varies more than that of the whole, so less below it tells nothing.
_CLEARLY_LOWER = 0.1

app = App(
    name="framencc",
    help="Measure, pixel by pixel, how well each frame of a face-capture video matches a reference picture.",
    version=__version__,
    version_flags=["--version"],
    help_format="plaintext",
)


def carry_out(words: Sequence[str]) -> None:
    """Carry out one command line.

    Raises
    ------
    SpecError
        When it is none.
    FramenccError
        As the command does.
    """
    try:
        app(spell_out(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise SpecError(str(error)) from None
    except OSError as error:
        if not isinstance(error, FramenccError):
            flush_results()  # help is printed out of our sight; if that has failed, this fails as well, and says why
        raise


def _switch(help_text: str, *names: str) -> Parameter:
    return Parameter(name=names or None, negative="", show_default=False, help=help_text)


Quiet = Annotated[bool, _switch("no progress and no messages", "--quiet", "-q")]
Verbose = Annotated[bool, _switch("say what is done, on stderr", "--verbose", "-v")]
Overwrite = Annotated[bool, _switch("replace existing files")]
DryRun = Annotated[bool, _switch("check everything, say what would be done, write nothing")]
Schema = Annotated[bool, _switch("print the JSON Schema of the config file instead")]
ReportFile = Annotated[
    Path | None, Parameter(name=("--output", "-o"), help="the HTML file; beside the (first) run's output if not given")
]
AsJson = Annotated[bool, _switch("print JSON", "--json")]


@app.command
@with_spec_flags
def run(
    options: dict[str, Any],
    *,
    config: Annotated[Path | None, Parameter(help="a TOML file with the same options; flags win over it")] = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write one confidence map for each frame of INPUT to OUTPUT."""
    spec = load_config(config, options) if config is not None else make_spec(options)
    _set_up_messages(verbose)
    with contextlib.ExitStack() as cleanup:
        opening = None
        if not (dry_run or spec.resume):
            from framencc.ffmpeg import find_ahead  # noqa: PLC0415  (as all that is slow)

            find_ahead()
            from framencc.sources.opening import Opening  # noqa: PLC0415  (brings NumPy)

            opening = cleanup.enter_context(Opening(spec))  # goes on while Numba is being loaded
        from framencc import pipeline  # noqa: PLC0415  (brings Numba)

        _prepare_kernels(quiet=quiet, verbose=verbose)
        work_begins()
        if dry_run:
            _print_json(pipeline.describe(spec))
            return
        try:
            report = pipeline.run(spec, progress=not quiet, opening=opening)
        except DamagedInputError as error:
            _warn(error.warnings)
            raise
    _warn(report.warnings)
    if report.n_damaged:
        damaged = f"{report.n_damaged} of {report.n_frames} frames are damaged and marked invalid"
        say(f"warning: {damaged}; {report.sidecar} says which, and why")
    if not quiet:
        say(f"{_what_was_done(report)}; described in {report.sidecar}")
        if advice := _what_to_look_at(report, spec):
            say(advice)
    with results(f"output {str(report.output)!r} is complete, but its name is not told: "):
        print(report.output)
        for path in report.others.values():
            print(path)


@app.command
def demo(
    directory: Annotated[Path, Parameter(name="DIR", help="where the files go")] = Path("framencc-demo"),
    *,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Make a face clip with known motion, run the whole job on it, and say where to look."""
    from framencc.demo import run_demo  # noqa: PLC0415  (brings Numba)

    _prepare_kernels(quiet=quiet)
    work_begins()
    report = run_demo(directory, overwrite=overwrite, progress=not quiet)
    if not quiet:
        say(
            f"mean confidence on the face {report.face_confidence:.2f}, behind the hand "
            f"{report.occluder_confidence:.2f}, in the open mouth {report.mouth_confidence:.2f}"
        )
        sheet, preview = report.files.contact_sheet, report.files.preview
        say(f"look at {sheet} (static, dynamic, warped, confidence) and play {preview}")
    with results("the demo is complete, but its files' names are not told: "):
        for path in report.files:
            print(path)


@app.command
def probe(
    file: Annotated[str, Parameter(name="FILE", help="a video, a directory of images, a glob, a pattern or a .npy")],
    *,
    as_json: AsJson = False,
) -> None:
    """Say what a source is: size, depth, rate, frames, colour."""
    from framencc.sources import probe_source  # noqa: PLC0415  (brings NumPy)

    work_begins()
    info = probe_source(file)
    facts: dict[str, Any] = {
        "size": f"{info.width} x {info.height}",
        "dtype": str(info.dtype),
        **({"bits": None} if info.code_range is None else info.code_range.as_json()),
        "frame_rate": str(info.frame_rate),
        "n_frames": info.n_frames,
        "time_base": None if info.time_base is None else str(info.time_base),
        **(info.details or {}),
    }
    if as_json:
        _print_json(facts | {"warnings": list(info.warnings)})
        return
    _warn(info.warnings)
    with results():
        for name, value in facts.items():
            print(f"{name:20} {'unknown' if value is None else value}")


@app.command
def verify(
    output: Annotated[str, Parameter(name="OUTPUT", help="the maps, named as when they were made")],
    *,
    quiet: Quiet = False,
) -> None:
    """Decode a finished output and compare every map with what its sidecar says was written."""
    from framencc import verification  # noqa: PLC0415  (brings NumPy)

    work_begins()
    found = verification.verify(output)
    if not found.problems:
        if not quiet:
            counted = f"; those of {', '.join(found.uncompared)} could only be counted" if found.uncompared else ""
            say(f"{found.n_frames} frames of {', '.join(found.outputs)} are as they were written{counted}")
        return
    with results():
        for problem in found.problems:
            print(problem)
    raise SinkError(f"output {output!r} is not as it was written: {len(found.problems)} problems")


@app.command
def report(
    run: Annotated[str, Parameter(name="RUN", help="a run's output or its sidecar")],
    *,
    output: ReportFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the report of a finished run: one HTML file that shows where and when the match breaks."""
    from framencc.report import write_report  # noqa: PLC0415  (brings NumPy)

    work_begins()
    page = write_report(run, output, overwrite=overwrite)
    with results(f"report {str(page)!r} is complete, but its name is not told: "):
        print(page)


@app.command
def compare(
    first: Annotated[str, Parameter(name="A", help="a run's output or its sidecar")],
    second: Annotated[str, Parameter(name="B", help="another run's, over the same frames of the same input")],
    *,
    output: ReportFile = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Compare two runs over the same input in one HTML file: their scores, options and maps."""
    from framencc.report import write_comparison  # noqa: PLC0415  (brings NumPy)

    work_begins()
    page = write_comparison(first, second, output, overwrite=overwrite, progress=not quiet)
    with results(f"report {str(page)!r} is complete, but its name is not told: "):
        print(page)


@app.command
def config(
    *,
    schema: Schema = False,
) -> None:
    """Print a commented config file that holds every option and its default."""
    if schema:
        _print_json(RunSpec.model_json_schema())
    else:
        with results():
            print(config_text(), end="")


@app.command
def warmup(*, quiet: Quiet = False) -> None:
    """Compile the kernels, which takes about a minute, and keep them on disk, so that no run has to wait for it."""
    from framencc.warmup import warm_up  # noqa: PLC0415  (brings Numba)

    seconds = warm_up()
    if not quiet:
        say(f"the kernels are ready ({seconds:.1f} s)")


def _what_was_done(report: "RunReport") -> str:
    mean = "no pixel measured" if report.mean_confidence is None else f"mean confidence {report.mean_confidence:.3f}"
    n_new = report.n_frames - report.n_resumed
    if n_new == 0:
        return f"{report.n_frames} maps, all from before; {mean}"
    kept = f" ({report.n_resumed} from before)" if report.n_resumed else ""
    speed = f"{n_new / report.seconds:.1f} frames/s"
    return f"{report.n_frames} maps{kept} in {report.seconds:.1f} s ({speed}), {mean}"


def _what_to_look_at(report: "RunReport", spec: RunSpec) -> str:
    """Say in one line where a result is at its worst; empty where there is nothing to say."""
    parts = [*_what_was_not_measured(report), *_what_is_lowest(report, spec.scores.threshold)]
    if report.n_failed_warps:
        marked = " (marked invalid)" if spec.warp.on_failure == "invalid" else ""
        parts.append(f"no warp was found for {report.n_failed_warps} of {report.n_frames} frames{marked}")
        parts.append(f"the sidecar says for which, and {'why' if marked else 'what served instead'}")
    return "; ".join(parts)


def _what_was_not_measured(report: "RunReport") -> Iterator[str]:
    if report.unmeasured is not None:
        n_frames, reason = report.unmeasured["n_frames"], report.unmeasured["reason"]
        if n_frames == report.n_frames:
            yield f"nothing was measured in any frame ({reason})"
        else:
            yield (
                f"look first at {_frame(report.unmeasured['first'])}, the first of {n_frames} of {report.n_frames} "
                f"frames in which nothing was measured ({reason})"
            )


def _what_is_lowest(report: "RunReport", threshold: float) -> Iterator[str]:
    lowest, region = report.lowest, report.worst_region
    if lowest is None:
        return
    n_measured, look, frames = report.n_frames, "look first at", "frames"
    if report.unmeasured is not None:
        n_measured, look, frames = n_measured - report.unmeasured["n_frames"], "then at", "measured frames"
    if region is not None and region["value"] < lowest["value"] - _CLEARLY_LOWER:
        below = f" ({region['n_below']} of {n_measured} {frames} are below {threshold:g} there)"
        yield (
            f"{look} {_frame(region)} in {region['name']}, whose mean confidence falls to "
            f"{region['value']:.3f}{below if region['n_below'] else ''}"
        )
        yield f"that of the whole frame is the lowest at {_frame(lowest)}, {lowest['value']:.3f}"
    else:
        yield f"{look} {_frame(lowest)}, whose mean confidence is the lowest, {lowest['value']:.3f}"
    yield f"{report.n_below} of {n_measured} {frames} ({report.n_below / n_measured:.0%}) are below {threshold:g}"


def _frame(place: Mapping[str, Any]) -> str:
    return f"frame {place['index']} ({place['pts_seconds']:.3f} s)"


def _set_up_messages(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="framencc: %(message)s", stream=sys.stderr
    )
    for talkative in ("numba", "PIL", "tifffile", "imageio"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def _prepare_kernels(*, quiet: bool, verbose: bool = False) -> None:
    """Have it said when kernels are compiled, which takes seconds: where a progress bar would be shown, and with -v."""
    from framencc.kernels.compilation import tell_of_compiling  # noqa: PLC0415  (brings Numba)

    load_compiler()
    if verbose or (not quiet and sys.stderr is not None and sys.stderr.isatty()):
        tell_of_compiling(lambda: say("compiling kernels for this machine; this happens once"))


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        say(f"warning: {warning}")


def _print_json(value: Any) -> None:
    with results():
        print(json.dumps(value, indent=2))
