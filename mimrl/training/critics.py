"""The critics of all terms: one for each mutual information, one for each conditional one.

The table of terms comes from :mod:`mimrl.terms`; the estimators from :mod:`mimrl.mi`. What is
added here is which variable goes where, and one scale: every variable is standardised with the mean
and standard deviation of the current bank before any critic sees it (an invertible map, so no term
changes its value, and critics keep working while the encoders change the scale of their features).

The *variables* of a batch are a mapping: each modality's unimodal features ``(B, D)``, ``fused``
``(B, D_f)`` and ``label``, ``(B, 1)`` for a rating and one-hot ``(B, C)`` for classes. A *bank* is
the same mapping for a whole split, without gradients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mimrl import mi
from mimrl.mi.bank import Bank
from mimrl.settings.information import (
    Baseline,
    Bound,
    ConditionalSettings,
    ConstantBaseline,
    CriticSettings,
    InterpolatedBound,
    LearnedBaseline,
    MineBound,
    SmileBound,
    TubaBound,
)
from mimrl.terms import LABEL, Term, terms

Variables = Mapping[str, Tensor]
SMALLEST_SCALE = 1e-3  # of a dimension, as a share of its variable's mean scale
DEAD = 1e-5  # mean scale of a variable below which only rounding moves it


def label_variable(labels: Tensor, num_classes: int) -> Tensor:
    """Labels as a random variable: ratings ``(B, 1)``, classes one-hot ``(B, C)``, float32."""
    if num_classes > 1:
        return functional.one_hot(labels, num_classes).to(torch.float32)
    return labels.to(torch.float32)[:, None]


class Critics(nn.Module):
    """One estimator a term.

    Args:
        settings: form and bound of the critics, and the conditional estimator.
        modalities: names, the anchor first.
        widths: variable -> its width, for every modality, ``fused`` and ``label``.
        discrete_label: whether the label is a class (neighbours given the label are then drawn
            within the class).
    """

    def __init__(
        self,
        settings: CriticSettings,
        modalities: Sequence[str],
        widths: Mapping[str, int],
        *,
        discrete_label: bool,
    ) -> None:
        super().__init__()
        self.modalities, self.widths = tuple(modalities), dict(widths)
        self.table = terms(modalities)
        self.settings = settings
        self.discrete_label = discrete_label
        self.estimators = nn.ModuleDict(
            {term.name: _estimator(term, settings, widths) for term in self.table}
        )
        self.variables = (*modalities, "fused", LABEL)
        for name in self.variables:
            self.register_buffer(f"mean_{name}", torch.zeros(widths[name]))
            self.register_buffer(f"scale_{name}", torch.ones(widths[name]))

    @torch.no_grad()
    def set_scale(self, bank: Variables) -> None:
        """Takes the means and standard deviations of ``bank`` for all that follows.

        The scale of a dead dimension is bounded below by a share of the variable's mean scale, so
        that its rounding noise is not blown up to unit variance. A variable that is dead altogether
        keeps its scale: it may be dead only on average over time and without dropout, and what
        dropout then makes of it in stage 2 would be millions of deviations.
        """
        for name in self.variables:
            values = bank[name]
            deviation = values.std(dim=0, correction=0)
            typical = deviation.mean()
            scale = deviation.clamp_min(SMALLEST_SCALE * typical)
            self.get_buffer(f"mean_{name}").copy_(values.mean(dim=0))
            self.get_buffer(f"scale_{name}").copy_(
                torch.where(typical > DEAD, scale, torch.ones_like(scale))
            )

    def standardise(self, variables: Variables) -> dict[str, Tensor]:
        """The variables on the critics' scale; differentiable."""
        return {
            name: (variables[name] - self.get_buffer(f"mean_{name}"))
            / self.get_buffer(f"scale_{name}")
            for name in self.variables
        }

    def bank(
        self,
        variables: Variables,
        *,
        size: int | None = None,
        dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
    ) -> Bank:
        """A bank of standardised variables.

        Args:
            variables: of a whole split, on the critics' scale.
            size: product samples are drawn from so many rows, chosen at random; None: from all.
            dtype: how the bank is kept.
            generator: chooses the rows; needed only with ``size``.
        """
        return Bank(variables, dtype=dtype)

    def losses(
        self, rows: Variables, bank: Bank | Variables, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The stage-1 loss of every term: minus its bound, or the classifier's cross-entropy.

        Args:
            rows: standardised variables of a batch, without gradients.
            bank: standardised variables of the whole split that ``rows`` are taken from.
            generator: draws the product samples.
        """
        return {term.name: self.loss(term, rows, bank, generator) for term in self.table}

    def loss(
        self, term: Term, rows: Variables, bank: Bank | Variables, generator: torch.Generator
    ) -> Tensor:
        """The stage-1 loss of one term; arguments as in :meth:`losses`."""
        estimator = self.estimators[term.name]
        if isinstance(estimator, mi.VariationalMI):
            return estimator.loss(rows[term.x], rows[term.y])
        product = self._product(term, rows, bank, generator)
        return cast("mi.ConditionalMI", estimator).loss(_triples(term, rows), product)

    def values(
        self,
        rows: Variables,
        bank: Bank | Variables,
        generator: torch.Generator,
        wanted: Collection[str] | None = None,
        *,
        bank_rows: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The estimate of every wanted term, in nats, differentiable in ``rows``.

        Args:
            rows: standardised variables of a batch.
            bank: standardised variables, without gradients, of the split ``rows`` are from.
            generator: draws the product samples.
            wanted: names of terms; None: all.
            bank_rows: ``(B,)`` where ``rows`` stand in the bank; the product samples then take
                their y and z from ``rows``, with gradient. None: from the bank.
        """
        return {
            term.name: self.value(term, rows, bank, generator, bank_rows=bank_rows)
            for term in self.table
            if wanted is None or term.name in wanted
        }

    def value(
        self,
        term: Term,
        rows: Variables,
        bank: Bank | Variables,
        generator: torch.Generator,
        *,
        bank_rows: Tensor | None = None,
    ) -> Tensor:
        """The estimate of one term, in nats; arguments as in :meth:`values`."""
        estimator = self.estimators[term.name]
        if isinstance(estimator, mi.VariationalMI):
            return estimator(rows[term.x], rows[term.y])
        anchors = None
        if bank_rows is not None:
            anchors = mi.Anchors(y=rows[term.y], z=rows[str(term.given)], rows=bank_rows)
        product = self._product(term, rows, bank, generator, anchors)
        return estimator(_triples(term, rows), product)

    def samples(
        self, term: Term, rows: Variables, bank: Variables, generator: torch.Generator
    ) -> tuple[mi.Triples, mi.ProductSamples]:
        """Joint and product samples of a conditional term.

        As many of each as ``rows``, or as many product samples as the bank has anchors for.
        """
        return _triples(term, rows), self._product(term, rows, bank, generator)

    def fresh(self, **conditional: object) -> Critics:
        """Critics of the same form with new weights, on the same device.

        Args:
            **conditional: settings of the conditional terms that are to differ.
        """
        device = self.get_buffer(f"mean_{LABEL}").device
        changed = self.settings.conditional.model_copy(update=conditional)
        settings = self.settings.model_copy(update={"conditional": changed})
        return Critics(
            settings, self.modalities, self.widths, discrete_label=self.discrete_label
        ).to(device)

    @torch.no_grad()
    def readings(
        self, bank: Variables, batch_size: int, generator: torch.Generator
    ) -> dict[str, float]:
        """Every term read over a whole split, batch by batch, in nats.

        Rows that the critics were not fitted on give held-out values. Batches have the training's
        size because some bounds depend on it (InfoNCE is below log B); the mean over batches is
        weighted by their rows.
        """
        scaled = self.standardise(bank)
        return {term.name: self.reading(term, scaled, batch_size, generator) for term in self.table}

    @torch.no_grad()
    def reading(
        self, term: Term, scaled: Variables, batch_size: int, generator: torch.Generator
    ) -> float:
        """One term read over a whole split of standardised variables, in nats."""
        order = torch.randperm(len(scaled[LABEL]), generator=generator)
        total = 0.0
        for chunk in even_chunks(order, batch_size):
            chosen = chunk.to(scaled[LABEL].device)
            rows = {name: value[chosen] for name, value in scaled.items()}
            total += float(self.value(term, rows, scaled, generator)) * len(chunk)
        return total / len(order)

    def _product(
        self,
        term: Term,
        rows: Variables,
        bank: Bank | Variables,
        generator: torch.Generator,
        anchors: mi.Anchors | None = None,
    ) -> mi.ProductSamples:
        if isinstance(bank, Bank):
            bank = bank.variables
        triples = _triples(term, bank)
        neighbours, size = self.settings.conditional.neighbours, len(bank[LABEL])
        most = size * neighbours // (neighbours + 1)  # anchors leave the bank, neighbours do not
        by_regression = self.settings.conditional.search == "regression" and term.given != LABEL
        return mi.product_samples(
            triples.x,
            triples.y,
            triples.z,
            count=min(len(rows[LABEL]), max(most, 1)) if anchors is None else len(rows[LABEL]),
            neighbours=neighbours,
            generator=generator,
            discrete=self.discrete_label and term.given == LABEL,
            anchors=anchors,
            metric=mi.regression_slopes(triples.x, triples.z) if by_regression else None,
        )


def even_chunks(order: Tensor, size: int) -> list[Tensor]:
    """``order`` in chunks of about ``size``, none much smaller than the others."""
    return list(order.tensor_split(max(1, round(len(order) / size))))


def _triples(term: Term, variables: Variables) -> mi.Triples:
    return mi.Triples(variables[term.x], variables[term.y], variables[str(term.given)])


def _estimator(
    term: Term, settings: CriticSettings, widths: Mapping[str, int]
) -> mi.VariationalMI | mi.ConditionalMI:
    if term.given is None:
        return _mutual(settings, widths[term.x], widths[term.y])
    return _conditional(settings.conditional, widths[term.x], widths[term.y], widths[term.given])


def _mutual(settings: CriticSettings, x_width: int, y_width: int) -> mi.VariationalMI:
    hidden, layers = settings.hidden, settings.layers
    critic: mi.Critic
    if settings.kind == "separable":
        critic = mi.SeparableCritic(
            x_width, y_width, embedding=settings.embedding, hidden=hidden, layers=layers
        )
    elif settings.kind == "concatenated":
        critic = mi.ConcatenatedCritic(x_width, y_width, hidden=hidden, layers=layers)
    else:
        critic = mi.BilinearCritic(x_width, y_width)
    return mi.VariationalMI(critic, _bound(settings.bound, y_width, settings))


def _conditional(settings: ConditionalSettings, x: int, y: int, z: int) -> mi.ConditionalMI:
    return mi.ConditionalMI(
        x,
        y,
        z,
        estimator=settings.estimator,
        hidden=settings.hidden,
        layers=settings.layers,
        logit_clip=settings.logit_clip,
    )


def _bound(settings: Bound, y_width: int, critics: CriticSettings) -> mi.Bound:
    if isinstance(settings, TubaBound):
        return mi.Tuba(_baseline(settings.baseline, y_width, critics))
    if isinstance(settings, InterpolatedBound):
        return mi.Interpolated(settings.alpha, _baseline(settings.baseline, y_width, critics))
    if isinstance(settings, SmileBound):
        return mi.Smile(settings.clip)
    if isinstance(settings, MineBound):
        return mi.Mine(settings.decay)
    plain = {"dv": mi.Dv, "nwj": mi.Nwj, "infonce": mi.InfoNce, "js": mi.Js}
    return plain[settings.kind]()


def _baseline(settings: Baseline, y_width: int, critics: CriticSettings) -> mi.Baseline:
    if isinstance(settings, ConstantBaseline):
        return mi.ConstantBaseline(settings.value)
    if isinstance(settings, LearnedBaseline):
        return mi.LearnedBaseline(y_width, hidden=critics.hidden, layers=critics.layers)
    return mi.GaussianBaseline()
