"""Options of estimators from words: read, changed, compared."""

import pytest

from mimrl.errors import ConfigError
from mimrl.mi.estimators.conditional import MutualDifference
from mimrl.mi.estimators.gaussian import ConditionalGaussian, Gaussian
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.options import (
    assignments,
    option_rows,
    settings_of,
    summary_line,
    with_options,
    with_seed,
)
from mimrl.mi.estimators.table import CONDITIONAL_ESTIMATORS, ESTIMATORS
from mimrl.mi.estimators.variational import Variational


def test_values_are_json_or_text():
    words = ["a=3", "b=1e-3", "c=true", "d=null", "e=ranks", "f=", "g=x=y", "h=[1, 2]"]
    assert assignments(words) == {
        **{"a": 3, "b": 1e-3, "c": True, "d": None},
        **{"e": "ranks", "f": "", "g": "x=y", "h": [1, 2]},
    }


@pytest.mark.parametrize("words", [["a"], ["=3"], ["a=1", "a=2"]])
def test_words_that_say_nothing(words):
    with pytest.raises(ConfigError, match=r"expected option=value|given twice"):
        assignments(words)


def test_options_are_checked_together():
    """``tau`` belongs to one bound: neither order of the words may fail."""
    for words in (["tau=2", "bound=smile"], ["bound=smile", "tau=2"]):
        assert with_options(Variational(), assignments(words)) == Variational(bound="smile", tau=2)
    with pytest.raises(ConfigError, match="tau has no effect"):
        with_options(Variational(), {"tau": 2.0})


def test_others_stay():
    changed = with_options(Ksg(variant=2, norm="euclidean"), {"neighbours": 3})
    assert changed == Ksg(variant=2, norm="euclidean", neighbours=3)


def test_an_estimator_inside():
    outer = MutualDifference()
    assert with_options(outer, {"estimator.neighbours": 4}).estimator == Ksg(neighbours=4)
    assert with_options(outer, {"estimator": "gaussian"}).estimator == Gaussian()
    both = {"estimator": "ksg2", "estimator.neighbours": 4, "order": "first"}
    assert with_options(outer, both) == MutualDifference(
        estimator=Ksg(variant=2, neighbours=4), order="first"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"k": 3}, "k is not an option; the options are: variant, neighbours"),
        ({"neighbours": 0}, "neighbours = 0: "),
        ({"neighbours": "many"}, "neighbours = 'many': "),
        ({"norm.p": 3}, "norm is no estimator"),
    ],
)
def test_options_that_cannot_be(options, text):
    with pytest.raises(ConfigError) as error:
        with_options(Ksg(), options)
    assert text in str(error.value)


def test_an_unknown_estimator_inside():
    with pytest.raises(ConfigError, match="did you mean gaussian"):
        with_options(MutualDifference(), {"estimator": "gausian"})


def test_seeds_move_wherever_they_are():
    assert with_seed(Variational(seed=2), 3) == Variational(seed=5)
    assert with_seed(MutualDifference(estimator=Variational()), 3).estimator.seed == 3
    assert with_seed(Ksg(), 3) == Ksg()
    assert with_seed(ConditionalGaussian(), 3) == ConditionalGaussian()


def test_settings_are_equal_exactly_for_equal_estimators():
    rows = [*ESTIMATORS.values(), *CONDITIONAL_ESTIMATORS.values()]
    texts = [str(settings_of(row)) for row in rows]
    assert len(set(texts)) == len(rows)
    inside = [MutualDifference(estimator=one) for one in (Ksg(), Ksg(neighbours=3), Gaussian())]
    assert len({str(settings_of(one)) for one in inside}) == 3
    assert settings_of(Ksg()) == settings_of(Ksg(neighbours=10))


@pytest.mark.parametrize("name", [*ESTIMATORS])
def test_every_row_says_what_it_is_and_describes_its_options(name):
    estimator = ESTIMATORS[name]
    assert 10 < len(summary_line(estimator)) < 110
    for row in option_rows(estimator):
        assert row["description"], row["option"]
        assert "typing" not in row["type"]


def test_rows_of_options():
    rows = {row["option"]: row for row in option_rows(Ksg(neighbours=3))}
    assert rows["neighbours"] == {
        **{"option": "neighbours", "type": "int", "default": 3, "description": "k"},
    }
    assert rows["variant"]["type"] == "1 | 2"
    types = {row["option"]: row["type"] for row in option_rows(Variational())}
    assert types["tau"] == "float | none"
    assert types["gaussian"] == "bool"
