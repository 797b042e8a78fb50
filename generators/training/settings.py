"""How long and how fast networks are trained, and what steadies them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from generators.fields import require_least, require_named, require_positive, require_share, require_threads

INTERPOLATIONS = ("sample", "epoch")
PRECISIONS = ("fp32", "bf16")
AUGMENTATIONS = ("none", "fixed", "adaptive")
COUNTS = ("steps", "batch_size", "critic_steps", "penalty_every", "checkpoint_every", "checkpoints_kept", "cycles")
NOT_NEGATIVE = (
    "warmup_steps",
    "condition_start",
    "condition_blend",
    "curriculum_steps",
    "terms_blend",
    "critic_pretraining",
    "unrolled_steps",
    "replay_size",
    "instance_noise",
    "instance_noise_steps",
    "latent_noise",
    "latent_noise_steps",
    "coarse_steps",
    "lattice_weight",
    "condition_weight",
    "information_weight",
    "check_every",
)


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training loop.

    Attributes
    ----------
    steps : int
        Generator steps.
    batch_size : int
        Over all processes together.
    batch_doublings : tuple of int
        Steps at which the batch doubles.
    critic_steps : int
        Critic steps before each generator step.
    loss : str
        A name in `generators.networks.losses.LOSSES`.
    penalty : str or None
        A name in `generators.networks.losses.PENALTIES`; None for the loss' own.
    penalty_weight : float
        Of the gradient penalty, λ.
    penalty_every : int
        Critic steps from one gradient penalty to the next; the weight is multiplied by it, so that its mean stays
        (lazy regularisation, Karras et al., CVPR 2020). The penalty shares the step of the loss, so Adam's moments see
        as many steps as without, and its rates stay as they are.
    penalty_interpolation : {"sample", "epoch"}
        Whether each sample has its own place between real and generated, or all of one pass over the data the same.
    optimiser : str
        A name in `generators.training.optimisers.OPTIMISERS`.
    generator_rate, critic_rate : float
        Learning rates.
    betas : tuple of float
        Adam's moment decays.
    schedule : str
        A name in `generators.training.schedules.SCHEDULES`.
    cycles : int
        Of the cyclic schedule.
    warmup_steps : int
        Steps over which the rates rise linearly from zero.
    ema_decay : float
        Of the averaged generator, which samples are drawn from; smaller during the first steps.
    gradient_clip : float or None
        Largest norm of a network's gradient.
    terms : mapping of str to float
        Further terms of the generator's loss with their weights, names in `generators.training.terms.TERMS` or
        `generators.training.prepared_terms.PREPARED_TERMS`.
    terms_blend : int
        Steps over which these terms fade in.
    lattice_weight, condition_weight, information_weight : float
        Of the losses of the networks' heads, in both networks.
    balance : tuple of str
        Conditions whose values are drawn equally often.
    condition_start, condition_blend : int
        Conditions are hidden up to the first step and fade in over so many more.
    curriculum_steps : int
        Steps over which the values of the first condition, from the smallest on, come into the data.
    critic_pretraining : int
        Critic steps before the first generator step.
    unrolled_steps : int
        Critic steps that the generator looks ahead (Metz et al., ICLR 2017, without the gradient through them).
    replay_size, replay_share : int, float
        Generated grids that are kept, and their share among those that the critic is shown.
    instance_noise, instance_noise_steps : float, int
        Standard deviation of noise on every grid that the critic sees, and the steps over which it fades.
    latent_noise, latent_noise_steps : float, int
        How much wider than 1 the noise of the generator begins, and the steps over which that fades.
    coarse_steps : int
        Steps over which the critic sees grids at half the resolution, which fades into the whole one.
    symmetry_augmentation : {"none", "fixed", "adaptive"}
        Turn and mirror real and generated grids by the grid's own symmetries before the critic sees them: always, or
        as often as the critic tells the data too surely (Karras et al., NeurIPS 2020).
    max_rollbacks : int
        Times that the last checkpoint is taken up again at half the rates after a number that is not finite.
    check_every : int
        Steps between checks of the training's health; 0 for none.
    remedies : bool
        Whether the checks act, or only tell.
    checkpoint_every : int
        Steps.
    checkpoints_kept : int
        The last ones.
    threads : int or None
        Threads of torch while training, which decide the last bits of the weights; None leaves them as they are.
    channels_last : bool
        Store the channels of a voxel side by side, which convolutions read faster.
    precision : {"fp32", "bf16"}
        Of the networks' products; weights, losses and penalties stay in single precision.
    compiled : bool
        Compile the critic's whole loss, penalty included; pays on a GPU.
    device : str
        As torch names it.
    """

    steps: int = 1500
    batch_size: int = 16
    batch_doublings: tuple[int, ...] = ()
    critic_steps: int = 1
    loss: str = "wgan_gp"
    penalty: str | None = None
    penalty_weight: float = 10.0
    penalty_every: int = 2
    penalty_interpolation: str = "sample"
    optimiser: str = "adam"
    generator_rate: float = 4e-4
    critic_rate: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.9)
    schedule: str = "constant"
    cycles: int = 1
    warmup_steps: int = 0
    ema_decay: float = 0.99
    gradient_clip: float | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    terms_blend: int = 0
    lattice_weight: float = 1.0
    condition_weight: float = 1.0
    information_weight: float = 1.0
    balance: tuple[str, ...] = ()
    condition_start: int = 0
    condition_blend: int = 0
    curriculum_steps: int = 0
    critic_pretraining: int = 0
    unrolled_steps: int = 0
    replay_size: int = 0
    replay_share: float = 0.25
    instance_noise: float = 0.0
    instance_noise_steps: int = 1000
    latent_noise: float = 0.0
    latent_noise_steps: int = 1000
    coarse_steps: int = 0
    symmetry_augmentation: str = "none"
    max_rollbacks: int = 3
    check_every: int = 250
    remedies: bool = True
    checkpoint_every: int = 100
    checkpoints_kept: int = 2
    threads: int | None = None
    channels_last: bool = True
    precision: str = "fp32"
    compiled: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        # the names of the pieces come with torch, which a configuration that is only looked at does not wait for
        from generators.networks.losses import LOSSES, PENALTIES
        from generators.training.optimisers import OPTIMISERS
        from generators.training.prepared_terms import PREPARED_TERMS
        from generators.training.schedules import SCHEDULES
        from generators.training.terms import TERMS

        require_named(
            self,
            {
                "loss": LOSSES,
                "penalty": (None, *PENALTIES),
                "penalty_interpolation": INTERPOLATIONS,
                "optimiser": OPTIMISERS,
                "schedule": SCHEDULES,
                "symmetry_augmentation": AUGMENTATIONS,
                "precision": PRECISIONS,
            },
        )
        for name in self.terms:
            if name not in TERMS and name not in PREPARED_TERMS:
                raise ValueError(f"`terms` names {name!r} but must name some of {sorted([*TERMS, *PREPARED_TERMS])}")
        require_least(self, 1, COUNTS)
        require_least(self, 0, NOT_NEGATIVE)
        require_positive(self, ("generator_rate", "critic_rate"))
        require_share(self, ("ema_decay", "replay_share"))
        require_threads(self.threads)
        self._check_together()

    def _check_together(self) -> None:
        if self.optimiser == "extra_adam" and (self.critic_steps > 1 or self.unrolled_steps):
            raise ValueError("`optimiser` extra_adam needs `critic_steps` 1 and `unrolled_steps` 0: both step in turn")
        if self.condition_start + self.condition_blend > self.steps:
            raise ValueError(
                f"`condition_start` + `condition_blend` is {self.condition_start + self.condition_blend} but must not "
                f"exceed `steps`, {self.steps}: conditions would never be fully shown"
            )
