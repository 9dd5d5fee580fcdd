"""Several processes that train one model: who computes which rows, and how results come together.

The principle: every process computes the same loss ``L`` of the whole global batch, from rows that
all have gathered. The adjoint of gathering sums over processes, so the gradients a process finds
are those of ``sum_r L_r = size * L``, through its own share of the rows; their mean over processes
is exactly ``dL/dtheta``, whatever part of the computation was shared out and whatever every process
did for itself. A team of one does nothing.

Gradients are averaged after the backward pass, in a few large pieces. Averaging layer by layer
during it (``DistributedDataParallel``) would hide most of the transfer behind the computation: what
is given up here for one rule that holds for model and critics alike, and for modules that nothing
wraps, so that their weights keep their names.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mimrl.datasets.loading import share_sizes
from mimrl.errors import ConfigError, ProcessError
from mimrl.launch import launched, local_rank, require_launcher

PATIENCE = timedelta(hours=4)  # the others wait while the first reads the terms at the end
MOST_SAID = 160  # characters of a backend's message
PIECE = 4 * 2**20  # numbers in one transfer of gradients


@dataclass(frozen=True)
class Team:
    """The processes of one training, and which of them this is.

    Attributes:
        rank: from 0; the first writes all files.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    @property
    def part(self) -> tuple[int, int] | None:
        """``(rank, size)`` for :func:`mimrl.datasets.loading.iterate`; None in a team of one."""
        return (self.rank, self.size) if self.size > 1 else None

    def share(self, rows: Tensor, dim: int = 0) -> Tensor:
        """This process's consecutive rows of a tensor that all processes hold.

        Rows of a batch are not shared out so, but one by one (:meth:`dealt`), so that every
        process gets short and long samples alike.

        Args:
            rows: ``(..., N, ...)``, the same in all processes.
            dim: where ``N`` stands.

        Returns:
            ``(..., n, ...)``, the shares differing by one row at most.
        """
        return rows.split(share_sizes(rows.shape[dim], self.size), dim)[self.rank]

    def gather(self, local: Tensor, rows: int) -> Tensor:
        """The rows of all processes, in the order of their ranks; differentiable.

        Args:
            local: ``(n, ...)`` with this process's share of ``rows``.
            rows: of all processes together; the shares follow from it.

        Returns:
            ``(rows, ...)``, the same in all processes.

        Raises:
            ProcessError: another process ended or cannot be reached, as in all that processes do
                together.
        """
        if self.size == 1:
            return local
        return _Gather.apply(local, share_sizes(rows, self.size), self.rank)

    def spread(self, network: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """``network(*rows)``, each process computing its share; see :class:`mimrl.mi.Spread`.

        Args:
            network: row by row: ``(G, n, d)`` each to ``(G, n, e)``, whatever ``n`` is.
            *rows: ``(G, N, d)`` each, the same in all processes.

        Returns:
            ``(G, N, e)``, the same in all processes; differentiable.

        Raises:
            ProcessError: another process ended or cannot be reached.
        """
        if self.size == 1:
            return network(*rows)
        local = network(*(self.share(values, 1) for values in rows))
        return self.gather(local.transpose(0, 1), rows[0].shape[1]).transpose(0, 1)

    def dealt(self, rows: int) -> Tensor:
        """``(rows,)`` where each row of a batch that was dealt out one by one stands among all.

        :func:`mimrl.datasets.loading.iterate` deals rows so; gathered, they come rank by rank.
        """
        ranked = [torch.arange(rank, rows, self.size) for rank in range(self.size)]
        return torch.cat(ranked).argsort()

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces every gradient by its mean over processes.

        The same parameters must have one everywhere.

        Raises:
            ProcessError: another process ended or cannot be reached.
        """
        if self.size == 1:
            return
        for piece in _pieces([p.grad for p in parameters if p.grad is not None]):
            flat = piece[0] if len(piece) == 1 else torch.cat([g.flatten() for g in piece])
            _reduce(flat)
            flat /= self.size
            if len(piece) > 1:
                parts = flat.split([g.numel() for g in piece])
                torch._foreach_copy_(
                    piece, [p.view_as(g) for p, g in zip(parts, piece, strict=True)]
                )

    def start_alike(self, module: nn.Module) -> None:
        """Gives parameters and buffers of all processes the values of the first one's."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                with _collective():
                    dist.broadcast(tensor, 0)

    def agreed(self, value: float, device: torch.device) -> float:
        """The first process's number: what all decide by must not differ in the last bit."""
        if self.size == 1:
            return value
        number = torch.tensor([value], dtype=torch.float64).to(device)
        with _collective():
            dist.broadcast(number, 0)
        return float(number)

    def total(self, number: Tensor) -> Tensor:
        """The sum of all processes' numbers, 0-d; the argument itself in a team of one."""
        if self.size == 1:
            return number
        found = number.clone()
        _reduce(found)
        return found

    def require_same(self, what: str, number: int, device: torch.device) -> None:
        """Raises where processes differ in what must be the same, before it can do harm.

        Raises:
            ConfigError: they do.
        """
        if self.size == 1:
            return
        found = self.gather(torch.tensor([number]).to(device), self.size).tolist()
        if len(set(found)) > 1:
            raise ConfigError(
                f"the {self.size} processes differ in {what} ({found}, by rank); start all with "
                "the same command, and set output and the data to folders that all hosts share"
            )

    def wait(self) -> None:
        """Waits until all processes have come here."""
        if self.size > 1:
            # NCCL's barrier is a sum on a GPU; left to itself it may guess which.
            nccl = "nccl" in dist.get_backend()
            with _collective():
                dist.barrier(device_ids=[torch.cuda.current_device()] if nccl else None)


ALONE = Team()
"""The team of a process that trains by itself."""


def assemble(device: torch.device) -> tuple[Team, torch.device]:
    """The team a launcher started, and this process's device; a team of one without a launcher.

    Args:
        device: the kind of device the settings ask for.

    Raises:
        ConfigError: more processes on this host than it has GPUs, or a launcher's variables are
            incomplete.
    """
    if not launched():
        return ALONE, device
    if device.type == "cuda" and local_rank() >= torch.cuda.device_count():
        raise ConfigError(
            f"process {local_rank() + 1} of this host found {torch.cuda.device_count()} GPUs; "
            "start one process a GPU (--nproc_per_node), or set device=cpu"
        )
    require_launcher()
    if device.type == "cuda":
        torch.cuda.set_device(local_rank())  # before NCCL starts, or all start on the first GPU
    # A second that a single process need not wait.
    from accelerate import PartialState  # type: ignore[import-untyped]

    state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
    return Team(state.process_index, state.num_processes), state.device


class _Gather(torch.autograd.Function):
    """Rows of all processes; the adjoint sums the gradients of all and takes one's own rows."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        padded = local.new_zeros(sizes[0], *local.shape[1:])  # the first share is the largest
        padded[: len(local)] = local
        parts = [torch.empty_like(padded) for _ in sizes]
        with _collective():
            dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        _reduce(total)
        return total.split(ctx.sizes)[ctx.rank], None, None


def _reduce(tensor: Tensor) -> None:
    with _collective():
        dist.all_reduce(tensor)


def _pieces(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients in groups of about ``PIECE`` numbers; a large one goes alone, without a copy."""
    piece: list[Tensor] = []
    for gradient in gradients:
        if gradient.numel() >= PIECE:
            yield [gradient]
            continue
        piece.append(gradient)
        if sum(g.numel() for g in piece) >= PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


@contextmanager
def _collective() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ProcessError(
            "another process of this training ended or cannot be reached; where no message of its "
            "own says why, it was killed from outside: look at its memory "
            f"(the backend says: {textwrap.shorten(said[0], MOST_SAID, placeholder=' ...')})"
        ) from error
