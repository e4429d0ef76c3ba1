"""Plots of a run, as matplotlib axes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..analysis.examination.decoder import draws_of
from ..analysis.examination.landscape import free_energy
from ..analysis.structure_files.colours import GROUP_COLOURS, STATE_COLOURS
from ..errors import InputError
from ..io.notebook_display import needed
from ..runs.run import HISTORY, Run, read_numbers_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALL, HALVES = 0, (1, 2)  # as history.csv numbers all particles, and half-sets
TICKS, MOST_TICKS = (20, 50, 100, 200, 500, 1000, 10**9), 11  # residues from one to the next
MOST_KINDS = 8  # values of a column that have a colour each


class RunPlots:
    """Plots of a run. Each takes the axes to draw on, or makes some, and gives them back.

    Parameters
    ----------
    run : Run

    Examples
    --------
    >>> from atomdrgn import open_run
    >>> axes = open_run("models/adk").plot.landscape()
    >>> axes.get_xlabel(), axes.get_ylabel()
    ('motion 1 (A)', 'free energy (kT)')
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def landscape(self, *motions: int, ax: "Axes | None" = None, seed: int = 0) -> "Axes":
        """The free-energy landscape along one motion, with its error, or over two.

        Parameters
        ----------
        *motions : int
            One or two, from 1; the first by default.
        ax : matplotlib axes, optional
        seed : int
            For the repeats that the error is of.

        Raises
        ------
        InputError
            The run has no such motion.
        MissingPackageError
            matplotlib is not installed.
        """
        along = [motion - 1 for motion in motions or (1,)]
        self._require(along)
        found = free_energy(
            draws_of(self.run)[..., along],
            self.run.latent_sd[:, along],
            rng=np.random.default_rng(seed),
        )
        ax = _axes(ax)
        ax.set_xlabel(f"motion {along[0] + 1} (A)")
        if len(along) == 1:
            (centre,), energy, error = found.centres, found.free_energy, found.error
            ax.fill_between(
                centre, energy - error, energy + error, color=GROUP_COLOURS[0], alpha=0.25, lw=0
            )
            ax.plot(centre, energy, color=GROUP_COLOURS[0])
            ax.set_ylabel("free energy (kT)")
            return ax
        drawn = ax.pcolormesh(*found.edges, found.free_energy.T, cmap="cividis_r")
        ax.set_ylabel(f"motion {along[1] + 1} (A)")
        ax.figure.colorbar(drawn, ax=ax, label="free energy (kT)")
        return ax

    def latents(
        self,
        x: str = "motion1",
        y: str | None = None,
        *,
        colour: str | None = None,
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Particles over two columns of particles.csv; with one motion, how many are where.

        Parameters
        ----------
        x, y : str
            Columns; `y` is the second motion by default, and with one motion a histogram is drawn.
        colour : str, optional
            A column that gives points their colour.
        ax : matplotlib axes, optional

        Raises
        ------
        InputError
            The run has no such column.
        MissingPackageError
            matplotlib is not installed.
        """
        table = self.run.table
        y = "motion2" if y is None and "motion2" in table else y
        for name in (x, y, colour):
            if name is not None and name not in table:
                raise InputError(
                    f"{self.run.folder}: particles.csv has no column {name} (it has "
                    f"{', '.join(table)})"
                )
        ax = _axes(ax)
        ax.set_xlabel(_title(x))
        if y is None:
            ax.hist(table[x], bins=60, color=GROUP_COLOURS[0])
            ax.set_ylabel("particles")
            return ax
        ax.set_ylabel(_title(y))
        _scatter(ax, table[x], table[y], None if colour is None else table[colour], colour)
        return ax

    def history(self, column: str = "evidence", *, ax: "Axes | None" = None) -> "Axes":
        """A column of history.csv over the passes, each half-set and all particles by itself.

        Parameters
        ----------
        column : str
            Such as evidence, resolution or variance1.
        ax : matplotlib axes, optional

        Raises
        ------
        InputError
            There is no such column.
        MissingPackageError
            matplotlib is not installed.
        """
        table = read_numbers_table(self.run.folder / HISTORY)
        if column not in table:
            raise InputError(
                f"{self.run.folder / HISTORY}: no column {column} (it has {', '.join(table)})"
            )
        ax = _axes(ax)
        step = table.get("step", np.arange(len(table[column])))
        half = table.get("half", np.zeros(len(step)))
        for number in np.unique(half):
            own = half == number
            says = "all particles" if number == ALL else f"half-set {number:.0f}"
            colour = "black" if number == ALL else GROUP_COLOURS[int(number) - 1]
            ax.plot(step[own], table[column][own], color=colour, marker=".", label=says)
        ax.set_xlabel("pass")
        ax.set_ylabel(column.replace("_", " "))
        ax.legend(frameon=False)
        return ax

    def residues(
        self,
        columns: Sequence[str] = ("motion", "posterior_error", "half_set_error"),
        *,
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Columns of residues.csv along the sequence, with a line where a chain begins.

        Parameters
        ----------
        columns : sequence of str
            Those of them that the run has.
        ax : matplotlib axes, optional

        Raises
        ------
        InputError
            It has none of them.
        MissingPackageError
            pandas or matplotlib is not installed.
        """
        table = self.run.residues
        shown = [name for name in columns if name in table]
        if not shown:
            raise InputError(
                f"{self.run.folder}: residues.csv has none of {', '.join(columns)} (it has "
                f"{', '.join(table)})"
            )
        ax = _axes(ax)
        for name, colour in zip(shown, GROUP_COLOURS, strict=False):
            ax.plot(np.arange(len(table)), table[name], color=colour, label=name.replace("_", " "))
        chain = table["chain"].to_numpy()
        starts = [0, *(np.flatnonzero(chain[1:] != chain[:-1]) + 1)]
        for start in starts[1:]:
            ax.axvline(start - 0.5, color="0.7", lw=0.8)
        every = next(step for step in TICKS if len(table) / step + len(starts) <= MOST_TICKS)
        ticks = sorted({*starts, *np.flatnonzero(table["residue"].to_numpy() % every == 0)})
        named = [i for i in ticks if i in starts or all(abs(i - s) > every / 3 for s in starts)]
        ax.set_xticks(named, [f"{chain[i]}:{table['residue'].iloc[i]}" for i in named])
        ax.set_xlabel("residue")
        ax.set_ylabel("A r.m.s.")
        ax.legend(frameon=False)
        return ax

    def _require(self, along: Sequence[int]) -> None:
        count = self.run.latent.shape[1]
        if not 1 <= len(along) <= 2 or not all(0 <= axis < count for axis in along):
            named = ", ".join(str(axis + 1) for axis in along)
            raise InputError(
                f"motion {named} of {self.run.folder}: ask for one or two of its {count} motions"
            )


def _axes(ax: "Axes | None") -> "Axes":
    return cast("Axes", needed("matplotlib.pyplot").subplots()[1] if ax is None else ax)


def _title(column: str) -> str:
    kind, number = column.rstrip("0123456789"), column.lstrip("abcdefghijklmnopqrstuvwxyz_")
    named = {"motion": f"motion {number} (A)", "sd": f"error of motion {number} (A)"}
    return named.get(kind, column.replace("_", " "))


def _scatter(
    ax: Any, x: np.ndarray, y: np.ndarray, value: np.ndarray | None, column: str | None
) -> None:
    """Points, in one colour, a colour a kind, or along a scale."""
    size = 16 if len(x) < 3000 else 3
    if value is None or column is None:
        ax.scatter(x, y, s=size, color=GROUP_COLOURS[0], alpha=0.5, lw=0)
        return
    kinds = np.unique(value)
    if len(kinds) <= MOST_KINDS and (kinds == kinds.round()).all():
        for kind, colour in zip(kinds, STATE_COLOURS, strict=False):
            own = value == kind
            ax.scatter(x[own], y[own], s=size, color=colour, lw=0, label=f"{column} {kind:.0f}")
        ax.legend(frameon=False)
        return
    drawn = ax.scatter(x, y, s=size, c=value, cmap="cividis", lw=0)
    ax.figure.colorbar(drawn, ax=ax, label=_title(column))
