"""The layout of generator and critic: every piece is chosen by name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generators.fields import require_least, require_named, require_share, require_widths

if TYPE_CHECKING:
    from generators.networks.conditioning import ConditionSpec

CRITIC_CONDITIONS = ("channel", "constant", "projection", "both")
OUTPUT_NORMS = ("none", "batch")


@dataclass(frozen=True)
class NetworkSettings:
    """Layout of generator and critic.

    Attributes
    ----------
    conditions : tuple of ConditionSpec
        Empty for an unconditioned network.
    condition_method : {"embedding", "one_hot", "integer"}
        How both networks read conditions.
    condition_size : int
        Numbers per condition beside the noise.
    critic_condition : {"channel", "constant", "projection", "both"}
        `channel`: a learned channel; `constant`: the encoded condition as channels that are the same everywhere;
        `projection`: inner product with the last features; `both`: channel and projection.
    latent : int
        Length of the noise vector.
    generator_channels : tuple of int
        Features from the coarsest resolution to the finest but the output; the resolution doubles between neighbours.
    generator_refinements : int
        Further convolutions at each resolution but the coarsest.
    generator_output : {"keeping", "doubling"}
        Whether the last features already have the grid's resolution, or half of it, which is cheaper.
    critic_stem : {"keeping", "halving"}
        Whether the critic's first convolution keeps the resolution, or halves it, which is cheaper.
    critic_channels : tuple of int
        Features from the finest resolution to the coarsest; the resolution halves between neighbours.
    critic_hidden : int
        Width of the critic's dense head.
    generator_head : {"occupancy", "density"}
        How the last features become densities, see `generators.networks.heads`.
    occupancy_width : float
        Width of the Gaussian that spreads occupancies, relative to an atom's.
    generator_norm, critic_norm : str
        A name in `generators.networks.layers.NORMS`. Layer norm in the critic magnifies the first, nearly empty grids,
        which slows the start.
    output_norm : {"none", "batch"}
        A norm between the generator's last layer and its sigmoid.
    doubling : str
        A name in `generators.networks.layers.DOUBLINGS`.
    minibatch_deviation : bool
        Let the critic see the spread within a batch.
    minibatch_kernels : int
        Kernels of minibatch discrimination (Salimans et al., NeurIPS 2016); 0 for none.
    packing : int
        Samples that the critic judges together (PacGAN, Lin et al., NeurIPS 2018).
    critic_dropout : float
        Share of features dropped after the critic's first convolution.
    critic_spectral : bool
        Divide each of the critic's kernels by its largest singular value (Miyato et al., ICLR 2018).
    lattice : bool
        Heads for the cell's lengths in both networks.
    condition_head : bool
        The critic also says which conditions it sees (AC-GAN, Odena et al., ICML 2017).
    information : int
        First numbers of the noise that the critic reads back from a grid (InfoGAN, Chen et al., NeurIPS 2016).
    """

    conditions: "tuple[ConditionSpec, ...]" = ()
    condition_method: str = "embedding"
    condition_size: int = 16
    critic_condition: str = "projection"
    latent: int = 64
    generator_channels: tuple[int, ...] = (128, 64)
    generator_refinements: int = 0
    generator_output: str = "doubling"
    generator_head: str = "occupancy"
    occupancy_width: float = 0.6
    critic_stem: str = "halving"
    critic_channels: tuple[int, ...] = (32, 128)
    critic_hidden: int = 64
    generator_norm: str = "pixel"
    critic_norm: str = "none"
    output_norm: str = "none"
    doubling: str = "transposed"
    minibatch_deviation: bool = True
    minibatch_kernels: int = 0
    packing: int = 1
    critic_dropout: float = 0.0
    critic_spectral: bool = False
    lattice: bool = False
    condition_head: bool = False
    information: int = 0

    def __post_init__(self) -> None:
        # the names of the pieces come with torch, which a configuration that is only looked at does not wait for
        from generators.networks.conditioning import CONDITION_METHODS
        from generators.networks.heads import HEADS
        from generators.networks.layers import CRITIC_STEMS, DOUBLINGS, NORMS

        require_named(
            self,
            {
                "condition_method": CONDITION_METHODS,
                "critic_condition": CRITIC_CONDITIONS,
                "generator_norm": NORMS,
                "critic_norm": NORMS,
                "output_norm": OUTPUT_NORMS,
                "doubling": DOUBLINGS,
                "generator_output": ("keeping", "doubling"),
                "generator_head": HEADS,
                "critic_stem": CRITIC_STEMS,
            },
        )
        require_least(self, 1, ("latent", "condition_size", "critic_hidden", "packing"))
        require_least(self, 0, ("minibatch_kernels",))
        require_widths(self, ("generator_channels", "critic_channels"))
        require_share(self, ("critic_dropout",))
        if not 0.0 < self.occupancy_width <= 1.0:
            raise ValueError(f"`occupancy_width` is {self.occupancy_width} but must lie above 0 and not above 1")
        self._check_heads()

    def _check_heads(self) -> None:
        if not 0 <= self.information <= self.latent:
            raise ValueError(f"`information` is {self.information} but must lie in 0 to `latent`, {self.latent}")
        if self.condition_head and not self.conditions:
            raise ValueError("`condition_head` is true but there are no `conditions` to tell")
        if self.condition_head and self.critic_condition != "projection":
            raise ValueError(
                f"`condition_head` needs `critic_condition` projection, not {self.critic_condition!r}: features that "
                "were told the conditions say nothing of the grid"
            )
        if self.packing > 1 and (self.lattice or self.condition_head or self.information):
            raise ValueError(
                f"`packing` is {self.packing} but must be 1 with `lattice`, `condition_head` or `information`, "
                "which speak of single samples"
            )

    @property
    def n_doublings(self) -> int:
        """How often the generator doubles the resolution."""
        return len(self.generator_channels) - 1 + int(self.generator_output == "doubling")

    @property
    def n_halvings(self) -> int:
        """How often the critic halves the resolution."""
        return len(self.critic_channels) - 1 + int(self.critic_stem == "halving")
