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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimrl import mi
from mimrl.mi.bank import Bank, Given, Product
from mimrl.settings.information import CriticSettings
from mimrl.terms import LABEL, Term, terms
from mimrl.training.forms import conditional_estimator, mutual_estimator

Variables = Mapping[str, Tensor]
SMALLEST_SCALE = 1e-3  # of a dimension, as a share of its variable's mean scale
DEAD = 1e-5  # mean scale of a variable below which only rounding moves it


def label_variable(labels: Tensor, num_classes: int) -> Tensor:
    """Labels as a random variable: ratings ``(B, 1)``, classes one-hot ``(B, C)``, float32."""
    if num_classes > 1:
        classes = torch.arange(num_classes, device=labels.device)  # one_hot reads the labels back
        return (labels[:, None] == classes).to(torch.float32)
    return labels.to(torch.float32)[:, None]


@dataclass(frozen=True)
class Samples:
    """What terms are estimated from, by name.

    Attributes:
        pairs: of the mutual informations.
        contrasts: joint and product samples of the conditional ones.
    """

    pairs: Mapping[str, mi.Pairs]
    contrasts: Mapping[str, mi.Contrast]


class Critics(nn.Module):
    """One estimator a term, all mutual informations in one group and all conditional ones in one.

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
        mutual, conditional = {}, {}
        for term in self.table:  # in this order: weights are drawn as they are made
            if term.given is None:
                mutual[term.name] = mutual_estimator(settings, widths[term.x], widths[term.y])
            else:
                given = widths[term.given]
                conditional[term.name] = conditional_estimator(
                    settings.conditional, widths[term.x], widths[term.y], given
                )
        self.mutual = mi.GroupedMutual(mutual)
        self.conditional = mi.GroupedConditional(conditional)
        self.follow = settings.update == "follow"
        self.variables = (*modalities, "fused", LABEL)
        if self.follow:
            for name in modalities:
                self.register_buffer(f"slopes_{name}", torch.zeros(widths[name], widths[LABEL]))
        for name in self.variables:
            self.register_buffer(f"mean_{name}", torch.zeros(widths[name]))
            self.register_buffer(f"scale_{name}", torch.ones(widths[name]))

    @torch.no_grad()
    def set_scale(self, bank: Variables) -> None:
        """Takes the means and standard deviations of ``bank`` for all that follows.

        Critics that follow the model also take the slopes of the label's linear regression on each
        modality: neighbours given a modality are near in what it says about the label.

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
        if self.follow:
            scaled = self.standardise(bank)
            for name in self.modalities:
                slopes = mi.regression_slopes(scaled[LABEL], scaled[name])
                self.get_buffer(f"slopes_{name}").copy_(slopes)

    def standardise(self, variables: Variables) -> dict[str, Tensor]:
        """The variables on the critics' scale; differentiable."""
        return {
            name: (variables[name] - self.get_buffer(f"mean_{name}"))
            / self.get_buffer(f"scale_{name}")
            for name in self.variables
        }

    def unscaled(self, variables: Variables) -> dict[str, Tensor]:
        """The inverse of :meth:`standardise`, up to rounding."""
        return {
            name: variables[name] * self.get_buffer(f"scale_{name}")
            + self.get_buffer(f"mean_{name}")
            for name in self.variables
        }

    def bank(
        self,
        variables: Variables,
        *,
        names: Collection[str] | None = None,
        size: int | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> Bank:
        """A bank of standardised variables, prepared for product samples.

        Args:
            variables: of a whole split, on the critics' scale.
            names: of the terms it is prepared for; None: all.
            size: product samples are drawn from so many rows, chosen at random; None: from all.
            dtype: how the bank is kept; None: as the variables are.
            generator: chooses the rows; needed only with ``size``.
        """
        regression = self.settings.conditional.search == "regression"
        wanted = {
            term.name: Product(term.x, term.y, term.given, regression and term.given != LABEL)
            for term in self.table
            if term.given is not None and (names is None or term.name in names)
            if not self.follow  # their product samples come from the rows themselves
        }
        discrete = (LABEL,) if self.discrete_label else ()
        return Bank(
            variables, wanted, discrete=discrete, size=size, dtype=dtype, generator=generator
        )

    def samples(
        self,
        rows: Variables,
        bank: Bank,
        generator: torch.Generator,
        wanted: Collection[str] | None = None,
        *,
        bank_rows: Tensor | None = None,
    ) -> Samples:
        """What the wanted terms are estimated from; arguments as of :meth:`values`.

        As many product samples as ``rows``, or as many as the bank has anchors for.
        """
        chosen = [t for t in self.table if wanted is None or t.name in wanted]
        if self.follow:
            return self._exchanged(rows, generator, chosen)
        neighbours, count = self.settings.conditional.neighbours, len(rows[LABEL])
        given = None
        if bank_rows is not None:
            given = Given(rows, bank_rows)
        else:  # anchors leave the bank, neighbours do not
            count = min(count, max(bank.size * neighbours // (neighbours + 1), 1))
        conditional = [term for term in chosen if term.given is not None]
        names = [term.name for term in conditional]
        products = bank.draw(names, count, neighbours, generator, given=given)
        return Samples(
            {t.name: mi.Pairs(rows[t.x], rows[t.y]) for t in chosen if t.given is None},
            {t.name: mi.Contrast(_triples(t, rows), products[t.name]) for t in conditional},
        )

    def _exchanged(
        self, rows: Variables, generator: torch.Generator, chosen: Sequence[Term]
    ) -> Samples:
        """Joint samples are the rows; in product samples each has the y of a row near in z.

        Near a label: of the same class, or the nearest rating. Near a modality: nearest in the
        linear prediction of the label from it. Only labels change places then, so that no feature
        of another row can betray a product sample by not matching z.
        """
        partners = {
            given: self._partners(rows, given, generator)
            for given in dict.fromkeys(t.given for t in chosen if t.given is not None)
        }
        contrasts = {}
        for term in chosen:
            if term.given is not None:
                joint = _triples(term, rows)
                product = mi.Triples(joint.x, joint.y[partners[term.given]], joint.z)
                contrasts[term.name] = mi.Contrast(joint, product)
        pairs = {t.name: mi.Pairs(rows[t.x], rows[t.y]) for t in chosen if t.given is None}
        return Samples(pairs, contrasts)

    def _partners(self, rows: Variables, given: str, generator: torch.Generator) -> Tensor:
        """``(B,)`` the row near in ``given`` of each row."""
        if given != LABEL:
            places = rows[given].detach() @ self.get_buffer(f"slopes_{given}")
            return mi.partners_near(places, generator)
        if self.discrete_label:
            return mi.partners_within(rows[LABEL], generator)
        return mi.partners_near(rows[LABEL], generator)

    def losses(self, rows: Variables, bank: Bank, generator: torch.Generator) -> dict[str, Tensor]:
        """The stage-1 loss of every term: minus its bound, or the classifier's cross-entropy.

        Args:
            rows: standardised variables of a batch, without gradients.
            bank: of the whole split that ``rows`` are taken from.
            generator: draws the product samples.
        """
        return self.losses_of(self.samples(rows, bank, generator))

    def losses_of(self, samples: Samples) -> dict[str, Tensor]:
        """The stage-1 losses of terms whose samples are at hand, all as one computation."""
        return self._together(samples, lambda group, chosen: group.losses(chosen))

    def values(
        self,
        rows: Variables,
        bank: Bank,
        generator: torch.Generator,
        wanted: Collection[str] | None = None,
        *,
        bank_rows: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The estimate of every wanted term, in nats, differentiable in ``rows``.

        Args:
            rows: standardised variables of a batch.
            bank: of the split ``rows`` are from.
            generator: draws the product samples.
            wanted: names of terms; None: all. No other is computed.
            bank_rows: ``(B,)`` where ``rows`` stand in the bank; the product samples then take
                their y and z from ``rows``, with gradient. None: from the bank.
        """
        return self.values_of(self.samples(rows, bank, generator, wanted, bank_rows=bank_rows))

    def values_of(self, samples: Samples) -> dict[str, Tensor]:
        """The estimates of terms whose samples are at hand, all as one computation."""
        return self._together(samples, lambda group, chosen: group(chosen))

    def estimator(self, term: Term) -> mi.VariationalMI | mi.ConditionalMI:
        """An ordinary estimator of one term with a copy of its weights: the plain path."""
        if term.given is None:
            return self.mutual.estimator(term.name)
        return self.conditional.estimator(term.name)

    def load(self, term: Term, estimator: mi.VariationalMI | mi.ConditionalMI) -> None:
        """Gives one term the weights of an ordinary estimator, such as :meth:`estimator` gave."""
        if isinstance(estimator, mi.VariationalMI):
            self.mutual.load(term.name, estimator)
        else:
            self.conditional.load(term.name, estimator)

    def spread_rows(self, spread: mi.Spread) -> None:
        """Lets ``spread`` apply the networks to their rows from now on, such as a share of them."""
        self.mutual.spread = self.conditional.spread = spread

    def fresh(self, **conditional: object) -> Critics:
        """Critics of the same form with new weights, on the same device, for features that rest.

        Args:
            **conditional: settings of the conditional terms that are to differ.
        """
        device = self.get_buffer(f"mean_{LABEL}").device
        changed = self.settings.conditional.model_copy(update=conditional)
        settings = self.settings.model_copy(update={"conditional": changed, "update": "epoch"})
        return Critics(
            settings, self.modalities, self.widths, discrete_label=self.discrete_label
        ).to(device)

    @torch.no_grad()
    def readings(
        self, variables: Variables, batch_size: int, generator: torch.Generator
    ) -> dict[str, float]:
        """Every term read over a whole split, batch by batch, in nats.

        Rows that the critics were not fitted on give held-out values. Batches have the training's
        size because some bounds depend on it (InfoNCE is below log B); the mean over batches is
        weighted by their rows.
        """
        bank = self.bank(self.standardise(variables))
        return self.mean_values(
            len(bank),
            batch_size,
            generator,
            lambda chosen: self.samples(bank.rows(chosen), bank, generator),
        )

    @torch.no_grad()
    def mean_values(
        self,
        count: int,
        batch_size: int,
        generator: torch.Generator,
        samples: Callable[[Tensor], Samples],
    ) -> dict[str, float]:
        """Means of the terms over batches that make up a whole split, in nats.

        Args:
            count: rows of the split.
            batch_size: about so many rows a batch.
            generator: orders the rows.
            samples: rows of a batch -> what the terms are estimated from.
        """
        device = self.get_buffer(f"mean_{LABEL}").device
        order = torch.randperm(count, generator=generator).to(device)
        sums: dict[str, Tensor] = {}
        for chunk in even_chunks(order, batch_size):
            for name, value in self.values_of(samples(chunk)).items():
                sums[name] = sums.get(name, 0.0) + value.double() * len(chunk)
        return {name: float(total) / count for name, total in sums.items()}

    def _together(self, samples: Samples, compute: Callable[..., dict[str, Tensor]]) -> dict:
        found: dict[str, Tensor] = {}
        if samples.pairs:
            found |= compute(self.mutual, samples.pairs)
        if samples.contrasts:
            found |= compute(self.conditional, samples.contrasts)
        return found


def even_chunks(order: Tensor, size: int) -> list[Tensor]:
    """``order`` in chunks of about ``size``, none much smaller than the others."""
    return list(order.tensor_split(max(1, round(len(order) / size))))


def _triples(term: Term, variables: Variables) -> mi.Triples:
    return mi.Triples(variables[term.x], variables[term.y], variables[str(term.given)])
