"""The one door to Jinja and Plotly, which are optional extras."""

from typing import Any

from framencc.errors import MissingExtraError


def import_jinja2() -> Any:
    """Import Jinja, which fills in the page.

    Raises
    ------
    MissingExtraError
        With the command that installs it.
    """
    try:
        import jinja2  # noqa: PLC0415  (an optional extra)
    except ImportError:
        raise _missing("Jinja") from None
    return jinja2


def plotly_script() -> str:
    """Return plotly.js, the program that draws the timeline, whole: a report loads nothing from anywhere.

    Raises
    ------
    MissingExtraError
        With the command that installs it.
    """
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415  (an optional extra)
    except ImportError:
        raise _missing("Plotly") from None
    return str(get_plotlyjs())


def _missing(what: str) -> MissingExtraError:
    return MissingExtraError(f'a report needs {what}; install it with: pip install "framencc[report]"')
