import dataclasses

import pytest
import torch
from training.small import small_settings

from mimrl.terms import LABEL, terms
from mimrl.training.controls import MARGIN, _above, read_terms, shuffled
from mimrl.training.critics import Critics

MODALITIES = ("text", "audio", "video")
WIDTH = 4


def bank(count, generator):
    """Text carries the label, audio carries text, video is noise; fused is text."""
    label = torch.randn(count, 1, generator=generator)
    text = label + 0.3 * torch.randn(count, WIDTH, generator=generator)
    audio = text + 0.3 * torch.randn(count, WIDTH, generator=generator)
    video = torch.randn(count, WIDTH, generator=generator)
    return {"text": text, "audio": audio, "video": video, "fused": text.clone(), LABEL: label}


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    settings = small_settings(
        tmp_path_factory.mktemp("controls"), "critics.layers=2", "critics.conditional.hidden=128"
    )
    generator = torch.Generator().manual_seed(0)
    banks = {"train": 900, "valid": 300, "test": 300}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        widths = dict.fromkeys((*MODALITIES, "fused"), WIDTH) | {LABEL: 1}
        critics = Critics(settings.critics, MODALITIES, widths, discrete_label=False)
    found = {split: bank(count, generator) for split, count in banks.items()}
    return read_terms(settings, critics, found, 2)


def test_terms_that_are_there_are_above_their_controls(readings):
    for name in ("fused_text", "fused_audio", "text_audio", "text_audio_given_label"):
        assert readings[name].above, (name, readings[name])


def test_terms_that_are_not_there_are_not(readings):
    absent = ("fused_video", "text_video", "video_label_given_text", "text_video_given_label")
    for name in absent:
        assert not readings[name].above, (name, readings[name])
        assert abs(readings[name].value["test"]) < 0.05


def test_a_control_reads_nothing(readings):
    for name, reading in readings.items():
        assert all(abs(value) < 0.05 for value in reading.controls["test"]), (name, reading)


def test_every_term_is_read_and_goes_to_json(readings):
    assert set(readings) == {term.name for term in terms(MODALITIES)}
    for reading in readings.values():
        assert reading.as_dict() == dataclasses.asdict(reading)
        assert len(reading.controls["valid"]) == len(reading.controls["test"]) == 2


def test_shuffling_moves_one_variable_and_keeps_its_values():
    generator = torch.Generator().manual_seed(1)
    rows = bank(200, generator)
    for term in terms(MODALITIES):
        mixed = shuffled(term, rows, generator)
        moved = [name for name in rows if not torch.equal(mixed[name], rows[name])]
        assert moved == [term.x if term.given == LABEL else term.y]
        before, after = rows[moved[0]], mixed[moved[0]]
        assert torch.equal(before.sort(dim=0).values, after.sort(dim=0).values)


def test_shuffling_given_the_label_keeps_the_dependence_on_it():
    generator = torch.Generator().manual_seed(2)
    rows = bank(400, generator)
    term = next(t for t in terms(MODALITIES) if t.name == "text_audio_given_label")
    mixed = shuffled(term, rows, generator)["text"][:, 0]
    together = torch.stack([mixed, rows[LABEL][:, 0]])
    assert torch.corrcoef(together)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("value", "controls", "expected"),
    [
        (0.5, (0.0, 0.01), True),
        (0.5 * MARGIN, (-0.2, -0.21), False),
        (0.3, (0.0, 0.2), False),
        (-0.1, (-0.5, -0.5), False),
        (0.5, (), True),
    ],
)
def test_above_needs_a_margin(value, controls, expected):
    assert _above(value, controls) is expected
