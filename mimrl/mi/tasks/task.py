"""A named benchmark task: a law with its exact information, and where it comes from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy.typing as npt

from mimrl.errors import ConfigError
from mimrl.mi.tasks.law import Floats, Law, Seed

Named = TypeVar("Named")


@dataclass(frozen=True)
class Task:
    """A law under a name.

    Args:
        name: as the benchmark it comes from writes it.
        law: draws the samples.
        description: what makes it hard, one line.
        source: who proposed it.

    Note:
        ``mutual_information`` is a property here and a method of :attr:`law`, as it is of the
        tasks and of the samplers of the package benchmark-mi: its harness takes either.
    """

    name: str
    law: Law
    description: str
    source: str

    @property
    def dim_x(self) -> int:
        """Width of X."""
        return self.law.dim_x

    @property
    def dim_y(self) -> int:
        """Width of Y."""
        return self.law.dim_y

    @property
    def mutual_information(self) -> float:
        """I(X; Y) in nats."""
        return self.law.mutual_information()

    def sample(self, n_samples: int, seed: Seed) -> tuple[Floats, Floats]:
        """Draws independent pairs; the same seed gives the same numbers.

        Args:
            n_samples: N, 1 or more.
            seed: 0 or more, or a generator, which is advanced.

        Returns:
            x ``(N, dim_x)`` and y ``(N, dim_y)``, float64.

        Raises:
            ConfigError: N below 1, or no seed.
        """
        return self.law.sample(n_samples, seed)

    def log_ratio(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Exact pointwise information log p(x, y) / (p(x) p(y)).

        Args:
            x: ``(N, dim_x)`` samples of this task.
            y: ``(N, dim_y)``.

        Returns:
            ``(N,)`` in nats.

        Raises:
            ShapeError: widths or lengths that do not fit.
            EstimationError: values this task cannot have drawn.
        """
        return self.law.log_ratio(x, y)


def by_name(rows: Iterable[Task]) -> dict[str, Task]:
    """Name -> task, in the order given."""
    return {task.name: task for task in rows}


def named(name: str, table: Mapping[str, Named], kind: str) -> Named:
    """The row of a table.

    Args:
        name: key.
        table: name -> row.
        kind: what the rows are, for the message.

    Returns:
        The row.

    Raises:
        ConfigError: no such row; the message lists names like it, or the first ones.
    """
    if name in table:
        return table[name]
    close = difflib.get_close_matches(str(name), list(table), n=5, cutoff=0.5)
    if close:
        raise ConfigError(f"unknown {kind} {name!r}; did you mean {', '.join(close)}?")
    first = ", ".join(list(table)[:5])
    raise ConfigError(f"unknown {kind} {name!r}; the {len(table)} known ones begin with {first}")
