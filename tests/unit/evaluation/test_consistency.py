"""Consistency of dropout: the figures against a direct reading of their formulas, and the command from checkpoints."""

import itertools
import json
import math
import weakref

import fairseq_tools
import pytest
import torch

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.compat import save_checkpoint
from rdrop_fairseq.evaluation import consistency
from rdrop_fairseq.evaluation.consistency import Calibration, measure

SHARED = ("--share-all-embeddings",)
ADAPTIVE = ("--adaptive-softmax-cutoff", "10,20", "--adaptive-softmax-dropout", "0.2")


def setup(data_bin, *arguments, criterion="label_smoothed_cross_entropy", dropout="0.3"):
    """Configuration, task, model and criterion, with dropout in all its places."""
    config = fairseq_tools.training_config(
        data_bin, "--task", "translation", "--criterion", criterion, *fairseq_tools.TINY_TRANSFORMER,
        *("--dropout", dropout, "--attention-dropout", dropout, "--activation-dropout", dropout), *arguments,
    )  # fmt: skip
    return (config, *fairseq_tools.build(config))


def figures_of(task, model, *batches, samples=3, bins=15, seed=5):
    return measure(model, batches, task.target_dictionary.pad(), samples, bins, seed)


def kl(one, other):
    """KL divergence of log-probabilities (n, V) in bits, summed over the rows."""
    return float((one.exp() * (one - other)).sum() / math.log(2))


@pytest.mark.parametrize("flags", [SHARED, ADAPTIVE], ids=["shared embeddings", "adaptive softmax"])
def test_every_figure_is_that_of_a_direct_reading(data_bin, flags):
    """Under the same masks, in float64 and pair by pair."""
    _, task, model, _ = setup(data_bin, *flags)
    batches = [fairseq_tools.batch(task, size=size) for size in (9, 4)]
    figures = figures_of(task, model, *batches, samples=4, seed=5)

    torch.manual_seed(5)
    sums = dict.fromkeys(("between", "to_full", "from_full", "nll_sub", "nll_full"), 0.0)
    tokens = 0
    for batch in batches:
        is_token = batch["target"].ne(task.target_dictionary.pad())
        target = batch["target"][is_token]
        tokens += len(target)

        def read(model, batch=batch, is_token=is_token):
            with torch.no_grad():
                output = model(**batch["net_input"])
                return model.get_normalized_probs(output, log_probs=True)[is_token].double()

        full = read(model.eval())
        subs = [read(model.train()) for _ in range(4)]
        pairs = list(itertools.combinations(subs, 2))
        sums["between"] += sum(kl(one, other) / 2 + kl(other, one) / 2 for one, other in pairs) / len(pairs)
        sums["to_full"] += sum(kl(sub, full) for sub in subs) / 4
        sums["from_full"] += sum(kl(full, sub) for sub in subs) / 4
        nll = [-float(it.gather(1, target[:, None]).sum()) / math.log(2) for it in (full, *subs)]
        sums["nll_full"] += nll[0]
        sums["nll_sub"] += sum(nll[1:]) / 4
    expected = {name: value / tokens for name, value in sums.items()}

    assert figures.tokens == tokens == sum(batch["ntokens"] for batch in batches)
    assert 0.001 < expected["between"]
    approx = {name: pytest.approx(value, rel=1e-5, abs=1e-7) for name, value in expected.items()}
    assert (figures.kl_between, figures.kl_sub_to_full) == (approx["between"], approx["to_full"])
    assert (figures.kl_full_to_sub, figures.nll_sub, figures.nll_full) == (
        approx["from_full"], approx["nll_sub"], approx["nll_full"],
    )  # fmt: skip
    assert figures.kl_to_full == pytest.approx((expected["to_full"] + expected["from_full"]) / 2, rel=1e-5)
    assert figures.gap == pytest.approx(expected["nll_sub"] - expected["nll_full"], abs=1e-6)


def test_without_dropout_the_models_are_equal(data_bin):
    _, task, model, _ = setup(data_bin, dropout="0.0")
    figures = figures_of(task, model, fairseq_tools.batch(task))
    assert figures.kl_between == figures.kl_to_full == 0
    assert figures.nll_sub == pytest.approx(figures.nll_full, rel=1e-12)


def test_the_full_model_is_that_of_validation_whatever_the_batches(data_bin):
    """The nll that the criterion logs in validation; padding and the size of batches change nothing."""
    _, task, model, criterion = setup(data_bin)
    whole = fairseq_tools.batch(task, size=9)
    dataset = task.dataset("train")
    parts = [dataset.collater([dataset[index]]) for index in range(9)]
    one, other = figures_of(task, model, whole), figures_of(task, model, *parts)
    for name in ("tokens", "nll_full", "accuracy", "confidence", "calibration_error"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5), name
    model.eval()
    criterion.eval()
    with torch.no_grad():
        logged = criterion(model, whole)[2]
    assert one.nll_full == pytest.approx(float(logged["nll_loss"]) / logged["ntokens"] / math.log(2), rel=1e-6)


def test_the_seed_decides_and_the_process_keeps_its_random_state(data_bin):
    _, task, model, _ = setup(data_bin)
    batch = fairseq_tools.batch(task)
    model.train()
    state = torch.get_rng_state()
    one, again, other = (figures_of(task, model, batch, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.kl_between != other.kl_between and one.nll_full == other.nll_full
    assert torch.equal(torch.get_rng_state(), state) and model.training


class Sampled(torch.nn.Module):
    """A model of random log-probabilities, which counts how many of them are alive."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.alive, self.most = weakref.WeakSet(), 0

    def forward(self, rows):
        return torch.randn(1, rows, 7)

    def get_normalized_probs(self, output, log_probs):
        result = output.log_softmax(2)
        self.alive.add(result)
        self.most = max(self.most, len(self.alive))
        return result

    def get_targets(self, batch, output):
        return torch.zeros(1, output.size(1), dtype=torch.long)


@pytest.mark.parametrize("samples", [2, 40])
def test_samples_are_not_kept(samples):
    model = Sampled()
    measure(model, [{"net_input": {"rows": 5}}] * 3, 1, samples, 15, 1)
    assert model.most <= 2


def test_calibration_of_a_case_by_hand():
    """Ten predictions in four bins of five: 0.2 belongs to the first bin, whose range ends there, and 1 to the last."""
    confidences = [0.2, 0.15, 0.5, 0.5, 0.45, 0.75, 0.75, 1.0, 1.0, 0.9]
    hits = [1, 0, 1, 0, 0, 1, 1, 1, 1, 0]
    probs = torch.full((10, 12), 0.0, dtype=torch.float64)
    for row, (confidence, hit) in enumerate(zip(confidences, hits)):
        probs[row] = (1 - confidence) / 11
        probs[row, 3 if hit else 5] = confidence
    calibration = Calibration(5)
    calibration.add(probs[:4].log(), torch.full((4,), 3))
    calibration.add(probs[4:].log(), torch.full((6,), 3))
    table = calibration.table()
    assert [it.tokens for it in table] == [2, 0, 3, 2, 3]
    assert [it.accuracy for it in table] == pytest.approx([0.5, 0, 1 / 3, 1, 2 / 3])
    assert [it.confidence for it in table] == pytest.approx([0.175, 0, 1.45 / 3, 0.75, 2.9 / 3])


def test_calibration_error_is_the_mean_over_the_tokens():
    """Four tokens: two at confidence 0.9 with one hit, two at 0.6 with two: (2 * 0.4 + 2 * 0.4) / 4."""

    class Fixed(Sampled):
        def get_normalized_probs(self, output, log_probs):
            rows = [[0.9, 0.05, 0.05], [0.05, 0.05, 0.9], [0.6, 0.2, 0.2], [0.6, 0.2, 0.2]]
            return torch.tensor([rows], dtype=torch.float64).log()

    figures = measure(Fixed(), [{"net_input": {"rows": 4}}], 1, 2, 10, 1)
    assert figures.calibration_error == pytest.approx(0.4, abs=1e-12)
    assert (figures.accuracy, figures.confidence) == (0.75, pytest.approx(0.75))


@pytest.mark.parametrize("banned", [-math.inf, -1e32])
def test_a_class_that_is_banned_everywhere_takes_no_part(banned):
    class Banning(Sampled):
        def forward(self, rows):
            output = super().forward(rows)
            output[:, :, 4] = banned
            return output

    one = measure(Banning(), [{"net_input": {"rows": 5}}], 1, 3, 15, 1)
    assert all(math.isfinite(it) for it in (one.kl_between, one.kl_to_full, one.nll_sub)) and one.kl_between < 10


# The command


def save(path, config, model):
    """A checkpoint as fairseq-train writes it, as far as a model is made from it."""
    from omegaconf import OmegaConf

    cfg = OmegaConf.to_container(config)
    state = {
        "args": None, "cfg": cfg, "model": model.state_dict(), "criterion": None, "task_state": {},
        "optimizer_history": [{"num_updates": 3, "criterion_name": "", "best_loss": 1.0}],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }  # fmt: skip
    save_checkpoint(state, path)
    return path


@pytest.fixture(scope="module")
def runs(data_bin, tmp_path_factory):
    """A baseline evaluated by its best checkpoint, and R-Drop by an average of two."""
    folder = tmp_path_factory.mktemp("runs")
    config, _, model, _ = setup(data_bin, *SHARED)
    save(folder / "baseline" / "checkpoints" / "checkpoint_best.pt", config, model)
    config, _, model, _ = setup(data_bin, *SHARED, criterion="label_smoothed_cross_entropy_with_rdrop")
    for number in (1, 2):
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        save(folder / "rdrop" / "checkpoints" / f"checkpoint{number}.pt", config, model)
    for name, average in (("baseline", None), ("rdrop", 2)):
        (folder / name / "run.json").write_text(json.dumps({"config": "any", "average": average}))
    return folder


def run(*words):
    consistency.main([*map(str, words), "--cpu"])


def test_from_runs_to_table_figures_and_plot(runs, data_bin, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run(runs / "baseline", f"R-Drop={runs / 'rdrop'}", "--output", tmp_path, "--samples", "2", "--max-tokens", "60")
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "consistency.json").read_text())
    assert content["settings"]["split"] == "valid" and content["settings"]["samples"] == 2
    assert [model["name"] for model in content["models"]] == ["baseline", "R-Drop"]
    baseline, rdrop = (model["figures"] for model in content["models"])
    assert baseline["tokens"] == rdrop["tokens"] > 20 and baseline["nll_full"] != rdrop["nll_full"]
    assert content["models"][1]["checkpoint"] == "average of 2 checkpoints, checkpoint1.pt to checkpoint2.pt"
    assert baseline["gap"] == pytest.approx(baseline["nll_sub"] - baseline["nll_full"])
    markdown = (tmp_path / "consistency.md").read_text()
    assert f"| {baseline['kl_between']:.3f} |" in " ".join(markdown.split()) and f"{rdrop['nll_full']:.3f}" in printed
    assert str(data_bin) in markdown and "torch" in markdown
    assert (tmp_path / "consistency.png").read_bytes().startswith(b"\x89PNG")


def test_other_data_and_a_checkpoint_file_and_no_dropout(runs, data_bin, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    config, _, model, _ = setup(data_bin, *SHARED, dropout="0")
    config.task.data = str(tmp_path / "gone")
    file = save(tmp_path / "checkpoint_last.pt", config, model)
    with pytest.raises(UserError, match=r"was trained on .*gone, which is gone; give --data its new place"):
        run(file, "--output", tmp_path)
    run(file, runs / "baseline", "--output", tmp_path, "--data", data_bin, "--split", "test")
    assert "warning: the sub-models of checkpoint_last are equal (KL 0); all its dropout" in capsys.readouterr().err
    content = json.loads((tmp_path / "consistency.json").read_text())
    assert content["models"][0]["figures"]["kl_between"] == 0 < content["models"][1]["figures"]["kl_between"]


def test_bad_input_is_refused_in_one_line(runs, tmp_path):
    best = runs / "baseline" / "checkpoints" / "checkpoint_best.pt"
    other = tmp_path / "other"
    other.mkdir()
    for language in ("en", "de"):
        (other / f"dict.{language}.txt").write_text("word1 3\nword2 2\n")
    cases = [
        ((best, "--samples", "1"), "--samples is 1; give at least 2"),
        ((best, "--samples", "none"), "'none' is not a whole number above 0"),
        ((tmp_path / "nothing",), "nothing has no run.json; give a folder"),
        ((other / "dict.en.txt",), "dict.en.txt is incomplete or damaged"),
        ((best, "--split", "dev"), "no dev split in .*; give another --split"),
        ((best, "--data", tmp_path / "nothing"), "no folder .*nothing; give --data"),
        ((best, "--data", tmp_path), "no dictionary .*dict.en.txt; give"),
        ((best, "--data", other), "another vocabulary than the data in .*; give the data"),
        ((runs / "baseline", best.parent.parent), "the name 'baseline' is given twice; give"),
    ]
    for words, message in cases:
        with pytest.raises(UserError, match=message) as refused:
            run(*words, "--output", tmp_path / "output")
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "output").exists()


def test_runs_without_their_checkpoints_are_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for average, message in (
        (None, "no checkpoint .*checkpoint_best.pt; train first"),
        (3, "has 0 checkpoints of the 3"),
    ):
        (tmp_path / "run.json").write_text(json.dumps({"average": average}))
        with pytest.raises(UserError, match=message):
            run(tmp_path, "--output", tmp_path / "output")
