"""What a campaign's surface follows from: settings and reference energies."""

import pytest

from searcher.campaign.problem import ReferenceEnergies, build_problem
from searcher.config import CampaignConfig
from searcher.errors import InputError
from searcher.loading import load_config

FORMATION = -3.0


def config(tmp_path, *overrides: str) -> CampaignConfig:
    path = tmp_path / "campaign.yaml"
    path.write_text('name: x\npotential: {gap: ruo2}\nsurface: {facet: "110", repeat: [1, 1]}\n')
    return load_config(path, ["grid.allow_coarse=true", *overrides])


def references(formation_energy: float) -> ReferenceEnergies:
    return ReferenceEnergies(4.4968, 3.1049, 0.3053, -25.0, -4.9, formation_energy)


def test_the_oxide_bounds_the_chemical_potential_of_its_oxygen(tmp_path):
    # below it bulk MO2 gives metal and gas: 2 Δμ_O = E(MO2) − E(M) − E(O2)
    assert build_problem(config(tmp_path), references(FORMATION), 0.07).delta_mu_o_range == (FORMATION / 2, 0.0)
    given = config(tmp_path, "acceptance.delta_mu_o_range=[-1.0, -0.2]")
    assert build_problem(given, references(FORMATION), 0.07).delta_mu_o_range == (-1.0, -0.2)
    assert build_problem(given, references(0.5), 0.07).delta_mu_o_range == (-1.0, -0.2)
    with pytest.raises(InputError, match=r"delta_mu_o_range.*0\.500 eV"):
        build_problem(config(tmp_path), references(0.5), 0.07)
