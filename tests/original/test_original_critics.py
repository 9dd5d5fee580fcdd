"""The critics of an original checkpoint, as ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from original.published import Form, build, checkpoint

from mimrl.errors import CheckpointError
from mimrl.mi import InfoNce, Triples, VariationalMI
from mimrl.original import original_critics
from mimrl.terms import terms

FORM = Form()
TERMS = {  # the original's names
    "fused_text": "f_t",
    "fused_audio": "f_a",
    "fused_video": "f_v",
    "text_audio": "t_a",
    "text_video": "t_v",
    "audio_label_given_text": "ac_t",
    "text_audio_given_label": "ta_c",
    "video_label_given_text": "vc_t",
    "text_video_given_label": "tv_c",
    "text_label_given_audio": "tc_a",
    "text_label_given_video": "tc_v",
}


def test_numbers_of_the_published_code(reference_root):
    file = reference_root / "mimrl_gru_best_valid_model.pth.tar"
    critics = original_critics(file, label_width=32)
    with np.load(reference_root / "mimrl_gru_critics.npz") as arrays:
        given = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    x, y, z = given["x"], given["y"], given["z"]
    with torch.no_grad():
        scores = critics.mutual["fused_text"](x, y)
        logits = critics.conditional["audio_label_given_text"].logits(Triples(x, y, z))
    torch.testing.assert_close(scores, given["scores_f_t"].T, rtol=0, atol=1e-5)
    gamma = logits.clamp(-10, 10).sigmoid()
    torch.testing.assert_close(gamma, given["gamma_ac_t"][:, 0], rtol=0, atol=1e-5)


@pytest.fixture(params=["separate", "concat"])
def both(request, tmp_path):
    """An independent network, and our critics from its checkpoint."""
    model = build(replace(FORM, critic=request.param))
    torch.save(checkpoint(model), tmp_path / "x.pth.tar")
    return model, original_critics(tmp_path / "x.pth.tar")


def variable(width, seed):
    return torch.randn(6, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_all_critics_of_an_independent_network(both):
    model, critics = both
    assert list({**critics.mutual, **critics.conditional}) == list(TERMS)
    x, y, label = variable(8, 1), variable(8, 2), variable(1, 3)
    for name, critic in critics.mutual.items():
        theirs = getattr(model, f"vmi_estimator_{TERMS[name]}").critic_model
        wanted = theirs(x, y).T if theirs.kind == "separate" else theirs(x, y)
        torch.testing.assert_close(critic(x, y), wanted, rtol=0, atol=1e-5)
        assert (critic(x, y) - critic(x, y).T).abs().max() > 1e-2
    places = {term.name: (term.x, term.y, term.given) for term in terms(("text", "audio", "video"))}
    for name, classifier in critics.conditional.items():
        sources = (x, y, x + y)
        rows = [
            label if variable == "label" else sources[i] for i, variable in enumerate(places[name])
        ]
        wanted = getattr(model, f"vcmi_estimator_{TERMS[name]}").gamma(*rows)[:, 0]
        found = classifier.logits(Triples(*rows)).clamp(-10, 10).sigmoid()
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_a_bound_reads_them(both):
    _, critics = both
    estimate = VariationalMI(critics.mutual["text_audio"], InfoNce())(
        variable(8, 1), variable(8, 2)
    )
    assert torch.isfinite(estimate)
    assert estimate <= np.log(6)


FIRST = "vmi_estimator_t_a.critic_model.MLP_g."
WRONG = {
    "none": (f"{FIRST}0.weight", None, "linear layers vmi_estimator_t_a.critic_model.MLP_g.0"),
    "bias": (f"{FIRST}2.bias", None, r"a bias for it in .*MLP_g\.2"),
    "width": (f"{FIRST}0.weight", torch.zeros(9, 4), r"read \[4, 9, 9, 9\] values .* \[8, 9"),
    "forms": (f"{FIRST}6.weight", None, "MLP_g and MLP_h of one form"),
    "outputs": (
        "vcmi_estimator_tv_c.classifier.mlp.6.weight",
        torch.zeros(1, 9),
        "a weight with 2 axes and a bias",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_critics_that_do_not_fit(name, tmp_path):
    key, value, message = WRONG[name]
    model = checkpoint(build(FORM), prefix="")["model"]
    if value is None:
        del model[key]
    else:
        model[key] = value
    torch.save({"model": model}, tmp_path / "x.pth.tar")
    with pytest.raises(CheckpointError, match=message) as caught:
        original_critics(tmp_path / "x.pth.tar")
    assert "its critics cannot be read" in str(caught.value)


def test_widths_that_cannot_be_tiled(tmp_path):
    torch.save(checkpoint(build(FORM)), tmp_path / "x.pth.tar")
    with pytest.raises(CheckpointError, match=r"expected widths that divide 128.*got label 3"):
        original_critics(tmp_path / "x.pth.tar", label_width=3)
