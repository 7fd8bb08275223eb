"""The evaluation tools on what fairseq's real commands write: logs, checkpoints, translations."""

import re

import fairseq_tools
import pytest

from rdrop_fairseq import compat
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation.generate_output import read_generate_output
from rdrop_fairseq.evaluation.training_log import read_training_log

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_folder(data_bin, tmp_path_factory):
    """A run of three epochs, resumed for a fourth; both processes add to train.log and to the --log-file."""
    folder = tmp_path_factory.mktemp("run")
    for max_epoch in ("3", "4"):
        result = fairseq_tools.run(
            "fairseq-train", data_bin, "--user-dir", fairseq_tools.PLUGIN, "--task", "rdrop_translation",
            *fairseq_tools.TINY_TRANSFORMER, "--share-all-embeddings", "--cpu", "--num-workers", "0",
            "--criterion", "label_smoothed_cross_entropy_with_rdrop", "--rdrop-alpha", "2",
            "--label-smoothing", "0.1", "--optimizer", "adam", "--lr", "0.005", "--max-tokens", "150",
            "--max-epoch", max_epoch, "--save-dir", folder / "checkpoints", "--save-interval-updates", "4",
            "--log-format", "json", "--log-interval", "2", "--log-file", folder / "file.log",
            "--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_b": 10}', "--keep-best-checkpoints", "2",
            "--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric",
        )  # fmt: skip
        with open(folder / "train.log", "a", encoding="utf-8") as log:
            log.write(result.stdout)
    return folder


@pytest.fixture(scope="module")
def averaged(run_folder):
    path = run_folder / "averaged.pt"
    fairseq_tools.run(
        "python", "-m", "rdrop_fairseq.evaluation.average", "--inputs", run_folder / "checkpoints",
        "--num-epoch-checkpoints", "3", "--output", path,
    )  # fmt: skip
    return path


def test_training_log(run_folder):
    captured = read_training_log(run_folder / "train.log")
    by_file = read_training_log(run_folder / "file.log")
    text = (run_folder / "train.log").read_text(encoding="utf-8")
    updates = int(re.findall(r"Loaded checkpoint .* @ (\d+) updates", text)[-1]) // 3 * 4
    for log in (captured, by_file):
        assert log.updates == updates
        assert [record.update for record in log.training] == list(range(2, updates + 1, 2))
        assert all(record.rdrop_kl_loss > 0 and record.loss > 0 for record in log.training)
        assert [record.epoch for record in log.epochs] == [1, 2, 3, 4]
        assert {record.update for record in log.epochs} <= {record.update for record in log.validation}
        assert {4, 8} <= {record.update for record in log.validation}
        assert all(record.bleu is not None and record.nll_loss > 0 for record in log.validation)
        for records in (log.training, log.epochs, log.validation):
            times = [record.elapsed_seconds for record in records]
            assert times == sorted(times) and times[-1] <= log.elapsed_seconds

    def values(log):
        return [(record.update, record.nll_loss, record.bleu) for record in log.validation]

    assert values(captured) == values(by_file)


def test_averages(run_folder, averaged):
    inputs = [compat.load_checkpoint(run_folder / "checkpoints" / f"checkpoint{epoch}.pt") for epoch in (2, 3, 4)]
    result = compat.load_checkpoint(averaged)
    for name, value in result["model"].items():
        by_hand = sum(state["model"][name].double() for state in inputs) / 3
        assert (value.double() - by_hand).abs().max() <= 1e-7 * (1 + by_hand.abs().max()), name
    tied = [result["model"][f"{side}.embed_tokens.weight"].data_ptr() for side in ("encoder", "decoder")]
    assert tied[0] == tied[1]
    for kind, count in (("update", 3), ("best", 2)):
        output = run_folder / f"{kind}.pt"
        fairseq_tools.run(
            "python", "-m", "rdrop_fairseq.evaluation.average", "--inputs", run_folder / "checkpoints",
            f"--num-{kind}-checkpoints", count, "--output", output,
        )  # fmt: skip
        assert compat.load_checkpoint(output)["model"].keys() == result["model"].keys()


def test_average_validates_and_is_a_start_for_training(data_bin, averaged, tmp_path):
    plugin = [
        "--user-dir",
        fairseq_tools.PLUGIN,
        "--task",
        "rdrop_translation",
        "--cpu",
        "--max-tokens",
        "200",
    ]
    validated = fairseq_tools.run("fairseq-validate", data_bin, *plugin, "--path", averaged)
    assert re.search(r"valid on 'valid' subset.* nll_loss \d", validated.stdout + validated.stderr)
    tuned = fairseq_tools.run(
        "fairseq-train", data_bin, *plugin, *fairseq_tools.TINY_TRANSFORMER, "--share-all-embeddings",
        "--criterion", "label_smoothed_cross_entropy_with_rdrop", "--optimizer", "adam", "--lr", "0.005",
        "--max-update", "1", "--save-dir", tmp_path / "tuned", "--finetune-from-model", averaged,
    )  # fmt: skip
    assert "loading pretrained model from" in tuned.stdout
    assert (tmp_path / "tuned" / "checkpoint_last.pt").is_file()


def test_generated_translations(data_bin, parallel_text, averaged, tmp_path):
    common = [
        data_bin, "--user-dir", fairseq_tools.PLUGIN, "--path", averaged, "--cpu", "--beam", "3",
        "--batch-size", "4", "--max-len-b", "12", "--required-batch-size-multiple", "1",
    ]  # fmt: skip
    generated = tmp_path / "generated.txt"
    generated.write_text(fairseq_tools.run("fairseq-generate", *common).stdout, encoding="utf-8")
    fairseq_tools.run("fairseq-generate", *common, "--nbest", "2", "--results-path", tmp_path)
    source = (parallel_text / "test.en").read_text(encoding="utf-8").split("\n")[:-1]
    reference = (parallel_text / "test.de").read_text(encoding="utf-8").split("\n")[:-1]

    output = read_generate_output(generated, expected_sentences=len(source))
    assert output.references == reference
    assert read_generate_output(tmp_path / "generate-test.txt").hypotheses == output.hypotheses

    typed = fairseq_tools.run(
        "fairseq-interactive", *common, "--buffer-size", "100", "--input", parallel_text / "test.en"
    )
    (tmp_path / "interactive.txt").write_text(typed.stdout, encoding="utf-8")
    interactive = read_generate_output(tmp_path / "interactive.txt", expected_sentences=len(source))
    assert interactive.references is None
    assert interactive.hypotheses == output.hypotheses

    lines = generated.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "cut.txt").write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(UserError, match="was cut off"):
        read_generate_output(tmp_path / "cut.txt")


def test_scores_and_report(run_folder, parallel_text, tmp_path):
    """The two command lines, one after the other, on plain text."""
    module = ["python", "-m"]
    fairseq_tools.run(
        *module, "rdrop_fairseq.evaluation.score", "--reference", parallel_text / "test.de",
        "--system", f"copy={parallel_text / 'test.en'}", "--system", f"reference={parallel_text / 'test.de'}",
        "--json", tmp_path / "scores.json", "--resamples", "20",
    )  # fmt: skip
    result = fairseq_tools.run(
        *module, "rdrop_fairseq.evaluation.report", "--run", f"copy={run_folder}", "--scores",
        tmp_path / "scores.json", "--source", parallel_text / "test.en", "--output", tmp_path / "report",
    )  # fmt: skip
    assert result.stdout == f"wrote {tmp_path / 'report' / 'report.md'}\n"
    assert "DEBUG" not in result.stderr
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    for image in ("valid_nll.png", "valid_bleu.png", "kl.png"):
        assert f"]({image})" in text and (tmp_path / "report" / image).stat().st_size > 10000
