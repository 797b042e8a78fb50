"""The denoiser as a proposer of structures."""

from dataclasses import KW_ONLY, dataclass, field, replace

from generators.denoising.sampling import DenoiserSampler
from generators.denoising.settings import DenoiserNetworkSettings, DenoiserSamplingSettings, DenoiserTrainingSettings
from generators.denoising.training import DenoiserTrainer
from generators.learned import LearnedProposer


@dataclass(eq=False, repr=False)
class DenoiserProposer(LearnedProposer):
    """Conditioned voxel denoiser over a template's window, or over its full cell; see `LearnedProposer`.

    Attributes
    ----------
    sampling : DenoiserSamplingSettings

    Raises
    ------
    ValueError
        If guidance is asked of weights that cannot give it.
    """

    TRAINER, SAMPLER = DenoiserTrainer, DenoiserSampler

    network_settings: DenoiserNetworkSettings
    training_settings: DenoiserTrainingSettings
    _: KW_ONLY
    sampling: DenoiserSamplingSettings = field(default_factory=DenoiserSamplingSettings)

    def _as_asked(self, sampler: DenoiserSampler) -> DenoiserSampler:
        return replace(sampler, sampling=self.sampling)
