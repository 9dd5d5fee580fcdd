"""The training on a stand-in for a GPU: the GPU's way through the code, with the CPU's numbers."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training.no_sync import WaitingError
from training.small import SMALL
from training.stand_in import GPU, SMALL_COPY, DeviceError, StandIn
from training.test_no_sync import CASES as CRITICS
from training.test_no_sync import critics_of, variables_of

from bench.speed import shapes
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.errors import ConfigError
from mimrl.settings import load
from mimrl.training import checkpoint
from mimrl.training import team as team_module
from mimrl.training.frozen import with_hidden_states
from mimrl.training.measures import Losses
from mimrl.training.run import build_trainer, train
from mimrl.training.team import Team
from mimrl.training.tracking import Progress
from mimrl.training.trainer import Trainer

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN"),
]

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FEW = (
    "data.planted.train_size=32",
    "data.planted.valid_size=16",
    "data.planted.test_size=16",
    "training.batch_size=16",
    "training.controls=0",
)
RATINGS = ("data.target=regression", "training.loss=mae")
PUBLISHED = ("critics.update=epoch",)
RECURRENT = ("model.encoders.audio.kind=gru", "model.encoders.video.kind=lstm")
TRAININGS = {
    "cubemlp": (*RATINGS, *RECURRENT, "training.loss=ccc"),
    "scaled": (*RECURRENT, "model.fusion.length_scaling=true", "training.clip=norm"),
    "crossmodal": ("model.fusion=crossmodal", "training.optimizer=adamw", "training.loss=focal"),
    "tfn": ("model.fusion=tfn", *RATINGS, *PUBLISHED, "critics.conditional.anchors=batch"),
    "lmf": ("model.fusion=lmf", "training.optimizer=sgd", "training.schedule=cosine"),
    "concat": ("model.fusion=concat", "model.encoders.audio.kind=linear", "training.clip=none"),
    "bank": (*PUBLISHED, "performance.bank_size=24", "performance.bank_dtype=float16"),
    "published scale": ("steering.scale=published",),
    "window": ("training.stage1_batch_size=32", "training.optimizer=sgd"),
    "dropped": (*RECURRENT, "training.modality_dropout=0.5", "training.optimizer=sgd"),
    "bf16": (*RATINGS, "performance.precision=bf16"),
}


@pytest.fixture
def gpu(monkeypatch):
    with StandIn().here(monkeypatch) as device:
        yield device


def settings_of(folder, *overrides):
    """Later overrides win; those of another fusion take the place of the small one's."""
    other = any(o.startswith("model.fusion=") for o in overrides)
    kept = [o for o in SMALL if not (other and o.startswith("model.fusion"))]
    return load(None, (*kept, *FEW, f"output={folder}", *overrides))


def trainer_of(folder, device, *overrides):
    settings = settings_of(folder, *overrides)
    return build_trainer(settings, prepare(open_corpus(settings.data), settings), folder, device)


def bert_trainer(folder, device, *, frozen=False, team=None):
    shape = replace(shapes.TINY, clips=24, frozen=frozen)
    gentle = {"optimizer": {"kind": "adam", "rate": 1e-4}}  # rounding does not grow to differences
    settings, data = shapes.settings_for(shape, folder, **gentle), shapes.generated(shape)
    model = shapes.network(settings, data, shape.text_config).to(device)
    data = with_hidden_states(model, data, device, progress=False)
    return Trainer(settings, data, model, folder, device=device, team=team or Team())


def stages(trainer, monkeypatch, gpu=None):
    """Mean losses of both stages of an epoch, in which nothing waits, and the weights after it."""
    found = []
    monkeypatch.setattr(Losses, "_check", lambda self: None)
    monkeypatch.setattr(Losses, "means", lambda self: found.append(self) or defaultdict(float))
    bar = Progress(0, 0, "", shown=False)
    bank = trainer._bank(trainer.critics, 2)
    with gpu.no_waiting() if gpu else torch.enable_grad():
        trainer._fit_critics(trainer.critics, bank, 2, bar)
        trainer._fit_model(trainer.critics, bank, 2, bar)
    return torch.cat([losses._sums.cpu() / losses._rows for losses in found])


class TestTheTraining:
    @pytest.mark.parametrize("name", TRAININGS)
    def test_a_gpu_gives_the_losses_of_the_cpu_and_is_not_waited_for(
        self, name, tmp_path, monkeypatch
    ):
        """Sums in another order differ by 1e-7 a step; half a dozen steps of Adam carry it on."""
        plain = stages(trainer_of(tmp_path, CPU, *TRAININGS[name]), monkeypatch)
        with StandIn().here(monkeypatch) as gpu:
            trainer = trainer_of(tmp_path, CUDA, *TRAININGS[name])
            assert {p.device for p in trainer.model.parameters()} == {GPU}
            found = stages(trainer, monkeypatch, gpu)
            assert {p.device for p in trainer.model.parameters()} == {GPU}
        stops = 0 if set(PUBLISHED) & set(TRAININGS[name]) else 11
        assert len(found) == 11 + 2 + 11 + stops
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
    def test_with_a_text_encoder(self, tmp_path, monkeypatch, frozen):
        plain = stages(bert_trainer(tmp_path, CPU, frozen=frozen), monkeypatch)
        with StandIn().here(monkeypatch) as gpu:
            trainer = bert_trainer(tmp_path, CUDA, frozen=frozen)
            found = stages(trainer, monkeypatch, gpu)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-5)

    def test_with_scaled_gradients(self, tmp_path, monkeypatch):
        """Products of fp16 keep 11 bits; ten in a row lose 10 * 2^-11 of losses of order one."""
        plain = stages(trainer_of(tmp_path, CPU, *RATINGS), monkeypatch)
        with StandIn().here(monkeypatch) as gpu:
            trainer = trainer_of(tmp_path, CUDA, *RATINGS, "performance.precision=fp16")
            before = [p.detach().clone() for p in trainer.model.parameters()]
            found = stages(trainer, monkeypatch, gpu)
            pairs = zip(before, trainer.model.parameters(), strict=True)
            assert any(not torch.equal(old, new) for old, new in pairs)
            assert trainer.learner.scaling()["scale"] > 0
        torch.testing.assert_close(found, plain, rtol=0, atol=0.02)

    @pytest.mark.slow
    def test_a_whole_run_keeps_its_tensors_together(self, tmp_path, gpu):
        """Training, choice of the epoch, files, test split and shuffled controls."""
        more = (*RECURRENT, "training.epochs=2", "training.controls=1", "device=cuda")
        result = train(settings_of(tmp_path, *more), progress=False)
        report = json.loads((result.folder / "metrics.json").read_text())
        assert len(report["terms"]) == 11

    def test_it_goes_on_from_its_state(self, tmp_path, gpu):
        more = (*RATINGS, "training.epochs=2", "performance.precision=fp16")
        records = []
        trainer = trainer_of(tmp_path, CUDA, *more)
        trainer.fit(progress=False, on_epoch=records.append)
        other = trainer_of(tmp_path, CUDA, *more)
        kept = {}
        other._save_state = lambda: kept.update(_state(other, tmp_path))
        other.settings = other.settings.model_copy(
            update={"training": other.settings.training.model_copy(update={"epochs": 1})}
        )
        other.fit(progress=False)
        again = trainer_of(tmp_path, CUDA, *more)
        again.load_state(kept["tensors"], kept["header"])
        continued = []
        again.fit(progress=False, on_epoch=continued.append)
        assert len(continued) == 1
        for part in ("stage1", "stage2", "valid"):
            assert continued[0][part] == records[1][part]


def _state(trainer, folder):
    """What a run would write after an epoch and read to go on."""
    Trainer._save_state(trainer)
    tensors, header = checkpoint.read(folder / checkpoint.LAST, "state")
    return {"tensors": tensors, "header": header}


class TestSeveralProcesses:
    def test_what_is_sent_is_what_nccl_takes(self, tmp_path, monkeypatch):
        """NCCL sends contiguous tensors of GPUs, of one shape; and sending waits for nothing.

        The other process is played by copies of what this one sends.
        """
        sent, device = [], StandIn()

        def see(tensor):
            sent.append(device.places.of(tensor))
            assert tensor.is_contiguous()

        def gather(parts, tensor):
            see(tensor)
            for part in parts:
                assert part.shape == tensor.shape
                part.copy_(tensor)

        monkeypatch.setattr(torch.distributed, "all_gather", gather)
        monkeypatch.setattr(torch.distributed, "all_reduce", lambda t: (see(t), t.mul_(2)))
        monkeypatch.setattr(torch.distributed, "broadcast", lambda t, source: see(t))
        with device.here(monkeypatch) as gpu:
            trainer = bert_trainer(tmp_path, CUDA, team=Team(0, 2))
            found = stages(trainer, monkeypatch, gpu)
            trainer._validate(trainer.critics, 2)
            trainer.team.agreed(1.0, CUDA)
            trainer.team.require_same("numbers", 1, CUDA)
        assert found.isfinite().all()
        assert sent.count(GPU) > 20
        assert CPU not in sent

    @pytest.mark.parametrize(("backend", "ids"), [("gloo", None), ("cuda:nccl,cpu:gloo", [3])])
    def test_a_barrier_names_its_gpu(self, monkeypatch, backend, ids):
        asked = []
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
        monkeypatch.setattr(torch.distributed, "get_backend", lambda: backend)
        monkeypatch.setattr(
            torch.distributed, "barrier", lambda device_ids: asked.append(device_ids)
        )
        Team(0, 2).wait()
        assert asked == [ids]

    def test_each_process_takes_its_gpu_before_nccl_starts(self, monkeypatch):
        order = []

        def start(**options):
            order.append(("start", options["cpu"]))
            return SimpleNamespace(process_index=5, num_processes=8, device=torch.device("cuda:1"))

        monkeypatch.setattr(team_module, "launched", lambda: True)
        monkeypatch.setattr(team_module, "require_launcher", lambda: None)
        monkeypatch.setattr(team_module, "local_rank", lambda: 1)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
        monkeypatch.setattr(torch.cuda, "set_device", lambda index: order.append(index))
        monkeypatch.setattr("accelerate.PartialState", start)
        assert team_module.assemble(CUDA) == (Team(5, 8), torch.device("cuda:1"))
        assert order == [1, ("start", False)]
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(ConfigError, match="process 2 of this host found 1 GPUs"):
            team_module.assemble(CUDA)


class TestTheCritics:
    @pytest.mark.parametrize("classes", [1, 3], ids=["rating", "classes"])
    def test_what_is_drawn_for_a_large_bank_is_not_waited_for(self, gpu, classes):
        """Beyond 64 KB copies from pageable memory may wait: 9,000 rows are 72 KB."""
        generator = torch.Generator().manual_seed(0)
        critics = critics_of(classes).to(CUDA)
        variables = {n: v.to(CUDA) for n, v in variables_of(classes, 9000).items()}
        for values in variables.values():
            values[1::2] = values[::2]  # equal rows: neighbours are drawn among them
        bank = critics.bank(variables, generator=generator, size=8999)
        with gpu.no_waiting():
            critics.samples(bank.rows(torch.arange(16, device=CUDA)), bank, generator)
        assert (
            max(size for direction, size in gpu.copied if direction == "cpu to cuda") > SMALL_COPY
        )

    @pytest.mark.parametrize("classes", [1, 3], ids=["rating", "classes"])
    @pytest.mark.parametrize("settings", CRITICS, ids=str)
    def test_terms_and_gradients_are_those_of_the_cpu(self, monkeypatch, classes, settings):
        critics, variables = critics_of(classes, **settings), variables_of(classes)
        plain = _terms(copy.deepcopy(critics), variables, CPU)
        with StandIn().here(monkeypatch) as gpu:
            found = _terms(critics, variables, CUDA, gpu)
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)  # sums in another order


def _terms(critics, variables, device, gpu=None):
    """Losses, values and their gradients, one after the other."""
    generator = torch.Generator().manual_seed(0)
    critics = critics.to(device)
    variables = {name: value.to(device) for name, value in variables.items()}
    critics.set_scale(variables)
    bank = critics.bank(critics.standardise(variables), generator=generator)
    chosen = torch.arange(16, device=device)
    leaf = variables["text"][:16].detach().requires_grad_()
    with gpu.no_waiting() if gpu else torch.enable_grad():
        losses = critics.train().losses(bank.rows(chosen), bank, generator)
        torch.stack(list(losses.values())).sum().backward()
        critics.eval().requires_grad_(False)
        rows = {name: value[:16] for name, value in variables.items()} | {"text": leaf}
        values = critics.values(critics.standardise(rows), bank, generator, bank_rows=chosen)
        torch.stack(list(values.values())).sum().backward()
    gradients = [p.grad.flatten() for p in critics.parameters() if p.grad is not None]
    parts = [*losses.values(), *values.values()]
    return torch.cat([torch.stack(parts).detach(), leaf.grad.flatten(), *gradients]).cpu()


class TestTheStandIn:
    @pytest.mark.parametrize(
        "refused",
        [
            lambda x: x + torch.ones(3),
            lambda x: torch.cat([x, torch.ones(3)]),
            lambda x: x @ torch.ones(3),
            lambda x: x.index_select(0, torch.tensor([0, 1])),
            lambda x: x.masked_fill(torch.tensor([True, False, True]), 0.0),
            lambda x: torch.ones(3)[x.long()],
            lambda x: torch.randperm(3, device="cuda", generator=torch.Generator()),
            lambda x: x.clone().normal_(generator=torch.Generator()),
            lambda x: x.numpy(),
            lambda x: x.pin_memory(),
            lambda x: torch.nn.Linear(3, 1)(x),
        ],
    )
    def test_it_refuses_what_cuda_does(self, gpu, refused):
        with pytest.raises(DeviceError):
            refused(torch.ones(3, device="cuda"))

    @pytest.mark.parametrize(
        "waits",
        [
            lambda x: x.item(),
            lambda x: x.cpu(),
            lambda x: x.to("cpu", non_blocking=True),
            lambda x: bool(x),
            lambda x: x.tolist(),
            lambda x: x.nonzero(),
            lambda x: torch.ones(3).to(x),
            lambda x: torch.ones(3).to("cuda"),
            lambda x: torch.ones(SMALL_COPY).to("cuda", non_blocking=True),
            lambda x: torch.tensor([1.0], device="cuda"),
            lambda x: x[None][torch.tensor([0])],
            lambda x: x.copy_(torch.zeros(())),
        ],
    )
    def test_it_sees_what_waits(self, gpu, waits):
        x = torch.ones((), device="cuda")
        waits(x)
        with pytest.raises(WaitingError), gpu.no_waiting():
            waits(x)

    def test_it_lets_pass_what_cuda_does(self, gpu):
        x = torch.ones(3, device="cuda", requires_grad=True)
        with gpu.no_waiting():
            small = torch.ones(3).to("cuda", non_blocking=True)
            large = torch.ones(SMALL_COPY).pin_memory().to("cuda", non_blocking=True)
            ((x * torch.tensor(2.0) + small) / 3).sum().backward()
        assert large.device == x.grad.device == GPU
        assert large.is_cuda
        assert x.grad.tolist() == pytest.approx([2 / 3] * 3)
        assert x.detach().cpu().numpy().tolist() == [1, 1, 1]

    def test_afterwards_nothing_of_it_is_left(self, monkeypatch):
        with monkeypatch.context() as patch, StandIn().here(patch):
            assert torch.cuda.is_available()
        assert not torch.cuda.is_available()
        assert Path(torch.__file__).exists()
        assert torch.ones(2).device == CPU
