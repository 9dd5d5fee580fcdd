"""How to read the report, in plain words."""

from __future__ import annotations

from lsmi.report.markup import Content, Html, joined, tag
from lsmi.report.words import level_words, prior_words
from lsmi.results import APART, Analysis


def guide(analysis: Analysis) -> Html:
    """The terms of the report, one after the other."""
    terms = _terms(analysis)
    pairs = [part for term, text in terms for part in (tag("dt", term), tag("dd", text))]
    return joined([tag("p", OPENING), tag("dl", pairs)])


READ = {
    "crossfit": "Every sample is read by models that were not fitted on it.",
    "published": "As in the published code, samples are also read by models fitted on them, which "
    "reports too much information.",
}
OPENING = (
    "Two sets of features, called 1 and 2, were read from the same samples. The report says how "
    "much each tells about the label, and how much of that is the same thing twice, how much only "
    "one of them knows, and how much can be had only from both together. Everything is in nats "
    "(1 nat is 1.44 bits), as a mean over the samples of a split."
)


def _terms(analysis: Analysis) -> list[tuple[Content, Content]]:
    level = level_words(analysis.settings)
    return [
        ("I1, I2, I12: information",
         "How much more probable the true label becomes when one has seen features 1, features 2, "
         "or both: the mean of log p(y|x) - log p(y). Zero: nothing is learnt. Below zero for a "
         "sample: the features speak for another label. "
         f"{READ[analysis.settings.method]} Class prior p(y): {prior_words(analysis.settings)}."),
        ("H(Y): the most there is",
         "The entropy of the split's labels: what somebody would learn who was told the label. I12 "
         "is no larger where the class prior is the class shares of the split."),
        ("R: redundant", "What either of the two tells without the other; I1 and I2 both hold it."),
        ("U1, U2: unique", "What only features 1 tell, and what only features 2 tell."),
        ("S: synergy", "What neither tells alone, only both together. By definition "
         "R + U1 = I1, R + U2 = I2, and R + U1 + U2 + S = I12."),
        ("Raw", "The totals as the definition gives them, sample by sample: redundancy goes to "
         "the features that are the less surprising ones, by h = -log p(x) before and after the "
         "label is known. Nothing keeps them from being negative: where one of the two says "
         "little, R and S may be large all the same and its U as far below zero, which the "
         "adjustment undoes."),
        ("Adjusted", "One number, the shift, is added to R and S and taken from U1 and U2 of every "
         "sample, which leaves I1, I2 and I12 as they are. The published rule takes it from the "
         "first negative totals it meets and may leave others negative. The feasible adjustment is "
         "the least shift after which no total is negative; there need not be one."),
        ("Interval", f"In brackets: the {level} interval of the total, from drawing the samples "
         "again (whole groups, such as videos, at a time) and the repeats of the fits. A total "
         "whose interval holds zero may well be zero. No interval is shown where a number cannot "
         "vary."),
        ("Control", "The same analysis with the labels shuffled, so that there is nothing to find. "
         f"A total whose interval comes within {APART} nats of zero or of the range of the "
         "shuffled ones is marked ~ and shaded: it is not distinguishable from no information."),
        ("Scale and offset", "R compares how surprising the two features are, and that depends on "
         "their units. Bringing features to another scale adds one number to h1 - h2, the offset. "
         "The part on sensitivity shows the totals at any offset. I1, I2, I12 and U1 - U2 do not "
         "depend on it."),
        ("Led by", "The atom that is the largest of the four, after the published adjustment, for "
         "one sample."),
    ]  # fmt: skip
