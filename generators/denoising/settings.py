"""Layout, training and sampling of the denoiser; noise levels are in units of an atom's peak height, 1."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generators.fields import (
    require_least,
    require_named,
    require_positive,
    require_share,
    require_threads,
    require_widths,
)
from generators.training.settings import PRECISIONS

if TYPE_CHECKING:
    from generators.networks.conditioning import ConditionSpec

STEMS = ("halving", "keeping")
SAMPLERS = ("heun", "walk_jump")


@dataclass(frozen=True)
class DenoiserNetworkSettings:
    """Layout of the U-Net.

    Attributes
    ----------
    conditions : tuple of ConditionSpec
        Empty for an unconditioned network.
    condition_method : {"embedding", "one_hot", "integer"}
    condition_size : int
        Numbers per condition.
    channels : tuple of int
        Features from the finest resolution to the coarsest; the resolution halves between neighbours.
    blocks : int
        Residual blocks at each resolution on the way down and on the way up.
    stem : {"halving", "keeping"}
        Whether the finest features have half of the grid's resolution, which costs an eighth, or all of it.
    embedding : int
        Width of the vector that tells every block the noise level and the conditions.
    norm : str
        A name in `generators.networks.layers.NORMS`.
    """

    conditions: "tuple[ConditionSpec, ...]" = ()
    condition_method: str = "embedding"
    condition_size: int = 16
    channels: tuple[int, ...] = (48, 96)
    blocks: int = 1
    stem: str = "halving"
    embedding: int = 96
    norm: str = "group"

    def __post_init__(self) -> None:
        # the names of the pieces come with torch, which a configuration that is only looked at does not wait for
        from generators.networks.conditioning import CONDITION_METHODS
        from generators.networks.layers import NORMS

        require_named(self, {"condition_method": CONDITION_METHODS, "stem": STEMS, "norm": set(NORMS) - {"batch"}})
        require_least(self, 1, ("condition_size", "blocks"))
        if self.embedding < 2 or self.embedding % 2:
            raise ValueError(f"`embedding` is {self.embedding} but must be an even number, 2 or more")
        require_widths(self, ("channels",))

    @property
    def n_halvings(self) -> int:
        """How often the resolution is halved on the way down."""
        return len(self.channels) - 1 + int(self.stem == "halving")


@dataclass(frozen=True)
class DenoiserTrainingSettings:
    """Settings of the training loop.

    Attributes
    ----------
    steps, batch_size : int
        The batch is that of all processes together.
    noise_median, noise_spread : float
        Noise levels are log-normal: their median, and the standard deviation of their logarithm.
    condition_dropout : float
        Share of the structures whose conditions are hidden, which `guidance` needs when samples are drawn.
    optimiser : str
        A name in `generators.training.optimisers.OPTIMISERS`, but for `extra_adam`.
    rate : float
        Learning rate.
    betas : tuple of float
        Adam's moment decays.
    schedule, cycles : str, int
        A name in `generators.training.schedules.SCHEDULES`, and the cycles of the cyclic one.
    warmup_steps : int
        Steps over which the rate rises linearly from zero.
    ema_decay : float
        Of the averaged network, which samples are drawn with; smaller during the first steps.
    gradient_clip : float or None
        Largest norm of the gradient.
    balance : tuple of str
        Conditions whose values are drawn equally often.
    max_rollbacks : int
        Times that the last checkpoint is taken up again at half the rate after a number that is not finite.
    checkpoint_every, checkpoints_kept : int
        Steps, and how many of the last checkpoints stay.
    threads : int or None
        Threads of torch while training, which decide the last bits of the weights; None leaves them as they are.
    channels_last : bool
        Store the channels of a voxel side by side, which convolutions read faster.
    precision : {"fp32", "bf16"}
        Of the network's products; weights and loss stay in single precision.
    device : str
        As torch names it.
    """

    steps: int = 1500
    batch_size: int = 16
    noise_median: float = 0.6
    noise_spread: float = 1.2
    condition_dropout: float = 0.1
    optimiser: str = "adam"
    rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    schedule: str = "cosine"
    cycles: int = 1
    warmup_steps: int = 50
    ema_decay: float = 0.995
    gradient_clip: float | None = 1.0
    balance: tuple[str, ...] = ()
    max_rollbacks: int = 3
    checkpoint_every: int = 100
    checkpoints_kept: int = 2
    threads: int | None = None
    channels_last: bool = True
    precision: str = "fp32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        from generators.training.optimisers import OPTIMISERS
        from generators.training.schedules import SCHEDULES

        optimisers = set(OPTIMISERS) - {"extra_adam"}  # whose every other step is taken on trial
        require_named(self, {"optimiser": optimisers, "schedule": SCHEDULES, "precision": PRECISIONS})
        require_least(self, 1, ("steps", "batch_size", "cycles", "checkpoint_every", "checkpoints_kept"))
        require_least(self, 0, ("warmup_steps", "max_rollbacks"))
        require_positive(self, ("noise_median", "noise_spread", "rate"))
        require_share(self, ("ema_decay", "condition_dropout"))
        require_threads(self.threads)


@dataclass(frozen=True)
class DenoiserSamplingSettings:
    """How samples are drawn from a trained denoiser.

    Attributes
    ----------
    sampler : {"heun", "walk_jump"}
        Down a ladder of noise levels, or a walk at one level and a jump from there.
    guidance : float
        Classifier-free guidance: 1 for what was learned, above 1 the conditions are followed more strictly at twice
        the cost.
    steps : int
        Noise levels of `heun`.
    noise_max, noise_min : float
        The first and the last of them.
    curvature : float
        How much denser they lie where there is little noise, ρ.
    churn : float
        Noise that is added again on the way, in all steps together; 0 for none.
    walk_noise : float
        Level of `walk_jump`.
    walk_steps : int
        Steps of each sample's walk.
    walk_length : float
        Of one step, in units of the level.
    friction : float
        Of the walk, in units of 1 over the level.
    jump_steps : int
        1: one application of the denoiser; more: that many steps of `heun` from the walk's level down.
    """

    sampler: str = "heun"
    guidance: float = 1.0
    steps: int = 18
    noise_max: float = 20.0
    noise_min: float = 0.02
    curvature: float = 7.0
    churn: float = 0.0
    walk_noise: float = 0.9
    walk_steps: int = 100
    walk_length: float = 0.5
    friction: float = 1.0
    jump_steps: int = 1

    def __post_init__(self) -> None:
        require_named(self, {"sampler": SAMPLERS})
        require_least(self, 2, ("steps",))
        require_least(self, 1, ("walk_steps", "jump_steps"))
        require_least(self, 0, ("churn", "guidance"))
        require_positive(self, ("noise_min", "curvature", "walk_noise", "walk_length", "friction"))
        if not self.noise_min < self.noise_max:
            raise ValueError(f"`noise_max` is {self.noise_max} but must be above `noise_min`, {self.noise_min}")
        if self.jump_steps > 1 and not self.noise_min < self.walk_noise:
            raise ValueError(
                f"`walk_noise` is {self.walk_noise} but must be above `noise_min`, {self.noise_min}, where "
                f"`jump_steps` is {self.jump_steps}"
            )
