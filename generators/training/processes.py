"""One training shared by several processes, each with its part of every batch."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is.

    All of them draw the same random numbers for the whole batch and compute their own part of it, so that weights and
    random state stay equal everywhere and a checkpoint of the first process serves all.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process' part of a batch of `n`.

        Raises
        ------
        ValueError
            If the batch cannot be divided evenly.
        """
        if n % self.count:
            raise ValueError(f"`batch_size` is {n} but must be divisible by the {self.count} processes")
        part = n // self.count
        return slice(self.rank * part, (self.rank + 1) * part)

    def average_gradients(self, network: nn.Module) -> None:
        """Replace each gradient by its mean over the processes: one message for all of them."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def averaged(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean of each number over the processes."""
        row = torch.stack([value.detach().float().reshape(()) for value in values.values()])
        if self.count > 1:
            dist.all_reduce(row)
            row /= self.count
        return dict(zip(values, row.tolist(), strict=True))

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's tensors, in place."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


ALONE = Processes()


def join_processes(device: str) -> Processes:
    """Join the processes that `torchrun` started; alone where it did not.

    Parameters
    ----------
    device : str
        On a GPU each process uses the one of its local rank.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    if not dist.is_initialized():
        kind = torch.device(device).type
        if kind == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(BACKENDS[kind])
    return Processes(dist.get_rank(), dist.get_world_size())


def leave_processes() -> None:
    """Leave the group, if this process is in one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
