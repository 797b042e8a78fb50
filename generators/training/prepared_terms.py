"""Terms of the generator's loss that are made from the training's data, or learn beside it, by name."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from torch import Tensor, nn

from generators.training.autoencoding import Autoencoding
from generators.training.close_atoms import CloseAtoms, least_distances
from generators.training.ground import Ground
from generators.training.predictor import Predictor
from generators.training.terms import GeneratorBatch


class PreparedTerm(Protocol):
    """A term with something of its own."""

    needs_real: bool
    """whether it reads real grids under the conditions of the generated ones"""
    told: dict[str, Tensor]
    """further figures of its last call, by name"""

    @property
    def kept(self) -> Mapping[str, nn.Module]:
        """Networks that are of use after the training, by the name that they have among its weights."""

    def __call__(self, batch: GeneratorBatch) -> Tensor:
        """What is added to the loss."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything that changes, by name."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave."""


def _close_atoms(ground: Ground) -> CloseAtoms:
    frozen = ground.template if ground.view.kind == "window" else None
    return CloseAtoms(least_distances(ground.records, ground.spec, frozen), ground.spec)


PREPARED_TERMS: Mapping[str, Callable[[Ground], PreparedTerm]] = {
    "autoencoding": Autoencoding,
    "autoencoding_features": partial(Autoencoding, by_features=True),
    "predictor": Predictor,
    "validity": _close_atoms,
}


def prepared_terms(ground: Ground) -> dict[str, PreparedTerm]:
    """Those that the settings name.

    Raises
    ------
    ValueError
        If two of them keep networks under one name.
    """
    terms = {name: PREPARED_TERMS[name](ground) for name in ground.settings.terms if name in PREPARED_TERMS}
    kept = Counter(network for term in terms.values() for network in term.kept)
    for network, count in kept.items():
        if count > 1:
            names = [name for name, term in terms.items() if network in term.kept]
            raise ValueError(f"`terms` names {names}, of which each has an {network} of its own; name one of them")
    return terms
