"""The critics in an original checkpoint, as ours, by the names of our terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mimrl.errors import CheckpointError
from mimrl.mi import ConcatenatedCritic, ConditionalMI, Critic, SeparableCritic
from mimrl.original.reading import Stored, read_weights
from mimrl.terms import LABEL, Term

TILED = 128  # width to which the original repeats every variable of a conditional term
MUTUAL: Mapping[str, Term] = {
    "f_t": Term("fused", "text"),
    "f_a": Term("fused", "audio"),
    "f_v": Term("fused", "video"),
    "t_a": Term("text", "audio"),
    "t_v": Term("text", "video"),
}
CONDITIONAL: Mapping[str, Term] = {
    "ac_t": Term("audio", LABEL, given="text"),
    "ta_c": Term("text", "audio", given=LABEL),
    "vc_t": Term("video", LABEL, given="text"),
    "tv_c": Term("text", "video", given=LABEL),
    "tc_a": Term("text", LABEL, given="audio"),
    "tc_v": Term("text", LABEL, given="video"),
}
Layers = list[tuple[Tensor, Tensor]]  # weight and bias of each linear layer


@dataclass(frozen=True)
class OriginalCritics:
    """All critics of a checkpoint, in evaluation mode on the CPU.

    Attributes:
        mutual: term -> critic of I(x; y); its scores are ``[i, j] = f(x_i, y_j)``, the original's
            transposed. Which bound reads them, the weights do not tell (InfoNCE by default there).
        conditional: term -> classifier of I(x; y | z). Its logit is the original's first one,
            "joint", before the clamp to [-10, 10]; the second one, "product", has no place here.
            A label is a column of ratings or class numbers, ``(B, 1)``, unless asked otherwise.
    """

    mutual: Mapping[str, Critic]
    conditional: Mapping[str, ConditionalMI]


def original_critics(path: str | Path, *, label_width: int = 1) -> OriginalCritics:
    """The critics of a checkpoint of the original code.

    Args:
        path: the file, or the folder of a run that holds ``best_valid_model.pth.tar``.
        label_width: columns of the label, a divisor of 128; the original trains with one.

    Raises:
        MissingFileError: no such file.
        CheckpointError: not such a checkpoint, or critics missing or of other sizes.
    """
    stored = read_weights(path)
    width = _width(stored)
    widths = {"text": width, "audio": width, "video": width, LABEL: label_width}
    wrong = [f"{name} {size}" for name, size in widths.items() if size < 1 or TILED % size]
    if wrong:
        raise _error(
            stored,
            f"expected widths that divide {TILED}, to which features are tiled, "
            f"got {', '.join(wrong)}",
        )
    with torch.random.fork_rng(devices=[]):  # weights are drawn, then overwritten
        return OriginalCritics(
            mutual={term.name: _critic(stored, key, width) for key, term in MUTUAL.items()},
            conditional={
                term.name: _classifier(stored, key, term, widths)
                for key, term in CONDITIONAL.items()
            },
        )


def _width(stored: Stored) -> int:
    """Common width of the encoded sequences."""
    projection = stored.weights.get("W_t.weight")
    if projection is None or projection.ndim != 2:
        raise _error(stored, "expected 'W_t.weight' with 2 axes, the projection of the text")
    return int(projection.shape[0])


def _critic(stored: Stored, key: str, width: int) -> Critic:
    prefix = f"vmi_estimator_{key}.critic_model."
    critic: Critic
    if f"{prefix}MLP_f.0.weight" in stored.weights:
        first, *rest = _layers(stored, f"{prefix}MLP_f", inputs=2 * width, outputs=1)
        hidden = len(first[0])
        critic = ConcatenatedCritic(width, width, hidden=hidden, layers=len(rest) - 1)
        _fill_joint(critic, [first[0][:, :width], first[0][:, width:]], first[1], rest)
        return critic.eval()
    x = _layers(stored, f"{prefix}MLP_g", inputs=width)
    y = _layers(stored, f"{prefix}MLP_h", inputs=width)
    critic = SeparableCritic(
        width, width, hidden=len(x[0][0]), layers=len(x) - 2, embedding=len(x[-1][0])
    )
    if [w.shape for w, _ in x] != [w.shape for w, _ in y]:
        raise _error(stored, f"expected networks MLP_g and MLP_h of one form in {prefix[:-1]}")
    _fill(critic.x_network, x)
    _fill(critic.y_network, y)
    return critic.eval()


def _classifier(stored: Stored, key: str, term: Term, by_name: Mapping[str, int]) -> ConditionalMI:
    """Repeating a variable and summing its copies' weights is the same."""
    widths = [by_name[name] for name in (term.x, term.y, str(term.given))]
    name = f"vcmi_estimator_{key}.classifier.mlp"
    first, *rest = _layers(stored, name, inputs=3 * TILED, outputs=2)
    maps = [
        block.reshape(len(block), TILED // size, size).sum(dim=1)
        for block, size in zip(first[0].split(TILED, dim=1), widths, strict=True)
    ]
    last = rest[-1]
    rest = [*rest[:-1], (last[0][:1], last[1][:1])]
    model = ConditionalMI(
        *widths, hidden=len(first[0]), layers=len(rest) - 1, logit_clip=10.0, activation="relu"
    )
    _fill_joint(model, maps, first[1], rest)
    return model.eval()


def _layers(stored: Stored, name: str, *, inputs: int, outputs: int | None = None) -> Layers:
    """Linear layers 0, 2, 4... of a sequence, checked to fit one another."""
    found: Layers = []
    while f"{name}.{2 * len(found)}.weight" in stored.weights:
        place = f"{name}.{2 * len(found)}"
        weight, bias = (stored.weights.get(f"{place}.{part}") for part in ("weight", "bias"))
        if weight is None or bias is None or weight.ndim != 2 or len(weight) != bias.numel():
            raise _error(stored, f"expected a weight with 2 axes and a bias for it in {place}")
        found.append((weight.float(), bias.float()))
    if len(found) < 2:
        raise _error(stored, f"expected the linear layers {name}.0, {name}.2..., got {len(found)}")
    wanted = [inputs, *(len(weight) for weight, _ in found[:-1])]
    got = [weight.shape[1] for weight, _ in found]
    if got != wanted or (outputs is not None and len(found[-1][0]) != outputs):
        raise _error(
            stored,
            f"layers of {name} read {got} values and give {len(found[-1][0])}, expected {wanted}"
            + ("" if outputs is None else f" and {outputs}"),
        )
    return found


def _fill(network: nn.Module, layers: Layers) -> None:
    """Copies ``layers`` into the linear layers of ``network``, in their order."""
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for linear, (weight, bias) in zip(linears, layers, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)


def _fill_joint(
    model: ConcatenatedCritic | ConditionalMI, maps: list[Tensor], bias: Tensor, rest: Layers
) -> None:
    """The input layer as one map a variable and one bias, then the others."""
    names = {f"maps.{i}.weight": weight for i, weight in enumerate(maps)}
    model.joint_input.load_state_dict({**names, "bias": bias})
    _fill(model.network, rest)


def _error(stored: Stored, text: str) -> CheckpointError:
    return CheckpointError(
        f"{stored.path}: its critics cannot be read: {text}; the network itself may still be read "
        "with load_original"
    )
