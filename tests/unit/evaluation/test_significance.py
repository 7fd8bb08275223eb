"""Approximate randomisation, against the sacrebleu command and at its edges, and the further metrics and references."""

import json
import random
import re

import fairseq_tools
import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation import score
from rdrop_fairseq.evaluation.score_report import format_table, read_scores

WORDS = "der die das Haus Baum Stra\u00dfe gr\u00fcne alte steht l\u00e4uft nicht 3,5 z.B. sehr , gestern".split()
AR = "approximate-randomisation"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    generator = random.Random(1)
    reference = [generator.choices(WORDS, k=generator.randint(3, 14)) for _ in range(60)]
    for name, share in (("reference", 0), ("second", 0.2), ("good", 0.1), ("close", 0.12), ("bad", 0.4)):
        lines = [
            " ".join(generator.choice(WORDS) if generator.random() < share else word for word in words) + "."
            for words in reference
        ]
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_trials_are_those_of_the_sacrebleu_command(texts):
    names = ["close", "good", "bad"]
    printed = fairseq_tools.run(
        "sacrebleu", texts / "reference", texts / "second", "-i", *(texts / name for name in names),
        "-m", "bleu", "chrf", "ter", "--chrf-word-order", "2", "-w", "6",
        "--paired-ar", "--paired-ar-n", "1500", "-f", "latex", "--no-color",
    ).stdout  # fmt: skip
    rows = [line.partition("&")[2] for line in printed.split("\n") if re.search(r"\d\.\d{6}", line)]
    report = score.score_files(
        [texts / "reference", texts / "second"], {name: texts / name for name in names},
        metrics=["bleu", "chrf++", "ter"], significance=AR, resamples=1500,
    )  # fmt: skip
    assert len(rows) == 3 and list(report.signatures) == ["BLEU", "chrF2++", "TER"]
    for system, row in zip(report.systems, rows):
        ours = []
        for result in system.metrics.values():
            ours += [result.score] + ([] if result.p_value is None else [round(result.p_value, 4)])
        theirs = [float(number) for number in re.findall(r"\d+\.\d+", row)]
        if system.name != report.baseline:
            # Edits are whole numbers, so many trials have just the real difference, which sacreBLEU does not count.
            assert ours.pop() >= theirs.pop()
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert all(result.p_value < 0.05 for result in report.system("bad").metrics.values())
    assert report.test_signatures["TER"].startswith("nrefs:2|ar:1500|seed:12345|case:lc|")
    assert "bs:1500" in report.bootstrap_signatures["TER"]
    text = format_table(report)
    assert "p: paired approximate randomisation against close" in text and report.test_signatures["BLEU"] in text
    assert "TER counts edits: less is better" in text


def test_a_difference_in_one_sentence_is_not_significant(texts, tmp_path):
    """All trials have the real difference. sacreBLEU counts larger ones only, and has its smallest p-value here."""
    lines = (texts / "good").read_text(encoding="utf-8").splitlines()
    lines[7] = "Haus Haus."
    (tmp_path / "other").write_text("\n".join(lines) + "\n", encoding="utf-8")
    systems = {"good": texts / "good", "other": tmp_path / "other"}
    options = {"metrics": score.METRICS, "significance": AR, "resamples": 50}
    for references in (texts / "reference", [texts / "reference", texts / "second"]):
        report = score.score_files(references, systems, **options)
        assert [result.p_value for result in report.system("other").metrics.values()] == [1.0] * 4
    report = score.score_files(texts / "reference", {"a": texts / "good", "b": texts / "good"}, **options)
    assert [result.p_value for result in report.system("b").metrics.values()] == [1.0] * 4


def test_command_line(texts, tmp_path, capsys):
    score.main([
        "--reference", str(texts / "reference"), "--reference", str(texts / "second"),
        "--system", f"a={texts / 'good'}", "--system", f"b={texts / 'bad'}",
        "--metrics", "ter", "chrf++", "bleu", "--significance", AR,
        "--resamples", "40", "--json", str(tmp_path / "scores.json"), "--markdown", str(tmp_path / "scores.md"),
    ])  # fmt: skip
    report = read_scores(tmp_path / "scores.json")
    assert report.references == (str(texts / "reference"), str(texts / "second"))
    assert list(report.systems[0].metrics) == ["TER", "chrF2++", "BLEU"]
    printed = capsys.readouterr().out
    for text in (printed, (tmp_path / "scores.md").read_text(encoding="utf-8")):
        for system in report.systems:
            for result in system.metrics.values():
                assert f"{result.score:.2f}" in text and (result.p_value is None or f"{result.p_value:.4f}" in text)
        assert "ar:40" in text and "bs:40" in text and "nrefs:2" in text
    assert printed.count("TER|nrefs:2|case:lc|") == 2


def test_several_references_are_those_of_the_sacrebleu_command(texts):
    report = score.score_files([texts / "reference", texts / "second"], {"a": texts / "bad"}, resamples=2)
    printed = fairseq_tools.run(
        "sacrebleu", texts / "reference", texts / "second", "-i", texts / "bad", "-m", "bleu", "chrf", "-w", "6"
    ).stdout
    for line in json.loads(printed):
        assert report.systems[0].metrics[line["name"]].score == pytest.approx(line["score"], abs=1e-6)
        assert report.signatures[line["name"]] == line["signature"]


def test_ter_of_text_without_blanks_counts_its_characters(tmp_path):
    for name, line in (
        ("reference", "\u4eca\u5929\u5929\u6c14\u5f88\u597d"),
        ("a", "\u4eca\u5929\u5929\u6c14\u4e0d\u597d"),
    ):
        (tmp_path / name).write_text(f"{line}\n" * 3, encoding="utf-8")
    options = {"metrics": ["ter"], "resamples": 2}
    report = score.score_files(tmp_path / "reference", {"a": tmp_path / "a"}, target_lang="zh-cn", **options)
    assert 0 < report.systems[0].metrics["TER"].score < 100 and "asian:yes" in report.signatures["TER"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--metrics", "meteor"], "argument --metrics: invalid choice: 'meteor' .*; see python -m"),
        (["--metrics"], "argument --metrics: expected at least one argument"),
        (["--significance", "t-test"], "argument --significance: invalid choice: 't-test'"),
        (["--reference", "reference"], "the reference reference is given twice"),
        (["--reference", "./reference"], "the reference ./reference is given twice"),
        (["--reference", "short"], "short has 1 lines and reference has 60; give references of the same sentences"),
        (["--test-set", "wmt14"], "argument --test-set: not allowed with argument --reference"),
        (["--target-lang", "ja"], "sacreBLEU's tokeniser for ja is not installed"),
    ],
)
def test_wrong_arguments_are_refused(texts, monkeypatch, arguments, message):
    monkeypatch.chdir(texts)
    if "ja" in arguments:
        monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    (texts / "short").write_text("one\n", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        score.main(["--reference", "reference", "--system", "a=good", *arguments])
