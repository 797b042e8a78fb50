"""A campaign in a notebook: `import searcher; run = searcher.open_run("runs/quickstart")`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ase import Atoms

from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.evaluation.diagram import Diagram, as_record, diagram_of_runs
from searcher.results.description import describe_candidate
from searcher.results.export import annotated, surface_record
from searcher.results.status import status
from searcher.results.terminations import Termination, chosen_delta_mu_o, describe, described


def open_run(folder: str | Path) -> "Run":
    """Open a campaign for reading, also while it runs.

    Raises
    ------
    StorageError
        If the folder holds no campaign.
    """
    return Run(Path(folder))


class Run:
    """A campaign that exists.

    Parameters
    ----------
    folder : pathlib.Path

    Examples
    --------
    >>> run = searcher.open_run("runs/quickstart")  # doctest: +SKIP
    >>> for atoms in run.terminations():  # doctest: +SKIP
    ...     print(atoms.info["candidate"], atoms.info["gamma_meV_per_A2"])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger.of_run(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}): {self.status['state']}, {self.status['accepted']} accepted"

    @property
    def name(self) -> str:
        return str(self.ledger.fact("name"))

    @property
    def status(self) -> dict[str, Any]:
        """As `searcher status --json`."""
        return status(self.folder, self.ledger)

    @property
    def delta_mu_o(self) -> float:
        """Δμ_O in eV at which γ is told."""
        return chosen_delta_mu_o(self.ledger)

    def terminations(self, verdict: str = Verdict.ACCEPTED) -> Iterator[Atoms]:
        """Structures by rising γ, as ASE Atoms with their record in `info` and their energy in eV."""
        surface = surface_record(self.ledger)
        for one in self._found(verdict):
            yield annotated(one, self.delta_mu_o, surface)

    def records(self, verdict: str = Verdict.ACCEPTED) -> list[dict[str, Any]]:
        """The rows of the exported table, with units in the names; `pandas.DataFrame(run.records())`."""
        return [one.row(self.delta_mu_o) for one in self._found(verdict)]

    def atoms(self, candidate: str) -> Atoms:
        """One candidate's relaxed structure with its record.

        Raises
        ------
        KeyError
            If it has none.
        """
        return annotated(self._one(candidate), self.delta_mu_o, surface_record(self.ledger))

    def describe(self, candidate: str) -> dict[str, Any]:
        """Wood's notation, coverages, coordination, layers, symmetry, nearest known, provenance."""
        return describe_candidate(self.ledger, self._one(candidate))

    def diagram(self) -> Diagram:
        """γ(Δμ_O) of everything known or accepted."""
        return diagram_of_runs([self.folder])

    def windows(self, pressures: tuple[float, ...] = (1.0,)) -> list[dict[str, Any]]:
        """Windows of stability in Δμ_O (eV) and in temperature (K) at pressures of O2 in bar."""
        windows: list[dict[str, Any]] = as_record(self.diagram(), pressures)["windows"]
        return windows

    def plot_diagram(self, pressure: float = 1.0) -> Any:
        """The diagram as a `matplotlib.figure.Figure`, with a temperature axis at a pressure in bar."""
        from searcher.results.plots import diagram_figure

        found = self.diagram()
        labels = {c.label or c.id for c in self.ledger.candidates(verdict=Verdict.REFERENCE)}
        return diagram_figure(found.over_facets(), sorted(labels), found.delta_mu_range, pressure)

    def _found(self, verdict: str) -> list[Termination]:
        return described(self.ledger, self.ledger.candidates(verdict=verdict))

    def _one(self, candidate: str) -> Termination:
        found = describe(self.ledger, self.ledger.candidate(candidate))
        if found is None:
            raise KeyError(f"candidate `{candidate}` has no relaxed structure")
        return found
