"""Paths on which frames to be labelled lie: none, a relaxation, dynamics."""

import os
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import FIRE

from relax.labelling.limits import too_close
from relax.labelling.recorder import Recorder


def follow_protocol(atoms: Atoms, recorder: Recorder) -> None:
    """Label what a task's `protocol` asks for: the structure itself, or frames of its relaxation or dynamics.

    Parameters
    ----------
    atoms : ase.Atoms
        A task with its calculator; a path moves it.
    recorder : Recorder
        Receives the labelled frames.
    """
    protocol = atoms.info.get("protocol", "single")
    if protocol == "single":
        recorder.record(atoms, 0)
    elif protocol == "relax":
        _follow(FIRE(atoms, logfile=os.devnull, maxstep=0.12), atoms, recorder, growing=True)
    elif protocol == "dynamics":
        rng = np.random.default_rng(atoms.info["seed"])
        MaxwellBoltzmannDistribution(atoms, temperature_K=atoms.info["temperature"], rng=rng)
        langevin = Langevin(
            atoms,
            2.0 * units.fs,
            temperature_K=atoms.info["temperature"],
            friction=0.02 / units.fs,
            rng=rng,
        )
        _follow(langevin, atoms, recorder, growing=False)
    else:
        raise ValueError(f"`protocol` is {protocol!r}; it must be 'single', 'relax' or 'dynamics'")


def _follow(walker: Any, atoms: Atoms, recorder: Recorder, growing: bool) -> None:
    """Keep `snapshots` frames of `steps` steps; a relaxation changes fastest at its start, so densest there."""
    steps, count = int(atoms.info["steps"]), int(atoms.info["snapshots"])
    fraction = np.linspace(0.0, 1.0, count) ** (1.7 if growing else 1.0)
    keep = {round(float(x) * steps) for x in fraction}
    if too_close(atoms, recorder.limits) is not None:
        recorder.record(atoms, 0)
        return
    for step in range(steps + 1):
        if step in keep and not recorder.record(atoms, step) and step > 0:
            return
        if step < steps:
            walker.run(fmax=0.02, steps=1) if growing else walker.run(1)
