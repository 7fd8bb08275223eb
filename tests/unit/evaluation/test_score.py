"""Scoring: the same numbers as the sacrebleu command, a deterministic test, and refusals of bad input."""

import collections
import copy
import json
import os
import random
import re

import fairseq_tools
import pytest

from rdrop_fairseq.common import files
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.moses import make_tokenise
from rdrop_fairseq.evaluation import score, score_report

WORDS = "der die das Haus Baum Stra\u00dfe gr\u00fcne alte steht l\u00e4uft nicht 3,5 z.B. sehr , gestern".split()


def bleu_of(system):
    return system.metrics["BLEU"]


def chrf_of(system):
    return system.metrics["chrF2"]


def noisy(lines, share, seed):
    """The lines with a share of their words replaced."""
    generator = random.Random(seed)
    return [
        " ".join(generator.choice(WORDS) if generator.random() < share else word for word in line.split(" "))
        for line in lines
    ]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Reference, and systems from good to bad; some lines have what splits lines elsewhere."""
    folder = tmp_path_factory.mktemp("texts")
    generator = random.Random(1)
    reference = [" ".join(generator.choices(WORDS, k=generator.randint(3, 14))) + " ." for _ in range(120)]
    reference[3] = "Vor\u2028und nach dem Zeilentrenner steht ein Haus ."
    reference[4] = "Auch NEL\u0085trennt hier keine Zeile , gestern nicht ."
    write(folder / "reference.de", reference)
    for name, share in (("good", 0.1), ("close", 0.12), ("bad", 0.4)):
        lines = noisy(reference, share, name)
        lines[10] = ""
        lines[11] += "   "
        write(folder / name, lines)
    return folder


def write(path, lines):
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))
    return path


def sacrebleu(*arguments):
    return json.loads(fairseq_tools.run("sacrebleu", *arguments, "-m", "bleu", "chrf", "-w", "6").stdout)


def test_scores_and_signatures_are_those_of_the_sacrebleu_command(texts):
    report = score.score_files(texts / "reference.de", {name: texts / name for name in ("good", "bad")}, resamples=10)
    for system in report.systems:
        bleu, chrf = sacrebleu(texts / "reference.de", "-i", texts / system.name)
        assert (bleu["name"], chrf["name"]) == ("BLEU", "chrF2")
        assert bleu_of(system).score == pytest.approx(bleu["score"], abs=1e-6)
        assert chrf_of(system).score == pytest.approx(chrf["score"], abs=1e-6)
        assert report.signatures == {"BLEU": bleu["signature"], "chrF2": chrf["signature"]}
        assert bleu["verbose_score"] in system.sacrebleu_lines[0]
        assert system.sacrebleu_lines[0].startswith(f"BLEU|{bleu['signature']} = {bleu['score']:.2f}")
    assert report.sentences == 120
    assert bleu_of(report.system("good")).score > bleu_of(report.system("bad")).score


def test_paired_bootstrap_is_that_of_the_sacrebleu_command(texts):
    names = ["close", "good", "bad"]
    report = score.score_files(texts / "reference.de", {name: texts / name for name in names}, resamples=300)
    # The command cannot print this as JSON; its LaTeX table has one row for each system.
    printed = fairseq_tools.run(
        "sacrebleu", texts / "reference.de", "-i", *(texts / name for name in names), "-m", "bleu", "chrf",
        "-w", "6", "--paired-bs", "--paired-bs-n", "300", "-f", "latex", "--no-color",
    ).stdout  # fmt: skip
    rows = [line.partition("&")[2] for line in printed.split("\n") if re.search(r"\d\.\d{6}", line)]
    assert len(rows) == 3
    for system, row in zip(report.systems, rows):
        ours = []
        for result in (bleu_of(system), chrf_of(system)):
            ours += [result.score, result.mean, result.confidence]
            ours += [] if result.p_value is None else [round(result.p_value, 4)]
        assert ours == pytest.approx([float(number) for number in re.findall(r"\d+\.\d+", row)], abs=1e-5)
    assert report.baseline == "close" and bleu_of(report.systems[0]).p_value is None
    assert bleu_of(report.system("bad")).p_value < 0.05 < bleu_of(report.system("good")).p_value
    assert "bs:300|seed:12345" in report.bootstrap_signatures["BLEU"]


def test_the_baseline_may_be_any_system(texts):
    systems = {name: texts / name for name in ("bad", "good")}
    report = score.score_files(texts / "reference.de", systems, baseline="good", resamples=200)
    assert [system.name for system in report.systems] == ["bad", "good"]
    assert bleu_of(report.system("good")).p_value is None
    other = score.score_files(texts / "reference.de", systems, resamples=200)
    # The same resamples, seen from the other side.
    assert bleu_of(report.system("bad")).p_value == bleu_of(other.system("good")).p_value


def test_means_of_several_systems(texts):
    """Alone two systems have the p-value that they have. The mean of equal ones is the one."""
    scorer = score.Scorer([texts / "reference.de"], resamples=200)
    for name, file in {"bad": "bad", "good": "good", "again": "good", "close": "close"}.items():
        scorer.add(name, texts / file)
    p_value = {it.name: bleu_of(it).p_value for it in scorer.report("good").systems}
    assert scorer.p_value_of_means(["close"], ["good"]) == p_value["close"]
    assert scorer.p_value_of_means(["close"], ["good", "again"]) == p_value["close"]
    assert scorer.p_value_of_means(["good", "bad"], ["again", "bad"]) == 1.0
    mean = scorer.p_value_of_means(["close", "bad"], ["good", "again"])
    assert p_value["bad"] == 1 / 201 <= mean < p_value["close"]


def test_result_depends_on_texts_resamples_and_seed_only(texts, monkeypatch):
    systems = {name: texts / name for name in ("good", "close")}
    first = score.score_files(texts / "reference.de", systems, resamples=50, seed=7)
    monkeypatch.setenv("SACREBLEU_SEED", "99")
    random.seed(5)
    assert score.score_files(texts / "reference.de", systems, resamples=50, seed=7) == first
    assert score.score_files(texts / "reference.de", systems, resamples=50, seed=8) != first
    assert os.environ["SACREBLEU_SEED"] == "99"


def test_equal_systems_do_not_differ(texts, tmp_path):
    """sacreBLEU's own p-value for two equal systems is its smallest one."""
    copy = tmp_path / "copy"
    copy.write_bytes((texts / "good").read_bytes())
    report = score.score_files(texts / "reference.de", {"good": texts / "good", "copy": copy}, resamples=50)
    assert bleu_of(report.system("copy")).p_value == 1.0 and chrf_of(report.system("copy")).p_value == 1.0


@pytest.mark.parametrize("change", [lambda line: f"{line} ", lambda line: line.replace(" ", "  ")])
def test_a_difference_that_no_metric_sees_is_not_significant(texts, tmp_path, change):
    lines = (texts / "good").read_text(encoding="utf-8").split("\n")[:-1]
    blanks = write(tmp_path / "blanks", map(change, lines))
    assert blanks.read_bytes() != (texts / "good").read_bytes()
    report = score.score_files(texts / "reference.de", {"good": texts / "good", "blanks": blanks}, resamples=50)
    good, other = report.systems
    assert bleu_of(other).score == bleu_of(good).score and chrf_of(other).score == chrf_of(good).score
    assert bleu_of(other).p_value == 1.0 and chrf_of(other).p_value == 1.0


def test_two_systems_without_a_single_match_do_not_differ(texts, tmp_path):
    systems = {name: write(tmp_path / name, [name * 9] * 120) for name in ("x", "y")}
    report = score.score_files(texts / "reference.de", systems, resamples=50)
    assert bleu_of(report.system("y")).score == 0 and bleu_of(report.system("y")).p_value == 1.0


def test_each_sentence_is_counted_once(texts, monkeypatch):
    counted = collections.Counter()

    def counting(metric):
        original = metric._compute_segment_statistics

        def count(hypothesis, *arguments):
            counted[type(metric).__name__] += 1
            return original(hypothesis, *arguments)

        metric._compute_segment_statistics = count
        return metric

    original = score._make_metric
    monkeypatch.setattr(score, "_make_metric", lambda *arguments: counting(original(*arguments)))
    scorer = score.Scorer([texts / "reference.de"], resamples=5)
    for name in ("good", "close", "bad"):
        scorer.add(name, texts / name)
        assert [system.name for system in scorer.report(names=[name]).systems] == [name]
    assert scorer.report("close").system("bad").metrics["BLEU"].p_value is not None
    assert counted == {"BLEU": 3 * 120, "CHRF": 3 * 120}


def test_lowercase_is_of_both_metrics_and_both_sides(texts, tmp_path):
    def cased(name, change):
        return write(tmp_path / name, change((texts / name).read_text(encoding="utf-8")).split("\n")[:-1])

    upper = cased("reference.de", str.upper), cased("good", str.title)
    lower = cased("reference.de", str.lower), cased("good", str.lower)
    ignoring = score.score_files(upper[0], {"good": upper[1]}, resamples=5, lowercase=True)
    plain = score.score_files(lower[0], {"good": lower[1]}, resamples=5)
    assert ignoring.systems[0].metrics == plain.systems[0].metrics
    for name in ("BLEU", "chrF2"):
        assert "case:lc" in ignoring.signatures[name] and "case:lc" not in plain.signatures[name]


def test_output_of_generate_scores_as_its_plain_text(texts, tmp_path):
    lines, references = (
        (texts / name).read_text(encoding="utf-8").split("\n")[:-1] for name in ("good", "reference.de")
    )
    records = []
    for index in sorted(range(len(lines)), key=lambda index: len(lines[index])):
        records += [
            f"S-{index}\tx",
            f"T-{index}\t{references[index]}",
            f"H-{index}\t-0.1\t\u2581z",
            f"D-{index}\t-0.1\t{lines[index]}",
        ]
        records.append(f"P-{index}\t-0.1")
    records.append("Generate test with beam=5: BLEU4 = 1.00, 71.2/54.6/37.2/27.2 (BP=0.6)")
    path = write(tmp_path / "generate-test.txt", records)
    report = score.score_files(texts / "reference.de", {"plain": texts / "good", "generated": path}, resamples=10)
    plain, generated = report.system("plain"), report.system("generated")
    assert (bleu_of(generated).score, bleu_of(generated).mean) == (bleu_of(plain).score, bleu_of(plain).mean)
    assert chrf_of(generated).score == chrf_of(plain).score and bleu_of(generated).p_value == 1.0
    write(tmp_path / "cut.txt", records[:-1])
    with pytest.raises(UserError, match=r"cut\.txt was cut off"):
        score.score_files(texts / "reference.de", {"generated": tmp_path / "cut.txt"})


def test_windows_line_ends_and_byte_order_mark_change_nothing(texts, tmp_path):
    for name in ("reference.de", "good"):
        content = (texts / name).read_bytes().replace(b"\n", b"\r\n")
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content)
    unix = score.score_files(texts / "reference.de", {"good": texts / "good"}, resamples=10)
    windows = score.score_files(tmp_path / "reference.de", {"good": tmp_path / "good"}, resamples=10)
    assert bleu_of(windows.systems[0]) == bleu_of(unix.systems[0]) and chrf_of(windows.systems[0]) == chrf_of(
        unix.systems[0]
    )


def test_target_language_chooses_the_tokeniser(tmp_path):
    reference = write(tmp_path / "reference.zh", ["\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002"] * 3)
    hypothesis = write(tmp_path / "hypothesis.zh", ["\u4eca\u5929\u5929\u6c14\u4e0d\u597d\u3002"] * 3)
    report = score.score_files(reference, {"a": hypothesis}, target_lang="zh", resamples=5)
    bleu, _ = sacrebleu(reference, "-i", hypothesis, "-l", "en-zh")
    assert "tok:zh" in bleu["signature"] and report.signatures["BLEU"] == bleu["signature"]
    assert bleu_of(report.systems[0]).score == pytest.approx(bleu["score"], abs=1e-6)


def test_tokens_of_moses_score_as_the_text_they_came_from(tmp_path, capsys):
    reference = write(
        tmp_path / "reference", ["Das alte Haus, das er kennt, ist groß.", "Kommt sie heute, oder nicht?"]
    )
    lines = ["Das alte Haus, das sie kennt, ist alt.", "Kommt er heute, oder kommt er nicht?"]
    text, tokens = write(tmp_path / "text", lines), write(tmp_path / "tokens", map(make_tokenise("de"), lines))
    assert tokens.read_bytes() != text.read_bytes()
    arguments = ["--reference", str(reference), "--resamples", "5", "--target-lang", "de", "--paper-bleu"]
    printed = []
    for extra in (["--system", f"a={text}"], ["--system", f"a={tokens}", "--detokenise"]):
        score.main([*arguments, *extra])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_json_and_markdown(texts, tmp_path, capsys):
    arguments = ["--reference", str(texts / "reference.de"), "--resamples", "40", "--seed", "3"]
    arguments += ["--system", f"baseline={texts / 'close'}", "--system", f"R-Drop={texts / 'bad'}"]
    arguments += ["--source-lang", "en", "--target-lang", "de"]
    arguments += ["--json", str(tmp_path / "scores.json"), "--markdown", str(tmp_path / "scores.md")]
    score.main(arguments)
    printed = capsys.readouterr().out
    report = score_report.read_scores(tmp_path / "scores.json")
    systems = {"baseline": texts / "close", "R-Drop": texts / "bad"}
    assert report == score.score_files(
        texts / "reference.de", systems, source_lang="en", target_lang="de", resamples=40, seed=3
    )
    for text in (printed, (tmp_path / "scores.md").read_text(encoding="utf-8")):
        assert f"{bleu_of(report.systems[1]).score:.2f}" in text
        assert f"{bleu_of(report.systems[1]).p_value:.4f}" in text
        assert report.signatures["BLEU"] in text and report.bootstrap_signatures["chrF2"] in text
        assert "120 sentences, en-de" in text
    assert f"BLEU|{report.signatures['BLEU']} = " in printed


@pytest.fixture(scope="module")
def scores(texts, tmp_path_factory):
    """The JSON of two systems, as Python values."""
    path = tmp_path_factory.mktemp("scores") / "scores.json"
    scorer = score.Scorer([texts / "reference.de"], target_lang="de", resamples=5, paper_bleu=True)
    scorer.add("baseline", texts / "close")
    scorer.add("R-Drop", texts / "bad", "made so")
    report = scorer.report()
    score_report.write_scores(report, path)
    assert score_report.read_scores(path) == report
    return json.loads(path.read_text(encoding="utf-8"))


def test_entries_that_earlier_versions_did_not_write_may_be_missing(scores, tmp_path):
    content = copy.deepcopy(scores)
    for system in content["systems"]:
        del system["paper_bleu"], system["origin"]
    del content["warnings"]
    files.write_json(tmp_path / "scores.json", content)
    assert score_report.read_scores(tmp_path / "scores.json").systems[1].origin is None


def test_foreign_json_is_refused(tmp_path):
    path = tmp_path / "scores.json"
    for content in ("[1, 2]", "{}", '{"systems": []}', "no json", "null", "3", "[" * 100000, '{"seed": ' + "9" * 5000):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=r"scores\.json is not what .*; make it anew") as refusal:
            score_report.read_scores(path)
        assert len(str(refusal.value)) < 400 and "\n" not in str(refusal.value)
    path.write_bytes(b"\xff{}")
    with pytest.raises(UserError, match=r"scores\.json, line 1: not UTF-8"):
        score_report.read_scores(path)


ODD_VALUES = [None, [], [1], [None], {}, {"a": 1}, "abc", "1", True, 1e999, float("nan"), -3, 0.5, 10**400]
ABSENT_TOO, TEXT = [None, "abc", "1"], ["abc", "1"]


@pytest.mark.parametrize(
    "place, fitting",
    [
        (["references"], []),
        (["references", 0], TEXT),
        (["significance"], []),
        (["warnings"], [[]]),
        (["test_signatures"], []),
        (["sentences"], [10**400]),
        (["target_lang"], ABSENT_TOO),
        (["baseline"], []),
        (["resamples"], [10**400]),
        (["seed"], [-3, 10**400]),
        (["signatures"], []),
        (["signatures", "BLEU"], TEXT),
        (["systems"], []),
        (["systems", 0], []),
        (["systems", 1, "name"], TEXT),
        (["systems", 1, "path"], TEXT),
        (["systems", 1, "metrics"], []),
        (["systems", 1, "metrics", "BLEU"], []),
        (["systems", 1, "metrics", "chrF2", "score"], [-3, 0.5]),
        (["systems", 0, "metrics", "BLEU", "p_value"], [None]),
        (["systems", 1, "metrics", "BLEU", "p_value"], [0.5]),
        (["systems", 1, "sacrebleu_lines"], [[]]),
        (["systems", 1, "paper_bleu"], [None]),
        (["systems", 1, "paper_bleu", 0], [-3, 0.5]),
        (["systems", 1, "origin"], ABSENT_TOO),
    ],
)
def test_scores_of_wrong_types_are_refused(scores, tmp_path, place, fitting):
    """And what is accepted is what tables can be made of."""
    path = tmp_path / "scores.json"
    for value in ODD_VALUES:
        content = copy.deepcopy(scores)
        inside = content
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value
        path.write_text(json.dumps(content), encoding="utf-8")
        if any(type(value) is type(fits) and value == fits for fits in fitting):
            report = score_report.read_scores(path)
            assert ", ".join(report.references) in score_report.format_table(report)
            continue
        with pytest.raises(UserError, match=r"scores\.json is not what .*; make it anew") as refusal:
            score_report.read_scores(path)
        assert len(str(refusal.value)) < 400 and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda content: content.update(baseline="other"), r"its baseline 'other' is not one of .*baseline, R-Drop"),
        (lambda content: content["systems"].append(content["systems"][1]), "two systems named 'R-Drop'"),
        (lambda content: content["systems"].clear(), "its baseline 'baseline' is not one of its systems .none"),
        (lambda content: content.pop("seed"), "it lacks seed"),
        (
            lambda content: content["systems"][1]["metrics"]["BLEU"].pop("mean"),
            r"lacks systems\[1\]\.metrics\.BLEU\.mean",
        ),
        (lambda content: content.update(other=1), "it has an unknown entry other"),
        (
            lambda content: content["systems"][1]["metrics"]["BLEU"].update(p_value=1.5),
            "BLEU of 'R-Drop' cannot have .* 1.5",
        ),
        (
            lambda content: content["systems"][0]["metrics"]["chrF2"].update(p_value=0.5),
            "chrF2 of 'baseline' cannot have .* 0.5",
        ),
        (
            lambda content: content["systems"][1]["metrics"]["chrF2"].update(score="9"),
            r'systems\[1\]\.metrics\.chrF2\.score is "9", not a fi',
        ),
        (
            lambda content: content["systems"][1].update(paper_bleu=[1]),
            r"systems\[1\]\.paper_bleu is \[1\], not a list",
        ),
        (lambda content: content.update(sentences=0), "it has no references, sentences or"),
        (lambda content: content.update(significance="t"), "its test 't' is none of bootstrap, approximate-randomis"),
        (lambda content: content["systems"][1]["metrics"].pop("BLEU"), "it has signatures of BLEU, chrF2, and of oth"),
        (lambda content: content.update(references=[]), "it has no references, sentences or"),
    ],
)
def test_scores_that_contradict_themselves_are_refused(scores, tmp_path, change, message):
    content = copy.deepcopy(scores)
    change(content)
    files.write_json(tmp_path / "scores.json", content)
    with pytest.raises(UserError, match=message):
        score_report.read_scores(tmp_path / "scores.json")


def test_json_onto_a_device_leaves_the_device(texts):
    arguments = ["--reference", str(texts / "reference.de"), "--system", f"a={texts / 'good'}", "--resamples", "2"]
    score.main([*arguments, "--json", os.devnull])
    assert not os.path.isfile(os.devnull)


BAD_FILES = {
    "short": "nur eine Zeile\n".encode(),
    "latin1": "Stra\u00dfe\n".encode("latin-1") * 120,
    "empty": b"",
    "blank": b"\n" * 120,
    "pieces": "\u2581Ein \u2581Haus\n".encode() * 120,
    "bpe": b"Ei@@ n Ha@@ us\n" * 120,
}


@pytest.mark.parametrize(
    "name, message",
    [
        ("short", "short has 1 lines and the reference has 120"),
        ("latin1", "latin1, line 1: not UTF-8 .*convert the file to UTF-8"),
        ("empty", "empty is empty"),
        ("blank", "blank is empty"),
        ("pieces", "pieces is still split into subwords .*--post-process sentencepiece"),
        ("bpe", "bpe is still split into subwords .*--post-process subword_nmt"),
        ("absent", "no such file"),
    ],
)
def test_bad_files_are_refused(texts, tmp_path, name, message):
    if name in BAD_FILES:
        (tmp_path / name).write_bytes(BAD_FILES[name])
    output = tmp_path / "scores.json"
    output.write_text("an older result", encoding="utf-8")
    arguments = ["--reference", str(texts / "reference.de"), "--json", str(output)]
    with pytest.raises(UserError, match=message) as refusal:
        score.main([*arguments, "--system", f"a={texts / 'good'}", "--system", f"b={tmp_path / name}"])
    assert "\n" not in str(refusal.value)
    assert output.read_text(encoding="utf-8") == "an older result"
    if name not in ("short", "absent"):  # the same as the reference
        with pytest.raises(UserError, match=message):
            score.main(["--reference", str(tmp_path / name), "--system", f"a={tmp_path / name}"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--system", "a=good", "--system", "a=bad"], "the name 'a' is given twice"),
        (["--system", "a=good", "--baseline", "b"], "unknown baseline 'b'; the systems are: a"),
        (["--system", "good"], "expected NAME=PATH"),
        (["--system", "a|b=good"], "the name 'a|b' must begin"),
        (["--system", "=good"], "the name '' must begin"),
        (["--system", "a=good", "--seed", "0"], "argument --seed: '0' is not a whole number above 0; see python -m"),
        (["--system", "a=good", "--resamples", "0"], "argument --resamples: '0' is not a whole number above 0"),
        (["--system", "a=good", "--resamples", "x"], "argument --resamples: 'x' is not a whole number above 0; see py"),
        (
            ["--system", "a=good", "--resamples", "1000000000"],
            "--resamples 1000000000: give a number from 1 to 10000",
        ),
        (["--system", "a=good", "--paper-bleu"], "BLEU on tokens needs the language of the tokens; give --target-lang"),
        (["--system", "a=good", "--detokenise"], "--detokenise needs the language of the tokens; give --target-lang"),
        (["--system", "a=good", "--markdown", "reference.de"], "reference.de is read here, or written twice"),
        (["--system", "a=good", "--json", "./good"], "good is read here, or written twice; give --json and --markd"),
        (["--system", "a=good", "--json", "new", "--markdown", "new"], "new is read here, or written twice"),
        ([], "the following arguments are required: --system"),
    ],
)
def test_wrong_arguments_are_refused(texts, monkeypatch, arguments, message):
    monkeypatch.chdir(texts)
    with pytest.raises(UserError, match=message):
        score.main(["--reference", "reference.de", *arguments])


def test_command_ends_with_one_line_and_status_1(texts):
    result = fairseq_tools.run(
        "python", "-m", "rdrop_fairseq.evaluation.score", "--reference", texts / "reference.de",
        "--system", "a=absent.txt", fails=True,
    )  # fmt: skip
    assert result.returncode == 1 and result.stdout == ""
    assert fairseq_tools.last_line(result.stderr) == "no such file: absent.txt; check the path"
    assert "Traceback" not in result.stderr
