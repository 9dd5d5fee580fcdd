"""Critics, bounds as objects, and the estimator that joins them."""

import math

import numpy as np
import pytest
import torch

from mimrl import mi
from mimrl.errors import EstimationError, ShapeError
from mimrl.mi import bounds
from mimrl.mi.critics import MLP, JointInput

pytestmark = pytest.mark.usefixtures("seeded")

CRITICS = {
    "separable": lambda: mi.SeparableCritic(3, 2, hidden=16, embedding=8),
    "concatenated": lambda: mi.ConcatenatedCritic(3, 2, hidden=16),
    "bilinear": lambda: mi.BilinearCritic(3, 2),
}
BOUNDS = {
    "dv": mi.Dv,
    "nwj": mi.Nwj,
    "tuba, constant": lambda: mi.Tuba(mi.ConstantBaseline(0.5)),
    "tuba, gaussian": lambda: mi.Tuba(mi.GaussianBaseline()),
    "tuba, learned": lambda: mi.Tuba(mi.LearnedBaseline(2, hidden=8)),
    "infonce": mi.InfoNce,
    "js": mi.Js,
    "smile": lambda: mi.Smile(1.0),
    "interpolated": lambda: mi.Interpolated(0.4, mi.LearnedBaseline(2, hidden=8)),
    "mine": lambda: mi.Mine(0.1),
}


@pytest.fixture
def x():
    return torch.randn(6, 3)


@pytest.fixture
def y():
    return torch.randn(6, 2)


@pytest.mark.parametrize("name", CRITICS)
def test_row_is_x_and_column_is_y(name, x, y):
    critic = CRITICS[name]()
    scores = critic(x, y)
    assert scores.shape == (6, 6)
    changed_x, changed_y = x.clone(), y.clone()
    changed_x[2] += 1
    changed_y[4] += 1
    moved_x = (critic(changed_x, y) - scores).abs() > 1e-6
    moved_y = (critic(x, changed_y) - scores).abs() > 1e-6
    assert moved_x.any(dim=1).nonzero().tolist() == [[2]]
    assert moved_y.any(dim=0).nonzero().tolist() == [[4]]
    single = critic(x[[1]], y[[3]])
    torch.testing.assert_close(single[0, 0], scores[1, 3], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CRITICS)
def test_critics_refuse_what_does_not_fit(name, x, y):
    critic = CRITICS[name]()
    for wrong in ((x[:4], y), (y, x), (x[0], y[0])):
        with pytest.raises(ShapeError, match="critic"):
            critic(*wrong)


def test_mlp_has_the_published_form():
    network = MLP(32, 128)
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim == 2]
    assert shapes == [(256, 32), (256, 256), (256, 256), (128, 256)]
    assert all((p == 0).all() for p in network.parameters() if p.ndim == 1)


def test_every_variable_has_an_equal_share_of_the_input_layer():
    layer = JointInput((128, 1, 128), 512)
    variances = [
        (linear(torch.randn(200, linear.in_features))).var().item() for linear in layer.maps
    ]
    # Var(weight) = 1 / (3 fan_in) by PyTorch's default, a third of it for three variables.
    assert variances == pytest.approx([1 / 9] * 3, rel=0.25)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("critic", CRITICS)
def test_loss_trains_all_parameters_and_value_reaches_the_features(critic, bound, x, y):
    estimator = mi.VariationalMI(CRITICS[critic](), BOUNDS[bound]())
    loss = estimator.loss(x, y)
    assert loss.shape == ()
    loss.backward()
    assert all(p.grad is not None for p in estimator.parameters())
    estimator.eval().requires_grad_(False)
    x.requires_grad_()
    y.requires_grad_()
    value = estimator(x, y)
    value.backward()
    assert value.shape == ()
    assert x.grad.abs().sum() > 0
    assert y.grad.abs().sum() > 0


@pytest.mark.parametrize("bound", BOUNDS)
def test_one_pair_is_not_a_batch(bound, x, y):
    with pytest.raises(EstimationError, match="two or more pairs"):
        mi.VariationalMI(CRITICS["bilinear"](), BOUNDS[bound]()).loss(x[:1], y[:1])


def test_values_are_those_of_the_formulas(y):
    scores = torch.randn(6, 6)
    gaussian = -0.5 * (y**2).sum(dim=1) - math.log(2 * math.pi)
    expected = {
        mi.Dv(): bounds.dv(scores),
        mi.Nwj(): bounds.nwj(scores),
        mi.InfoNce(): bounds.infonce(scores),
        mi.Js(): bounds.js(scores),
        mi.Smile(0.3): bounds.smile(scores, 0.3),
        mi.Mine(): bounds.dv(scores),
        mi.Tuba(mi.ConstantBaseline(1.0)): bounds.nwj(scores),
        mi.Tuba(mi.GaussianBaseline()): bounds.tuba(scores, gaussian),
        mi.Interpolated(0.2, mi.ConstantBaseline(2.0)): bounds.interpolated(
            scores, torch.full((6,), 2.0), 0.2
        ),
    }
    for bound, value in expected.items():
        torch.testing.assert_close(bound.value(scores, y), value)


@pytest.mark.parametrize("bound", [mi.Js(), mi.Smile(1.0)])
def test_js_and_smile_have_the_gradient_of_the_f_gan_objective(bound, y):
    scores = torch.randn(6, 6, requires_grad=True)
    (wanted,) = torch.autograd.grad(bounds.js_fgan(scores), scores)
    for function in (bound.objective, bound.value):
        (found,) = torch.autograd.grad(function(scores, y), scores)
        torch.testing.assert_close(found, wanted)


def mine_gradient(bound, scores, y):
    scores = scores.clone().requires_grad_()
    return torch.autograd.grad(bound.objective(scores, y), scores)[0]


def test_mine_divides_by_its_moving_average(y):
    bound, first, second = mi.Mine(decay=0.25), torch.randn(6, 6), torch.randn(6, 6)
    off = ~torch.eye(6, dtype=torch.bool)
    means = [scores[off].exp().mean() for scores in (first, second)]
    mine_gradient(bound, first, y)
    torch.testing.assert_close(bound.log_average.exp(), means[0])
    found = mine_gradient(bound, second, y)
    average = 0.75 * means[0] + 0.25 * means[1]
    torch.testing.assert_close(bound.log_average.exp(), average)
    wanted = torch.where(off, -second.exp() / (30 * average), torch.tensor(1 / 6))
    torch.testing.assert_close(found, wanted)
    objective = bound.objective(second, y)
    torch.testing.assert_close(objective, bounds.dv(second))


def test_mine_keeps_its_average_between_runs_and_in_evaluation(y):
    bound, scores = mi.Mine(), torch.randn(6, 6)
    bound.objective(scores, y)
    restored = mi.Mine()
    restored.load_state_dict(bound.state_dict())
    kept = bound.log_average.clone()
    torch.testing.assert_close(restored.log_average, kept)
    bound.eval()
    bound.objective(scores + 3, y)
    bound.value(scores + 3, y)
    torch.testing.assert_close(bound.log_average, kept)


def test_mine_with_the_whole_batch_is_dv(y):
    scores = torch.randn(6, 6)
    wanted = scores.clone().requires_grad_()
    bounds.dv(wanted).backward()
    bound = mi.Mine(decay=1.0)
    for _ in range(2):
        torch.testing.assert_close(mine_gradient(bound, scores, y), wanted.grad)


def test_options_out_of_range():
    for make in (lambda: mi.Mine(0.0), lambda: mi.Mine(1.5), lambda: mi.Smile(0.0)):
        with pytest.raises(EstimationError):
            make()


def test_scores_of_the_published_separable_critic(reference_root):
    """It returns the transpose: ``[j, i] = f(x_i, y_j)``."""
    weights = published_weights(reference_root, "vmi_estimator_f_t.critic_model.")
    critic = mi.SeparableCritic(32, 32)
    for network, name in ((critic.x_network, "MLP_g."), (critic.y_network, "MLP_h.")):
        state = {k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)}
        flat = [v for k, v in sorted(state.items(), key=lambda item: int(item[0].split(".")[0]))]
        own = network.state_dict()
        network.load_state_dict(dict(zip(own, reorder(flat), strict=True)))
    with np.load(reference_root / "mimrl_gru_critics.npz") as file:
        x, y, scores = (torch.from_numpy(file[k]) for k in ("x", "y", "scores_f_t"))
    with torch.no_grad():
        torch.testing.assert_close(critic(x, y), scores.T, rtol=1e-5, atol=1e-5)


def reorder(tensors):
    """Weight before bias, layer by layer."""
    pairs = [tensors[i : i + 2] for i in range(0, len(tensors), 2)]
    return [t for pair in pairs for t in sorted(pair, key=lambda t: -t.ndim)]


def published_weights(root, prefix):
    file = torch.load(
        root / "mimrl_gru_best_valid_model.pth.tar", weights_only=True, map_location="cpu"
    )
    start = f"module.{prefix}"
    return {k.removeprefix(start): v for k, v in file["model"].items() if k.startswith(start)}


def test_probabilities_of_the_published_classifier(reference_root):
    """Each variable is tiled 4 times there: the sum of its four blocks of weights is ours."""
    weights = published_weights(reference_root, "vcmi_estimator_ac_t.classifier.mlp.")
    model = mi.ConditionalMI(32, 32, 32, activation="relu")
    first = weights["0.weight"].view(256, 3, 4, 32).sum(dim=2)
    state = {f"joint_input.maps.{i}.weight": first[:, i] for i in range(3)}
    state["joint_input.bias"] = weights["0.bias"]
    for ours, theirs in ((1, 2), (3, 4)):
        state |= {f"network.{ours}.{k}": weights[f"{theirs}.{k}"] for k in ("weight", "bias")}
    state |= {f"network.5.{k}": weights[f"6.{k}"][:1] for k in ("weight", "bias")}
    model.load_state_dict(state)
    with np.load(reference_root / "mimrl_gru_critics.npz") as file:
        x, y, z, gamma = (torch.from_numpy(file[k]) for k in ("x", "y", "z", "gamma_ac_t"))
    with torch.no_grad():
        found = model.logits(mi.Triples(x, y, z)).clamp(-10, 10).sigmoid()
    torch.testing.assert_close(found, gamma[:, 0], rtol=1e-5, atol=1e-6)
