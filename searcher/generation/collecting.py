"""Structures of campaigns with their γ, as a data set that a generator can be trained on."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from searcher.campaign.beginning.preparation import recorded_problem
from searcher.campaign.snapshot import take_snapshot
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import InputError
from searcher.scoring.validity import check_validity

EVERYTHING = 10**9
"""an iteration later than any"""


def collect(folders: Sequence[Path], snapshots: int, largest_excess: float | None = None) -> list[Atoms]:
    """Every known termination of some campaigns, and steps of the relaxations that led there.

    Parameters
    ----------
    folders : sequence of pathlib.Path
    snapshots : int
        Largest number of steps of each relaxation, late ones first; those that are not valid are left out.
    largest_excess : float, optional
        eV/Å² above the minimum; higher steps are left out.

    Returns
    -------
    list of ase.Atoms
        With ``minimum``, ``facet``, ``energy_class``, ``energy_eV``, ``gamma_zero_eV_per_A2`` and
        ``gamma_slope_per_A2`` in `info`, frozen atoms fixed; the minimum first, then its steps.

    Raises
    ------
    InputError
        If there is none.
    """
    found: list[Atoms] = []
    for folder in folders:
        ledger = Ledger.of_run(folder)
        problem, potential = recorded_problem(ledger), str(ledger.fact("potential"))
        for known in take_snapshot(ledger, EVERYTHING).known:
            energy = ledger.energy(known.id, potential)
            steps = [(known.structure, 0.0), *[s for s in reversed(known.path) if s[0] != known.structure][:snapshots]]
            for key, excess in steps:
                atoms = ledger.structure(key)
                higher = excess / problem.template.area
                if largest_excess is not None and higher > largest_excess:
                    continue
                if not check_validity(atoms, problem.template.n_frozen, problem.thresholds).valid:
                    continue
                atoms.info = {
                    "minimum": f"{folder.name}-{known.id}",
                    "facet": problem.template.facet,
                    "energy_class": -1 if known.energy_class is None else known.energy_class,
                    "gamma_zero_eV_per_A2": known.line.gamma0 + higher,
                    "gamma_slope_per_A2": known.line.slope,
                }
                if energy is not None:  # of the campaign's first potential, as γ is
                    atoms.info["energy_eV"] = energy + excess
                found.append(atoms)
        ledger.close()
    if not found:
        raise InputError(f"{', '.join(map(str, folders))}: no valid termination is known yet")
    return found
