"""Planted data: exact information against closed forms, expectations and the rendered sequences."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm
from sklearn.svm import SVC

from mimrl.datasets.latent import MODALITIES, LatentModel
from mimrl.datasets.planted import amplitudes, generate, projection, truth
from mimrl.errors import ConfigError
from mimrl.settings import PlantedSettings

LOG2 = np.log(2)
TASKS = ("regression", "classification")
INTERACTIONS = ("redundant", "unique_text", "unique_audio", "unique_video", "synergy", "mixed")
WHO = {
    "redundant": {"text", "audio", "video", "text+audio", "text+video", "audio+video"},
    "unique_text": {"text", "text+audio", "text+video"},
    "unique_audio": {"audio", "text+audio", "audio+video"},
    "unique_video": {"video", "text+video", "audio+video"},
    "synergy": {"text+audio"},
}


def planted(interaction: str = "mixed", **fields: object) -> PlantedSettings:
    sizes = {"train_size": 200, "valid_size": 50, "test_size": 100}
    return PlantedSettings(interaction=interaction, **{**sizes, **fields})


@pytest.mark.parametrize("interaction", WHO)
@pytest.mark.parametrize("task", TASKS)
def test_totals_are_log_2_for_those_who_know_and_0_for_the_others(
    interaction: str, task: str
) -> None:
    for label_noise in (0.0, 0.1):
        model = truth(planted(interaction, label_noise=label_noise), task).model
        for names in ["text", "audio", "video", "text+audio", "text+video", "audio+video"]:
            expected = LOG2 if names in WHO[interaction] else 0.0
            total = model.total_bit_information(*names.split("+"))
            assert total == pytest.approx(expected, abs=1e-9)
        assert model.total_bit_information(*MODALITIES) == pytest.approx(LOG2, abs=1e-9)


def test_label_noise_lowers_the_total_as_a_binary_channel_does() -> None:
    model = truth(planted("synergy", label_noise=2.0), "classification").model
    flip = ndtr(-1.0)
    expected = LOG2 + flip * np.log(flip) + (1 - flip) * np.log(1 - flip)
    assert model.total_bit_information("text", "audio") == pytest.approx(expected, abs=1e-12)
    assert model.total_bit_information("text") == pytest.approx(0, abs=1e-12)


def test_a_noisy_rating_has_the_information_of_a_gaussian_mixture() -> None:
    """I = h(y) - h(y|b) with y of +-2 and unit noise; h(y) by quadrature of its own density."""
    model = truth(planted("redundant", label_noise=1.0), "regression").model
    y, step = np.linspace(-14, 14, 200_001, retstep=True)
    density = 0.5 * norm.pdf(y, 2) + 0.5 * norm.pdf(y, -2)
    expected = -np.sum(density * np.log(density)) * step - 0.5 * np.log(2 * np.pi * np.e)
    assert model.total_bit_information("text") == pytest.approx(expected, abs=1e-8)


def test_information_of_a_latent_bit_in_closed_form() -> None:
    """One bit b, x = b + s n, y = (b > 0): i(x; y) = log 2 p(b|x), h(x) of two Gaussians."""
    exact = truth(planted("unique_text", label_noise=0, noise=0.7), "classification")
    draw = exact.draws["test"]
    x, y = draw.latents["text"][:, 0], draw.labels
    sign = np.where(y > 0, 1, -1)
    expected = LOG2 - np.log1p(np.exp(-2 * sign * x / 0.7**2))
    pair = exact.pair("test", "text", "audio")
    np.testing.assert_allclose(pair.i1, expected, atol=1e-12)
    np.testing.assert_allclose(pair.i2, 0, atol=1e-12)
    np.testing.assert_allclose(pair.i12, expected, atol=1e-12)
    density = 0.5 * norm.pdf(x, 1, 0.7) + 0.5 * norm.pdf(x, -1, 0.7)
    np.testing.assert_allclose(pair.h1, -np.log(density), atol=1e-12)


@pytest.mark.parametrize("interaction", INTERACTIONS)
@pytest.mark.parametrize("task", TASKS)
def test_with_little_noise_latent_information_is_that_of_the_bits(
    interaction: str, task: str
) -> None:
    exact = truth(planted(interaction, noise=0.05), task)
    for names in (("text",), ("text", "audio"), MODALITIES):
        np.testing.assert_allclose(
            exact.information("test", *names), exact.bit_information("test", *names), atol=1e-9
        )


@pytest.mark.parametrize("task", TASKS)
def test_bit_information_averages_to_its_total(task: str) -> None:
    exact = truth(planted(train_size=6000, label_noise=0.5), task)
    for names in (("text",), ("text", "audio"), MODALITIES):
        values = exact.bit_information("train", *names)
        error = values.std() / np.sqrt(len(values))
        total = exact.model.total_bit_information(*names)
        assert values.mean() == pytest.approx(total, abs=4 * error)


@pytest.mark.parametrize("task", TASKS)
def test_densities_are_normalised(task: str) -> None:
    """E[exp(-i)] = 1 under the joint law, and E[1/p(x)] over a box is its volume."""
    exact = truth(planted(train_size=6000, noise=1.0, label_noise=1.0), task)
    for names in (("text",), ("text", "audio")):
        ratio = np.exp(-exact.information("train", *names))
        assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / np.sqrt(len(ratio)))
    model = LatentModel({"redundant": 1.0}, 0.5, 0.1, "regression")
    x, step = np.linspace(-6, 6, 4001, retstep=True)
    assert np.exp(-model.surprisal("text", x[:, None])).sum() * step == pytest.approx(1, abs=1e-9)


def test_information_obeys_the_chain_of_modalities() -> None:
    exact = truth(planted(train_size=4000), "classification")
    means = [exact.information("train", *MODALITIES[:k]).mean() for k in (1, 2, 3)]
    assert means == sorted(means)
    assert means[-1] <= LOG2


@pytest.mark.parametrize(
    ("interaction", "pair", "largest"),
    [
        ("redundant", ("text", "audio"), "r"),
        ("redundant", ("text", "video"), "r"),
        ("unique_text", ("text", "audio"), "u1"),
        ("unique_audio", ("text", "audio"), "u2"),
        ("unique_video", ("text", "video"), "u2"),
        ("synergy", ("text", "audio"), "s"),
    ],
)
def test_the_exact_adjusted_reading_has_the_planted_component_largest(
    interaction: str, pair: tuple[str, str], largest: str
) -> None:
    """LSMI's formulas on exact values; unique information is raw r = s > 0 with a negative u."""
    exact = truth(planted(interaction, test_size=1000), "classification").pair("test", *pair)
    r_minus = np.minimum(exact.h1 - exact.i1, exact.h2 - exact.i2)
    r = float(np.mean(np.minimum(exact.h1, exact.h2) - r_minus))
    i1, i2, i12 = (float(np.mean(i)) for i in (exact.i1, exact.i2, exact.i12))
    u1, u2, s = i1 - r, i2 - r, i12 - i1 - i2 + r
    if interaction.startswith("unique"):
        assert r == pytest.approx(s, abs=1e-9)
        assert min(u1, u2) == pytest.approx(-r, abs=1e-9)
    shift = -min(r, s) if min(r, s) < 0 else min(u1, u2, 0.0)
    adjusted = {"r": r + shift, "u1": u1 - shift, "u2": u2 - shift, "s": s + shift}
    assert max(adjusted, key=lambda name: adjusted[name]) == largest
    assert adjusted[largest] > 0.5


@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_the_mean_over_time_is_the_embedded_latent_vector(interaction: str) -> None:
    settings = planted(interaction, width=8, min_steps=1, max_steps=9)
    split = generate(settings, "regression").splits["test"]
    draw = truth(settings, "regression").draws["test"]
    for name in MODALITIES:
        means = np.stack([sequence.mean(axis=0) for sequence in split.sequences[name]])
        size = draw.latents[name].shape[1]
        back = means @ projection(settings, name, size) * size / settings.width
        np.testing.assert_allclose(back, draw.latents[name], atol=1e-5)
    np.testing.assert_array_equal(split.labels[:, 0], draw.labels.astype(np.float32))


def test_sizes_widths_and_lengths_are_those_asked_for() -> None:
    settings = planted(width=5, min_steps=2, max_steps=6)
    corpus = generate(settings, "classification")
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        "train": 200,
        "valid": 50,
        "test": 100,
    }
    assert corpus.widths == dict.fromkeys(MODALITIES, 5)
    for split in corpus.splits.values():
        assert set(np.unique(split.labels)) == {0.0, 1.0}
        for sequences in split.sequences.values():
            assert set(sequences.lengths.tolist()) == {2, 3, 4, 5, 6}
    ratings = generate(settings, "regression").splits["train"].labels
    assert np.abs(ratings).max() < 3


def test_same_seed_same_data_and_splits_do_not_depend_on_each_other() -> None:
    first = generate(planted(), "regression").splits
    again = generate(planted(train_size=300), "regression").splits
    other = generate(planted(seed=1), "regression").splits
    for name in ("valid", "test"):
        audio = [splits[name].sequences["audio"].values for splits in (first, again, other)]
        np.testing.assert_array_equal(audio[0], audio[1])
        assert audio[0].shape != audio[2].shape or not np.array_equal(audio[0], audio[2])


def test_the_class_says_whether_the_rating_is_0_or_more() -> None:
    ratings = generate(planted(label_noise=1.0), "regression").splits["train"]
    classes = generate(planted(label_noise=1.0), "classification").splits["train"]
    np.testing.assert_array_equal(classes.labels, ratings.labels >= 0)
    np.testing.assert_array_equal(
        classes.sequences["text"].values, ratings.sequences["text"].values
    )


def test_shares_weigh_the_components() -> None:
    shares = {"redundant": 3.0, "synergy": 1.0}
    model = truth(planted(shares=shares, label_noise=0), "regression").model
    assert model.kinds == ("redundant", "synergy")
    assert np.unique(model.scores).tolist() == [-2.0, -1.0, 1.0, 2.0]
    np.testing.assert_allclose(model.total_bit_information("text"), LOG2, atol=1e-12)
    np.testing.assert_allclose(model.total_bit_information("text", "audio"), 2 * LOG2, atol=1e-12)


def test_too_narrow_features_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.planted\.width is 2.*redundant, unique, synergy"):
        generate(planted(width=2), "regression")
    assert generate(planted("synergy", width=1), "regression").widths["text"] == 1


@pytest.mark.parametrize(
    ("interaction", "modalities"),
    [
        ("redundant", ("audio",)),
        ("unique_text", ("text",)),
        ("unique_video", ("video",)),
        ("synergy", ("text", "audio")),
    ],
)
def test_a_small_classifier_on_means_over_time_comes_near_the_bayes_rule(
    interaction: str, modalities: tuple[str, ...]
) -> None:
    settings = PlantedSettings(interaction=interaction)
    splits = generate(settings, "classification").splits
    exact = truth(settings, "classification")

    def means(name: str) -> np.ndarray:
        return np.hstack(
            [np.stack([x.mean(axis=0) for x in splits[name].sequences[m]]) for m in modalities]
        )

    model = SVC(random_state=0).fit(means("train"), splits["train"].labels[:, 0])
    found = model.score(means("test"), splits["test"].labels[:, 0])
    bayes = np.mean(exact.information("test", *modalities) > 0)
    assert found > 0.95 * bayes
    assert bayes > 0.94


def test_without_new_parts_the_corpus_is_what_it_was() -> None:
    """Numbers of the code before nuisances, amplitudes and flips."""
    settings = PlantedSettings(train_size=20, valid_size=10, test_size=12, seed=5)
    train = generate(settings, "regression").splits["train"]
    labels = [-0.2970964312553406, 0.43909773230552673, -2.087238311767578, 0.4506382346153259]
    np.testing.assert_array_equal(train.labels[:4, 0], np.float32(labels))
    first = {
        "text": [-0.1365002542734146, 0.17495763301849365, 0.39062684774398804],
        "audio": [0.03288909047842026, -0.2417522668838501, 0.24480578303337097],
        "video": [-2.50654935836792, 2.3759634494781494, 0.6813867092132568],
    }
    for name, values in first.items():
        np.testing.assert_allclose(train.sequences[name].values[0, :3], values, rtol=1e-6)
    exact = truth(settings, "regression")
    known = [0.45412395322250276, 0.46137421268236256, 2.772549458907893]
    np.testing.assert_allclose(exact.information("train", "text", "audio")[:3], known, rtol=1e-12)
    surprisal = [3.9982070872686777, 5.262883376389423, 3.6345969531752162]
    np.testing.assert_allclose(exact.pair("train", "text", "audio").h1[:3], surprisal, rtol=1e-12)


NUISANCE = {"text_audio": 0.1, "audio_video": 0.5}


@pytest.mark.parametrize("task", TASKS)
def test_new_parts_leave_the_label_and_what_is_said_of_it(task: str) -> None:
    before = truth(planted(), task)
    after = truth(planted(nuisance=NUISANCE, amplitude={"audio": 0.2}), task)
    assert after.model.coordinates == (*before.model.kinds, *map("nuisance_{}".format, NUISANCE))
    np.testing.assert_array_equal(
        before.information("test", *MODALITIES), after.information("test", *MODALITIES)
    )
    for name in MODALITIES:
        width = len(before.model.kinds)
        np.testing.assert_array_equal(
            before.draws["test"].latents[name], after.draws["test"].latents[name][:, :width]
        )


def test_a_nuisance_is_shared_by_its_pair_alone_and_not_with_the_label() -> None:
    exact = truth(planted(nuisance={"text_video": 1.0}, train_size=4000), "classification")
    draw = exact.draws["train"]
    columns = [draw.latents[name][:, -1] for name in MODALITIES]
    table = np.corrcoef([*columns, draw.labels])
    error = 1 / np.sqrt(4000)
    assert table[0, 2] == pytest.approx(1 / 1.25, abs=4 * error)  # var(bit) of var(bit) + noise^2
    others = table[np.triu_indices(4, 1)]
    assert np.sum(np.abs(others) > 4 * error) >= 1
    assert np.all(np.abs(table[1, [0, 2, 3]]) < 4 * error)
    assert np.all(np.abs(table[3, [0, 2]]) < 4 * error)


def test_surprisal_counts_the_nuisance() -> None:
    exact = truth(planted("unique_text", nuisance={"text_audio": 0.1}, noise=0.7), "regression")
    x = exact.draws["test"].latents["audio"]
    density = np.prod(0.5 * norm.pdf(x, 1, 0.7) + 0.5 * norm.pdf(x, -1, 0.7), axis=1)
    np.testing.assert_allclose(exact.model.surprisal("audio", x), -np.log(density), atol=1e-12)


def test_means_over_time_are_the_latent_vectors_times_their_amplitudes() -> None:
    settings = planted("synergy", nuisance=NUISANCE, amplitude={"video": 0.2}, noise=1.0)
    np.testing.assert_allclose(amplitudes(settings, "text"), [1, 0.1, 0.5])
    np.testing.assert_allclose(amplitudes(settings, "video"), [0.2, 0.02, 0.1])
    split = generate(settings, "classification").splits["test"]
    draw = truth(settings, "classification").draws["test"]
    for name in MODALITIES:
        means = np.stack([sequence.mean(axis=0) for sequence in split.sequences[name]])
        back = means @ projection(settings, name, 3) * 3 / settings.width
        expected = draw.latents[name] * amplitudes(settings, name)
        np.testing.assert_allclose(back, expected, atol=1e-5)


def test_flips_replace_their_share_of_labels_in_every_split_and_keep_the_clean_ones() -> None:
    clean, flipped = (
        truth(planted(label_flips=f, train_size=4000), "classification") for f in (0.0, 0.2)
    )
    for name, draw in flipped.draws.items():
        np.testing.assert_array_equal(draw.clean_labels, clean.draws[name].labels)
        np.testing.assert_array_equal(clean.draws[name].labels, clean.draws[name].clean_labels)
        share = np.mean(draw.labels != draw.clean_labels)
        assert share == pytest.approx(0.2, abs=4 * 0.4 / np.sqrt(len(draw.labels)))


def test_flips_enter_the_exact_information_as_a_binary_channel() -> None:
    model = truth(planted("synergy", label_noise=0, label_flips=0.1), "classification").model
    expected = LOG2 + 0.1 * np.log(0.1) + 0.9 * np.log(0.9)
    assert model.total_bit_information("text", "audio") == pytest.approx(expected, abs=1e-12)
    assert model.total_bit_information("text") == pytest.approx(0, abs=1e-12)


def test_a_real_label_cannot_be_flipped() -> None:
    with pytest.raises(ConfigError, match=r"label_flips is 0\.1, but a real label has no other"):
        generate(planted(label_flips=0.1), "regression")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"nuisance": ("text_audio", "text_audio")}, "nuisance must name each"),
        ({"nuisance": ("audio_text",)}, "nuisance must name each"),
        ({"label_flips": 0.5}, r"label_flips must be in \[0, 0\.5\)"),
    ],
)
def test_laws_out_of_range_are_refused(fields: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        LatentModel({"redundant": 1.0}, 0.5, 0.1, "classification", **fields)
