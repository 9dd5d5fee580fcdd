"""Table, page and heat map of made-up results: the numbers shown are those that went in."""

import numpy as np
import pytest

from mimrl.mi.benchmark import BenchmarkResult, Record, draw_heatmap, text_table
from mimrl.mi.benchmark.heatmap import MOST_ERROR, errors
from mimrl.mi.benchmark.markdown import cells_markdown, totals_markdown


def record(task, estimator, truth, estimate, *, seed=0, failure=None, doubts=(), cpu=1.0):
    return Record(
        **{"task": task, "estimator": estimator, "truth": truth, "estimate": estimate},
        **{"standard_error": 0.02, "failure": failure, "wall_seconds": 2 * cpu},
        **{"cpu_seconds": cpu, "seed": seed, "samples": 100, "source": "drawn"},
        **{"shuffled": False, "settings": {"class": "Made", "level": 1}},
        warnings=[{"category": "BiasWarning", "text": text} for text in doubts],
    )


@pytest.fixture
def result():
    return BenchmarkResult(
        [
            record("easy", "near", 0.5, 0.54, cpu=1.0),
            record("easy", "far", 0.5, 1.25, doubts=["high"], cpu=2.0),
            record("hard", "near", 2.0, 1.94, cpu=3.0),
            record("hard", "far", 2.0, None, failure="ValueError: no", cpu=4.0),
            record("other", "near", 1.0, 1.0, cpu=5.0),
        ]
    )


def rows(text):
    """The words of each line under the first of them."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}


class TestNumbers:
    def test_totals(self, result):
        near, far = result.totals["near"], result.totals["far"]
        assert near.mean_absolute_error == pytest.approx((0.04 + 0.06 + 0) / 3)
        assert near.mean_error == pytest.approx((0.04 - 0.06 + 0) / 3)
        assert near.largest_error == pytest.approx(0.06)
        assert (near.tasks, near.within, near.failed, near.warned) == (3, 3, 0, 0)
        assert (near.cpu_seconds, near.wall_seconds, near.most_wall_seconds) == (3, 6, 10)
        assert far.mean_absolute_error == far.mean_error == 0.75
        assert (far.tasks, far.within, far.failed, far.warned) == (2, 0, 1, 1)

    def test_seeds_are_averaged_and_their_errors_do_not_cancel(self):
        found = BenchmarkResult(
            [record("t", "e", 1.0, value, seed=seed) for seed, value in enumerate([1.2, 0.8, 1.3])]
        )
        cell = found.cells["t", "e"]
        assert cell.estimate == pytest.approx(1.1)
        assert cell.error == pytest.approx(0.1)
        assert cell.absolute_error == pytest.approx((0.2 + 0.2 + 0.3) / 3)
        assert found.totals["e"].within == 0  # by the mean of absolute errors, not by their sum
        assert "means over 3 seeds" in text_table(found)

    def test_a_seed_that_failed_leaves_the_others(self):
        found = BenchmarkResult(
            [record("t", "e", 1.0, 1.5), record("t", "e", 1.0, None, seed=1, failure="E: no")]
        )
        assert found.cells["t", "e"].estimate == 1.5
        assert found.totals["e"].failed == 1

    def test_an_estimator_that_always_fails(self):
        found = BenchmarkResult([record("t", "e", 1.0, None, failure="ValueError: no")])
        assert found.totals["e"].mean_absolute_error is None
        assert "e failed on t: ValueError: no" in text_table(found)
        assert "| e | - | - | - | 0 of 1 | 1 |" in totals_markdown(found)

    def test_the_frame_has_a_row_for_each_record(self, result):
        frame = result.frame()
        assert frame["estimate"].tolist()[:3] == [0.54, 1.25, 1.94]
        assert np.isnan(frame["estimate"].iloc[3])
        assert frame["error"].iloc[1] == 0.75
        assert frame["warnings"].tolist() == ["", "high", "", "", ""]
        pivot = frame.pivot_table("estimate", "task", "estimator")
        assert pivot.loc["hard", "near"] == 1.94

    def test_the_summary_has_every_number(self, result):
        found = result.summary()
        assert found["tasks"]["easy"]["truth"] == 0.5
        assert found["tasks"]["easy"]["estimators"]["far"]["estimate"] == 1.25
        assert set(found["tasks"]["other"]["estimators"]) == {"near"}
        assert found["estimators"]["near"]["within"] == 3


class TestText:
    def test_the_table(self, result):
        found = rows(text_table(result))
        assert found["task"] == ["truth", "near", "far"]
        assert found["easy"] == ["0.500", "0.540", "+0.040", "1.250", "+0.750*"]
        assert found["hard"] == ["2.000", "1.940", "-0.060", "failed"]
        assert found["other"] == ["1.000", "1.000", "+0.000", "-"]
        text = text_table(result)
        assert [line.split()[-2:] for line in text.splitlines() if "mean absolute" in line] == [
            ["0.033", "0.750"]
        ]
        assert [line.split()[3:] for line in text.splitlines() if "within" in line] == [
            ["3", "of", "3", "0", "of", "2"]
        ]
        assert [line.split()[3:] for line in text.splitlines() if "CPU" in line] == [["3", "3"]]
        assert "far failed on hard: ValueError: no" in text

    def test_columns_that_do_not_fit_come_below(self):
        many = BenchmarkResult([record("t", f"estimator{i}", 1.0, 1.0 + i) for i in range(7)])
        text = text_table(many, width=70)
        table = text.rpartition("\n\n")[0]
        assert max(map(len, table.splitlines())) <= 70
        heads = [line.split()[2:] for line in table.splitlines() if line.startswith("task ")]
        assert len(heads) > 1
        names = [f"estimator{i}" for i in range(7)]
        assert [name for part in heads for name in part] == names
        values = [line.split()[2::2] for line in table.splitlines() if line.startswith("t ")]
        assert [v for part in values for v in part] == [f"{1.0 + i:.3f}" for i in range(7)]
        assert text_table(many).splitlines()[0].split()[2:] == names

    def test_a_column_wider_than_the_screen_is_shown_all_the_same(self, result):
        assert "near" in text_table(result, width=5)

    def test_the_page(self, result):
        totals = totals_markdown(result).splitlines()
        assert totals[2].startswith("| near | 0.033 | -0.007 | 0.060 | 3 of 3 | 0 | 0 | 3 |")
        assert totals[3].startswith("| far | 0.750 | +0.750 | 0.750 | 0 of 2 | 1 | 1 | 3 |")
        assert cells_markdown(result).splitlines() == [
            "| task | truth | near | far |",
            "| --- | ---: | ---: | ---: |",
            "| easy | 0.500 | 0.540 | 1.250 |",
            "| hard | 2.000 | 1.940 | failed |",
            "| other | 1.000 | 1.000 |  |",
        ]


class TestHeatMap:
    def test_the_cells_hold_estimates_and_are_coloured_by_errors(self, result):
        axis = draw_heatmap(result).axes[0]
        texts = {text.get_position(): text.get_text() for text in axis.texts}
        assert texts[0, 0] == "0.54"
        assert texts[1, 0] == "1.25"
        assert texts[1, 1] == "failed"
        assert (1, 2) not in texts
        image = axis.images[0]
        expected = [[0.04, 0.75], [-0.06, np.nan], [0.0, np.nan]]
        assert np.allclose(errors(result), expected, equal_nan=True)
        assert np.allclose(image.get_array().filled(np.nan), expected, equal_nan=True)
        assert image.norm.vmin == -MOST_ERROR
        red, blue = image.cmap(image.norm(0.75)), image.cmap(image.norm(-0.75))
        assert red[0] > red[2]
        assert blue[2] > blue[0]

    def test_rows_have_their_truth_and_columns_their_totals(self, result):
        axis = draw_heatmap(result).axes[0]
        assert [label.get_text().split() for label in axis.get_yticklabels()] == [
            ["easy", "0.50"],
            ["hard", "2.00"],
            ["other", "1.00"],
        ]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["near", "far"]
        shown = [text.get_text() for text in axis.texts]
        assert shown[-6:] == [
            *("mean absolute error", "0.033", "0.750"),
            *("tasks within 0.1 nats", "3/3", "0/2"),
        ]

    def test_the_file(self, result, tmp_path):
        draw_heatmap(result, tmp_path / "map.png")
        assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
        assert [path.name for path in tmp_path.iterdir()] == ["map.png"]

    def test_forty_tasks_and_twenty_estimators_are_legible(self):
        many = BenchmarkResult(
            [
                record(f"a-benchmark-task-with-a-long-name-{i}", f"an-estimator-{j}", 1.5, 10.25)
                for i in range(40)
                for j in range(20)
            ]
        )
        figure = draw_heatmap(many)
        axis = figure.axes[0]
        renderer = figure.canvas.get_renderer()
        width, height = axis.bbox.width / 20, axis.bbox.height / 40
        boxes = [text.get_window_extent(renderer) for text in axis.texts[: 40 * 20]]
        assert max(box.width for box in boxes) < width
        assert max(box.height for box in boxes) < height
        labels = [*axis.get_yticklabels(), *axis.get_xticklabels(), *axis.texts]
        outside = [label.get_window_extent(renderer) for label in labels if label.get_text()]
        assert min(box.x0 for box in outside) >= 0
        assert min(box.y0 for box in outside) >= 0
        assert max(box.y1 for box in outside) <= figure.bbox.height
        assert max(label.get_window_extent(renderer).height for label in axis.get_yticklabels()) < (
            height
        )
