"""Positions and amplitudes of Gaussians of known width, fitted jointly to grids: Levenberg–Marquardt in batches.

The Gaussians are products of one-dimensional profiles, so model and gradient are two matrix products per iteration,
and the normal matrix needs no voxel at all: its elements are products of one-dimensional overlaps on the grid's own
points. On a CPU `compiled_fit` does the same grid by grid, only where atoms reach.
"""

from dataclasses import dataclass

import torch

from generators.grids.compiled_fit import explain_each, fit_each
from generators.grids.density import axis_profiles_and_slopes
from generators.grids.spec import GridSpec

FIRST_DAMPING = 1e-4
LARGEST_DAMPING = 1e8
"""Damping at which no step lowers the residual any more."""
MIN_STIFFNESS = 1e-3
"""Share of a full atom's diagonal that damps atoms of vanishing amplitude, whose position nothing determines."""
LARGEST_AMPLITUDE = 5.0
WHOLE_REACH = 7.5
"""Distance in σ at which a Gaussian has fallen to 6e-13."""
SMALLEST_GAIN = 1e-3
"""Fall of the error, in units of its mean square residual (Δχ²), below which a step no longer tells anything: what is
left to gain is some hundredths of a standard deviation of the parameters. Without noise it never stops a fit."""


@dataclass
class Gaussians:
    """Atoms of one species in a batch of grids, padded.

    Attributes
    ----------
    positions : torch.Tensor, shape (batch, n_max, 3)
        Å
    amplitudes : torch.Tensor, shape (batch, n_max)
    present : torch.Tensor of bool, shape (batch, n_max)
    """

    positions: torch.Tensor
    amplitudes: torch.Tensor
    present: torch.Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, index: torch.Tensor) -> "Gaussians":
        """Rows of the batch, copied."""
        return Gaussians(self.positions[index], self.amplitudes[index], self.present[index])

    def squeezed(self, n_max: int) -> "Gaussians":
        """The present atoms first, in `n_max` columns, which must suffice for them; a copy."""
        front = torch.argsort((~self.present).to(torch.int8), dim=1, stable=True)[:, :n_max]
        width = front.shape[1]
        squeezed = Gaussians(
            self.positions.new_zeros(len(self), n_max, 3),
            self.amplitudes.new_zeros(len(self), n_max),
            self.present.new_zeros(len(self), n_max),
        )
        squeezed.positions[:, :width] = self.positions.gather(1, front[..., None].expand(-1, -1, 3))
        squeezed.amplitudes[:, :width] = self.amplitudes.gather(1, front)
        squeezed.present[:, :width] = self.present.gather(1, front)
        return squeezed

    def replace(self, index: torch.Tensor, other: "Gaussians") -> None:
        """Overwrite rows of the batch."""
        self.positions[index], self.amplitudes[index] = other.positions, other.amplitudes
        self.present[index] = other.present


@dataclass
class Evaluation:
    """A model of Gaussians against grids.

    Attributes
    ----------
    error : torch.Tensor, shape (batch,)
        Sum of squared residuals.
    gradient : torch.Tensor, shape (batch, n_max, 4)
        Residual times derivative by amplitude, x, y, z, summed over voxels.
    profiles : list of (torch.Tensor, torch.Tensor)
        Per axis profiles and slopes, shape (batch, n_max, n) each; absent atoms have none along x.
    """

    error: torch.Tensor
    gradient: torch.Tensor
    profiles: list[tuple[torch.Tensor, torch.Tensor]]

    def select(self, index: torch.Tensor) -> "Evaluation":
        """Rows of the batch, copied."""
        profiles = [(profile[index], slope[index]) for profile, slope in self.profiles]
        return Evaluation(self.error[index], self.gradient[index], profiles)

    def where(self, better: torch.Tensor, other: "Evaluation") -> "Evaluation":
        """Rows of `other` where `better` (batch,) is true."""
        mask = better[:, None, None]
        profiles = [
            (torch.where(mask, new[0], old[0]), torch.where(mask, new[1], old[1]))
            for new, old in zip(other.profiles, self.profiles, strict=True)
        ]
        return Evaluation(
            torch.where(better, other.error, self.error), torch.where(mask, other.gradient, self.gradient), profiles
        )


def _profiles(atoms: Gaussians, spec: GridSpec) -> list[tuple[torch.Tensor, torch.Tensor]]:
    profiles = [axis_profiles_and_slopes(atoms.positions[..., axis], spec, axis) for axis in range(3)]
    present = atoms.present[..., None].to(atoms.positions.dtype)
    profiles[0] = (profiles[0][0] * present, profiles[0][1] * present)
    return profiles


def _residuals(
    data: torch.Tensor, clipped: torch.Tensor | None, x: torch.Tensor, planes: torch.Tensor, atoms: Gaussians
) -> torch.Tensor:
    """Data less model (batch, nx, ny * nz); clipped voxels count only as far as the model lies below them."""
    residuals = torch.baddbmm(data, (x * atoms.amplitudes[..., None]).transpose(1, 2), planes, alpha=-1.0)
    return residuals if clipped is None else torch.where(clipped, residuals.clamp(min=0.0), residuals)


def residuals_and_weights(
    data: torch.Tensor,
    clipped: torch.Tensor | None,
    atoms: Gaussians,
    spec: GridSpec,
    reach: float = WHOLE_REACH,
    weigh: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a model leaves over, and how much of each atom's surroundings it explains.

    Parameters
    ----------
    data : torch.Tensor, shape (batch, nx, ny * nz)
    clipped : torch.Tensor of bool, same shape, optional
    atoms : Gaussians
    spec : GridSpec
    reach : float
        Distance in σ beyond which the CPU takes a Gaussian for zero.
    weigh : bool
        Whether the second result is asked for.

    Returns
    -------
    residuals : torch.Tensor, shape (batch, nx, ny * nz)
    explained : torch.Tensor, shape (batch, n_max)
        1 − Σ w r² / Σ w d² with the atom's own Gaussian as weight w.
    """
    if data.device.type == "cpu":
        mask = None if clipped is None else clipped.contiguous().numpy()
        arrays = (atoms.positions.contiguous().numpy(), atoms.amplitudes.contiguous().numpy(), atoms.present.numpy())
        left_over, shares = explain_each(data.contiguous().numpy(), mask, *arrays, spec, reach, weigh)
        return torch.from_numpy(left_over), torch.from_numpy(shares)
    return _residuals_everywhere(data, clipped, atoms, spec)


def _residuals_everywhere(
    data: torch.Tensor, clipped: torch.Tensor | None, atoms: Gaussians, spec: GridSpec
) -> tuple[torch.Tensor, torch.Tensor]:
    """`residuals_and_weights` on any device, over all voxels."""
    (x, _), (y, _), (z, _) = _profiles(atoms, spec)
    planes = (y[..., :, None] * z[..., None, :]).flatten(2)  # (batch, n_max, ny nz)
    residuals = _residuals(data, clipped, x, planes, atoms)
    left, total = ((torch.bmm(planes, values.square().transpose(1, 2)) * x).sum(dim=-1) for values in (residuals, data))
    return residuals, 1.0 - left / total.clamp(min=torch.finfo(data.dtype).tiny)


def evaluate(data: torch.Tensor, clipped: torch.Tensor | None, atoms: Gaussians, spec: GridSpec) -> Evaluation:
    """Error and gradient of a model; data and the mask `clipped` have shape (batch, nx, ny * nz)."""
    profiles = _profiles(atoms, spec)
    (x, dx), (y, dy), (z, dz) = profiles
    batch, n_max = atoms.present.shape
    sides = torch.stack([y, dy, y], dim=1)[..., :, None] * torch.stack([z, z, dz], dim=1)[..., None, :]
    planes = sides.reshape(batch, 3 * n_max, -1)  # (batch, 3 n_max, ny nz): value, slope in y, slope in z
    residuals = _residuals(data, clipped, x, planes[:, :n_max], atoms)
    projected = torch.bmm(planes, residuals.transpose(1, 2)).reshape(batch, 3, n_max, -1)  # (batch, 3, n_max, nx)
    by_amplitude = (projected[:, 0] * x).sum(dim=-1)
    by_position = [(projected[:, 0] * dx).sum(-1), (projected[:, 1] * x).sum(-1), (projected[:, 2] * x).sum(-1)]
    gradient = torch.stack([by_amplitude, *(atoms.amplitudes * part for part in by_position)], dim=-1)
    return Evaluation(residuals.square().sum(dim=(1, 2)), gradient, profiles)


def normal_matrix(profiles: list[tuple[torch.Tensor, torch.Tensor]], amplitudes: torch.Tensor) -> torch.Tensor:
    """Jᵀ J for the parameters amplitude, x, y, z of each atom, shape (batch, 4 n_max, 4 n_max)."""
    overlaps = []
    for profile, slope in profiles:
        mixed = torch.bmm(profile, slope.transpose(1, 2))
        overlaps.append(
            {
                (False, False): torch.bmm(profile, profile.transpose(1, 2)),
                (False, True): mixed,
                (True, False): mixed.transpose(1, 2),
                (True, True): torch.bmm(slope, slope.transpose(1, 2)),
            }
        )
    batch, n_max = amplitudes.shape
    matrix = amplitudes.new_empty(batch, n_max, 4, n_max, 4)
    scales = [torch.ones_like(amplitudes)] + 3 * [amplitudes]
    for i in range(4):
        for j in range(i, 4):
            block = scales[i][:, :, None] * scales[j][:, None, :]
            for axis in range(3):
                block = block * overlaps[axis][(i == axis + 1, j == axis + 1)]
            matrix[:, :, i, :, j] = block
            matrix[:, :, j, :, i] = block.transpose(1, 2)
    return matrix.reshape(batch, 4 * n_max, 4 * n_max)


def _step(evaluation: Evaluation, atoms: Gaussians, damping: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """Damped Gauss–Newton step, shape (batch, n_max, 4)."""
    matrix = normal_matrix(evaluation.profiles, atoms.amplitudes)
    diagonal = matrix.diagonal(dim1=1, dim2=2)  # a view
    batch, n_max = atoms.present.shape
    overlap = torch.pi**1.5 * spec.sigma**3 / spec.voxel_volume
    full = diagonal.new_tensor([overlap] + 3 * [overlap / (2.0 * spec.sigma**2)]).repeat(n_max)
    diagonal += damping[:, None] * torch.maximum(diagonal, MIN_STIFFNESS * full) + 1e-12 * full
    absent = (~atoms.present)[..., None].expand(batch, n_max, 4).reshape(batch, -1)
    diagonal[absent] = 1.0
    factor, _ = torch.linalg.cholesky_ex(matrix)
    gradient = evaluation.gradient.reshape(batch, -1, 1)
    step = torch.cholesky_solve(gradient, factor).reshape(batch, n_max, 4)
    # a factorisation that failed leaves no usable step: no move, and the damping rises
    usable = torch.isfinite(step).all(dim=-1).all(dim=-1)
    return torch.where(usable[:, None, None], step, torch.zeros_like(step))


def _where(better: torch.Tensor, trial: Gaussians, atoms: Gaussians) -> Gaussians:
    return Gaussians(
        torch.where(better[:, None, None], trial.positions, atoms.positions),
        torch.where(better[:, None], trial.amplitudes, atoms.amplitudes),
        atoms.present,
    )


def fit(
    data: torch.Tensor,
    clipped: torch.Tensor | None,
    atoms: Gaussians,
    spec: GridSpec,
    max_iterations: int,
    tolerance: float,
    reach: float = WHOLE_REACH,
) -> Gaussians:
    """Fit all grids of a batch.

    Parameters
    ----------
    data : torch.Tensor of float64, shape (batch, nx, ny * nz)
    clipped : torch.Tensor of bool, same shape, optional
        Voxels whose value is a lower bound; None if there is none.
    atoms : Gaussians
        Where to start.
    spec : GridSpec
    max_iterations : int
    tolerance : float
        Largest last step of an atom in Å, and of its amplitude in units of a peak. Where the residual does not vanish,
        a fit ends earlier, once it gains no more than `SMALLEST_GAIN`.
    reach : float
        Distance in σ beyond which the CPU takes a Gaussian for zero.

    Returns
    -------
    Gaussians
        Positions are not wrapped.
    """
    if data.device.type == "cpu":
        return _fit_compiled(data, clipped, atoms, spec, max_iterations, tolerance, reach)
    return _fit_batch(data, clipped, atoms, spec, max_iterations, tolerance)


def _fit_compiled(
    data: torch.Tensor,
    clipped: torch.Tensor | None,
    atoms: Gaussians,
    spec: GridSpec,
    max_iterations: int,
    tolerance: float,
    reach: float,
) -> Gaussians:
    """`fit` on the CPU, one grid after the other."""
    packed = atoms.squeezed(atoms.present.shape[1])
    fit_each(
        data.contiguous().numpy(),
        None if clipped is None else clipped.contiguous().numpy(),
        packed.positions.numpy(),
        packed.amplitudes.numpy(),
        packed.present.sum(dim=1).numpy(),
        spec,
        reach,
        (
            max_iterations,
            tolerance,
            FIRST_DAMPING,
            LARGEST_DAMPING,
            MIN_STIFFNESS,
            LARGEST_AMPLITUDE,
            SMALLEST_GAIN,
        ),
    )
    return packed


def _fit_batch(
    data: torch.Tensor,
    clipped: torch.Tensor | None,
    atoms: Gaussians,
    spec: GridSpec,
    max_iterations: int,
    tolerance: float,
) -> Gaussians:
    """`fit` on any device, all grids at once; those that have converged leave the iteration."""
    rows = torch.arange(len(atoms), device=data.device)
    final = atoms.select(rows)
    evaluation = evaluate(data, clipped, atoms, spec)
    damping = data.new_full((len(atoms),), FIRST_DAMPING)
    rounding = 1e-15 * data.square().sum(dim=(1, 2))
    for _ in range(max_iterations):
        step = _step(evaluation, atoms, damping, spec)
        positions = atoms.positions + step[..., 1:].clamp(-spec.sigma, spec.sigma)
        amplitudes = (atoms.amplitudes + step[..., 0]).clamp(0.0, LARGEST_AMPLITUDE)
        trial = Gaussians(positions, amplitudes, atoms.present)
        attempt = evaluate(data, clipped, trial, spec)
        better = attempt.error <= evaluation.error + rounding
        largest = torch.maximum(
            (positions - atoms.positions).abs().amax(dim=(1, 2)), (amplitudes - atoms.amplitudes).abs().amax(dim=1)
        )
        gain = evaluation.error - attempt.error
        settled = (largest < tolerance) | (gain < SMALLEST_GAIN * attempt.error / data[0].numel())
        atoms, evaluation = _where(better, trial, atoms), evaluation.where(better, attempt)
        damping = torch.where(better, 0.1 * damping, 10.0 * damping)
        done = (better & settled) | (damping > LARGEST_DAMPING)
        if done.any():
            final.replace(rows[done], atoms.select(done))
            rows, atoms, evaluation = rows[~done], atoms.select(~done), evaluation.select(~done)
            damping, rounding, data = damping[~done], rounding[~done], data[~done]
            clipped = None if clipped is None else clipped[~done]
        if len(rows) == 0:
            break
    final.replace(rows, atoms)
    return final
