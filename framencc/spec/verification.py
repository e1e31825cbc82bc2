"""How outputs are checked before they take their names."""

from typing import Literal

Verification = Literal["packets", "full", "off"]


def verification_of_switch(value: object) -> object:
    """Read the switch that this option once was: true decoded every frame."""
    return ("full" if value else "off") if isinstance(value, bool) else value
