"""What is refused as text, what is warned of, and that real text with a few such signs is scored."""

import random

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.moses import make_detokenise, make_tokenise
from rdrop_fairseq.evaluation.generate_output import read_translations
from rdrop_fairseq.evaluation.score import score_files
from rdrop_fairseq.evaluation.text_checks import check_text

WORDS = (
    "morning house they didn't know a well-known old street of the town with gardens \u201cat last\u201d, R&D".split()
)
GENERATOR = random.Random(3)
REFERENCE = [" ".join(GENERATOR.choices(WORDS, k=GENERATOR.randint(4, 15))) + "." for _ in range(200)]
REFERENCES = {"test.en": REFERENCE}
TEXT = [line.replace("house", "home") for line in REFERENCE]


def changed(share, change):
    """The text with this share of its lines changed."""
    count = round(share * len(TEXT))
    return [change(line) for line in TEXT[:count]] + TEXT[count:]


def read(folder, lines, references=None, **options):
    path = folder / "system.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    return read_translations(path, references or REFERENCES, **options)


tokenise = make_tokenise("en")
MARKED = {
    "bpe": (0.48, lambda line: line.replace("ow", "o@@ w").replace("e", "e@@ ", 1), "subwords .@@.; .*subword_nmt"),
    "bpe at line ends": (0.1, lambda line: f"{line}@@", "subwords .@@.; .*--post-process subword_nmt"),
    "sentencepiece": (0.4, lambda line: "\u2581" + line.replace(" ", " \u2581"), "subwords .\u2581.; .*sentencepiece"),
    "wordpiece": (0.3, lambda line: line.replace(".", " ##ing"), "subwords .##.; .*--bpe bert"),
    "moses": (1, tokenise, "tokens of Moses .*; score it with --detokenise and --target-lang, or .*--tokenizer moses"),
    "apostrophes": (0.05, lambda line: f"l&apos; {line}", "tokens of Moses"),
    "quotes": (0.05, lambda line: f"{line} &quot;", "tokens of Moses"),
    "brackets": (0.05, lambda line: f"&#91; {line} &#93;", "tokens of Moses"),
    "dashes": (0.05, lambda line: f"{line} @-@", "tokens of Moses"),
    "blanks for tabs": (
        1,
        lambda line: f"D-{len(line)} -0.25 {line}",
        "blanks in place of tabs; give the output of fair",
    ),
    "first and third column": (1, lambda line: f"D-{len(line)}\t{line}", "columns cut"),
    "second column": (1, lambda line: "-0.25", "the scores of fairseq-generate in it; give"),
    "second and third column": (1, lambda line: f"-1.5e-05\t{line}", "the scores of fairseq-generate in it"),
}


@pytest.mark.parametrize("name", MARKED)
def test_what_is_no_text_is_refused(tmp_path, name):
    share, change, message = MARKED[name]
    with pytest.raises(UserError, match=rf"system\.txt (is still split|has) .*{message}") as refusal:
        read(tmp_path, changed(share, change))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", MARKED)
def test_a_few_marks_are_no_reason_to_refuse_but_to_warn(tmp_path, name):
    lines, warnings = read(tmp_path, changed(0.02, MARKED[name][1]))
    assert len(lines) == 200 and len(warnings) >= 1
    assert all("system.txt" in warning and "\n" not in warning for warning in warnings)
    assert warnings[0].startswith("4 of 200 lines of ") or name == "moses"
    # In the reference too, they belong to the text.
    references = {"test.en": changed(0.02, MARKED[name][1])}
    assert check_text(references["test.en"], "test.en") == []
    assert read(tmp_path, references["test.en"], references).warnings == []


def test_ordinary_text_has_no_marks(tmp_path):
    lines = [
        "D-Zug, T-34, S-Bahn",
        "-5 degrees",
        "A&B &amp;co, AT&amp;T",
        "#1 ##",
        "it@home @@ x",
        "x=&apos;a&apos;, &quot;b&quot;",
        "-0.5x",
    ]
    assert read(tmp_path, lines * 30, {"test.en": ["reference line"] * 210}) == (lines * 30, [])


@pytest.mark.parametrize("mark, flag", [("@@ ", "subword_nmt"), ("\u2581", "sentencepiece")])
def test_most_lines_of_a_tiny_file(tmp_path, mark, flag):
    references = {"reference": ["a b"] * 5}
    marked = f"a{mark}b"
    assert len(read(tmp_path, [marked, marked, "a b", "a b", ""], references).warnings) == 1
    with pytest.raises(UserError, match=f"subwords .*{flag}"):
        read(tmp_path, [marked, marked, marked, "a b", ""], references)


def test_references_in_tokens_are_warned_of_and_may_be_met_by_tokens(tmp_path):
    tokens = list(map(tokenise, REFERENCE))
    (warning,) = check_text(tokens, "test.en")
    assert "test.en has tokens of Moses" in warning and "--reference" in warning
    assert read(tmp_path, map(tokenise, TEXT), {"test.en": tokens}).lines == list(map(tokenise, TEXT))
    for name in ("bpe", "sentencepiece", "blanks for tabs"):
        with pytest.raises(UserError, match=r"test\.en (is|has)"):
            check_text(changed(*MARKED[name][:2]), "test.en")


def test_tokens_are_joined_before_they_are_looked_at(tmp_path):
    lines, warnings = read(tmp_path, map(tokenise, TEXT), detokenise=make_detokenise("en"))
    assert not any("&apos;" in line for line in lines) and warnings == []


def log(references, hypotheses=None, order=None):
    lines = []
    for index in order or sorted(range(len(references)), key=lambda index: len(references[index])):
        text = (hypotheses or TEXT)[index]
        lines += [f"S-{index}\tquelle", f"T-{index}\t{references[index]}", f"H-{index}\t-0.1\t{text}"]
        lines += [f"D-{index}\t-0.1\t{text}", f"P-{index}\t-0.1"]
    return [*lines, "Generate test with beam=5: BLEU4 = 1.00, 71.2/54.6/37.2/27.2 (BP=0.6)"]


def test_references_of_another_set_are_refused(tmp_path):
    assert read(tmp_path, log(REFERENCE)) == (TEXT, [])
    others = random.Random(1).sample(REFERENCE, 200)
    words = [
        " ".join(chr(ord(character) + 1) if character.isalpha() else character for character in line) for line in others
    ]
    partly = REFERENCE[:150] + words[150:]
    for references, number, first in ((words, 200, 1), (partly, 50, 151)):
        with pytest.raises(UserError) as refusal:
            read(tmp_path, log(references))
        assert f"(its T- lines) are not those of test.en: {number} of 200 differ, the first in line {first};" in str(
            refusal.value
        )
        assert "system.txt" in str(refusal.value) and "\n" not in str(refusal.value)
    assert read(tmp_path, log(words), {"a": REFERENCE, "b": words}).lines == TEXT, "one of several references is enough"
    # The way out that the message names.
    assert read(tmp_path, [line for line in log(words) if line[0] == "D"]).lines == TEXT


@pytest.mark.parametrize(
    "change",
    [
        str.lower,
        tokenise,
        lambda line: line.replace("morning", "<<unk>>").replace("street", "<<unk>>"),
        lambda line: "<<unk>>",
        lambda line: line.replace("house", "ho@@ u@@ se"),
        lambda line: " ".join(f"\u2581{word}" for word in line.split()),
        lambda line: line.replace("\u201c", '"').replace("o", "o\u0308"),
    ],
)
def test_references_as_data_have_them_are_known_again(tmp_path, change):
    assert read(tmp_path, log([change(line) for line in REFERENCE])) == (TEXT, [])


def test_few_references_may_have_been_corrected(tmp_path):
    assert read(tmp_path, log([*REFERENCE[:196], "xxxx", "yyyyy", "zzzzzz", "qqqqqqq"])).lines == TEXT


def test_sentences_in_the_order_of_a_log_are_warned_of(tmp_path):
    cut = [line.split("\t")[2] for line in log(REFERENCE) if line[0] == "D"]
    assert sorted(cut) == sorted(TEXT) and cut != TEXT
    (warning,) = read(tmp_path, cut).warnings
    assert warning.startswith("the lines of ") and "by chance only (correlation" in warning
    assert read(tmp_path, ["same length"] * 200).warnings == []
    assert read(tmp_path, cut[:99], {"test.en": REFERENCE[:99]}).warnings == [], "too few to tell"


def test_translations_that_are_all_empty_have_a_score(tmp_path):
    """As those of a model early in training; after two trainings an error would be worse than a 0."""
    (tmp_path / "reference").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (tmp_path / "log").write_text("\n".join(log(["one", "two", "three"], ["", "", ""])) + "\n", encoding="utf-8")
    report = score_files(tmp_path / "reference", {"a": tmp_path / "log"}, resamples=20)
    assert report.systems[0].metrics["BLEU"].score == 0
    assert report.warnings == (f"{tmp_path / 'log'}: every translation is empty",)
