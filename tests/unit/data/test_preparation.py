"""One recipe in one folder: what is refused before anything is written, what is noted, and text of every kind."""

import json
import shutil

import pytest
import sentencepiece
from official_archives import newstests, sentences, text

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.binarised_data import read_preparation
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.data.recipes import RECIPES, text_recipe
from rdrop_fairseq.data.subwords import decode, join_words

VOCABULARY_SIZE = 46


@pytest.fixture
def folder(parallel_text, tmp_path):
    return shutil.copytree(parallel_text, tmp_path / "text")


def preparation(folder, output, size=VOCABULARY_SIZE, **options):
    return Preparation(text_recipe("en", "de", folder, size, options.pop("test_set", None)), output, "test", **options)


@pytest.fixture(scope="module")
def prepared(parallel_text, tmp_path_factory):
    """A folder of text with everything done."""
    folder = shutil.copytree(parallel_text, tmp_path_factory.mktemp("a folder & more") / "text $(x)")
    for language in ("en", "de"):
        shutil.copy(parallel_text / f"test.{language}", folder / f"test_2016.{language}")
    output = tmp_path_factory.mktemp("prepared") / "out"
    preparation(folder, output, test_set="test_2016").run()
    return folder, output


def test_from_a_folder_of_text_to_binarised_data(prepared, capsys):
    folder, output = prepared
    record = read_preparation(output / "bin")
    assert (record.recipe, record.tokenizer, record.lowercase) == ("text", None, False)
    assert record.sentences == {"train": 80, "valid": 20, "test": 15} and record.test_set == "test_2016"
    for name, original in (("source.en", "test_2016.en"), ("reference.de", "test_2016.de")):
        assert (output / "bin" / name).read_bytes() == (folder / original).read_bytes()
    model = output / "bin" / "sentencepiece.model"
    assert sentencepiece.SentencePieceProcessor(model_file=str(model)).get_piece_size() == VOCABULARY_SIZE
    for name in ("dict.en.txt", "dict.de.txt", "train.en-de.en.bin", "valid.en-de.de.idx", "test.en-de.de.bin"):
        assert (output / "bin" / name).is_file()
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.name != ".lock"}
    assert preparation(folder, output, test_set="test_2016").run() == output / "bin"
    said = [line.split(" test: ")[1] for line in capsys.readouterr().err.splitlines()]
    titles = ["checking the text", "learning 46 sub-words", "splitting into sub-words", "binarising"]
    assert said == [*(f"{title}: done before" for title in titles), f"done: {output}/bin"]
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.name != ".lock"} == before


def test_other_text_or_settings_are_refused(prepared, tmp_path):
    folder, output = prepared
    changed = shutil.copytree(folder, tmp_path / "changed")
    for other in (
        preparation(folder, output, 47, test_set="test_2016"),
        preparation(changed, output, test_set="test_2016"),
    ):
        with pytest.raises(UserError, match="was made with other settings .*choose another folder with --output-dir"):
            other.run()


def test_text_may_be_corrected_while_nothing_lasts(folder, tmp_path):
    """What lasts is for the caller to say, who may have trained on the data."""
    preparation(folder, tmp_path / "out", lasting=["trained"]).run(last_stage="apply")
    lines = (folder / "train.en").read_text().splitlines()
    (folder / "train.en").write_text("\n".join([*lines[:-1], "corrected"]) + "\n")
    preparation(folder, tmp_path / "out", lasting=["trained"]).run(last_stage="apply")
    assert decode((tmp_path / "out" / "subwords" / "train.en").read_text().splitlines()[-1]) == "corrected"
    (tmp_path / "out" / "trained").touch()
    (folder / "train.en").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="was made with other settings"):
        preparation(folder, tmp_path / "out", lasting=["trained"]).run(last_stage="apply")


def test_the_sample_corpus(tmp_path, monkeypatch):
    recipe = text_recipe("en", "de", None, 2000)
    Preparation(recipe, tmp_path / "out", "test", workers=1).run(last_stage="text")
    assert (tmp_path / "out" / "raw" / "test.de").read_text(encoding="utf-8").count("\n") == 500
    with pytest.raises(UserError, match="the sample corpus is en-de; give --data for en-fr"):
        text_recipe("en", "fr", None, 2000)


HOSTILE = [
    "\x00 NUL \x01",
    "separators\x0bin\x0cside\x1ca\x1dline\x1e\x85\u2028\u2029 \r end",
    "</s> <s> <unk> <pad> #fairseq:overwrite",
    "\u2581 the mark \u2581itself\u2581",
    "",
    " \t ",
    "no\u00a0break\u3000space  and   runs",
    "w" * 100_000,
    "word " * 20_000,
    "\u00bd \ufb01 e\u0301 \U0001f600",
    "@@ @-@ &quot; | [ ] $( ) ` ' \"",
]


def test_hostile_text(folder, tmp_path):
    """Nothing in a line ends it, is taken for a mark of fairseq's or SentencePiece's, or is rewritten."""
    for language, other in (("en", HOSTILE), ("de", HOSTILE[::-1])):
        content = (folder / f"train.{language}").read_text() + "".join(f"{line}\n" for line in other)
        ends = "\r\n" if language == "en" else "\n"
        (folder / f"train.{language}").write_bytes(("\ufeff" + content.replace("\n", ends)).encode())
    output = tmp_path / "o u't $(x) & \u00fc"
    preparation(folder, output, 200, workers=2).run(last_stage="apply")
    pieces = (output / "subwords" / "train.en").read_bytes().decode().split("\n")[:-1]
    assert len(pieces) == 80 + len(HOSTILE)
    for line, original in zip(pieces[80:], HOSTILE):
        assert decode(line) == join_words(original).replace("\u2581", " ").strip()
        assert line.split(" ") == line.split() or not line, "fairseq splits at any white space"


def test_hostile_text_in_a_recipe(tmp_path):
    """Cleaned, and tokenised as Moses does: both sides keep the same pairs, and every line has text."""
    raw = tmp_path / "r'a w $(x) &"
    raw.mkdir()
    newstests(raw, "de")
    hostile = [line for line in HOSTILE if line.strip()]
    for language in ("en", "de"):
        lines = [*sentences(language, 60, 1), *HOSTILE, *(line for line in reversed(hostile))]
        (raw / f"mine.{language}").write_bytes(text(lines))
    output = tmp_path / "out"
    work = Preparation(
        RECIPES["wmt14_en_de"], output, "test", raw_dir=raw, corpus_prefixes=["mine"], vocabulary_size=150, workers=2
    )
    work.run(last_stage="apply")
    report = json.loads((output / "clean" / "cleaning.json").read_text())
    # The two without text; words of 20,000 to a line, twice; and each hostile line the second time.
    assert report["dropped"]["empty"] == 2 and report["dropped"]["too long"] == 2
    assert report["dropped"]["duplicate"] >= len(hostile) - 1
    counts = []
    for language in ("en", "de"):
        lines = (output / "subwords" / f"train.{language}").read_bytes().decode().split("\n")[:-1]
        assert all(line and line.split(" ") == line.split() for line in lines)
        counts.append(len(lines))
    assert counts == [report["kept"]] * 2
    (raw / "mine.de").write_bytes(b"fine\n\xff\n")
    shutil.rmtree(output)
    with pytest.raises(UserError, match="mine.de, line 2: not UTF-8"):
        work.run(last_stage="extract")


def test_pairs_with_an_empty_side_are_told(folder, tmp_path, capsys):
    for language in ("en", "de"):
        with open(folder / f"train.{language}", "a") as stream:
            stream.write("\n" if language == "en" else "text\n")
    preparation(folder, tmp_path / "out").run(last_stage="text")
    assert "train: 81 sentence pairs, 1 of them with an empty side (the first in line 81)" in capsys.readouterr().err


def add_line(folder):
    with open(folder / "valid.de", "a") as stream:
        stream.write("too many\n")


def spoil_encoding(folder):
    (folder / "train.en").write_bytes(b"fine\nna\xefve\n")


BAD_FOLDERS = {
    "line counts": (add_line, "valid.en has 20 lines but .*valid.de has 21; .* aligned"),
    "empty": (lambda folder: (folder / "test.en").write_bytes(b""), "test.en holds no text"),
    "blank": (lambda folder: (folder / "test.en").write_text("\n \n"), "test.en holds no text"),
    "not UTF-8": (spoil_encoding, r"train.en, line 2: not UTF-8 .*; convert"),
    "no split": (lambda folder: [(folder / f"test.{lang}").unlink() for lang in ("en", "de")], "no test.en in"),
    "half a split": (lambda folder: (folder / "train.de").unlink(), "no train.de in .*--target-lang"),
    "no folder": (shutil.rmtree, "no folder"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
@pytest.mark.parametrize("method", ["check", "run"])
def test_bad_text_is_named_with_a_remedy_and_nothing_written(folder, tmp_path, case, method):
    spoil, message = BAD_FOLDERS[case]
    spoil(folder)
    with pytest.raises(UserError, match=message):
        getattr(preparation(folder, tmp_path / "out"), method)()
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_size_that_does_not_suit_can_be_corrected(folder, tmp_path):
    with pytest.raises(UserError, match=r"cannot learn 5000 sub-words .*--vocab-size .*<= \d+"):
        preparation(folder, tmp_path / "out", 5000).run()
    assert not (tmp_path / "out" / "subwords" / "sentencepiece.model").exists()
    preparation(folder, tmp_path / "out").run(last_stage="learn")


def test_output_below_a_file_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        preparation(folder, tmp_path / "file" / "out").run()


@pytest.mark.parametrize(("options", "message"), [
    ({"raw_dir": "absent"}, "no folder .*absent; give --raw-dir a folder that exists"),
    ({"tokenised_dir": "absent"}, "no folder .*absent; give --tokenised-dir a folder that exists"),
    ({"table": "absent"}, "no such file: .*absent; check the path"),
    ({"corpus_prefixes": ["mine"]}, "--corpus chooses files of a folder; name the folder with --raw-dir"),
    ({"corpus_prefixes": ["mine"], "raw_dir": "."}, "no mine.de in .*--corpus takes the name of two files there"),
    ({"vocabulary_size": 0}, "--vocab-size takes a whole number above 0, not 0"),
    ({"workers": 0}, "--workers takes a whole number above 0, not 0"),
    ({"output": "a:b"}, "for several paths, because of its :; choose another --place"),
])  # fmt: skip
def test_mistakes_are_found_before_anything_is_written(tmp_path, options, message):
    for name in ("raw_dir", "tokenised_dir", "table"):
        if name in options:
            options[name] = tmp_path / options[name]
    output = tmp_path / options.pop("output", "out")
    with pytest.raises(UserError, match=message):
        Preparation(RECIPES["iwslt14_de_en"], output, "test", place_option="--place", **options).check()
    assert not output.exists()


def test_stages():
    assert RECIPES["wmt14_en_de"].stages == ("download", "extract", "clean", "tokenise", "learn", "apply", "binarise")
    assert RECIPES["iwslt14_de_en"].stages == ("download", "extract", "tokenise", "clean", "learn", "apply", "binarise")
    assert RECIPES["multi30k_en_de"].stages == ("download", "extract", "learn", "apply", "binarise")
    assert text_recipe("en", "de", None, 2000).stages == ("text", "learn", "apply", "binarise")


def test_what_is_noted_of_the_settings(tmp_path):
    """As version 0.1 did in bash, whose folders are continued."""
    (tmp_path / "table").write_bytes(b"part - - http://x/y\n")
    for prefixes, noted in ((["a b", "it's"], r"a\ b it\'s"), (["a", "b"], "a b"), ([], "all")):
        options = {"raw_dir": tmp_path, "corpus_prefixes": prefixes, "table": tmp_path / "table"}
        assert Preparation(RECIPES["wmt14_en_de"], tmp_path / "out", "test", **options)._settings() == [
            "recipe wmt14_en_de en-de",
            "sub-words 32000",
            f"raw text {tmp_path}",
            f"chosen files {noted}",
            "tokenised text made here",
            "table of archives 2258606540 20",
        ]


def test_a_mark_in_the_middle_of_forgetting(folder, tmp_path):
    """Killed while marks are removed: what is lost is missed by the next command as well."""
    work = preparation(folder, tmp_path / "out")
    work.run(last_stage="apply")
    (tmp_path / "out" / "subwords" / "sentencepiece.model").unlink()
    forgotten = []
    work._work.forget = forgotten.append
    work._forget_lost_results(work._steps.all())
    assert forgotten == ["binarise", "apply", "learn"]
