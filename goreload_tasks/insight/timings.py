"""PURE. The path of a save, part by part: from the moment a file was written to the first byte of the new answer."""

from __future__ import annotations

from collections.abc import Mapping

PARTS = (
    ("noticed", "saved", "noticed"),
    ("decided", "noticed", "begun"),
    ("built", "begun", "built"),
    ("compared", "built", "stopping"),
    ("old program's end", "stopping", "gone"),
    ("spawned", "gone", "spawned"),
    ("spawned", "built", "spawned"),
    ("accepting", "spawned", "accepting"),
    ("opened", "accepting", "opened"),
    ("first byte", "opened", "answered"),
)
"""Each part with the moments that it lies between; of two with one name the first counts that is known. `built` is
compile and link; `compared` finds out whether that is another program; `old program's end` lets it finish what it was
asked, and is its own shutdown; `first byte` is known only when somebody waited."""


def parts(moments: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each part of which both moments are known, in their order.

    >>> parts({"saved": 1.0, "noticed": 1.25, "begun": 1.5})
    {'noticed': 0.25, 'decided': 0.25}
    """
    swap = [moments[name] for name in ("built", "stopping", "gone", "spawned") if name in moments]
    if not {"stopping", "gone", "spawned"} <= moments.keys() or swap != sorted(
        swap
    ):  # the old program ended at another time: a crash, `serve.overlap`
        moments = {name: at for name, at in moments.items() if name not in ("stopping", "gone")}
    known: dict[str, float] = {}
    for name, begin, end in PARTS:
        if begin in moments and end in moments:
            known.setdefault(name, max(0.0, moments[end] - moments[begin]))
    return known


def line(known: Mapping[str, float], listed: float | None = None) -> str:
    """The parts for a person.

    Args:
        listed: seconds of a listing of the inputs, which runs beside the build.

    >>> line({"noticed": 0.0012, "built": 0.5}, listed=0.0612)
    'noticed 1.2, built 500.0, listed 61.2 beside (ms)'
    """
    said = [f"{name} {1000 * seconds:.1f}" for name, seconds in known.items()]
    if listed is not None:
        said.append(f"listed {1000 * listed:.1f} beside")
    return f"{', '.join(said)} (ms)"
