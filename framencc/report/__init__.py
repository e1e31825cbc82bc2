"""A run as a page that people open: one HTML file that shows where and when the match breaks."""

from pathlib import Path

from framencc.report.comparison import comparison_page
from framencc.report.extras import import_jinja2, plotly_script
from framencc.report.overview import run_page
from framencc.report.page import publish, render, target_for
from framencc.report.runs import read_run

__all__ = ["write_comparison", "write_report"]


def write_report(run: str | Path, target: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the report of a finished run.

    Parameters
    ----------
    run
        The run's output or its sidecar.
    target
        The page; beside the output, as ``OUTPUT.html``, if omitted.
    overwrite
        Replace what is there.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    MissingExtraError
        When Jinja or Plotly is not installed.
    SourceError
        When there is no sidecar, or it cannot be understood. Other files of the run may be gone: the report then does
        without them, and says so.
    SpecError
        When the page exists and may not be replaced, or is no .html.
    SinkError
        When it cannot be written.
    """
    import_jinja2()  # said before any work
    plotly_script()
    read = read_run(run)
    path = target_for(read.sidecar.with_name(read.name + ".html"), target, overwrite=overwrite)
    return publish(render(*run_page(read, path.absolute().parent)), path)


def write_comparison(
    first: str | Path,
    second: str | Path,
    target: str | Path | None = None,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a report that compares two runs over the same frames of the same input.

    Parameters
    ----------
    first, second
        The runs' outputs or sidecars; differences are the second's values minus the first's.
    target
        The page; beside the first output, as ``FIRST.vs.SECOND.html``, if omitted.
    overwrite
        Replace what is there.
    progress
        Show a progress bar on stderr, if that is a terminal, while all maps are compared.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    MissingExtraError, SourceError, SinkError
        As of `write_report`.
    SpecError
        When the runs are over different inputs or frames; otherwise as of `write_report`.
    """
    import_jinja2()
    plotly_script()
    runs = read_run(first), read_run(second)
    default = runs[0].sidecar.with_name(f"{runs[0].name}.vs.{runs[1].name}.html")
    path = target_for(default, target, overwrite=overwrite)
    return publish(render(*comparison_page(*runs, path.absolute().parent, progress=progress)), path)
