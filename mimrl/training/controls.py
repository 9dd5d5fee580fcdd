"""Is a term above nothing? Critics fitted anew on true pairs and on shuffled ones.

During training the critics chase a moving model. At the end, with the model fixed, fresh critics
are fitted on the training features, each term stops at the pass that is best on validation, and is
read on the held-out splits. The same is done with data in which the term is zero by construction:

* I(x; y): y is permuted.
* I(x; label | z): the label is permuted, so that x and z stay as dependent as they are. A bias from
  neighbours that are not quite at z shows up in this control.
* I(x; y | label): x is permuted among samples of similar label, so that both stay as dependent on
  the label as they are.

A value that is not above its controls says nothing about the data. Whatever the run's settings, the
neighbours are sought by regression here, one an anchor: the model does not move any more, and this
is the least biased reading (docs/method.md).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mimrl import mi
from mimrl.settings import Settings
from mimrl.terms import LABEL, Term
from mimrl.training.critics import Critics, Variables, even_chunks
from mimrl.training.optimisation import build_optimizer
from mimrl.training.randomness import Place, seeded

PASSES = 12
MARGIN = 0.01  # nats; a smaller excess over the controls is not called one
BLOCK = 10
SLOPES = tuple(step / 20 for step in range(31))  # 0 to 1.5


@dataclass(frozen=True)
class TermReading:
    """One term at the chosen epoch, in nats.

    Attributes:
        value: split name -> held-out estimate of freshly fitted critics.
        controls: split name -> the same from each shuffled data set.
        above: on the test split, the value exceeds zero and every control by more than
            ``MARGIN`` and by more than the controls differ among each other.
    """

    value: Mapping[str, float]
    controls: Mapping[str, tuple[float, ...]]
    above: bool

    def as_dict(self) -> dict[str, object]:
        """Plain containers, for JSON."""
        return asdict(self)


def read_terms(
    settings: Settings, critics: Critics, banks: Mapping[str, Variables], controls: int
) -> dict[str, TermReading]:
    """Every term's held-out value beside its shuffled controls.

    Args:
        settings: the run's settings (critics' rate, batch size, seed).
        critics: gives the architecture; left unchanged.
        banks: ``train``, ``valid`` and ``test`` variables of the chosen model.
        controls: how many shuffled data sets.
    """
    readings = [_fit_and_read(settings, critics, banks, draw) for draw in range(controls + 1)]
    found = {}
    for term in critics.table:
        value = readings[0][term.name]
        null = {split: tuple(r[term.name][split] for r in readings[1:]) for split in value}
        found[term.name] = TermReading(
            value=value, controls=null, above=_above(value["test"], null["test"])
        )
    return found


def _above(value: float, controls: tuple[float, ...]) -> bool:
    spread = max(controls, default=0.0) - min(controls, default=0.0)
    return value > max(0.0, *controls, 0.0) + max(MARGIN, spread)


def shuffled(term: Term, bank: Variables, generator: torch.Generator) -> dict[str, Tensor]:
    """``bank`` with the one variable permuted that makes ``term`` zero."""
    count = len(bank[LABEL])
    if term.given == LABEL:
        return {**bank, term.x: bank[term.x][_similar_label(bank[LABEL], generator)]}
    order = torch.randperm(count, generator=generator).to(bank[LABEL].device)
    return {**bank, term.y: bank[term.y][order]}


def _similar_label(label: Tensor, generator: torch.Generator) -> Tensor:
    """A permutation of the rows within blocks of similar label."""
    count = len(label)
    ranks = torch.arange(label.shape[1], device=label.device, dtype=label.dtype)
    score = label[:, 0] if label.shape[1] == 1 else label @ ranks
    jitter = torch.randperm(count, generator=generator).to(label.device)
    order = jitter[score[jitter].argsort(stable=True)]
    permutation = torch.empty_like(order)
    for block in order.tensor_split(max(1, count // BLOCK)):
        mixed = torch.randperm(len(block), generator=generator).to(label.device)
        permutation[block] = block[mixed]
    return permutation


def _fit_and_read(
    settings: Settings, template: Critics, banks: Mapping[str, Variables], draw: int
) -> dict[str, dict[str, float]]:
    """Fits all terms on one data set (draw 0: the true pairs) and reads the held-out splits."""
    with seeded(settings.seed, Place.CONTROL, draw) as generator:
        critics = template.fresh(search="regression", neighbours=1)
        critics.set_scale(banks["train"])
        scaled = {split: critics.standardise(bank) for split, bank in banks.items()}
        data = {
            term.name: {
                split: shuffled(term, bank, generator) if draw else bank
                for split, bank in scaled.items()
            }
            for term in critics.table
        }
        size = settings.training.stage1_batch_size or settings.training.batch_size
        best = _fit(settings, critics, data, size, generator)
        critics.eval()
        found: dict[str, dict[str, float]] = {}
        for term in critics.table:
            critics.estimators[term.name].load_state_dict(best[term.name])
            _calibrate(critics, term, data[term.name]["valid"], generator)
            found[term.name] = {
                split: critics.reading(term, bank, size, generator)
                for split, bank in data[term.name].items()
                if split != "train"
            }
        return found


@torch.no_grad()
def _calibrate(critics: Critics, term: Term, valid: Variables, generator: torch.Generator) -> None:
    """Scales a classifier's log ratios by the slope that fits the validation split best.

    The model has been trained on the rows the classifier is fitted on, so its features say more of
    the label there than elsewhere, and the classifier is too sure of itself on other rows.
    """
    estimator = critics.estimators[term.name]
    if not isinstance(estimator, mi.ConditionalMI):
        return
    joint, product = critics.samples(term, valid, valid, generator)
    ratios = estimator.logits(joint), estimator.logits(product)
    losses = [softplus(-a * ratios[0]).mean() + softplus(a * ratios[1]).mean() for a in SLOPES]
    slope = SLOPES[int(torch.stack(losses).argmin())]
    last = estimator.network[-1]
    for parameter in last.parameters():
        parameter.mul_(slope)


def _fit(
    settings: Settings,
    critics: Critics,
    data: Mapping[str, Mapping[str, Variables]],
    size: int,
    generator: torch.Generator,
) -> dict[str, dict[str, Tensor]]:
    """Fits on ``train``; returns each term's weights at its best validation reading."""
    optimizer = build_optimizer(
        settings.training.optimizer,
        {"critics": (list(critics.parameters()), settings.critics.rate)},
    )
    best: dict[str, tuple[float, dict[str, Tensor]]] = {}
    count = len(next(iter(data.values()))["train"][LABEL])
    for _ in range(PASSES):
        critics.train()
        for chunk in even_chunks(torch.randperm(count, generator=generator), size):
            losses = []
            for term in critics.table:
                bank = data[term.name]["train"]
                chosen = chunk.to(bank[LABEL].device)
                rows = {name: value[chosen] for name, value in bank.items()}
                losses.append(critics.loss(term, rows, bank, generator))
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
        critics.eval()
        for term in critics.table:
            value = critics.reading(term, data[term.name]["valid"], size, generator)
            if term.name not in best or value > best[term.name][0]:
                best[term.name] = (
                    value,
                    copy.deepcopy(critics.estimators[term.name].state_dict()),
                )
    return {name: weights for name, (_, weights) in best.items()}
