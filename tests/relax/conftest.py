import pytest

from relax.potential import CountingCalculator, PotentialSpec, build_calculator

ANALYTIC = PotentialSpec("calculator", import_path="relax.analytic:AnalyticRuO")


@pytest.fixture
def analytic_spec() -> PotentialSpec:
    return ANALYTIC


@pytest.fixture
def analytic() -> CountingCalculator:
    return build_calculator(ANALYTIC)
