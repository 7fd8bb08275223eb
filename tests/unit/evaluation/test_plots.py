"""Curves: which figures there are, and what is in them."""

import sys

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation import plots
from rdrop_fairseq.evaluation.training_log import Record, TrainingLog

pytest.importorskip("matplotlib")

PNG = b"\x89PNG\r\n\x1a\n"


def make_log(nll=(4.0, 3.0, 2.5), bleu=(None, None, None), kl=(None, None), seconds=60.0):
    training = [Record(1, 100 * (n + 1), seconds * (n + 1), nll_loss=4.0, rdrop_kl_loss=v) for n, v in enumerate(kl)]
    validation = [
        Record(1, 150 * (n + 1), seconds * (n + 1), nll_loss=likelihood, bleu=score)
        for n, (likelihood, score) in enumerate(zip(nll, bleu))
    ]
    return TrainingLog(training, [], validation, seconds * 3)


class DrawnAxes(list):
    """Collects the axes that are saved, in place of writing them."""

    def __init__(self, monkeypatch):
        from matplotlib.figure import Figure

        original = Figure.savefig

        def savefig(figure, path, **options):
            self.extend(figure.axes)
            original(figure, path, **options)

        monkeypatch.setattr(Figure, "savefig", savefig)


def test_figures_and_what_they_show(monkeypatch):
    drawn = DrawnAxes(monkeypatch)
    logs = {
        "baseline": make_log(bleu=(10.0, 20.0, 21.0)),
        "R-Drop": make_log(bleu=(8.0, 19.0, 24.0), kl=(0.5, 0.25), seconds=120.0),
    }
    figures = plots.plot_training_curves(logs)
    assert [(figure.name, figure.missing) for figure in figures] == [
        ("valid_nll.png", ()),
        ("valid_bleu.png", ()),
        ("kl.png", ("baseline",)),
    ]
    for figure in figures:
        assert figure.content.startswith(PNG) and len(figure.content) > 10000
    nll_updates, nll_time, bleu_updates, bleu_time, kl_updates, kl_time = drawn
    assert nll_updates.get_xlabel() == "updates" and nll_time.get_xlabel() == "training time (minutes)"
    assert "bits per target token" in nll_updates.get_ylabel() and bleu_updates.get_ylabel() == "BLEU"
    assert "bits per target token" in kl_updates.get_ylabel()
    baseline, rdrop = bleu_time.get_lines()
    assert list(rdrop.get_xdata()) == [2.0, 4.0, 6.0] and list(rdrop.get_ydata()) == [8.0, 19.0, 24.0]
    assert list(baseline.get_xdata()) == [1.0, 2.0, 3.0]
    (kl,) = kl_updates.get_lines()
    assert list(kl.get_xdata()) == [100, 200] and list(kl.get_ydata()) == [0.5, 0.25]
    # A run looks the same in every figure, and no two look the same, also in greyscale.
    assert (kl.get_color(), kl.get_linestyle()) == (rdrop.get_color(), rdrop.get_linestyle())
    assert baseline.get_linestyle() != rdrop.get_linestyle() and baseline.get_marker() != rdrop.get_marker()
    for axes in drawn:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [
            line.get_label() for line in axes.get_lines()
        ]


def test_values_that_are_no_numbers_are_left_out(monkeypatch):
    drawn = DrawnAxes(monkeypatch)
    plots.plot_training_curves({"a": make_log(nll=(float("nan"), 3.0, float("inf")))})
    assert list(drawn[0].get_lines()[0].get_ydata()) == [3.0]


def test_what_no_run_has_gives_no_figure():
    assert [figure.name for figure in plots.plot_training_curves({"a": make_log()})] == ["valid_nll.png"]


@pytest.mark.parametrize("seconds, unit", [(60.0, "seconds"), (600.0, "minutes"), (6000.0, "hours")])
def test_unit_of_time(monkeypatch, seconds, unit):
    drawn = DrawnAxes(monkeypatch)
    plots.plot_training_curves({"a": make_log(seconds=seconds)})
    assert drawn[1].get_xlabel() == f"training time ({unit})"


def test_equal_curves_give_equal_images():
    first, second = (plots.plot_training_curves({"a": make_log()}) for _ in range(2))
    assert first[0].content == second[0].content


def test_numbers_beyond_those_that_can_be_drawn_are_left_out():
    (figure,) = plots.plot_training_curves({"a": make_log(nll=(1e308, 3.0, -1e308), seconds=1e29)})
    assert figure.content.startswith(PNG)
    assert plots.plot_training_curves({"a": make_log(seconds=1e300)}) == []


def test_many_runs(monkeypatch):
    drawn = DrawnAxes(monkeypatch)
    plots.plot_training_curves({f"run {number}": make_log() for number in range(20)})
    styles = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in drawn[0].get_lines()}
    assert len(styles) == 20


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install 'rdrop_fairseq\[plot\]'"):
        plots.plot_training_curves({"a": make_log()})
