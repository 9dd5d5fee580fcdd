"""Families of tasks with a dial: strongly coupled pairs (DMI), and a staircase of information.

Samples are float64 and should be handed on as such where the coupling is strong. At strength 2,000
the part of y that x does not explain has size 7e-4: float64 keeps it to 13 digits, float32 to 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from mimrl.errors import ConfigError
from mimrl.mi.tasks.bmi import BMI_TASKS, two_pairs
from mimrl.mi.tasks.law import Law, width
from mimrl.mi.tasks.normal import CoupledPairs, unexplained_at_information
from mimrl.mi.tasks.task import Task, by_name, named
from mimrl.mi.tasks.transformed import Transformed, half_cubed, spiralled
from mimrl.mi.tasks.transforms import CUBE

DMI_DIMS = (3, 5, 10, 20, 50)
DMI_STRENGTHS = (200.0, 650.0, 1100.0, 1550.0, 2000.0)
STAIRCASE_NATS = (2.0, 4.0, 6.0, 8.0, 10.0)


def _plain(law: Law) -> Law:
    return law


_KINDS: Mapping[str, tuple[str, Callable[[Law], Law]]] = MappingProxyType(
    {
        "multinormal": ("", _plain),
        "half_cube": ("half_cube-", half_cubed),
        "spiral": ("spiral-", spiralled),
    }
)
DMI_KINDS = tuple(_KINDS)


def dmi_task(kind: str, dim: int, strength: float) -> Task:
    """A task of the published DMI / MMG sweep, which passes the strength on unscaled.

    Args:
        kind: ``multinormal``, ``half_cube`` or ``spiral``.
        dim: width of X and of Y, 2 or more, 3 or more for a spiral.
        strength: s; the two coupled pairs have correlation s^2 / (1 + s^2).

    Returns:
        A task of -log(1 - (s^2 / (1 + s^2))^2) nats, under the name benchmark-mi gives it.

    Raises:
        ConfigError: an unknown kind, too narrow, or a strength negative or beyond float64.

    >>> round(dmi_task("multinormal", 10, 1100).mutual_information, 3)
    13.313
    """
    prefix, bend = named(kind, _KINDS, "kind of DMI task")
    return Task(
        f"{prefix}multinormal-sparse-{dim}-{dim}-2-{float(strength)}",
        bend(two_pairs(width("dim", dim, 2), strength)),
        f"two pairs of coordinates coupled with strength {float(strength):g}, {kind}",
        "published DMI / MMG code, on multinormal-sparse of Czyz et al., NeurIPS 2023",
    )


def dmi_sweep(
    kinds: Sequence[str] = DMI_KINDS,
    dims: Sequence[int] = DMI_DIMS,
    strengths: Sequence[float] = DMI_STRENGTHS,
) -> tuple[Task, ...]:
    """All combinations, kinds first; the published sweep by default (75 tasks).

    Raises:
        ConfigError: as :func:`dmi_task`.
    """
    return tuple(dmi_task(kind, dim, s) for kind in kinds for dim in dims for s in strengths)


def staircase_task(information: float, dim: int = 20, *, cubic: bool = False) -> Task:
    """Gaussian X and Y of which every coordinate carries an equal part of the information.

    Args:
        information: I(X; Y) wanted, nats.
        dim: width of X and of Y.
        cubic: cubes Y, coordinate by coordinate, which keeps the information and bends it.

    Returns:
        The task; its correlation a coordinate is sqrt(1 - exp(-2 I / dim)).

    Raises:
        ConfigError: information negative, or above 23 nats a coordinate.
    """
    pairs = width("dim", dim)
    law: Law = CoupledPairs(dim, dim, (unexplained_at_information(information / pairs),) * pairs)
    if cubic:
        law = Transformed(law, transform_y=CUBE)
    return Task(
        f"{'cubic' if cubic else 'gaussian'}-staircase-{dim}-{float(information)}",
        law,
        f"{float(information):g} nats spread evenly over {dim} pairs{', y cubed' * cubic}",
        "Belghazi et al., ICML 2018; Poole et al., ICML 2019",
    )


def staircase(
    informations: Sequence[float] = STAIRCASE_NATS, dim: int = 20, *, cubic: bool = False
) -> tuple[Task, ...]:
    """One task a step.

    Raises:
        ConfigError: as :func:`staircase_task`.
    """
    return tuple(staircase_task(information, dim, cubic=cubic) for information in informations)


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        **BMI_TASKS,
        **by_name(staircase()),
        **by_name(staircase(cubic=True)),
        **by_name(dmi_sweep()),
    }
)
"""Name -> task: the 40 of BMI, both staircases and the published DMI sweep."""


def task_named(name: str) -> Task:
    """A task of :data:`TASKS`.

    Raises:
        ConfigError: no such task; the message names those spelled like it.

    >>> task_named("1v1-additive-0.75").dim_x
    1
    """
    if not isinstance(name, str):
        raise ConfigError(f"a task is named by a string, got {name!r}")
    return named(name, TASKS, "task")
