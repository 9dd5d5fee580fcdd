"""Several processes train as one process with their batches together would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from training.launching import TORCHRUN, launched
from training.small import small_settings
from training.worker import recorded

from mimrl.command import main
from mimrl.errors import CheckpointError, ConfigError
from mimrl.launch import LAUNCHER
from mimrl.training.checkpoint import load_model
from mimrl.training.run import train
from mimrl.training.team import ALONE, Team, assemble
from mimrl.training.tracking import read_log

TESTS = Path(__file__).parents[1]
CPU = torch.device("cpu")
WITHOUT_DROPOUT = (
    *(f"model.encoders.{name}.dropout=0" for name in ("text", "audio", "video")),
    "model.head_dropout=0",
)
COMMON = (
    *WITHOUT_DROPOUT,
    "data.planted.train_size=90",  # 32, 32 and 26 rows a step
    "data.planted.valid_size=33",
    "training.epochs=3",
    "training.controls=0",
    "training.optimizer=sgd",
)
KINDS = {
    "ratings, InfoNCE": (
        "data.target=regression",
        "training.loss=ccc",
        "model.encoders.audio.kind=gru",
        "training.clip=norm",
    ),
    "classes, SMILE, anchors of the batch": (
        "critics.bound=smile",
        "critics.update=epoch",
        "critics.kind=concatenated",
        "critics.conditional.anchors=batch",
        "critics.conditional.estimator=dv",
    ),
    "classes, interpolated, AdamW": (
        "critics.bound.kind=interpolated",
        "critics.bound.baseline=learned",
        "training.optimizer.kind=adamw",
        "training.optimizer.rate=0.0003",
    ),
    "classes, a window of two batches": ("steering.default=0.1",),
    "ratings, modalities missing": (
        "data.target=regression",
        "training.loss=mae",
        "training.modality_dropout=0.4",
        "evaluation.missing=true",
    ),
}


def settings_of(folder: Path, kind: str, batch: int):
    """Batches of stage 1 are twice as large where critics see more than the batch of stage 2."""
    sizes = [f"training.batch_size={batch}"]
    if "window" in kind:
        sizes = [f"training.batch_size={batch // 2}", f"training.stage1_batch_size={batch}"]
    return small_settings(folder, *COMMON, *KINDS[kind], *sizes)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Each kind trained by two processes, by one, and by two with an interruption."""
    folder = tmp_path_factory.mktemp("together")
    tasks = []
    for kind in KINDS:
        two = settings_of(folder / "two" / kind, kind, 16)
        tasks.append({"settings": two.model_dump(mode="json")})
    again = settings_of(folder / "resumed", next(iter(KINDS)), 16)
    tasks.append({"settings": again.model_dump(mode="json"), "interrupt": True})
    job = folder / "job.json"
    job.write_text(json.dumps(tasks))
    worker = Path(__file__).with_name("worker.py")
    ended = launched(TORCHRUN, str(worker), str(job), path=(TESTS,))
    assert ended.returncode == 0, ended.stderr
    ranks = [json.loads((folder / f"found{rank}.json").read_text()) for rank in range(2)]
    one = [recorded(settings_of(folder / "one" / kind, kind, 32)) for kind in KINDS]
    return folder, ranks, one


class TestTwoProcessesAndOne:
    @pytest.mark.parametrize("index", range(len(KINDS)), ids=list(KINDS))
    def test_every_step_has_the_same_loss(self, both, index):
        """1e-5 is asked for: float32 sums in another order differ by some 1e-7."""
        _, ranks, one = both
        expected = one[index]["losses"]
        # 3 epochs of 3 steps; in all but the first 3 steps of stage 1, and 3 of critics that follow
        follows = "critics.update=epoch" not in list(KINDS.values())[index]
        steps = 6 if "window" in list(KINDS)[index] else 3
        assert len(expected) == 3 * steps + 2 * 3 + 2 * steps * follows
        for found in ranks:
            assert found[index]["losses"] == pytest.approx(expected, abs=1e-5, rel=0)

    @pytest.mark.parametrize("index", range(len(KINDS)), ids=list(KINDS))
    def test_weights_and_selection_are_the_same(self, both, index):
        _, ranks, one = both
        expected = one[index]
        for rank in ranks:
            found = rank[index]
            assert found["selection"][0] == expected["selection"][0]
            assert found["selection"][1] == pytest.approx(expected["selection"][1], abs=1e-5)
            assert found["weights"].keys() == expected["weights"].keys()
            for name, values in expected["weights"].items():
                a, b = (torch.tensor(v) for v in (values, found["weights"][name]))
                # Absolute below a norm of 1: biases start at 0 and sum what nearly cancels.
                # Slopes solve equations whose condition number may be 1 / ridge = 1,000.
                most = 1e-4 if name.startswith("slopes") else 1e-5
                assert (a - b).norm() <= most * a.norm().clamp_min(1), name
            for split, metrics in expected["metrics"].items():
                assert found["metrics"][split] == pytest.approx(metrics, abs=1e-5)

    def test_processes_agree_to_the_last_bit(self, both):
        _, ranks, _ = both
        assert ranks[0] == ranks[1]

    def test_interrupted_and_resumed(self, both):
        """The steps after the interruption are those of a training without one."""
        _, ranks, _ = both
        whole, rest = ranks[0][0], ranks[0][-1]
        assert rest["losses"] == whole["losses"][-len(rest["losses"]) :]
        assert 0 < len(rest["losses"]) < len(whole["losses"])
        assert rest["weights"] == whole["weights"]
        assert rest["metrics"] == whole["metrics"]

    def test_files_are_those_of_one_process(self, both):
        """The second process was forbidden to write (``worker.py``)."""
        folder, _, _ = both
        kind = next(iter(KINDS))
        places = [folder / name / kind / "run" / "seed0" for name in ("one", "two")]
        names = [sorted(path.name for path in place.iterdir()) for place in places]
        assert names[0] == names[1]
        reports = [json.loads((place / "metrics.json").read_text()) for place in places]
        assert [r["processes"] for r in reports] == [1, 2]
        assert [r["global_batch_size"] for r in reports] == [32, 32]
        logs = [read_log(place) for place in places]
        for one, two in zip(*logs, strict=True):
            assert two["valid"]["metrics"] == pytest.approx(one["valid"]["metrics"], abs=1e-5)
        states = [load_model(place).model.state_dict().keys() for place in places]
        assert states[0] == states[1]

    def test_evaluation_with_missing_modalities_is_that_of_one_process(self, both):
        folder, _, _ = both
        kind = [*KINDS][-1]
        one, two = (
            json.loads((folder / name / kind / "run" / "seed0" / "metrics.json").read_text())
            for name in ("one", "two")
        )
        assert one["missing"]["test"]["subsets"].keys() == two["missing"]["test"]["subsets"].keys()
        for rate, found in one["missing"]["test"]["rates"].items():
            mean = two["missing"]["test"]["rates"][rate]["mean"]
            assert mean["mae"] == pytest.approx(found["mean"]["mae"], abs=1e-5)

    def test_resuming_with_another_number_of_processes_is_refused(self, both):
        folder, _, _ = both
        kind = next(iter(KINDS))
        with pytest.raises(CheckpointError, match=r"started with 2 processes.*this command has 1"):
            train(settings_of(folder / "two" / kind, kind, 16), resume=True, progress=False)


def test_a_team_of_one_does_nothing():
    rows = torch.arange(15.0).view(5, 3)
    assert ALONE.gather(rows, 5) is rows
    assert torch.equal(ALONE.share(rows), rows)
    assert ALONE.part is None


def test_shares_make_up_the_rows():
    rows = torch.arange(14).view(7, 2)
    shares = [Team(rank, 3).share(rows) for rank in range(3)]
    assert [len(share) for share in shares] == [3, 2, 2]
    assert torch.equal(torch.cat(shares), rows)


def test_dealt_rows_come_back_in_order():
    rows = torch.arange(100, 107)
    gathered = torch.cat([rows[rank::3] for rank in range(3)])
    assert torch.equal(gathered[Team(0, 3).dealt(7)], rows)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="process 2 of this host found 1 GPUs"):
        assemble(torch.device("cuda"))


@pytest.fixture
def launched_in_part(monkeypatch):
    """``WORLD_SIZE`` as some clusters leave it in the environment of every job."""
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    return monkeypatch


def test_half_a_launcher_is_one_message(launched_in_part, capsys):
    launched_in_part.setenv("RANK", "0")
    assert main(["--config", "configs/demo.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: WORLD_SIZE=2 in the environment asks for several processes")
    assert "but LOCAL_RANK, MASTER_ADDR, MASTER_PORT is missing" in said
    assert said.count("\n") == 1


def test_processes_without_a_local_rank_do_not_train_beside_each_other(launched_in_part):
    """Accelerate takes such a process for the only one: all would write the same files."""
    for name, value in {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        launched_in_part.setenv(name, value)
    with pytest.raises(ConfigError, match="LOCAL_RANK is missing; start them with torchrun"):
        assemble(CPU)


def test_an_address_that_is_none_is_one_message(launched_in_part, capsys):
    where = {"RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "none"}
    for name, value in where.items():
        launched_in_part.setenv(name, value)
    assert main(["--config", "configs/demo.yaml"]) == 2
    assert "the processes cannot meet at 127.0.0.1:none" in capsys.readouterr().err
