"""Structures that a potential itself meets while it relaxes, to be labelled for its next fit.

A potential errs where it was never corrected: frames of its own paths show these places, also where it fails.
"""

from collections.abc import Sequence

from ase import Atoms

from relax.potential import PotentialSpec, build_calculator
from relax.relaxation import RelaxationSettings, relax


def sample_paths(
    spec: PotentialSpec, starts: Sequence[Atoms], settings: RelaxationSettings, family: str
) -> list[Atoms]:
    """Relax starts and turn their snapshots into tasks for `relax.labelling.label`.

    Builds the potential in this process, so call it in a worker if it is a GAP.

    Parameters
    ----------
    spec : PotentialSpec
    starts : sequence of ase.Atoms
        Proposals with their frozen atoms held by `FixAtoms`; not changed.
    settings : RelaxationSettings
        `snapshots` decides how many frames a path gives besides its last one.
    family : str
        Name of the round; a path's frames share ``"<family>-<index>"``.

    Returns
    -------
    list of ase.Atoms
        Of config_type ``"insertion"``, without constraints.

    Raises
    ------
    PotentialError
        If the potential cannot be built.
    """
    calculator = build_calculator(spec)
    tasks = []
    for index, start in enumerate(starts):
        result = relax(start, calculator, settings)
        for positions in [*result.path_positions, result.positions]:
            frame = start.copy()
            frame.set_constraint()
            frame.positions = positions
            frame.info = {"config_type": "insertion", "family": f"{family}-{index}"}
            tasks.append(frame)
    return tasks
