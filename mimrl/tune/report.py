"""What a search leaves behind: trials.csv, best.yaml, report.md and two pictures."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from optuna.study import Study

from mimrl.settings import Settings, dump
from mimrl.training.costs import duration
from mimrl.training.tracking import write_text
from mimrl.tune.ledger import COMPLETE, PRUNED, RUNNING, WAITING, Row, account, best, read
from mimrl.tune.pictures import draw_history, draw_importances, importances
from mimrl.tune.space import Range
from mimrl.tune.study import Plan, recorded
from mimrl.tune.trials import trial_name

TRIALS, BEST, REPORT = "trials.csv", "best.yaml", "report.md"
HISTORY, IMPORTANCE = "history.png", "importance.png"
FINAL_SEEDS = "0,1,2,3,4"
SHOWN = 10


def write_reports(study: Study, plan: Plan, name: str, folder: Path) -> str:
    """Writes all files; each by a rename, so that several workers may do so at once.

    Args:
        study: the study, as far as it has come.
        plan: what it searches.
        name: of the study; the final training is called ``<name>-best``.
        folder: where the files go.

    Returns:
        The summary for the user.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = read(study)
    winner = best(rows, plan.lower)
    write_text(folder / TRIALS, _table(plan, rows))
    if any(row.value is not None for row in rows):
        draw_history(rows, plan.metric, plan.lower, folder / HISTORY)
    shares = importances(study)
    if shares:
        complete = sum(row.outcome == COMPLETE for row in rows)
        draw_importances(shares, complete, folder / IMPORTANCE)
    if winner is not None:
        write_text(folder / BEST, dump(best_settings(plan, winner, name)))
    write_text(folder / REPORT, _page(plan, rows, winner, shares, name, folder))
    return _summary(plan, rows, winner, folder)


def best_settings(plan: Plan, row: Row, name: str) -> Settings:
    """The settings of a trial as the final training takes them; the seed is the first one's."""
    found = plan.space.settings(recorded(row.params))
    return found.model_copy(update={"name": f"{name}-best", "seed": plan.seeds[0]})


def final_command(folder: Path) -> str:
    """How the best settings are trained, and evaluated on test, with several seeds."""
    file = shlex.quote((folder / BEST).as_posix())
    return f"python train.py --config {file} --seeds {FINAL_SEEDS}"


def as_overrides(plan: Plan, row: Row) -> list[str]:
    """The settings of a trial as ``key=value`` after the configuration of the search."""
    values = plan.space.overrides(recorded(row.params))
    return [f"{key}={_yaml(value)}" for key, value in values.items()]


def _yaml(value: Any) -> str:
    """A value as the command line's YAML reads it back."""
    plain = isinstance(value, str) and yaml.safe_load(value) == value
    return str(value) if plain else json.dumps(value)


def _table(plan: Plan, rows: Sequence[Row]) -> str:
    keys = sorted({key for row in rows for key in row.params})
    ranges = {item.key: item for item in plan.space.items if isinstance(item, Range)}
    records = [
        {
            "trial": row.number,
            "outcome": row.outcome,
            "value": row.value,
            "seconds": round(row.seconds, 2),
            "epochs": row.epochs,
            "worker": row.worker,
            "folder": row.folder,
            "reason": row.reason,
            "scores": json.dumps(dict(row.scores)),
            "best_epochs": json.dumps(dict(row.chosen)),
            **dict.fromkeys(keys),
            **{k: ranges[k].rounded(v) if k in ranges else v for k, v in row.params.items()},
        }
        for row in rows
    ]
    # objects: whole numbers stay so beside trials that have none
    return str(pd.DataFrame(records, dtype=object).to_csv(index=False))


def _counts(rows: Sequence[Row]) -> str:
    """``12 complete, 5 pruned, 1 refused``."""
    outcomes = account(rows, 0).outcomes
    return ", ".join(f"{count} {name}" for name, count in outcomes.items()) or "no trials"


def _cost(rows: Sequence[Row]) -> str:
    return f"{duration(account(rows, 0).seconds)} over all workers"


def _summary(plan: Plan, rows: Sequence[Row], winner: Row | None, folder: Path) -> str:
    lines = [f"\n{_counts(rows)}; cost {_cost(rows)}"]
    if any(row.outcome == RUNNING for row in rows):
        lines.append("other workers are still at it: the last one to end writes the final report")
    if winner is None:
        return "\n".join(
            [*lines, "no trial is complete: there is no best yet", f"report: {folder}"]
        )
    settings = "\n".join(f"  {shlex.quote(text)}" for text in as_overrides(plan, winner))
    return "\n".join(
        [
            *lines,
            f"best: trial {winner.number}, valid {plan.metric} {winner.value:.4f} "
            "(the best of many on validation: optimistic)",
            settings,
            f"its model: {winner.folder} on {winner.worker.partition('/')[0]}; checkpoints of "
            "other trials are removed",
            f"report: {folder / REPORT}; settings: {folder / BEST}",
            f"final training and test: {final_command(folder)}",
        ]
    )


def _page(
    plan: Plan,
    rows: Sequence[Row],
    winner: Row | None,
    shares: dict[str, float],
    name: str,
    folder: Path,
) -> str:
    parts = [f"# Search {name}", _what(plan, rows)]
    if winner is None:
        parts.append("No trial is complete yet: there is no best.")
    else:
        parts += [_best_part(plan, rows, winner, folder), _top_part(plan, rows)]
        parts.append(_importance_part(shares, rows))
    if any(row.value is not None for row in rows):
        parts.append(f"![history]({HISTORY})")
    parts += [_trouble_part(rows), _space_part(plan)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(plan: Plan, rows: Sequence[Row]) -> str:
    many = ", ".join(map(str, plan.seeds))
    seeds = f"mean over seeds {many}" if len(plan.seeds) > 1 else f"seed {many}"
    better = "lower" if plan.lower else "higher"
    judged = [row for row in rows if row.outcome in (COMPLETE, PRUNED)]
    epochs = sum(row.epochs for row in judged)
    full = sum(_epochs(plan, row) for row in judged) * len(plan.seeds)
    share = f"{epochs} of {full} epochs ({epochs / full:.0%})" if full else ""
    saved = f"complete and pruned ones trained {share}; " if full else ""
    return (
        f"Value of a trial: valid {plan.metric} of the best epoch ({better} is better), {seeds}. "
        "The test split was not read.\n\n"
        f"{_counts(rows)}; {saved}cost {_cost(rows)}."
    )


def _epochs(plan: Plan, row: Row) -> int:
    """Epochs that a trial wanted to train with each seed."""
    return int(row.params.get("training.epochs", plan.settings.training.epochs))


def _best_part(plan: Plan, rows: Sequence[Row], winner: Row, folder: Path) -> str:
    judged = sum(row.outcome in (COMPLETE, PRUNED) for row in rows)
    scores = ", ".join(
        f"seed {seed}: {value:.4f} (epoch {winner.chosen.get(seed)})"
        for seed, value in winner.scores.items()
    )
    settings = "\n".join(as_overrides(plan, winner))
    return (
        f"## Best: trial {winner.number}, valid {plan.metric} {winner.value:.6g}\n\n"
        f"{scores}. **This value is optimistic:** it is the best of {judged} trials, chosen on the "
        "validation split that it is measured on, and epochs were chosen there as well. What the "
        "settings are worth is what the test split says of a new training, once:\n\n"
        f"```\n{final_command(folder)}\n```\n\n"
        f"Its searched settings (`{BEST}` has all settings):"
        f"\n\n```\n{settings}\n```\n\n"
        f"Its checkpoint{'s are' if len(plan.seeds) > 1 else ' is'} in `{winner.folder}` on "
        f"{winner.worker.partition('/')[0]}; those of other trials are removed, their logs "
        f"(`trials/{trial_name(0)}/seed{plan.seeds[0]}/log.jsonl` and so on) stay."
    )


def _top_part(plan: Plan, rows: Sequence[Row]) -> str:
    sign = 1 if plan.lower else -1
    done = sorted(
        (row for row in rows if row.outcome == COMPLETE and row.value is not None),
        key=lambda row: sign * (row.value or 0.0),
    )
    lines = [
        f"| {row.number} | {row.value:.4f} | {duration(row.seconds)} | "
        + ", ".join(f"`{key}`: {_short(value)}" for key, value in row.params.items())
        + " |"
        for row in done[:SHOWN]
    ]
    head = f"## The best {min(SHOWN, len(done))} of {len(done)} complete trials\n\n"
    return head + "\n".join(["| trial | value | cost | settings |", "|---|---|---|---|", *lines])


def _importance_part(shares: dict[str, float], rows: Sequence[Row]) -> str:
    if not shares:
        return "Importance needs at least four complete trials of different value."
    complete = sum(row.outcome == COMPLETE for row in rows)
    named = {key for row in rows if row.outcome == COMPLETE for key in row.params}
    absent = sorted(named - set(shares))
    note = f" Not every trial has {', '.join(absent)}: left out." if absent else ""
    doubt = " With so few trials it is a hint at most." if complete < 50 else ""
    return (
        f"## Importance\n\nShare of the variance of the value that each setting explains (fANOVA), "
        f"from {complete} complete trials; pruned ones have no final value and are left out, "
        f"which favours the good region.{note}{doubt}\n\n![importance]({IMPORTANCE})"
    )


def _trouble_part(rows: Sequence[Row]) -> str:
    skipped = (COMPLETE, PRUNED, RUNNING, WAITING)
    lines = [
        f"| {row.number} | {row.outcome} | {row.reason.replace('|', '/')} |"
        for row in rows
        if row.outcome not in skipped
    ]
    if not lines:
        return ""
    head = ["| trial | outcome | reason |", "|---|---|---|"]
    return (
        "## Trials without a value\n\n"
        + "\n".join([*head, *lines])
        + (
            "\n\nRefused and diverged ones count as trials; lost, interrupted and crashed ones do "
            "not. The settings of lost and interrupted ones are tried again, at most twice."
        )
    )


def _space_part(plan: Plan) -> str:
    lines = [f"{key}: {json.dumps(value)}" for key, value in plan.space.as_dict().items()]
    return "## What was searched\n\n```yaml\n" + "\n".join(lines) + "\n```"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
