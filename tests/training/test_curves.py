"""The picture of a run: what stands on its axes."""

from __future__ import annotations

from mimrl.training.curves import draw_curves


def line(epoch: int) -> dict:
    return {
        "epoch": epoch,
        "stage2": {"task": 1.0 / epoch, "total": 0.9 / epoch},
        "valid": {"metrics": {"mae": 1.0 / epoch}, "terms": {}, "quantities": {}},
    }


def test_epochs_are_whole_numbers_also_where_there_is_one():
    for count in (1, 2, 70):
        figure = draw_curves([line(k) for k in range(1, count + 1)], chosen=count)
        figure.draw_without_rendering()
        ticks = figure.axes[0].get_xticks()
        assert len(ticks) >= 1
        assert all(float(tick).is_integer() for tick in ticks)


def test_what_was_not_estimated_has_no_scale_and_no_chosen_epoch():
    loss, metrics, terms, quantities = draw_curves([line(1), line(2)], chosen=2).axes
    for axis in (terms, quantities):
        assert [text.get_text() for text in axis.texts] == ["not estimated"]
        assert len(axis.lines) == len(axis.get_xticks()) == len(axis.get_yticks()) == 0
    for axis in (loss, metrics):
        assert axis.get_legend_handles_labels()[1][0] == "chosen epoch"
