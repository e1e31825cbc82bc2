"""Which two channels of an EXR file are the displacement field, and what has to be said of the others."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from framencc.errors import SourceError
from framencc.fields.formats import Note

PAIRS = (("x", "y"), ("dx", "dy"), ("u", "v"), ("R", "G"))
"""Which channels can be the horizontal and the vertical one, behind the same layer's name or none."""

_COLOURS = (("r", "g"), ("red", "green"))  # a picture's channels, unless nothing else can be the field
_READINGS = (*((x.lower(), y.lower()) for x, y in PAIRS), ("red", "green"))
_SHOWN = 8  # names in a message
_UPWARDS = ("forward", "backward")
_VALIDITY = ("valid", "validity", "mask")

Pair = tuple[str, str]


def find_pair(channels: Sequence[str], where: str) -> Pair:
    """Return the names of the horizontal and the vertical channel.

    A pair spelt as in `PAIRS` goes before others, whose upper and lower case do not count. But (R, G) are the colours
    of a picture as well, so beside them another pair in any case is a doubt.

    Raises
    ------
    SourceError
        When there is none, or more than one such pair.
    """
    vectors = [pair for pair in _pairs(channels) if _is_vector(pair, channels)]
    found = [pair for pair in _pairs(channels) if pair not in vectors]
    if vectors and all(_folded(pair) in _COLOURS for pair in found):
        found = []  # the picture beside the motion
    exact = [pair for pair in found if (_last(pair[0]), _last(pair[1])) in PAIRS]
    clear = [pair for pair in exact if _folded(pair) not in _COLOURS]
    if len(exact) == 1 and len(clear) == 1:
        found = [pair for pair in found if _is_spelling_of(pair, exact[0])]
    if len(found) == 1:
        return found[0]
    if found:
        pairs = _shown([repr(pair) for pair in found])
        raise SourceError(f"{where} has more than one pair of channels that may be the field: {pairs}; keep only one")
    names = _shown([repr(name) for name in channels])
    if vectors:
        layer = _layer(vectors[0][0]) or "the file"
        raise SourceError(
            f"{where} has channels {names}: of the four in {layer!r} two lead to the frame before and two to the next, "
            f"and which is which depends on the program; rename the two that are the field to dx and dy"
        )
    wanted = ", ".join(f"({x}, {y})" for x, y in PAIRS)
    raise SourceError(
        f"{where} has channels {names}; a field is one of {wanted}, in a layer or not, in capitals or not: rename its "
        f"two channels"
    )


def notes_on(channels: Sequence[str], pair: Pair) -> Iterator[Note]:
    """Say what a user should know of the channels although the field can be read."""
    layer = _layer(pair[0])
    if _last(layer).lower() in _UPWARDS and _folded(pair) == ("u", "v"):
        yield Note(
            "upwards",
            f"has channels {pair[0]} and {pair[1]}, named as Nuke names them; Nuke counts v upwards and framencc "
            f"downwards: negate {pair[1]} if Nuke has written it",
        )
    beside = [name for name in channels if _layer(name) == layer and _last(name).lower() in _VALIDITY]
    if beside:
        yield Note(
            "validity",
            f"has a channel {beside[0]!r} beside {pair[0]} and {pair[1]}, which is not read: NaN marks a pixel without "
            f"a displacement",
        )


def _pairs(channels: Sequence[str]) -> Iterator[Pair]:
    """Yield every pair that may be a field, whatever its case."""
    spellings: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in channels:
        spellings[_layer(name), _last(name).lower()].append(name)
    for name in channels:
        for horizontal, vertical in _READINGS:
            if _last(name).lower() == horizontal:
                for other in spellings.get((_layer(name), vertical), ()):
                    yield name, other


def _is_vector(pair: Pair, channels: Sequence[str]) -> bool:
    """Whether a pair is the first half of x, y, z, w, as Blender writes the motion to two frames."""
    lasts = {_last(name).lower() for name in channels if _layer(name) == _layer(pair[0])}
    return _folded(pair) == ("x", "y") and {"z", "w"} <= lasts


def _is_spelling_of(pair: Pair, other: Pair) -> bool:
    return _layer(pair[0]) == _layer(other[0]) and _folded(pair) == _folded(other)


def _folded(pair: Pair) -> Pair:
    return _last(pair[0]).lower(), _last(pair[1]).lower()


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
