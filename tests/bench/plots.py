"""Pictures of what was measured: light, readable, one idea each. Only here is matplotlib imported, and only to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.lab import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, BARE, OTHER = "#0f766e", "#64748b", "#cbd5e1"
"""Colours of the bars: ours, the loop without a tool, everybody else."""

SERIES = ("#0f766e", "#b45309", "#1d4ed8", "#be185d", "#64748b", "#4d7c0f")

STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#94a3b8",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e2e8f0",
    "font.size": 9.5,
    "text.color": "#0f172a",
    "axes.labelcolor": "#334155",
    "xtick.color": "#334155",
    "ytick.color": "#0f172a",
    "figure.dpi": 130,
}


Panels = Mapping[str, Mapping[str, Sequence[float]]]
"""Values of each label, by group."""


class Canvas:
    """Draws into a folder; the names of what was drawn are kept. foot: a line under each picture."""

    def __init__(self, folder: Path, foot: str) -> None:
        import matplotlib as mpl

        mpl.use("agg")
        self._folder = folder
        self._foot = foot
        self.drawn: list[Path] = []

    def bars(
        self, name: str, title: str, panels: Panels, axis: str = "", lines: Mapping[str, float] | None = None
    ) -> None:
        """A panel per group, a bar per label: median, its range as a whisker. lines: what a group is compared with."""
        from matplotlib import pyplot as plt

        panels = {group: bars for group, bars in panels.items() if any(bars.values())}
        if not panels:
            return
        labels = list(next(iter(panels.values())))
        with plt.rc_context(STYLE):
            size = (max(7.5, 1.8 + 2.9 * len(panels)), 1.6 + 0.3 * len(labels))
            figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
            for at, (axes_, (group, bars)) in enumerate(zip(axes[0], panels.items(), strict=True)):
                self._panel(axes_, labels, bars, (lines or {}).get(group))
                axes_.set_title(group)
                if not at:
                    axes_.set_yticks(range(len(labels)), labels)
                    axes_.invert_yaxis()
            self._finish(name, figure, title, axis)

    def _panel(
        self, axes: Axes, labels: Sequence[str], bars: Mapping[str, Sequence[float]], line: float | None
    ) -> None:
        span = max((max(values) for values in bars.values() if values), default=1.0) or 1.0
        if line is not None:
            axes.axvline(line, color="#b91c1c", linewidth=1, linestyle="--")
        for row, label in enumerate(labels):
            if not bars.get(label):
                axes.text(0, row, " no answer", va="center", color=BARE, fontstyle="italic")
                continue
            least, median, most = spread(bars[label])
            axes.barh(row, median, height=0.68, color=colour(label, labels))
            axes.plot([least, most], [row, row], color="#0f172a", linewidth=0.9, alpha=0.55)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            axes.text(most + span / 60, row, _number(median), va="center", fontsize=8.5, bbox=box)
        axes.grid(axis="y", visible=False)
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda value, _: _number(value))
        axes.set_xlim(0, span * 1.28)

    def lines(
        self, name: str, title: str, panels: Mapping[str, Mapping[str, Sequence[tuple[float, Sequence[float]]]]],
        axis: str, log: bool = False,
    ) -> None:  # fmt: skip
        """A panel per group, a line per label through the medians at each place, with its range as a band."""
        from matplotlib import pyplot as plt

        with plt.rc_context(STYLE):
            size = (max(7.5, 3.8 * len(panels)), 3.6)
            figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
            for axes_, (group, series) in zip(axes[0], panels.items(), strict=True):
                for tint, (label, points) in zip(SERIES, series.items(), strict=False):
                    known = [(x, *spread(values)) for x, values in points if values]
                    if not known:
                        continue
                    at, least, median, most = zip(*known, strict=True)
                    axes_.plot(at, median, color=tint, marker="o", markersize=4, label=label)
                    axes_.fill_between(at, least, most, color=tint, alpha=0.12, linewidth=0)
                axes_.set_title(group)
                axes_.set_ylim(0, axes_.get_ylim()[1] * 1.05)
                if log:
                    axes_.set_xscale("log")
                places = sorted({x for points in series.values() for x, _ in points})
                axes_.set_xticks(places, [_number(x) for x in places])
                axes_.minorticks_off()
                axes_.set_xlabel(axis)
                if len(series) > 1:
                    axes_.legend(frameon=False)
            self._finish(name, figure, title, "")

    def note(self, name: str, text: str) -> None:
        """A text beside the pictures."""
        path = self._folder / name
        path.write_text(text + "\n")
        self.drawn.append(path)

    def _finish(self, name: str, figure: Any, title: str, axis: str) -> None:
        from matplotlib import pyplot as plt

        figure.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        foot = "\n".join(filter(None, (axis, self._foot)))
        figure.supxlabel(foot, x=0.01, ha="left", fontsize=8, color="#475569")
        path = self._folder / f"{name}.png"
        figure.savefig(path)
        plt.close(figure)
        self.drawn.append(path)


def _number(value: float) -> str:
    """Three digits, or whole with its thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def colour(label: str, labels: Sequence[str]) -> str:
    """By who it is; all alike where it is about ours alone."""
    if label.startswith("ours") or not any(other.startswith("ours") for other in labels):
        return OURS
    return BARE if label.startswith("bare") else OTHER
