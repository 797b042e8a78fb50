"""Conditions: what is refused, and that encoding is invertible."""

import pytest
import torch
from gan_setting import CHEMICAL_POTENTIAL, CLASSES

from generators.networks.conditioning import ConditionEncoder, ConditionSpec, decode, encode

SPECS = (CLASSES, CHEMICAL_POTENTIAL)


def test_encoding_is_inverted_by_decoding() -> None:
    conditions = [{"energy_class": 2, "delta_mu_o": -0.5}, {"delta_mu_o": -1.5, "energy_class": 0}]
    assert decode(encode(conditions, SPECS), SPECS) == conditions
    assert isinstance(decode(encode(conditions, SPECS), SPECS)[0]["energy_class"], int)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"energy_class": 3, "delta_mu_o": 0.0}, r"`energy_class` is 3 but must be a whole number from 0 to 2"),
        ({"energy_class": 0.5, "delta_mu_o": 0.0}, r"`energy_class` is 0.5"),
        ({"energy_class": 0, "delta_mu_o": 0.1}, r"`delta_mu_o` is 0.1 but must lie in \[-1.6, 0.0\]"),
        ({"energy_class": 0, "delta_mu_o": float("nan")}, r"`delta_mu_o` is nan"),
        ({"energy_class": 0}, r"no condition `delta_mu_o`"),
        ({"energy_class": 0, "delta_mu_o": 0.0, "gamma": 1.0}, r"`gamma` is unknown"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(condition: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode([condition], SPECS)


@pytest.mark.parametrize("n_classes", [0, 1])
def test_a_class_needs_two_values(n_classes: int) -> None:
    with pytest.raises(ValueError, match="`n_classes` of condition `energy_class`"):
        ConditionSpec("energy_class", "class", n_classes=n_classes)


def test_one_hot_repeats_the_unit_vector() -> None:
    encoder = ConditionEncoder((CLASSES,), "one_hot", 6)
    assert encoder(torch.tensor([[1.0]])).tolist() == [[0.0, 1.0, 0.0, 0.0, 1.0, 0.0]]


def test_one_hot_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="`condition_size` is 2 but one-hot needs at least the 3 classes"):
        ConditionEncoder((CLASSES,), "one_hot", 2)


def test_integers_span_minus_one_to_one() -> None:
    encoder = ConditionEncoder((CLASSES,), "integer", 2)
    assert encoder(torch.tensor([[0.0], [1.0], [2.0]])).tolist() == [[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]


def test_parts_of_several_conditions_lie_side_by_side() -> None:
    encoder = ConditionEncoder(SPECS, "embedding", 5)
    assert encoder.width == 10
    assert encoder(encode([{"energy_class": 1, "delta_mu_o": -1.0}], SPECS)).shape == (1, 10)
    assert ConditionEncoder((), "embedding", 5)(torch.zeros(4, 0)).shape == (4, 0)
