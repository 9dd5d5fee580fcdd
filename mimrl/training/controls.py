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

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mimrl import mi
from mimrl.settings import Settings
from mimrl.terms import LABEL, Term
from mimrl.training.critics import Critics, Samples, Variables, even_chunks
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
        data = {
            split: _Data.of(critics, critics.standardise(bank), generator if draw else None)
            for split, bank in banks.items()
        }
        size = settings.training.stage1_batch_size or settings.training.batch_size
        best = _fit(settings, critics, data, size, generator)
        critics.eval()
        for term in critics.table:
            _calibrate(critics, term, best[term.name], data["valid"], generator)
            critics.load(term, best[term.name])
        found: dict[str, dict[str, float]] = {term.name: {} for term in critics.table}
        for split, held_out in data.items():
            if split != "train":
                for name, value in held_out.readings(critics, size, generator).items():
                    found[name][split] = value
        return found


@dataclass(frozen=True)
class _Data:
    """One split: a bank for all terms, or, where each is shuffled its own way, one for each.

    Attributes:
        banks: each bank with the names of the terms that it is for.
    """

    banks: tuple[tuple[mi.Bank, tuple[str, ...]], ...]

    @classmethod
    def of(cls, critics: Critics, scaled: Variables, generator: torch.Generator | None) -> _Data:
        """Standardised variables as they are, or shuffled by ``generator`` for each term."""
        if generator is None:
            return cls(((critics.bank(scaled), tuple(term.name for term in critics.table)),))
        return cls(
            tuple(
                (critics.bank(shuffled(term, scaled, generator), names=[term.name]), (term.name,))
                for term in critics.table
            )
        )

    def __len__(self) -> int:
        return len(self.banks[0][0])

    def bank(self, name: str) -> mi.Bank:
        """The bank of one term."""
        return next(bank for bank, names in self.banks if name in names)

    def samples(self, critics: Critics, chosen: Tensor, generator: torch.Generator) -> Samples:
        """What all terms are estimated from, in one batch."""
        pairs: dict[str, mi.Pairs] = {}
        contrasts: dict[str, mi.Contrast] = {}
        for bank, names in self.banks:
            part = critics.samples(bank.rows(chosen), bank, generator, names)
            pairs |= part.pairs
            contrasts |= part.contrasts
        return Samples(pairs, contrasts)

    def readings(self, critics: Critics, size: int, generator: torch.Generator) -> dict[str, float]:
        """All terms over the whole split."""
        return critics.mean_values(
            len(self), size, generator, lambda chosen: self.samples(critics, chosen, generator)
        )


@torch.no_grad()
def _calibrate(
    critics: Critics,
    term: Term,
    estimator: mi.VariationalMI | mi.ConditionalMI,
    valid: _Data,
    generator: torch.Generator,
) -> None:
    """Scales a classifier's log ratios by the slope that fits the validation split best.

    The model has been trained on the rows the classifier is fitted on, so its features say more of
    the label there than elsewhere, and the classifier is too sure of itself on other rows.
    """
    if not isinstance(estimator, mi.ConditionalMI):
        return
    bank = valid.bank(term.name)
    everything = bank.rows(torch.arange(len(bank), device=bank.variables[LABEL].device))
    drawn = critics.samples(everything, bank, generator, (term.name,)).contrasts[term.name]
    ratios = estimator.logits(drawn.joint), estimator.logits(drawn.product)
    losses = [softplus(-a * ratios[0]).mean() + softplus(a * ratios[1]).mean() for a in SLOPES]
    slope = SLOPES[int(torch.stack(losses).argmin())]
    last = estimator.network[-1]
    for parameter in last.parameters():
        parameter.mul_(slope)


def _fit(
    settings: Settings,
    critics: Critics,
    data: Mapping[str, _Data],
    size: int,
    generator: torch.Generator,
) -> dict[str, mi.VariationalMI | mi.ConditionalMI]:
    """Fits on ``train``; returns each term's estimator at its best validation reading."""
    optimizer = build_optimizer(
        settings.training.optimizer,
        {"critics": (list(critics.parameters()), settings.critics.rate)},
    )
    train, valid = data["train"], data["valid"]
    device = next(critics.parameters()).device
    readings: dict[str, float] = {}
    best: dict[str, mi.VariationalMI | mi.ConditionalMI] = {}
    for _ in range(PASSES):
        critics.train()
        order = torch.randperm(len(train), generator=generator).to(device)
        for chunk in even_chunks(order, size):
            losses = critics.losses_of(train.samples(critics, chunk, generator))
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()
        critics.eval()
        values = valid.readings(critics, size, generator)
        for term in critics.table:
            value = values[term.name]
            if term.name not in best or value > readings[term.name]:
                readings[term.name], best[term.name] = value, critics.estimator(term)
    return best
