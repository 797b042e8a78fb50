"""Reference energies and the two conventions for oxygen."""

from pathlib import Path

import pytest
from relax_structures import rutile

from relax.potential import PotentialError, PotentialSpec
from relax.references import FORMATION_ENTHALPY_RUO2, bulk_reference


def test_references_are_kept_by_hash_and_fit_the_formation_enthalpy(
    analytic_spec: PotentialSpec, tmp_path: Path
) -> None:
    found = bulk_reference(analytic_spec, rutile(), cache=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [f"references-Ru-{found.potential_hash}.json"]
    assert bulk_reference(analytic_spec, rutile(), cache=tmp_path) == found
    assert found.half_o2("raw") == found.energy_o2 / 2
    fitted = found.energy_bulk - found.energy_metal - 2 * found.half_o2("fitted")
    assert fitted == pytest.approx(FORMATION_ENTHALPY_RUO2, abs=1e-12)  # exact but for rounding
    with pytest.raises(PotentialError, match="oxygen_reference"):
        found.half_o2("guessed")
