"""Training on several devices: the processes (ranks) started by torchrun and their communication.

Rank 0 finds, locks and writes the run and makes every decision; it announces each step. All ranks load the same batch
and train on their part of it: the gradients of the parts, weighted by their number of images, are added in one
all-reduce. Up to rounding, losses and updates therefore equal those of one process, even if the batch size is not a
multiple of the number of ranks. DistributedDataParallel would average the means of the ranks, and DistributedSampler
would repeat images.
"""

from __future__ import annotations

import atexit
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import IntEnum
from functools import cache
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist

from convoy.process import cores, in_torchrun
from convoy.text import gettext as _

T = TypeVar("T")

# Long, because the other ranks wait while rank 0 scores. A process that ends closes its connections, which the others
# notice immediately; torchrun notices a lost host.
TIMEOUT = timedelta(hours=24)


class Command(IntEnum):
    """The kind of an announcement of rank 0."""

    LOAD = 0  # the state of the learner follows
    STEP = 1  # train step `number` of the run with the learning rate factor `factor`
    SCORE = 2  # score the validation set after epoch `number`
    END = 3


class Announcement(NamedTuple):
    command: Command
    number: int
    factor: float


class Part(NamedTuple):
    """The images of a batch, or of a micro-batch, that this process trains on."""

    x: torch.Tensor  # [P, C, H, W]
    y: torch.Tensor  # [P] or [P, classes]
    rows: slice  # rows of the batch; empty if another rank reports these images
    weight: float  # weight of its mean loss in the loss of the batch


class Ranks:
    def __init__(self) -> None:
        """Joins the torchrun job of this process. Raises ValueError if its environment variables are incomplete."""
        try:
            self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
            self.on_this_host = int(os.environ["LOCAL_WORLD_SIZE"])
            local_rank = int(os.environ["LOCAL_RANK"])
        except (KeyError, ValueError) as error:
            raise ValueError(
                _("torchrun: RANK, WORLD_SIZE, LOCAL_RANK or LOCAL_WORLD_SIZE: {error}", error=error)
            ) from None
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            if self.on_this_host > torch.cuda.device_count():
                raise ValueError(
                    _(
                        "torchrun: {on_this_host} processes on a machine with {device_count} CUDA devices; "
                        "expected at most one per device",
                        on_this_host=self.on_this_host,
                        device_count=torch.cuda.device_count(),
                    )
                )
            torch.cuda.set_device(local_rank)
        with connection_errors():
            dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)
        atexit.register(self.leave)  # torch's threads otherwise abort the process
        self.images_ratio = 1.0  # images of the current (micro-)batch in all ranks / images in this rank

    @property
    def is_leader(self) -> bool:
        return self.rank == 0

    @property
    def threads(self) -> int:
        """CPU threads per process: an equal share of this host's cores. torchrun sets OMP_NUM_THREADS to 1."""
        return max(1, cores() // self.on_this_host)

    def leave(self) -> None:
        """Closes the connections, so that no other rank waits for this one."""
        if dist.is_initialized():
            dist.destroy_process_group()

    # ---- messages ----

    def announce(self, command: Command, number: int = 0, factor: float = 0.0) -> None:
        with connection_errors():
            dist.broadcast(torch.tensor([command, number, factor], dtype=torch.float64), 0)

    def next(self) -> Announcement:
        numbers = torch.empty(3, dtype=torch.float64)
        with connection_errors():
            dist.broadcast(numbers, 0)
        command, number, factor = numbers.tolist()
        return Announcement(Command(int(command)), int(number), factor)

    def from_leader(self, value: T | None = None) -> T:
        """Returns rank 0's value in every rank."""
        values = [value]
        with connection_errors():
            dist.broadcast_object_list(values, 0, device=torch.device("cpu"))
        return values[0]  # type: ignore[return-value]

    def from_all(self, value: T) -> list[T]:
        """Returns the values of all ranks, in their order."""
        values: list[T] = [value] * self.size
        with connection_errors():
            dist.all_gather_object(values, value)
        return values

    # ---- arithmetic ----

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Adds the tensors of all ranks, in place. The sums of all ranks are bit-identical."""
        with connection_errors():
            dist.all_reduce(tensor)
        return tensor

    def part_of(self, batch: Part) -> Part:
        """Returns this rank's part of a (micro-)batch.

        If a (micro-)batch has fewer images than there are ranks, every rank trains on all of them.
        """
        images = len(batch.x)
        if images < self.size:
            self.images_ratio = 1.0
            return batch._replace(weight=batch.weight / self.size)
        first, last = self.share(images)
        self.images_ratio = images / (last - first)
        rows = slice(batch.rows.start + first, batch.rows.start + last)
        return Part(batch.x[first:last], batch.y[first:last], rows, batch.weight * (last - first) / images)

    def share(self, count: int) -> tuple[int, int]:
        """Returns this rank's range (start, stop) of `count` items. Sizes of ranges differ by at most one."""
        return count * self.rank // self.size, count * (self.rank + 1) // self.size

    def all_reduce(
        self,
        parameters: Sequence[torch.Tensor],
        loss: torch.Tensor,
        logits: torch.Tensor,
        rows: Sequence[slice],
        images: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds the gradients and losses of all ranks in one all-reduce.

        `logits` are those of this rank's `rows` of the batch. Returns the loss and the logits [images, classes] of the
        entire batch. A parameter gets a gradient if it has one in any rank.
        """
        has_gradient = [parameter.grad is not None for parameter in parameters]
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        own = logits.new_zeros(images, logits.shape[1] + 1)  # last column: number of ranks that computed the row
        for row, values in zip(rows, logits.split([row.stop - row.start for row in rows]), strict=True):
            own[row, :-1], own[row, -1] = values, 1
        pieces += [loss.new_tensor(has_gradient, dtype=pieces[0].dtype), loss, own]
        flat = self.sum(torch.cat([piece.flatten().to(pieces[0].dtype) for piece in pieces]))
        *gradients, owners, loss, logits = (
            total.view(piece.shape)
            for total, piece in zip(flat.split([piece.numel() for piece in pieces]), pieces, strict=True)
        )
        if not all(has_gradient):  # reading `owners` waits for the device
            has_gradient = (owners > 0).tolist()
        for parameter, gradient, is_owned in zip(parameters, gradients, has_gradient, strict=True):
            if is_owned and parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            if is_owned:
                parameter.grad.copy_(gradient)  # type: ignore[union-attr]
        return loss.clone(), logits[:, :-1] / logits[:, -1:]  # copies, because `flat` is large


@contextmanager
def connection_errors() -> Iterator[None]:
    """Converts the errors of a lost connection to a ConnectionError."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        text = _("another process of torchrun ended; its error, if it printed one, is above")
        raise ConnectionAbortedError(errno.ECONNABORTED, text) from error


@cache
def torchrun_ranks() -> Ranks | None:
    """Returns the ranks of this torchrun job, joining it on the first call; None without torchrun."""
    return Ranks() if in_torchrun() else None
