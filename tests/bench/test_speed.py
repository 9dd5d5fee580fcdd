"""The measurements of speed run on small sizes, and what they compare with is the same training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.speed import gpu, large_corpus, large_file, lsmi_seconds, same_results, shapes, training
from bench.speed.__main__ import SCRIPTS, stored
from bench.speed.machine import describe, peak_resident
from bench.speed.page import END, START, write_page
from bench.speed.plain import Plain, anchor_rows, loop_product, pad
from bench.speed.rows import HEADER, Found, Row, Table, markdown, render, restored, write_json
from mimrl import mi
from mimrl.datasets.batches import collate
from mimrl.errors import ConfigError
from mimrl.training.critics import Critics

pytestmark = pytest.mark.usefixtures("seeded")  # scripts build networks, and train with dropout

WITH_PROCESSES = ("training", "processes", "scaling")  # their own, or many epochs
ELSEWHERE = (*WITH_PROCESSES, "large_file", "same_results")  # whose numbers are looked at too


@pytest.fixture
def threads():
    """Scripts may set PyTorch's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s.name not in ELSEWHERE],
    ids=lambda s: s.name,
)  # fmt: skip
def test_script_runs_and_writes_its_numbers(script, tmp_path, capsys, threads):
    rows_written(script, tmp_path, capsys)


def rows_written(script, folder, capsys):
    """Runs a script on small sizes; the lines that it printed and wrote."""
    file = folder / "out.json"
    assert script.module.main(["--quick", "--json", str(file)]) in (0, 1)
    content = json.loads(file.read_text())
    assert content["bench"] == script.name
    assert content["rows"]
    printed = capsys.readouterr().out
    for row in content["rows"]:
        assert f"| {row['what']} " in printed
    return list(restored(content).rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_PROCESSES)
def test_script_with_processes_of_its_own_runs(name, tmp_path, capsys, threads):
    rows_written(next(s for s in SCRIPTS if s.name == name), tmp_path, capsys)


@pytest.mark.slow
def test_large_file_runs_all_its_parts(monkeypatch, tmp_path, threads):
    """One part in a process of its own, as all are when they are measured; the others in this one,
    since starting Python is nine tenths of what they take at this size."""
    alone, done = large_file._child, []

    def child(arguments):
        part = arguments[-1].removeprefix("--part=")
        done.append(part)
        here = large_file._part(large_file._parser().parse_args(arguments))
        return alone(arguments) if part == "open" else here

    monkeypatch.setattr(large_file, "_child", child)
    file = tmp_path / "out.json"
    assert large_file.main(["--quick", "--json", str(file), "--folder", str(tmp_path / "f")]) == 0
    assert done == ["write", *large_file.PARTS, "pad", "pickle"]
    units = {row["what"]: row["unit"] for row in json.loads(file.read_text())["rows"]}
    assert {what.partition(":")[0].removeprefix("large file, ") for what in units} == {
        *("write", *large_file.PARTS, "convert a padded pickle")
    }
    in_gigabytes = [what for what, unit in units.items() if unit == "GB"]
    assert in_gigabytes == [what for what in units if "memory" in what or "size" in what]
    assert set(units.values()) == {"s", "GB"}


def test_losses_and_metrics_are_those_of_the_published_order(tmp_path, capsys, threads):
    script = next(s for s in SCRIPTS if s.module is same_results)
    losses, published, metrics, _ = rows_written(script, tmp_path, capsys)
    for row in (losses, published):
        assert row.ours is not None
        assert row.ours < 1e-5  # rounding of float32 over 12 steps at a rate of 1e-5
    assert metrics.ours is not None
    assert metrics.ours < 1e-3


def test_a_moved_weight_is_the_next_number():
    network = nn.Linear(3, 2)
    before = network.weight.detach().clone()
    same_results.move_a_weight(network, 0)
    moved = network.weight.detach() - before
    assert moved.flatten()[0] > 0
    assert torch.nextafter(before[0, 0], torch.tensor(torch.inf)) == network.weight[0, 0]
    assert moved.flatten()[1:].eq(0).all()


def test_other_product_samples_would_be_noticed(monkeypatch, threads):
    """The comparison sees it when the loop takes the second nearest rows instead of the nearest."""
    few = [*same_results.SAME, *same_results.QUICK, "training.epochs=1", "training.warmup_epochs=0"]
    few += ["critics.update=epoch", "steering.scale=published"]
    settings = [*few, f"training.optimizer.rate={same_results.GENTLE}"]

    def next_ones(bank, anchors, count, neighbours):
        found = loop_product(bank, anchors, 2 * count, 2 * neighbours)
        rows = found.rows.view(-1, 2 * neighbours)[:, neighbours:].flatten()[:count]
        return mi.ProductSamples(bank.x[rows], found.y[::2], found.z[::2], rows)

    monkeypatch.setattr("bench.speed.plain.loop_product", next_ones)
    apart = same_results.compare(settings).epochs
    conditional = {name: pair for name, pair in apart.items() if "_given_text" in name}
    assert same_results.largest(conditional) > 1e-4  # 1e-7 with the nearest ones


def test_loop_finds_the_nearest_rows_that_are_no_anchors():
    generator = torch.Generator().manual_seed(0)
    x, y, z = (torch.randn(30, d, generator=generator) for d in (2, 3, 4))
    bank, anchors = mi.Triples(x, y, z), torch.tensor([4, 20, 11])
    found = loop_product(bank, anchors, 5, 2)
    distances = torch.cdist(z[anchors], z)
    distances[:, anchors] = torch.inf
    nearest = distances.topk(2, largest=False).indices
    assert found.rows.tolist() == nearest.flatten()[:5].tolist()
    assert torch.equal(found.x, x[found.rows])
    assert torch.equal(found.z, z[[4, 4, 20, 20, 11]])
    assert anchor_rows(found, bank, 2).tolist() == anchors.tolist()


def test_the_slow_encoders_give_the_states_of_the_fast_ones(tmp_path):
    shape = replace(shapes.TINY, dropout=0.0)
    settings, data = shapes.settings_for(shape, tmp_path), shapes.generated(shape)
    model = shapes.network(settings, data, shape.text_config)
    batch = collate(data.splits["train"], [5, 1, 7])
    with torch.no_grad():
        fast = model(batch)
        plain = Plain(settings, data, model)
        prediction, variables = plain.variables(batch)
    torch.testing.assert_close(prediction, fast.prediction, rtol=0, atol=1e-5)
    torch.testing.assert_close(variables["fused"], fast.fused, rtol=0, atol=1e-5)
    for name, value in fast.unimodal.items():
        torch.testing.assert_close(variables[name], value, rtol=0, atol=1e-5)
    assert {type(e).__name__ for e in model.encoders.values()} == {"Packed", "Padded"}
    assert pad(batch, plain.steps).inputs["text"].shape == (3, shape.words[2])


def test_the_bank_of_the_published_order_is_what_stage_2_left(tmp_path):
    shape = replace(shapes.TINY, clips=16)
    settings, data = shapes.settings_for(shape, tmp_path), shapes.generated(shape)
    plain = Plain(settings, data, shapes.network(settings, data, shape.text_config))
    for batch, generator in plain.stage2(1):
        plain.model_step(batch, None, generator)
    assert sum(len(rows["fused"]) for rows in plain.collected) == 16
    bank = plain.bank()
    assert {name: len(value) for name, value in bank.items()} == dict.fromkeys(bank, 16)
    assert plain.collected == []
    batch, generator = next(plain.stage1(1))
    losses = plain.critic_step(batch, bank, generator)
    assert len(losses) == 11
    assert all(p.grad is not None for p in plain.model.text_parameters())  # piled up, not stepped


def test_the_published_order_refuses_what_it_lacks(tmp_path):
    settings = shapes.settings_for(shapes.TINY, tmp_path, clip="norm")
    data = shapes.generated(shapes.TINY)
    model = shapes.network(settings, data, shapes.TINY.text_config)
    with pytest.raises(ConfigError, match="clipping by value"):
        Plain(settings, data, model)


def test_estimators_of_the_published_order_start_with_the_critics_weights(tmp_path):
    shape = shapes.TINY
    settings, data = shapes.settings_for(shape, tmp_path), shapes.generated(shape)
    plain = Plain(settings, data, shapes.network(settings, data, shape.text_config))
    assert isinstance(plain.critics, Critics)
    variables = {name: torch.randn(12, width) for name, width in plain.critics.widths.items()}
    pairs = {t.name: mi.Pairs(variables[t.x], variables[t.y]) for t in plain.critics.table[:5]}
    grouped = plain.critics.mutual.losses(pairs)
    for name, pair in pairs.items():
        alone = plain.estimators[name].loss(pair.x, pair.y)
        torch.testing.assert_close(alone, grouped[name], rtol=0, atol=1e-5)


def test_padded_text_counts_where_it_is_vectors():
    audio_and_video = 4 * 100 * 500 * (74 + 35)
    assert large_corpus.Shape(100, "tokens").padded_bytes == audio_and_video
    assert large_corpus.Shape(100, "vectors").padded_bytes == audio_and_video + 4 * 100 * 50 * 300


def test_generated_data_have_the_shapes_asked_for():
    shape = replace(shapes.MOSI, clips=2000)
    train = shapes.generated(shape).splits["train"]
    words = train.inputs["text"].lengths - 2.0
    assert abs(words.mean() - 12) < 0.8  # 4 standard errors of 8 / sqrt(2000), and the rounding
    assert abs(words.std() - 8) < 1
    assert words.max() <= 98
    assert set(train.inputs["audio"].lengths) == {100}
    assert train.inputs["video"].width == 20
    two = shapes.generated(replace(shapes.TINY, modalities=("text", "video")))
    assert set(two.widths) == set(two.splits["train"].inputs) == {"text", "video"}


def test_own_shapes_are_measured_instead_of_the_cases():
    arguments = training._parser().parse_args(
        [
            "--clips",
            "64",
            "--words",
            "5",
            "3",
            "20",
            "--steps",
            "9",
            "7",
            "--bank",
            "32",
            "--frozen",
        ]
    )
    (case,) = training._cases(arguments).values()
    assert case.shapes is not None
    assert (case.shapes.clips, case.shapes.words, case.shapes.steps) == (64, (5, 3, 20), (9, 7))
    settings = case.settings(Path())
    assert settings.performance.bank_size == 32
    assert settings.model.encoders["text"].train == "none"


def test_gpu_script_measures_where_it_is_told_to():
    found = gpu.measure(quick=True, device="cpu")
    assert [row.ours is not None for row in found.rows] == [True, True]
    assert "utilisation" in found.rows[0].note


def test_without_a_gpu_the_line_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rows = gpu.measure().rows
    assert {row.ours for row in rows} == {None}
    assert rows[0].cells()[1] == "not measured"
    assert rows[0].note == "no GPU here"


def test_without_the_data_real_mosi_is_not_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("MIMRL_DATA_ROOT", str(tmp_path))
    found = training.measure({training.REAL: training.CASES[training.REAL]}, quick=True)
    assert found.rows[0].ours is None
    assert shapes.MOSI_FILE in found.rows[0].note


def test_a_goal_is_met_or_missed():
    assert Row("a", 1.0, 4.0, goal_ratio=0.25).met is True
    assert Row("a", 1.1, 4.0, goal_ratio=0.25).met is False
    assert Row("a", 1.0, 4.0, goal_ratio=0.25, goal=0.9).met is False
    assert Row("a", None, 4.0, goal_ratio=0.25, goal=0.9).met is None
    assert Row("a", 1.0).met is None
    assert Row("a", 1.0, 4.0, goal_ratio=0.2, note="n").cells() == (
        "a", "1 s", "4 s", "0.25", "at most ratio 0.2 (missed)", "n"
    )  # fmt: skip


def test_columns_stand_one_below_the_other_where_that_is_asked_for():
    lines = [Row("short", 1.0).cells(), Row("a longer one", 12.5, 50.0, "ms", note="n").cells()]
    plain, aligned = markdown(HEADER, lines), markdown(HEADER, lines, aligned=True)
    bars = [[i for i, c in enumerate(line) if c == "|"][:-1] for line in aligned.splitlines()]
    assert bars == [bars[0]] * 4
    cells = [[[c.strip(" -") for c in line.split("|")] for line in text.splitlines()]
             for text in (plain, aligned)]  # fmt: skip
    assert cells[0] == cells[1]


def test_page_keeps_what_is_written_by_hand(tmp_path):
    page, results = tmp_path / "page.md", tmp_path / "results"
    page.write_text(f"# By hand\n{START}\nold\n{END}\nmore by hand\n")
    results.mkdir()
    found = Found((Row("epoch", 2.0, 8.0),), (Table("Parts", ("a", "b"), (("x", "1"),), "why"),))
    file = results / "training.json"
    write_json(file, "training", found)
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"machine": describe(), "seconds": 3.0})
    )
    content = stored(results)
    assert restored(content["training"]) == found
    write_page(page, content)
    text = page.read_text()
    assert text.startswith("# By hand\n")
    assert text.endswith("more by hand\n")
    assert "old" not in text
    assert "| epoch | 2 s | 8 s | 0.25 |" in text
    assert render(Found((), found.tables)) in text
    page.write_text("no markers")
    with pytest.raises(ValueError, match="put them back"):
        write_page(page, content)


def test_machine_names_no_host_and_memory_is_this_process_alone():
    import platform

    assert platform.node() not in " ".join(describe().values())
    before = peak_resident()
    kept = torch.ones(int((before + 64) * 2**18))  # more MiB than ever before
    assert peak_resident() > before + 60
    assert kept[-1] == 1


def test_lsmi_settings_leave_nothing_to_choose():
    point = lsmi_seconds.POINT
    assert (point.density, point.components, point.repeats) == ("classes", 16, 1)
    assert (point.shuffles, point.bootstrap, point.measures) == (0, 0, False)
