"""What a shipped potential is, how good, and what it must not be used for: `MODEL_CARD.md`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ase import Atoms

from relax.dft_comparison import Distance
from relax.oxide import RUTHENIUM, Oxide
from relax.potential_figures import CROSSOVERS, PotentialFigures
from relax.relaxation_settings import RelaxationSettings

MEANINGS: Mapping[str, str] = {
    "isolated_atom": "atomic reference energies",
    "dimer": "O–O, {metal}–O, {metal}–{metal} pairs from the repulsive wall outwards",
    "molecule": "O2 near its bond length",
    "bulk": "{metal}O2, strained up to ±6 %, rattled, with vacancies, and dynamics at 300–2000 K",
    "metal": "{metal_structure} {metal}, strained and rattled",
    "slab": "all terminations of five facets, rattled, with O and {metal} added and removed, relaxing, and hot",
    "insertion": "relaxation paths of random insertions above frozen slabs",
    "thermal": "the same slabs in (1×1), (2×1), (1×2) and c(2×2) at 300–800 K",
    "searched": "what searches relaxed and the paths to it, and what went wrong there",
}

LIMITS = """\
## What it must not be used for

- Adsorbates, water, hydrogen, solvents: it knows {metal} and O only.
- Molecular O2 and its reactions at the surface: the molecule is there as an energy reference, without spin.
- Magnetism, charge, electronic structure: there is none in it.
- Other oxides, or pressures and temperatures far from the data above.
- A last word on stability. {distance}Recompute what matters.
"""
DISTANCES: Mapping[str, str] = {
    "7net-mf-0": "The labeller's own forces differ from DFT (GPAW, PBE, plane waves 400 eV) by 0.58 eV/Å rms\n  on "
    "seven distorted bulk and slab cells, more than this potential differs from the labeller. "
}
"""What is known of labellers by the `model` that they were asked for, of RuO2"""


def write_model_card(
    figures: PotentialFigures,
    training: Sequence[Atoms],
    validation: Sequence[Atoms],
    path: Path,
    distances: Mapping[str, Distance] | None = None,
) -> None:
    """Write the card of a potential.

    Parameters
    ----------
    figures : PotentialFigures
        Those of the labeller say who it was.
    training, validation : sequence of ase.Atoms
        The labelled frames of the fit, and those held out by whole families.
    path : pathlib.Path
    distances : mapping of str to Distance, optional
        From DFT on cells that nothing was fitted to, by method.
    """
    labeller = figures.reference.labeller
    named = "a calculator that its figures do not name" if labeller is None else f"`{labeller}`"
    oxide = figures.reference.oxide
    distance = ""
    if labeller is not None and oxide.metal == RUTHENIUM:
        distance = DISTANCES.get(str(labeller.arguments.get("model")), "")
    sections = [
        f"# A Gaussian approximation potential for rutile {oxide.metal}O2 and its surfaces",
        f"Hash `{figures.potential_hash}`; {figures.megabytes:.1f} MB; {figures.milliseconds_per_atom:.1f} ms of one "
        f"core per atom and force call. Labelled by {named}; SOAP (`soap_turbo`), a pair term and a repulsive core.",
        _shortcomings(figures),
        _physics(figures),
        "## Errors on held-out frames\n\nWhole paths and families are held out, so that no frame has a sibling in the "
        "fit. `surfaces` is `slab` and `insertion` together.\n\n" + _error_table(figures),
        "![parity](parity.png)",
        _robustness(figures),
        _uncertainty(figures),
        _dft(distances or {}),
        "## Data\n\n" + _data_table(training, validation, oxide),
        "## Made by\n\n```\nsearcher potential label\nsearcher potential fit\nsearcher potential check\n```\n\n"
        "`data/` holds the labelled frames, `settings.json` the settings and the seed. Equal data and settings give "
        "equal files with the same version of quippy-ase on one thread.",
        LIMITS.format(distance=distance, metal=oxide.metal).rstrip(),
    ]
    path.write_text("\n\n".join(section for section in sections if section) + "\n")


def _robustness(figures: PotentialFigures) -> str:
    metal, settings = figures.reference.oxide.metal, RelaxationSettings()
    lines = [
        f"Of {figures.proposals} random insertions that the fit has not seen (a layer's {metal} and one to three times "
        f"as many O strewn above a frozen slab of (110)), {figures.survived} relaxed without an explosion, an overlap "
        f"or an absurd force, {figures.converged} of them to {settings.fmax:g} eV/Å within {settings.max_calls} force "
        "calls. Dimer curves repulsive from 0.8 Å: "
        + ", ".join(f"{pair} {'yes' if ok else 'NO'}" for pair, ok in figures.repulsive.items())
        + "."
    ]
    if (hot := figures.hot) is not None:
        end = "it held together" if hot.reason is None else f"it broke ({hot.reason})"
        lines.append(
            f"A slab of (110) at 1000 K: {hot.picoseconds:g} ps at {hot.temperature:.0f} K on average, {end}; the "
            f"metal atom that moved most went {hot.largest_metal_shift:.2f} Å."
        )
    return "\n\n".join(lines)


def _uncertainty(figures: PotentialFigures) -> str:
    if (found := figures.calibration) is None:
        return ""
    return (
        "## Error bars\n\nThe GAP's local variances are no energy error. On the held-out surfaces "
        f"{found.scale:.2f} · √(Σ local variances) is the standard deviation of the total energy; divided by the area "
        f"it is the one of γ. With the scale of the other half of the families {100 * found.within_one:.0f} % of the "
        f"errors lie within one and {100 * found.within_two:.0f} % within two deviations (68 and 95 % for a normal "
        f"distribution); rank correlation with the true error {found.rank_correlation:.2f} on {found.frames} frames."
        "\n\n"
        "![uncertainty](uncertainty.png)"
    )


def _dft(distances: Mapping[str, Distance]) -> str:
    if not distances:
        return ""
    rows = [
        (name, str(d.frames), f"{1e3 * d.energy_rmse:.0f}", f"{d.force_rmse:.2f}", f"{d.force_rms:.2f}")
        for name, d in distances.items()
    ]
    head = ("", "cells", "energy, meV/atom", "force component, eV/Å", "DFT force itself")
    return (
        "## Against density functional theory\n\nGPAW, PBE, plane waves 400 eV, k-points ≥ 24 Å/L, not spin-polarised, "
        "on distorted cells of 10–14 atoms that nothing was fitted to; energies up to one constant per element.\n\n"
        + _table(head, rows)
    )


def _shortcomings(figures: PotentialFigures) -> str:
    missed = figures.shortcomings()
    if not missed:
        return "It meets every figure that `searcher potential check` asks for."
    return "It misses what `searcher potential check` asks for in:\n\n" + "\n".join(f"- {line}" for line in missed)


LITERATURE: Mapping[str, str] = {
    "γ(100) stoichiometric": "87",
    "γ(110) O-rich": "about 21",
    "γ(110) stoichiometric": "71",
    "crossover O-poor to stoichiometric": "−2.3",
    "crossover stoichiometric to O-rich": "−1.0",
}
"""PBE; Kim et al., Surf. Sci. 483, 179 (2001) and later work"""


def _physics(figures: PotentialFigures) -> str:
    """Beside literature and experiment where these are known, of RuO2 alone."""
    of_ruo2 = figures.reference.oxide.metal == RUTHENIUM
    title = "## Against its labeller, DFT and experiment" if of_ruo2 else "## Against its labeller"
    head = ("", "this potential", "labeller", "PBE, literature", "experiment")
    shown = len(head) if of_ruo2 else head.index("labeller") + 1
    return f"{title}\n\n" + _table(head[:shown], [row[:shown] for row in _physics_rows(figures)])


def _physics_rows(figures: PotentialFigures) -> list[tuple[str, ...]]:
    own, reference = figures.surfaces, figures.reference
    crystals = [
        ("a / Å", "a", "{:.3f}", "4.523", "4.497"),
        ("c / Å", "c", "{:.3f}", "3.120", "3.105"),
        ("u", "u", "{:.4f}", "0.3057", "0.3053"),
        (f"formation energy, eV per {reference.oxide.metal}O2", "formation_enthalpy", "{:.2f}", "–", "−3.14"),
    ]
    rows: list[tuple[str, ...]] = [
        (
            name,
            style.format(getattr(own.references, field)),
            style.format(getattr(reference.references, field)),
            pbe,
            experiment,
        )
        for name, field, style, pbe, experiment in crystals
    ]
    for facet, faces in own.facets.items():
        for name, gamma in faces.gamma.items():
            other = reference.facets[facet].gamma[name]
            row = f"γ({facet}) {name}"
            rows.append(
                (
                    f"{row} at Δμ_O = 0, meV/Å²",
                    f"{1e3 * gamma:.0f}",
                    f"{1e3 * other:.0f}",
                    LITERATURE.get(row, "–"),
                    "–",
                )
            )
    for one, two in CROSSOVERS:
        row = f"crossover {one} to {two}"
        shift, other_shift = (f"{side.facets['110'].crossover(one, two):.2f}" for side in (own, reference))
        rows.append((f"{row} of (110), eV", shift, other_shift, LITERATURE[row], "–"))
    return rows


def _error_table(figures: PotentialFigures) -> str:
    rows = [
        (name, str(figures.frames[name]), f"{1e3 * figures.energy_rmse[name]:.1f}", f"{figures.force_rmse[name]:.3f}")
        for name in sorted(figures.frames)
    ]
    return _table(("frames", "number", "energy, meV/atom", "force component, eV/Å"), rows)


def _data_table(training: Sequence[Atoms], validation: Sequence[Atoms], oxide: Oxide) -> str:
    fitted, held = (Counter(str(a.info["config_type"]) for a in frames) for frames in (training, validation))
    meant = {kind: text.format(**asdict(oxide)) for kind, text in MEANINGS.items()}
    rows = [(kind, meant.get(kind, ""), str(fitted[kind]), str(held[kind])) for kind in sorted(fitted | held)]
    rows.append(("together", "", str(len(training)), str(len(validation))))
    return _table(("config_type", "what", "fitted", "held out"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
