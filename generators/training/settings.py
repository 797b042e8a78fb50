"""How long and how fast networks are trained."""

from dataclasses import dataclass

from generators.networks.losses import LOSSES

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training loop.

    Attributes
    ----------
    steps : int
        Generator steps.
    batch_size : int
        Structures per step.
    critic_steps : int
        Critic steps before each generator step.
    loss : str
        A name in `generators.networks.losses.LOSSES`.
    penalty_weight : float
        Of the gradient penalty, λ.
    penalty_every : int
        Critic steps from one gradient penalty to the next; the weight is multiplied by it, so that its mean stays
        (lazy regularisation, Karras et al., CVPR 2020). The penalty shares the step of the loss, so Adam's moments see
        as many steps as without, and its rates stay as they are.
    generator_rate, critic_rate : float
        Learning rates of Adam.
    betas : tuple of float
        Adam's moment decays.
    schedule : {"constant", "cosine"}
        Cosine falls to a tenth at the last step.
    warmup_steps : int
        Steps over which the rates rise linearly from zero.
    ema_decay : float
        Of the averaged generator, which samples are drawn from; smaller during the first steps.
    gradient_clip : float or None
        Largest norm of a network's gradient.
    max_rollbacks : int
        Times that the last checkpoint is taken up again at half the rates after a number that is not finite.
    checkpoint_every : int
        Steps.
    checkpoints_kept : int
        The last ones.
    threads : int or None
        Threads of torch while training, which decide the last bits of the weights; None leaves them as they are.
    channels_last : bool
        Store the channels of a voxel side by side, which convolutions read faster.
    device : str
        As torch names it.
    """

    steps: int = 1500
    batch_size: int = 16
    critic_steps: int = 1
    loss: str = "wgan_gp"
    penalty_weight: float = 10.0
    penalty_every: int = 2
    generator_rate: float = 4e-4
    critic_rate: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.9)
    schedule: str = "constant"
    warmup_steps: int = 0
    ema_decay: float = 0.99
    gradient_clip: float | None = None
    max_rollbacks: int = 3
    checkpoint_every: int = 100
    checkpoints_kept: int = 2
    threads: int | None = None
    channels_last: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"`loss` is {self.loss!r} but must be one of {sorted(LOSSES)}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"`schedule` is {self.schedule!r} but must be one of {list(SCHEDULES)}")
        for name in ("steps", "batch_size", "critic_steps", "penalty_every", "checkpoint_every", "checkpoints_kept"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)} but must be at least 1")
        for name in ("generator_rate", "critic_rate"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"`{name}` is {getattr(self, name)} but must be positive")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"`ema_decay` is {self.ema_decay} but must lie in [0, 1)")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"`threads` is {self.threads} but must be at least 1, or None")
