"""The command line of `gap_fit`."""

from collections.abc import Sequence

from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from relax.fitting.settings import FitSettings
from relax.fitting.training_data import atomic_energies
from relax.labelling.frames import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY


def gap_fit_arguments(data: Sequence[Atoms], settings: FitSettings) -> list[str]:
    """Arguments of `gap_fit` for `train.xyz` and `core.xml` in its working folder."""
    present = {str(a.info.get("config_type", "default")) for a in data}
    types = [name for name in settings.errors if name in present and name != "default"]
    errors = ":".join(f"{name}:" + ":".join(str(x) for x in (*settings.errors[name], 0.0)) for name in types)
    default = " ".join(str(x) for x in (*settings.errors["default"], 0.0))
    energies = ":".join(f"{symbol}:{energy!r}" for symbol, energy in atomic_energies(data).items())
    return [
        "at_file=train.xyz",
        "gp_file=gap.xml",
        f"gap={{{_descriptors(settings)}}}",
        f"e0={{{energies}}}",
        f"default_sigma={{{default}}}",
        f"config_type_sigma={{{errors}}}",
        f"energy_parameter_name={ENERGY_KEY}",
        f"force_parameter_name={FORCES_KEY}",
        f"virial_parameter_name={VIRIAL_KEY}",
        "sigma_parameter_name=fit_error",
        "core_param_file=core.xml",
        "core_ip_args={IP Glue}",
        "sparse_jitter=1.0e-8",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
        f"rnd_seed={settings.seed}",
    ]


def _descriptors(settings: FitSettings) -> str:
    species = sorted(atomic_numbers[symbol] for symbol in settings.n_sparse)
    pair = (
        f"distance_2b cutoff={settings.pair_r_cut} cutoff_transition_width=1.5 covariance_type=ard_se "
        f"delta={settings.pair_delta} theta_uniform={settings.pair_theta} sparse_method=uniform "
        f"n_sparse={settings.pair_sparse} add_species=T"
    )
    soaps = [_soap(settings, atomic_numbers[symbol], species) for symbol in sorted(settings.n_sparse)]
    return " : ".join([pair, *soaps])


def _soap(settings: FitSettings, centre: int, species: Sequence[int]) -> str:
    """One element's environment descriptor. Inner lists carry two braces, because the whole argument has one."""
    per_species = {
        name: "{{" + " ".join([str(value)] * len(species)) + "}}"
        for name, value in {
            "alpha_max": settings.n_max,
            "atom_sigma_r": settings.atom_sigma,
            "atom_sigma_t": settings.atom_sigma,
            "atom_sigma_r_scaling": settings.sigma_scaling,
            "atom_sigma_t_scaling": settings.sigma_scaling,
            "amplitude_scaling": 1.0,
            "central_weight": 1.0,
        }.items()
    }
    lists = " ".join(f"{name}={values}" for name, values in per_species.items())
    return (
        f"soap_turbo l_max={settings.l_max} {lists} rcut_hard={settings.r_cut} "
        f"rcut_soft={settings.r_cut - settings.transition_width} basis=poly3gauss scaling_mode=polynomial "
        f"radial_enhancement={settings.radial_enhancement} compress_mode=trivial n_species={len(species)} "
        f"species_Z={{{{{' '.join(str(z) for z in species)}}}}} central_index={species.index(centre) + 1} "
        f"zeta={settings.zeta} delta={settings.soap_delta} covariance_type=dot_product sparse_method=cur_points "
        f"n_sparse={settings.n_sparse[chemical_symbols[centre]]} add_species=F"
    )
