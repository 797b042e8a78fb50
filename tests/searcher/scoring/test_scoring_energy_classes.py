"""Energy classes: edges as published, laws of the binning."""

import numpy as np
import pytest

from searcher.scoring.energy_classes import EnergyClasses

EDGES_MEV = (5, 10, 20, 30, 45, 60, 80, 110, 150)


def test_default_edges_in_milli_electronvolt():
    classes = EnergyClasses()
    assert [round(1000 * edge, 9) for edge in classes.edges] == list(EDGES_MEV)
    assert classes.n_classes == 10


@pytest.mark.parametrize(
    ("height_mev", "expected"), [(-30, 0), (0, 0), (4.9, 0), (5, 1), (9.9, 1), (44, 4), (149, 8), (150, 9), (900, 9)]
)
def test_class_by_height_above_the_envelope(height_mev, expected):
    assert EnergyClasses().classify(height_mev / 1000) == expected


def test_growing_archive_leaves_classes_as_they_are():
    rng = np.random.default_rng(0)
    classes = EnergyClasses.quantile(rng.random(200), 10)
    again = EnergyClasses.from_record(classes.as_record())
    assert again == classes


def test_quantile_classes_hold_equally_many():
    values = np.random.default_rng(1).random(1000)
    classes = EnergyClasses.quantile(values, 10)
    counts = np.bincount([classes.classify(value) for value in values], minlength=10)
    assert set(counts) == {100}


def test_equal_width_classes():
    classes = EnergyClasses.equal_width([-190.0, -195.0, -200.0], 5, mode="total_energy")
    np.testing.assert_allclose(classes.edges, [-198.0, -196.0, -194.0, -192.0])
    assert [classes.classify(value) for value in (-200.0, -195.0, -190.0)] == [0, 2, 4]


def test_modes_choose_their_quantity():
    measured = {"gamma_above_envelope": 0.02, "energy": -200.0, "n_atoms": 25}
    for mode, expected in (("gamma", 0.02), ("energy_per_atom", -8.0), ("total_energy", -200.0)):
        assert EnergyClasses(edges=(-8.5, 1.0), mode=mode).value(**measured) == expected


def test_impossible_classes_are_refused():
    with pytest.raises(ValueError, match="meV"):
        EnergyClasses(edges=EDGES_MEV)
    with pytest.raises(ValueError, match="rise"):
        EnergyClasses.quantile([0.1] * 20, 4)
    with pytest.raises(ValueError, match="finite"):
        EnergyClasses().classify(float("nan"))
    with pytest.raises(ValueError, match="`mode`"):
        EnergyClasses(mode="enthalpy")
    with pytest.raises(ValueError, match="n_classes"):
        EnergyClasses.equal_width([0.0, 1.0], 1)
