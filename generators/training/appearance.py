"""How grids are changed before the critic sees them: coarse at first, turned by symmetries, with noise."""

import torch
from torch import Tensor
from torch.nn import functional

from generators.grids.augmentation import cell_rotations
from generators.grids.spec import GridSpec
from generators.networks.layers import BATCH_AND_CHANNEL
from generators.template import Template
from generators.training.schedules import ramp
from generators.training.settings import TrainingSettings
from generators.training.view import View

VOXEL_TOLERANCE = 0.02
"""Voxels by which an operation may miss a voxel's centre and still map the grid onto itself."""
TARGET_CERTAINTY = 0.6
"""Mean sign of the critic's scores of real grids, less the mean of generated ones, above which it is too sure."""
PROBABILITY_STEP = 0.01


class Appearance:
    """What stands between a grid and the critic.

    Parameters
    ----------
    settings : TrainingSettings
    view : View
    spec : GridSpec
    template : Template or None
    random : torch.Generator

    Attributes
    ----------
    probability : torch.Tensor, shape (1,)
        Of a symmetry operation, adapted in place.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        view: View,
        spec: GridSpec,
        template: Template | None,
        random: torch.Generator,
    ) -> None:
        self.settings, self.random = settings, random
        self.probability = torch.tensor([1.0 if settings.symmetry_augmentation == "fixed" else 0.0])
        self._images: Tensor | None = None
        if settings.symmetry_augmentation != "none":
            self._images = voxel_images(view, spec, template).to(settings.device)

    def __call__(self, grids: Tensor, step: int) -> Tensor:
        """Grids as the critic sees them at a step."""
        settings = self.settings
        if self._images is not None:
            grids = self._turned(grids, self._images)
        if step < settings.coarse_steps:
            grids = torch.lerp(_coarse(grids), grids, step / settings.coarse_steps)
        noise = settings.instance_noise * (1.0 - ramp(step, 0, settings.instance_noise_steps))
        if noise > 0.0:
            grids = grids + noise * torch.randn(grids.shape, generator=self.random, device=grids.device)
        return grids

    def adapt(self, real_scores: Tensor, fake_scores: Tensor) -> None:
        """Turn grids more often where the critic is too sure of the data, less often where not."""
        if self.settings.symmetry_augmentation == "adaptive":
            certainty = torch.sign(real_scores.detach() - fake_scores.detach().mean()).mean().cpu()
            self.probability += PROBABILITY_STEP * torch.sign(certainty - TARGET_CERTAINTY)
            self.probability.clamp_(0.0, 1.0)

    def _turned(self, grids: Tensor, images: Tensor) -> Tensor:
        random = torch.rand(2, len(grids), generator=self.random, device=grids.device)
        drawn = (random[0] * len(images)).long().clamp(max=len(images) - 1)
        drawn = torch.where(random[1] < self.probability.to(grids.device), drawn, torch.zeros_like(drawn))
        rows = images[drawn][:, None].expand(-1, grids.shape[1], -1)
        return grids.flatten(2).gather(2, rows).view_as(grids)


def _coarse(grids: Tensor) -> Tensor:
    """Means over blocks of two voxels per axis, at the resolution of the grid."""
    pool = {2: functional.avg_pool2d, 3: functional.avg_pool3d}[grids.dim() - BATCH_AND_CHANNEL]
    return functional.interpolate(pool(grids, 2), scale_factor=2)


def voxel_images(view: View, spec: GridSpec, template: Template | None) -> Tensor:
    """Where each symmetry operation takes the voxels, for those that map the grid onto itself; the identity first.

    Returns
    -------
    torch.Tensor of int64, shape (n_operations, n_voxels)
        Voxels are counted as by `flatten`.
    """
    axes = list(view.axes)
    shape = torch.tensor([spec.shape[axis] for axis in axes])
    centres = torch.stack(
        torch.meshgrid(*(torch.as_tensor(spec.centres(axis)) for axis in range(3)), indexing="ij"), dim=-1
    )
    if view.kind == "slice":
        centres = centres.select(view.axis, 0)
    points = centres.reshape(-1, 3)
    origin, spacing = torch.tensor(spec.origin).double(), torch.as_tensor(spec.spacing)
    found = []
    for rotation, translation in _operations(view, spec, template):
        voxels = ((points @ rotation.T + translation - origin) / spacing - 0.5)[:, axes]
        whole = voxels.round()
        inside = (whole >= 0) & (whole < shape)
        wraps = torch.tensor([spec.periodic[axis] for axis in axes])
        if bool(((voxels - whole).abs() <= VOXEL_TOLERANCE).all()) and bool((inside | wraps).all()):
            index = torch.zeros(len(points), dtype=torch.int64)
            for column in range(len(axes)):
                index = index * int(shape[column]) + whole[:, column].long() % int(shape[column])
            found.append(index)
    return torch.stack(found)


def _operations(view: View, spec: GridSpec, template: Template | None) -> list[tuple[Tensor, Tensor]]:
    """Rotations (3, 3) and translations (3,) in Å of the template, or of the cell about its middle."""
    if view.kind == "window" and template is not None:
        pairs = zip(template.rotations, template.translations, strict=True)
        return [(torch.as_tensor(rotation).double(), torch.as_tensor(shift).double()) for rotation, shift in pairs]
    middle = torch.tensor(spec.origin).double() + 0.5 * torch.tensor(spec.lengths).double()
    operations = []
    for rotation in torch.as_tensor(cell_rotations(spec)).double():
        if view.kind != "slice" or bool((rotation[view.axis].abs() == torch.eye(3)[view.axis]).all()):
            operations.append((rotation, middle - rotation @ middle))
    return operations
