"""The GAN as a proposer of structures."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch

from generators.learned import LearnedProposer
from generators.networks.settings import NetworkSettings
from generators.proposal import Condition, Proposal
from generators.sampling import Drawn, Sampler
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings


@dataclass(eq=False, repr=False)
class GanProposer(LearnedProposer):
    """Conditioned DCWGAN over a template's window, or over its full cell; see `LearnedProposer`.

    Attributes
    ----------
    noise_temperature : float
        Standard deviation of the noise that samples are made from; networks are trained at 1.
    """

    TRAINER, SAMPLER = Trainer, Sampler

    network_settings: NetworkSettings
    training_settings: TrainingSettings
    _: KW_ONLY
    noise_temperature: float = 1.0

    @property
    def latent(self) -> int:
        """How many numbers of noise a proposal is made from."""
        return self.network_settings.latent

    def condition_choices(self, condition: Condition) -> tuple[np.ndarray, np.ndarray]:
        """Rows of conditions (n_rows, n_conditions) that agree with the given values, and the probability of each.

        Raises
        ------
        ValueError
            If a condition is unknown or outside its range.
        """
        rows, shares = self._trained().table.choices(condition)
        return rows.numpy(), shares

    def propose(self, noise: np.ndarray, rows: np.ndarray) -> list[Proposal]:
        """One proposal for each row of noise (n, latent), of spread 1, and conditions (n, n_conditions)."""
        heated = self.noise_temperature * torch.as_tensor(noise, dtype=torch.float32)
        drawn = self._trained().at(heated, torch.as_tensor(rows, dtype=torch.float32))
        return self.reader.read(drawn, self.conditions)

    def _drawn(self, n: int, condition: Condition, rng: np.random.Generator) -> Drawn:
        return self._trained().draw(n, condition, rng, self.noise_temperature)

    def _trained(self) -> Sampler:
        sampler = super()._trained()
        assert isinstance(sampler, Sampler)
        return sampler
