"""Structures and a template for the tests of grids."""

import numpy as np
import torch

from generators.grids.density import densities, pack
from generators.grids.spec import GridSpec
from generators.template import Template


def rutile_110_template() -> Template:
    """RuO2(110), doubled along [001]: two trilayers and the lower oxygen of a third are frozen."""
    width, c, u = 6.40, 3.12, 0.3053
    numbers, positions = [], []
    for layer in range(3):
        z = 3.0 + layer * width / 2
        s = layer * width / 2
        basis = [(44, s, 0.0, 0.0), (8, s, 0.0, u * width), (8, s, 0.0, -u * width), (44, s + width / 2, c / 2, 0.0)]
        basis += [(8, s + width / 2 + side * u * width, c / 2, 0.0) for side in (1, -1)]
        for number, x, y, dz in basis:
            for shift in (0.0, c):
                numbers.append(number)
                positions.append([x % width, y + shift, z + dz])
    numbers, positions = np.array(numbers), np.array(positions)
    floor = 3.0 + width - 0.5
    frozen = positions[:, 2] < floor
    rotations, translations = [], []
    for mirror_x in (1, -1):
        for mirror_y in (1, -1):
            for shift in (0.0, c):
                rotations.append(np.diag([mirror_x, mirror_y, 1.0]))
                translations.append([0.0, shift, 0.0])
    return Template(
        facet="110",
        repeat=(1, 2),
        cell=np.array([width, 2 * c, 30.0]),
        frozen_numbers=numbers[frozen],
        frozen_positions=positions[frozen],
        free_floor=floor,
        free_ceiling=floor + 4.8,
        rotations=np.array(rotations),
        translations=np.array(translations),
        gamma_bottom=0.07,
    )


def random_structure(seed: int, spec: GridSpec, n_atoms: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Atoms anywhere in the box, at least `margin` σ from ends that are not periodic."""
    rng = np.random.default_rng(seed)
    low = np.array(spec.origin) + np.where(spec.periodic, 0.0, margin * spec.sigma)
    high = np.array(spec.origin) + np.array(spec.lengths) - np.where(spec.periodic, 0.0, margin * spec.sigma)
    return rng.choice(spec.numbers, size=n_atoms), rng.uniform(low, high, size=(n_atoms, 3))


def grid_of(structure: tuple[np.ndarray, np.ndarray], spec: GridSpec) -> torch.Tensor:
    return densities(*pack([structure], spec), spec)[0]
