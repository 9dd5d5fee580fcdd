"""Settings of an analysis: how features come to one scale, how models are fitted and read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal, get_args

from lsmi.preprocessing import BY_PCA, SCALINGS, Scaling
from mimrl.errors import ConfigError

Method = Literal["crossfit", "published"]
Prior = Literal["data", "uniform"]
Density = Literal["auto", "em", "classes", "mixture", "knife", "flow"]
Given = Literal["difference", "direct"]


@dataclass(frozen=True)
class AnalysisSettings:
    """Everything besides the data that an analysis depends on.

    Attributes:
        method: ``crossfit``: every sample is read by models that did not see it; ``published``:
            the procedure of the published code, for comparison (:mod:`lsmi.published`).
        prior: class prior p(y): the training labels' frequencies (``data``), or 1 / C
            (``uniform``); None: as ``method`` has it, ``data`` or as published ``uniform``.
        scaling: a key of :data:`lsmi.preprocessing.SCALINGS`; None: as ``method`` has it,
            ``whiten`` or as published ``standard``.
        components: number of components of scalings by PCA; None chooses it by held-out
            classification likelihood.
        max_components: the most that may be chosen.
        density: family of the density models: ``classes`` (class-conditional Gaussians),
            ``mixture``, ``knife`` or ``flow``; ``auto`` chooses among all of them by held-out
            likelihood, ``em`` among the first two, which take a fraction of the time.
        given: h(x|y) as ``difference`` h(x) - i(x;y), or ``direct``, from the class-conditional
            densities (needs density ``classes``).
        folds: cross-fitting folds of the train split.
        repeats: cross-fittings with other folds and starts, which are averaged.
        shuffles: analyses with shuffled labels, for the control; 0: none.
        bootstrap: draws of samples (whole groups) and repeats for the intervals; 0: none.
        level: coverage of the intervals.
        measures: whether other decompositions are computed for comparison.
        discriminator_epochs: epochs of the classifiers p(y|x); early stopping chooses within.
        entropy_epochs: epochs of KNIFE and of the flow; early stopping chooses within.
        batch_size: samples a step of both.
        hidden: width of a classifier's two hidden layers.
        seed: of initial weights, batches, folds, shuffles and draws.
        device: PyTorch device of the networks.
        threads: CPU threads. The matrices are small: on a machine that does other work too, more
            threads wait for each other far longer than they help.

    Raises:
        ConfigError: values out of range or without effect; all of them in one message.
    """

    method: Method = "crossfit"
    prior: Prior | None = None
    scaling: Scaling | None = None
    components: int | None = None
    max_components: int = 16
    density: Density = "auto"
    given: Given = "difference"
    folds: int = 5
    repeats: int = 2
    shuffles: int = 3
    bootstrap: int = 1000
    level: float = 0.95
    measures: bool = True
    discriminator_epochs: int = 50
    entropy_epochs: int = 50
    batch_size: int = 64
    hidden: int = 64
    seed: int = 0
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        problems = self._of_other_types()  # which could not be compared with bounds
        if not problems:
            problems = [*self._out_of_range(), *self._without_effect()]
        if problems:
            raise ConfigError("settings of the analysis: " + "; ".join(problems))

    @property
    def class_prior(self) -> Prior:
        """The prior in force."""
        return self.prior or ("data" if self.method == "crossfit" else "uniform")

    @property
    def scale(self) -> Scaling:
        """The scaling in force."""
        return self.scaling or ("whiten" if self.method == "crossfit" else "standard")

    def in_force(self) -> dict[str, Any]:
        """All settings, prior and scaling as the method has them where they are None."""
        return asdict(self) | {"prior": self.class_prior, "scaling": self.scale}

    def _of_other_types(self) -> list[str]:
        kinds: dict[str, tuple[type, str]] = dict.fromkeys(LEAST, (Integral, "a whole number"))
        kinds |= {"level": (Real, "a number"), "measures": (bool, "True or False")}
        kinds |= {"device": (str, "the name of a PyTorch device")}
        problems = []
        for name, (kind, words) in kinds.items():
            value = getattr(self, name)
            fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            if not fits and not (value is None and name in OPTIONAL):
                problems.append(f"{name} is {value!r}, expected {words}")
        return problems

    def _out_of_range(self) -> list[str]:
        problems = [
            f"{name} is {getattr(self, name)}, expected at least {bound}"
            for name, bound in LEAST.items()
            if getattr(self, name) is not None and getattr(self, name) < bound
        ]
        problems += [
            f"{name} is {getattr(self, name)!r}, expected one of {', '.join(map(str, known))}"
            for name, known in CHOICES.items()
            if getattr(self, name) not in known
        ]
        if not 0 < self.level < 1:
            problems.append(f"level is {self.level}, expected a share between 0 and 1")
        return problems

    def _without_effect(self) -> list[str]:
        problems = []
        if self.components is not None and self.scale not in BY_PCA:
            problems.append(
                f"components has no effect with scaling {self.scale}; remove one of the two"
            )
        if self.given == "direct" and self.density != "classes":
            problems.append(
                f"given direct needs class-conditional densities; density is {self.density}, "
                "set it to classes"
            )
        if self.method == "published":
            default = {item.name: item.default for item in fields(self)}
            problems += [
                f"{name} has no effect with method published; remove one of the two"
                for name in ONLY_CROSSFIT
                if getattr(self, name) != default[name]
            ]
        return problems


def from_keywords(**values: Any) -> AnalysisSettings:
    """Settings by name.

    Raises:
        ConfigError: names that do not exist, or values that do not fit.
    """
    known = [item.name for item in fields(AnalysisSettings)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ConfigError(
            f"unknown settings of the analysis: {', '.join(unknown)}; known are {', '.join(known)}"
        )
    return AnalysisSettings(**values)


LEAST = {
    "components": 1,
    "max_components": 1,
    "folds": 2,
    "repeats": 1,
    "shuffles": 0,
    "bootstrap": 0,
    "discriminator_epochs": 1,
    "entropy_epochs": 1,
    "batch_size": 2,
    "hidden": 1,
    "seed": 0,
    "threads": 1,
}
OPTIONAL = ("components",)  # numbers that may be None
CHOICES = {
    "method": get_args(Method),
    "prior": (*get_args(Prior), None),
    "scaling": (*SCALINGS, None),
    "density": get_args(Density),
    "given": get_args(Given),
}
ONLY_CROSSFIT = ("density", "given", "folds", "repeats", "max_components", "shuffles")
