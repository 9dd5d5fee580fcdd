"""The examples run with ``--smoke`` and give what they say; their own formulas are checked."""

from __future__ import annotations

import gzip
import importlib
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mimrl.errors import DataError
from mimrl.mi import gaussian_information

FOLDER = Path(__file__).parents[2] / "examples"
HELPERS = {"common", "gan", "gaussians25", "digits"}
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in HELPERS)


@pytest.fixture
def example(monkeypatch):
    """Imports a module of the folder as its scripts see each other."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in HELPERS | set(SCRIPTS):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", SCRIPTS)
def test_smoke_run_writes_a_picture_and_one_line(name, example, tmp_path, capsys):
    out = tmp_path / "folder" / "picture.png"
    result = example(name).main(["--smoke", "--seeds", "3", "4", "--out", str(out)])
    assert out.read_bytes().startswith(b"\x89PNG")
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["seeds"] == [3]
    assert told["picture"] == out.as_posix()
    assert result.summary().items() <= told.items()


@pytest.mark.parametrize("name", ["gan_spiral", "information_bottleneck"])
def test_same_seed_same_numbers_and_other_seed_others(name, example, tmp_path):
    def summary(seed):
        given = ["--smoke", "--seeds", seed, "--out", str(tmp_path / "picture.png")]
        return example(name).main(given).summary()

    first = summary("0")
    assert summary("0") == first
    assert summary("1") != first


def test_every_example_has_its_picture_and_its_place_in_the_docs():
    page = (FOLDER.parent / "docs" / "examples.md").read_text()
    for name in SCRIPTS:
        assert f"python examples/{name}.py" in page
        assert f"](pictures/{name}.png)" in page


@pytest.mark.parametrize("weight", [1e-3, 1e3])
def test_clipped_gradient_is_no_longer_than_the_adversary(weight, example):
    common = example("common")
    shapes = ((3, 2), (4,))
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.randn(s, generator=generator).requires_grad_() for s in shapes]
    slopes = [torch.randn(s, generator=generator) for s in shapes]
    adversarial = sum((p * s).sum() for p, s in zip(parameters, slopes, strict=True))
    information = weight * sum(p.square().sum() for p in parameters)
    common.clipped_gradient(parameters, adversarial, information)

    def joined(tensors):
        return torch.cat([t.detach().flatten() for t in tensors])

    taken = joined(slopes) - joined(p.grad for p in parameters)  # what was subtracted
    whole = joined(2 * weight * p for p in parameters)
    torch.testing.assert_close(taken / taken.norm(), whole / whole.norm(), atol=1e-4, rtol=0)
    length = min(whole.norm(), joined(slopes).norm())  # of all parameters together
    torch.testing.assert_close(taken.norm(), length, rtol=1e-3, atol=1e-6)


def test_quality_of_the_data_themselves_and_of_a_collapse(example):
    for name, radius in (("gaussians25", 4), ("gan_spiral", 3)):
        module = example(name)
        with example("common").seeded(0):
            data = module.sample(5000)
        judged = module.quality(data)
        assert judged.covered == (25 if name == "gaussians25" else 50)
        # beyond r deviations in two dimensions: exp(-r^2 / 2); of a curve fewer
        assert judged.near >= 1 - 2 * math.exp(-(radius**2) / 2)
        assert module.quality(data[:1].expand(5000, 2)).covered == 1
        assert module.quality(data + 50).near == 0


def test_gaussians_have_the_information_they_say(example):
    x, y, truth = example("mine_gaussians").gaussians(20_000, 2, 0.8, 0)
    covariance = np.eye(4) + 0.8 * (np.eye(4, k=2) + np.eye(4, k=-2))
    assert truth == pytest.approx(gaussian_information(covariance, [0, 1], [2, 3]), abs=1e-12)
    found = np.corrcoef(x.T, y.T)
    assert np.abs(found - covariance).max() < 5 / math.sqrt(20_000)  # five standard errors


def test_truth_of_the_nonlinear_pairs(example):
    module = example("nonlinear_dependence")
    assert module.truth("x", 0.0, 1.0) == math.inf
    # much noise: I = 1/2 log(1 + 1 / sigma^2) up to the fourth cumulant, of order sigma^-8
    for name in module.FUNCTIONS:
        found = module.truth(name, 10.0, module.UNCORRELATED)
        assert found == pytest.approx(0.5 * math.log1p(0.01), abs=1e-6)
    # little noise: h(Y) is that of the uniform, less its two edges' share of order sigma
    uniform = math.log(math.sqrt(12)) - 0.5 * math.log(2 * math.pi * math.e * 0.01**2)
    assert module.truth("x", 0.01, 1.0) == pytest.approx(uniform, abs=0.01)


def test_the_default_half_width_hides_the_sine_from_correlation(example):
    module = example("nonlinear_dependence")
    x = np.linspace(-1, 1, 100_001) * module.UNCORRELATED
    assert abs(np.corrcoef(x, np.sin(x))[0, 1]) < 1e-4


def test_exact_information_of_the_bottleneck(example):
    """Codes far apart tell the image, log N; codes that are all the same tell nothing."""
    module = example("information_bottleneck")
    with example("common").seeded(0):
        model = module.Bottleneck(4, module.METHODS["noise"]).eval()
        x = torch.randn(50, 4)
        for raw, known in ((-20.0, math.log(50)), (200.0, 0.0)):
            with torch.no_grad():
                model.encoder[-1].weight[module.CODE :] = 0
                model.encoder[-1].bias[module.CODE :] = raw
            assert module.exact_information(model, x) == pytest.approx(known, abs=1e-2)


def idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def write_mnist(folder: Path) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    for part, count in (("train", 60), ("t10k", 20)):
        idx(folder / f"{part}-images-idx3-ubyte.gz", images[:count])
        idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)
    return images


def test_mnist_files_are_read(example, tmp_path):
    images = write_mnist(tmp_path)
    data = example("digits").digits(0, tmp_path)
    assert (len(data.train), len(data.valid), len(data.test)) == (50, 10, 20)
    expected = torch.from_numpy(images[:20].reshape(20, -1) / np.float32(255))
    torch.testing.assert_close(data.test.x, expected)
    assert data.test.y.tolist() == [i % 10 for i in range(20)]


def test_bad_mnist_files_are_refused(example, tmp_path, capsys):
    digits = example("digits").digits
    with pytest.raises(DataError, match="no file train-images-idx3-ubyte"):
        digits(0, tmp_path)
    write_mnist(tmp_path)
    idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.zeros(3, dtype=np.uint8))
    with pytest.raises(DataError, match="20 images but 3 labels"):
        digits(0, tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"\0\0"))
    with pytest.raises(DataError, match="is no idx file"):
        digits(0, tmp_path)
    given = ["--smoke", "--mnist", str(tmp_path), "--out", str(tmp_path / "picture.png")]
    with pytest.raises(SystemExit) as ended:
        example("information_bottleneck").main(given)
    assert ended.value.code == 2
    assert "is no idx file" in capsys.readouterr().err


def test_divided_digits_share_no_image(example):
    data = example("digits").digits(0)
    assert len(data.train) + len(data.valid) + len(data.test) == 1797
    parts = [{tuple(row) for row in part.x.tolist()} for part in (data.train, data.test)]
    assert not parts[0] & parts[1]
