"""A new potential for a campaign, and what it and the present one are worth on the same frames and faces."""

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ase import Atoms

from relax.fitting.gap_fit import fit
from relax.fitting.held_out import hold_out
from relax.fitting.settings import FitError, FitSettings
from relax.labelling.frames import write_data
from relax.lifetime import end_with_parent
from relax.oxide import Oxide
from relax.potential import PotentialSpec, gap_spec
from relax.potential_check import check
from relax.potential_figures import PotentialFigures
from relax.surface_figures import Labeller, SurfaceFigures, read_surface_figures, write_surface_figures
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.places import POTENTIALS
from searcher.config import ImproveSection
from searcher.errors import EnvironmentProblem, InputError
from searcher.files import replacing
from searcher.labelled_oxide import LABELLER_FILE
from searcher.structures.crystal import Crystal
from searcher.structures.faces import faces_of_lattice, kept_figures, labeller_faces

DATA = Path("data") / "frames.extxyz.xz"
SETTINGS = "settings.json"


@dataclass(frozen=True)
class Trial:
    """What a new potential is fitted to and judged by.

    Attributes
    ----------
    folder : pathlib.Path
        Of the new version.
    present : PotentialSpec
        The potential in use.
    present_fit : pathlib.Path or None
        Folder with the settings of its fit, where it has one.
    data : list of ase.Atoms
        Its labelled frames, those held out from its fit included.
    new : list of ase.Atoms
        Labelled in this round.
    fit_changes : mapping
        Keys of `FitSettings` that are to differ from the present potential's.
    """

    folder: Path
    present: PotentialSpec
    present_fit: Path | None
    data: list[Atoms]
    new: list[Atoms]
    fit_changes: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def training(self) -> list[Atoms]:
        """Frames that the fit sees."""
        return hold_out([*self.data, *self.new])[0]

    @cached_property
    def validation(self) -> list[Atoms]:
        """Frames that no version's fit has seen: families are held out by their names, once and for all."""
        return hold_out([*self.data, *self.new])[1]

    @property
    def settings(self) -> FitSettings:
        """Of the present potential, with the changes asked for.

        Raises
        ------
        InputError
            If a change is no setting of a fit.
        """
        of_data = FitSettings.for_data(self.data)
        values = asdict(of_data)
        if self.present_fit is not None and (kept := self.present_fit / SETTINGS).is_file():
            values |= json.loads(kept.read_text())["settings"]
        unknown = sorted(set(self.fit_changes) - set(values))
        if unknown:
            raise InputError(f"`improve.fit.{unknown[0]}` is not a setting; there are {sorted(values)}")
        values = {**values, **self.fit_changes}
        values["errors"] = {**of_data.errors, **{k: tuple(v) for k, v in values["errors"].items()}}
        return FitSettings(**values)


def fit_folder(campaign: Campaign) -> Path | None:
    """Where the fit of the potential in use left settings and labelled frames; None if it is no GAP."""
    *_, record = campaign.ledger.potentials()[-1]
    if "fit" in record:
        return campaign.folder / record["fit"]
    gap = campaign.config.potential.gap
    return None if gap is None else Path(gap_spec(gap).path).parent


def labelled_frames(fit: Path | None, section: ImproveSection) -> Path:
    """The file of frames that a potential was fitted to: in the folder of its fit, else where `improve.data` says.

    Raises
    ------
    InputError
        If it is missing, or another calculator labelled it than the one that is to label the new frames.
    """
    path = fit / DATA if fit is not None and (fit / DATA).is_file() else section.data
    if path is None or not path.is_file():
        raise InputError(
            f"`improve.data` is {path}: the labelled frames that the potential was fitted to are needed, in a file as "
            "`searcher potential fit` keeps it"
        )
    told = path.with_name(LABELLER_FILE)
    before = read_surface_figures(told).labeller if told.is_file() else None
    asked = Labeller(section.labeller, section.labeller_arguments)
    if before is not None and not before.agrees_with(asked):
        raise InputError(
            f"`improve.labeller` is `{asked}`, but `{before}` labelled `{path}`: a fit to the energies of two "
            "calculators is neither's; give the same calculator and arguments"
        )
    return path


def fit_gap(trial: Trial) -> PotentialSpec:
    """Fit a GAP to a trial's frames, and keep them beside it.

    Raises
    ------
    EnvironmentProblem
        If `gap_fit` fails.
    """
    (trial.folder / "data").mkdir(exist_ok=True)
    write_data([*trial.data, *trial.new], trial.folder / DATA)
    told = trial.present_fit / DATA.with_name(LABELLER_FILE) if trial.present_fit is not None else None
    if told is not None and told.is_file():
        shutil.copyfile(told, trial.folder / DATA.with_name(LABELLER_FILE))
    try:
        xml = fit(trial.training, trial.settings, trial.folder)
    except FitError as error:
        raise EnvironmentProblem(f"no new potential could be fitted: {error}") from None
    return gap_spec(xml.resolve())


def kept_labeller_figures(campaign: Campaign, section: ImproveSection) -> SurfaceFigures | None:
    """What an earlier round kept of what the labeller says of faces.

    Raises
    ------
    InputError
        If another labeller said it.
    """
    return kept_figures(_labeller_file(campaign), Labeller(section.labeller, dict(section.labeller_arguments)))


def _labeller_file(campaign: Campaign) -> Path:
    return campaign.folder / POTENTIALS / LABELLER_FILE


def labeller_figures(campaign: Campaign, problem: SurfaceProblem, section: ImproveSection) -> SurfaceFigures:
    """What the labeller says of crystal and faces of the campaign's facet; measured once."""
    path = _labeller_file(campaign)
    path.parent.mkdir(exist_ok=True)
    labeller = Labeller(section.labeller, dict(section.labeller_arguments))
    kept = kept_labeller_figures(campaign, section)
    found, structure = problem.references, campaign.config.material.metal_structure
    if kept is None or (kept.oxide.metal, kept.oxide.metal_structure) != (problem.metal, structure):
        oxide = Oxide(problem.metal, found.a, found.c, found.u, structure)
        slabs_for = partial(faces_of_lattice, problem.metal, campaign.config.surface.facet)
        with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
            figures = pool.submit(labeller_faces, labeller, oxide, slabs_for).result()
        with replacing(path) as draft:
            write_surface_figures(figures, draft)
    return read_surface_figures(path)


def measure_both(
    campaign: Campaign, problem: SurfaceProblem, trial: Trial, spec: PotentialSpec, reference: SurfaceFigures
) -> tuple[PotentialFigures, PotentialFigures]:
    """The potential in use and a new one, on the same held-out frames and faces."""
    crystal = Crystal(problem.metal, problem.references.a, problem.references.c, problem.references.u)
    labelled = crystal.with_lattice(reference.references.a, reference.references.c, reference.references.u)
    faces = partial(faces_of_lattice, problem.metal, campaign.config.surface.facet, like=labelled)
    figures = []
    for one in (trial.present, spec):
        with ProcessPoolExecutor(
            1, get_context("spawn"), end_with_parent
        ) as pool:  # the GAP library stays out of the driver
            answer = pool.submit(check, one, trial.validation, reference, crystal.bulk(), faces, [])
            figures.append(answer.result())
    return figures[0], figures[1]
