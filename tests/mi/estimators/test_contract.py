"""What every row of the tables of estimators keeps; bad input and doubts alike."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimrl.errors import (
    ConfigError,
    ConstantColumnWarning,
    EstimationError,
    EstimationWarning,
    NonFiniteError,
    SampleSizeWarning,
    ShapeError,
    TiesWarning,
)
from mimrl.mi.estimators.crossfitting import TrainedEstimator
from mimrl.mi.estimators.interface import ConditionalEstimator, EstimateResult, Estimator
from mimrl.mi.estimators.table import (
    CONDITIONAL_ESTIMATORS,
    ESTIMATORS,
    conditional_estimator_named,
    estimator_named,
)

ROWS = 240
LITTLE = {"steps": 40, "folds": 2, "check_every": 20, "epochs": 3, "projections": 8}
"""Enough training to be an estimator, too little to be a good one."""
GUIDE = Path(__file__).parents[3] / "docs" / "adding-an-estimator.md"
GUIDE_NAMES: dict[str, Any] = {"__name__": "guide"}
exec(  # what the guide's Python blocks define; this file's "annotations" import is not theirs
    compile(
        "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)),
        str(GUIDE),
        "exec",
        dont_inherit=True,
    ),
    GUIDE_NAMES,
)
ROWS_AND_GUIDE = {**ESTIMATORS, "guide": GUIDE_NAMES["Kernel"]()}
ONE_A_CLASS = {type(row): row for row in ROWS_AND_GUIDE.values()}
TRAINED = [name for name, row in ROWS_AND_GUIDE.items() if isinstance(row, TrainedEstimator)]


def little(estimator):
    """The estimator with as little work as it can be asked for."""
    fewer = {name: value for name, value in LITTLE.items() if name in type(estimator).model_fields}
    return type(estimator)(**{n: getattr(estimator, n) for n in estimator.model_fields_set} | fewer)


@pytest.fixture(params=ROWS_AND_GUIDE, ids=str)
def estimator(request):
    return little(ROWS_AND_GUIDE[request.param])


@pytest.fixture(params=ONE_A_CLASS, ids=lambda kind: kind.__name__)
def one_of_a_class(request):
    return little(ONE_A_CLASS[request.param])


@pytest.fixture(params=CONDITIONAL_ESTIMATORS, ids=str)
def conditional(request):
    return little(CONDITIONAL_ESTIMATORS[request.param])


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 2))
    return x, 0.8 * x + 0.6 * rng.normal(size=(ROWS, 2))


@pytest.fixture(scope="module")
def condition():
    return np.random.default_rng(1).normal(size=(ROWS, 1))


@pytest.fixture(autouse=True)
def _little_training_is_doubtful():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        yield


class TestPairs:
    def test_result_is_finite_the_same_twice_and_the_same_for_every_container(
        self, estimator, pair
    ):
        x, y = pair
        found = estimator.estimate_with_info(x, y)
        assert isinstance(found, EstimateResult)
        assert np.isfinite(found.mi_estimate)
        assert estimator.estimate(torch.from_numpy(x), torch.from_numpy(y)) == found.mi_estimate
        assert estimator.estimate(x.tolist(), y.tolist()) == found.mi_estimate

    def test_mean_of_the_pointwise_values_is_the_estimate(self, estimator, pair):
        found = estimator.estimate_with_info(*pair)
        if found.pointwise is not None:
            assert found.pointwise.shape == (ROWS,)
            assert found.pointwise.mean() == pytest.approx(found.mi_estimate, abs=1e-9)
        assert np.isnan(found.standard_error) or found.standard_error >= 0

    def test_one_dimension_may_be_a_vector(self, one_of_a_class, pair):
        x, y = pair[0][:, 0], pair[1][:, 0]
        found = one_of_a_class.estimate(x, y)
        assert found == one_of_a_class.estimate(x[:, None], y[:, None])

    def test_the_input_is_left_as_it_was(self, one_of_a_class, pair):
        x, y = (values.copy() for values in pair)
        one_of_a_class.estimate(x, y)
        np.testing.assert_array_equal(x, pair[0])
        np.testing.assert_array_equal(y, pair[1])

    def test_settings_and_numbers_of_its_own_survive_json(self, estimator, pair):
        found = estimator.estimate_with_info(*pair)
        json.dumps(found.additional_information, allow_nan=False)
        settings = json.loads(json.dumps(estimator.parameters().model_dump(mode="json")))
        assert type(estimator)(**settings) == estimator

    def test_unknown_options_are_refused_with_the_known_ones(self, estimator):
        with pytest.raises(ConfigError, match="neighbors is not an option; the options are"):
            type(estimator)(neighbors=3)

    def test_every_option_says_what_it_is(self, estimator):
        for name, option in type(estimator).model_fields.items():
            assert option.description, name
        assert inspect.getdoc(type(estimator))


class TestBadPairs:
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            (lambda x, y: (x[:-1], y), ShapeError, "rows: x 239, y 240"),
            (lambda x, y: (x[None], y), ShapeError, "x must be .N,. or .N, d."),
            (lambda x, y: (x, y[:, :0]), ShapeError, "y must be"),
            (lambda x, y: (x, np.where(y > 2, np.nan, y)), NonFiniteError, "y has .* NaN"),
            (lambda x, y: (x[:1], y[:1]), EstimationError, "1 samples; expected at least"),
            (lambda x, y: (0 * x, y), EstimationError, "x has no column that varies"),
            (lambda x, y: (x, [["a", "b"]] * len(x)), ShapeError, "y is not an array of numbers"),
        ],
        ids=["rows", "dimensions", "width", "nan", "few", "constant", "text"],
    )
    def test_is_one_message(self, one_of_a_class, pair, change, error, words):
        with pytest.raises(error, match=words):
            one_of_a_class.estimate(*change(*pair))

    def test_constant_columns_are_left_out_and_said(self, one_of_a_class, pair):
        x, y = pair
        wide = np.c_[x[:, :1], np.full(ROWS, 3.0), x[:, 1:]]
        with pytest.warns(ConstantColumnWarning, match="1 of 3 columns"):
            found = one_of_a_class.estimate_with_info(wide, y)
        assert any(isinstance(doubt, ConstantColumnWarning) for doubt in found.warnings)
        assert found.mi_estimate == one_of_a_class.estimate(x, y)

    def test_ties_are_said_by_those_that_take_data_for_continuous(self, one_of_a_class, pair):
        x, y = np.round(2 * pair[0]), np.round(2 * pair[1])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = one_of_a_class.estimate_with_info(x, y)
        said = any(issubclass(warning.category, TiesWarning) for warning in caught)
        assert said is one_of_a_class.continuous
        assert np.isfinite(found.mi_estimate)

    @pytest.mark.parametrize("method", ["estimate", "estimate_with_info"])
    def test_a_doubt_points_at_the_line_that_asked(self, method):
        x = np.repeat(np.arange(50.0), 2)
        with pytest.warns(TiesWarning) as caught:
            getattr(ESTIMATORS["ksg1"], method)(x, x[::-1])
        assert {warning.filename for warning in caught} == {__file__}

    def test_few_samples_for_the_dimensions_are_said(self, one_of_a_class):
        rows = min(120, one_of_a_class.fewest(15, 15) - 1)
        rng = np.random.default_rng(3)
        x = rng.normal(size=(rows, 15))
        with pytest.warns(SampleSizeWarning, match=rf"{rows} samples are few for 15 \+ 15"):
            one_of_a_class.estimate(x, x + rng.normal(size=x.shape))


class TestFitting:
    @pytest.fixture(params=TRAINED, ids=str)
    def trained(self, request):
        return little(ROWS_AND_GUIDE[request.param])

    def test_the_score_is_the_mean_of_the_pointwise_values_on_new_rows(self, trained, pair):
        x, y = pair
        fitted = trained.fit(x[:160], y[:160])
        assert fitted.score(x[160:], y[160:]) == fitted.pointwise(x[160:], y[160:]).mean()

    def test_other_widths_and_bad_rows_are_refused(self, trained, pair):
        x, y = pair
        fitted = trained.fit(x, y)
        with pytest.raises(ShapeError, match="1 and 2 columns; the fit had 2 and 2"):
            fitted.score(x[:, :1], y)
        with pytest.raises(NonFiniteError):
            fitted.score(x * np.nan, y)

    def test_another_seed_is_another_estimate(self, trained, pair):
        other = type(trained)(**trained.model_dump() | {"seed": 1})
        assert other.estimate(*pair) != trained.estimate(*pair)

    def test_an_unknown_device_is_refused(self, trained):
        with pytest.raises(ConfigError, match="device"):
            type(trained)(**trained.model_dump() | {"device": "abacus"})


class TestConditional:
    def test_result_is_finite_and_the_same_twice(self, conditional, pair, condition):
        found = conditional.estimate_with_info(*pair, condition)
        assert np.isfinite(found.mi_estimate)
        assert conditional.estimate(*pair, condition[:, 0].tolist()) == found.mi_estimate

    def test_settings_survive_json(self, conditional):
        settings = json.loads(json.dumps(conditional.parameters().model_dump(mode="json")))
        assert settings
        json.dumps(settings, allow_nan=False)

    def test_bad_conditions_are_one_message(self, conditional, pair, condition):
        with pytest.raises(ShapeError, match="rows: x 240, y 240, z 239"):
            conditional.estimate(*pair, condition[1:])
        with pytest.raises(NonFiniteError, match="z has"):
            conditional.estimate(*pair, condition * np.inf)


@pytest.mark.parametrize(
    ("named", "table"),
    [(estimator_named, ESTIMATORS), (conditional_estimator_named, CONDITIONAL_ESTIMATORS)],
)
def test_names_lead_to_rows_and_unknown_ones_to_the_known(named, table):
    for name, row in table.items():
        assert named(name) == row
        assert isinstance(row, (Estimator, ConditionalEstimator))
    with pytest.raises(ConfigError, match=r"no estimator is called 'gausian'.*gaussian"):
        named("gausian")


def test_options_of_a_named_row_are_checked_with_those_it_has():
    assert estimator_named("smile", tau=1.0).bound == "smile"
    with pytest.raises(ConfigError, match="tau has no effect with bound 'dv'"):
        estimator_named("dv", tau=1.0)


def test_the_guides_estimator_finds_the_information_of_its_example():
    result = GUIDE_NAMES["result"]
    assert result.mi_estimate == pytest.approx(0.511, abs=3 * result.standard_error + 0.03)


def test_the_protocol_of_the_benchmark_of_czyz_et_al():
    """Names and arguments of IMutualInformationPointEstimator of benchmark-mi 0.1.3."""
    for method, arguments in {
        "estimate": ["x", "y"],
        "estimate_with_info": ["x", "y"],
        "parameters": [],
    }.items():
        signature = inspect.signature(getattr(ESTIMATORS["ksg1"], method))
        assert list(signature.parameters) == arguments
    found = ESTIMATORS["gaussian"].estimate_with_info(np.arange(50) % 7, np.arange(50) ** 2 % 11)
    assert isinstance(found.mi_estimate, float)
    assert isinstance(found.time_in_seconds, float)
    assert {} | found.additional_information == dict(found.additional_information)
