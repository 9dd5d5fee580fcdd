"""A study: what is searched and how, written into its storage and compared when it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mimrl.errors import CheckpointError, MissingFileError
from mimrl.settings import Settings, from_mapping
from mimrl.training.metrics import LOWER_IS_BETTER
from mimrl.training.scoring import selection_metric
from mimrl.tune.space import Range, Space, build_space

PLAN = "mimrl"  # under this name a study keeps its plan
# Settings that may differ between workers: where and on what they run, and how fast.
MACHINE = ("name", "output", "device", "threads")
SPEED = ("loader_workers", "cache")
Pruner = Literal["median", "hyperband", "none"]
Sampler = Literal["tpe", "random"]
STARTUP = 5  # complete trials before the median pruner stops any


@dataclass(frozen=True)
class Plan:
    """What a study searches; every worker of it has the same.

    Attributes:
        space: settings and what is varied in them.
        seeds: the value of a trial is the mean over these.
    """

    space: Space
    seeds: tuple[int, ...]

    @property
    def settings(self) -> Settings:
        """The settings around which is searched."""
        return self.space.base

    @property
    def metric(self) -> str:
        """The validation metric that chooses epochs, and trials."""
        return selection_metric(self.settings)

    @property
    def lower(self) -> bool:
        """Whether smaller values of the metric are better."""
        return self.metric in LOWER_IS_BETTER

    @property
    def epochs(self) -> int:
        """Epochs that one seed trains at most."""
        searched = [
            int(item.high) if isinstance(item, Range) else max(item.options.values())
            for item in self.space.items
            if item.key == "training.epochs"
        ]
        return max([self.settings.training.epochs, *searched])

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for the storage."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "space": self.space.as_dict(),
            "seeds": list(self.seeds),
        }


def create(
    storage: BaseStorage, name: str, plan: Plan, *, sampler: Sampler, pruner: Pruner
) -> Study:
    """The study of that name, new or as it stands.

    Raises:
        CheckpointError: there is one with other settings, another space or other seeds.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="minimize" if plan.lower else "maximize",
        load_if_exists=True,
        sampler=PerTrial(sampler, plan.settings.seed),
        pruner=build_pruner(pruner, plan),
    )
    if PLAN not in study.user_attrs:
        if study.get_trials(deepcopy=False):
            raise CheckpointError(
                f"the study {name!r} in this storage is none of mimrl.tune; choose another --name"
            )
        study.set_user_attr(PLAN, json.dumps(plan.as_dict()))
    compare(study, plan)
    return study


def find(storage: BaseStorage, name: str) -> Study:
    """The study of that name.

    Raises:
        MissingFileError: there is none.
        CheckpointError: it is not one of ours.
    """
    names = optuna.get_all_study_names(storage)
    if name not in names:
        raise MissingFileError(
            f"there is no study {name!r} in this storage; it holds {', '.join(names) or 'none'}"
        )
    study = optuna.load_study(study_name=name, storage=storage)
    if PLAN not in study.user_attrs:
        raise CheckpointError(f"the study {name!r} in this storage is none of mimrl.tune")
    return study


def stored_plan(study: Study) -> Plan:
    """What a study was started with.

    Raises:
        CheckpointError: it does not fit this version.
    """
    try:
        stored = json.loads(study.user_attrs[PLAN])
        settings = from_mapping(stored["settings"])
        space = build_space(stored["space"], settings)
        return Plan(space, tuple(stored["seeds"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the study {study.study_name!r} does not fit this version of mimrl: {error}"
        ) from error


def compare(study: Study, plan: Plan) -> None:
    """Raises CheckpointError where the study was started with anything else."""
    stored, given = json.loads(study.user_attrs[PLAN]), plan.as_dict()
    given = json.loads(json.dumps(given))
    # with the defaults of settings that the version which began the study did not have
    stored["settings"] = from_mapping(stored["settings"]).model_dump(mode="json")
    for one in (stored, given):
        settings = {k: v for k, v in one["settings"].items() if k not in MACHINE}
        speed = {k: v for k, v in settings["performance"].items() if k not in SPEED}
        one["settings"] = {**settings, "performance": speed}
    differ = [*_differences(stored, given)]
    if differ:
        lines = "".join(f"\n  - {line}" for line in differ)
        raise CheckpointError(
            f"the study {study.study_name!r} was started otherwise:{lines}\n"
            "go on with what it was started with, or choose another --name"
        )


def build_pruner(name: Pruner, plan: Plan) -> BasePruner:
    """The rule that stops hopeless trials.

    ``median`` stops a trial whose best value so far is worse than the median of the others at the
    same epoch; not in the first two epochs or the first tenth of them, and not before five trials
    are complete.
    ``hyperband`` gives few epochs to many trials and more to the best third of each round.
    """
    if name == "median":
        first = max(2, plan.epochs // 10) + 1
        return MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=first)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=plan.epochs * len(plan.seeds))
    return NopPruner()


class PerTrial(BaseSampler):
    """A sampler whose draws depend on the seed, the trial's number and (TPE) the trials before it.

    They do not depend on what else the process drew. One worker then searches the same way each
    time, also when it was stopped in between, and workers that start at once do not draw the same
    settings.
    """

    def __init__(self, name: Sampler, seed: int) -> None:
        self._name, self._seed = name, seed
        self._inner = self._build(0)

    def _build(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._name == "random":
            return RandomSampler(seed=seed)
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """A fresh sampler for this trial."""
        self._inner = self._build(trial.number)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What is drawn jointly."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draws jointly."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draws one setting by itself."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """A trial has ended."""
        self._inner.after_trial(study, trial, state, values)


def suggested(trial: optuna.Trial) -> Callable[[Any], Any]:
    """Draws the items of a space from a trial."""

    def draw(item: Any) -> Any:
        if not isinstance(item, Range):
            return item.options[trial.suggest_categorical(item.key, list(item.options))]
        if item.integer:
            step = 1 if item.step is None else int(item.step)
            return trial.suggest_int(
                item.key, int(item.low), int(item.high), log=item.log, step=step
            )
        value = trial.suggest_float(item.key, item.low, item.high, log=item.log, step=item.step)
        return item.rounded(value)

    return draw


def recorded(params: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Takes the items of a space from the parameters of an earlier trial."""

    def draw(item: Any) -> Any:
        value = params[item.key]
        return item.rounded(value) if isinstance(item, Range) else item.options[value]

    return draw


def _differences(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key in old and key in new:
                yield from _differences(old[key], new[key], f"{prefix}{key}.")
            else:
                had, has = ("given", "left out") if key in old else ("absent", "given")
                yield f"{prefix}{key}: {had} then, {has} now"
    elif old != new:
        yield f"{prefix[:-1]}: {json.dumps(old)} then, {json.dumps(new)} now"
