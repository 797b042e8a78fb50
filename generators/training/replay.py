"""Generated grids of earlier steps, shown to the critic again so that it does not forget them."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Replay:
    """A store of grids with their conditions (Shrivastava et al., CVPR 2017).

    Parameters
    ----------
    size : int
        Grids that are kept; 0 keeps none.
    share : float
        Of those shown to the critic.
    random : torch.Generator
    """

    def __init__(self, size: int, share: float, random: torch.Generator) -> None:
        self.size, self.share, self.random = size, share, random
        self.grids: Tensor | None = None
        self.conditions: Tensor | None = None

    def mixed(self, grids: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Grids (batch, ...) and their conditions with a share of older ones in the place of some, which are kept."""
        if self.size == 0:
            return grids, conditions
        grids, conditions = grids.detach(), conditions.detach()
        if self.grids is None or self.conditions is None or len(self.grids) < self.size:
            room = self.size - (0 if self.grids is None else len(self.grids))
            self.grids = grids[:room].clone() if self.grids is None else torch.cat([self.grids, grids[:room]])
            before = conditions[:0] if self.conditions is None else self.conditions
            self.conditions = torch.cat([before, conditions[:room]])
            return grids, conditions
        n = min(round(self.share * len(grids)), self.size)
        new = torch.randperm(len(grids), generator=self.random, device=grids.device)[:n]
        old = torch.randperm(self.size, generator=self.random, device=grids.device)[:n]
        mixed, told = grids.clone(), conditions.clone()
        mixed[new], told[new] = self.grids[old], self.conditions[old]
        self.grids[old], self.conditions[old] = grids[new], conditions[new]
        return mixed, told

    def tensors(self) -> dict[str, Tensor]:
        """What is kept, for a checkpoint."""
        if self.grids is None or self.conditions is None:
            return {}
        return {"grids": self.grids, "conditions": self.conditions}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave."""
        self.grids, self.conditions = tensors.get("grids"), tensors.get("conditions")
        if self.grids is not None and self.conditions is not None:
            device = self.random.device
            self.grids, self.conditions = self.grids.clone().to(device), self.conditions.clone().to(device)
