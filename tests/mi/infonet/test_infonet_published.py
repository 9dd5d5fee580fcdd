"""The published layout: against its own numbers, and by laws where they are not at hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from mimrl.errors import CheckpointError, EstimationError, MissingFileError
from mimrl.mi.infonet import PublishedConfig, PublishedNetwork, estimate_mi, load_model, pointwise
from mimrl.mi.infonet.published import config_of

SMALL = PublishedConfig(
    latents=6,
    latent_width=16,
    queries=32,
    blocks=2,
    encoder_heads=4,
    self_heads=8,
    query_heads=2,
    decoder_heads=4,
)
HEADS = {"encoder_heads": 4, "self_heads": 8, "query_heads": 2, "decoder_heads": 4}


@pytest.fixture
def network(seeded):
    network = PublishedNetwork(SMALL).eval().requires_grad_(False)
    network.query_gen.query.mul_(50)  # large enough for a table that is not flat
    network.encoder.latents.mul_(50)
    return network


def shifted(ranks):
    """Published ranks, from 1 / N to 1, to ours, half a rank lower."""
    return ranks - 0.5 / ranks.shape[1]


def test_table_of_the_reference(reference_root):
    stored = np.load(reference_root / "infonet_small_forward.npz")
    heads = {"encoder_heads": 4, "self_heads": 4, "query_heads": 8, "decoder_heads": 4}
    network = load_model(reference_root / "infonet_small_state_dict.pt", **heads)
    u, v = (torch.from_numpy(stored["ranks"][..., i]) for i in (0, 1))
    with torch.no_grad():
        table = network.table(u, v).numpy()
        value = network.estimate(shifted(u), shifted(v)).numpy()
    np.testing.assert_allclose(table, stored["smoothed_table"][:, 0], atol=1e-6)
    # its product term is the mean of five shuffles, each with a standard error of 0.0006 here
    np.testing.assert_allclose(value, stored["mutual_information"], atol=4 * 0.0006 / math.sqrt(5))


def test_value_is_that_of_all_pairs_looked_up_as_published(network):
    """Against grid_sample with ranks for coordinates, over an explicit list of all pairs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 50, generator=generator)
    y = x + torch.randn(2, 50, generator=generator)
    u, v = ((t.argsort().argsort() + 1) / 50 for t in (x, y))
    table = network.table(u, v)[:, None]

    def look_up(first, second):
        places = torch.stack([first, second], dim=2)[:, None]
        found = functional.grid_sample(table, places, padding_mode="border", align_corners=True)
        return found[:, 0, 0]

    all_u = u[:, :, None].expand(2, 50, 50).flatten(1)
    all_v = v[:, None, :].expand(2, 50, 50).flatten(1)
    product = look_up(all_u, all_v).logsumexp(dim=1) - math.log(2500)
    expected = look_up(u, v).mean(dim=1) - product
    assert expected.abs().min() > 1e-4
    torch.testing.assert_close(
        network.estimate(shifted(u), shifted(v)), expected, rtol=1e-4, atol=1e-5
    )


def test_filter_is_normalised_symmetric_and_leaves_a_constant_inside(network):
    kernel = network.mild.kernel[0, 0]
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(kernel, kernel.T)
    torch.testing.assert_close(kernel, kernel.flip(0))
    smoothed = network.mild(torch.ones(1, 40, 40))
    torch.testing.assert_close(smoothed[:, 7:-7, 7:-7], torch.ones(1, 26, 26))
    assert float(smoothed[0, 0, 0]) < 0.5  # beyond the edge there is nothing


def test_published_sizes_count_as_many_weights_as_the_paper_says():
    with torch.device("meta"):
        network = PublishedNetwork()
    count = sum(p.numel() for p in network.parameters())
    assert count == pytest.approx(12.71e6, rel=1e-3)


def test_sizes_are_read_from_the_weights(network):
    assert config_of(network.state_dict(), **HEADS) == SMALL


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "checkpoint"])
def test_state_dict_is_read_back(network, tmp_path, wrapped):
    state = network.state_dict()
    if wrapped:
        state = {"epoch": 3, "state_dict": {f"model.{k}": v for k, v in state.items()}}
    torch.save(state, tmp_path / "weights.pt")
    again = load_model(tmp_path / "weights.pt", **HEADS)
    assert not again.training
    x, y = torch.randn(2, 200, generator=torch.Generator().manual_seed(0))
    assert estimate_mi(again, x, y) == estimate_mi(network, x, y)
    with pytest.raises(EstimationError, match="published"):
        pointwise(again, x, y)


def test_files_that_hold_no_such_network(tmp_path, network):
    with pytest.raises(MissingFileError, match="no file"):
        load_model(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(tmp_path / "text.pt")
    torch.save({"encoder.latents": torch.zeros(2, 2)}, tmp_path / "part.pt")
    with pytest.raises(CheckpointError, match="published layout"):
        load_model(tmp_path / "part.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="no state dict"):
        load_model(tmp_path / "list.pt")
    torch.save(network.state_dict(), tmp_path / "good.pt")
    with pytest.raises(CheckpointError, match="heads"):
        load_model(tmp_path / "good.pt", no_heads=3)


def test_pickles_of_anything_but_tensors_are_not_run(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()
