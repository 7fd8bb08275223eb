"""Checking a folder of parallel text and splitting it into sub-words."""

import shutil

import pytest
import sentencepiece

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data import parallel_text as texts
from rdrop_fairseq.data.prepare import main, prepare

VOCABULARY_SIZE = 46


@pytest.fixture
def folder(parallel_text, tmp_path):
    return shutil.copytree(parallel_text, tmp_path / "text")


def run(folder, output, **options):
    prepare(folder, "en", "de", output, options.pop("vocabulary_size", VOCABULARY_SIZE), **options)


def test_subwords_join_to_the_text_again(folder, tmp_path):
    with open(folder / "train.de", "ab") as stream:
        stream.write("ein\u00a0geschütztes  Leerzeichen und ½ ﬁ\n".encode())
    with open(folder / "train.en", "ab") as stream:
        stream.write(b"a line\r\n")
    output = tmp_path / "out"
    run(folder, output, vocabulary_size=120)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(output / "sentencepiece.model"))
    assert processor.get_piece_size() == 120
    for split in ("train", "valid", "test"):
        for language in ("en", "de"):
            raw = list(texts.normalised_lines(folder / f"{split}.{language}"))
            pieces = (output / f"{split}.{language}").read_text(encoding="utf-8").split("\n")[:-1]
            assert [line.replace(" ", "").replace("\u2581", " ").strip() for line in pieces] == raw
    # White space becomes a blank; no character is rewritten.
    assert list(texts.normalised_lines(folder / "train.de"))[-1] == "ein geschütztes Leerzeichen und ½ ﬁ"
    assert (output / "reference.de").read_bytes() == (folder / "test.de").read_bytes()
    assert (output / "source.en").read_bytes() == (folder / "test.en").read_bytes()


def test_only_line_feeds_end_lines(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffone\u2028still one\x0bstill one\rstill one\ntwo\r\nthree".encode())
    assert list(texts.read_lines(path)) == ["one\u2028still one\x0bstill one\rstill one", "two", "three"]


def test_splits_are_found_under_their_usual_names(folder):
    for language in ("en", "de"):
        (folder / f"valid.{language}").rename(folder / f"val.{language}")
        (folder / f"test.{language}").rename(folder / f"test_2016.{language}")
    splits = texts.find_splits(folder, "en", "de")
    assert splits["valid"] == (folder / "val.en", folder / "val.de")
    assert splits["test"] == (folder / "test_2016.en", folder / "test_2016.de")
    for language in ("en", "de"):
        shutil.copy(folder / f"test_2016.{language}", folder / f"test_2017.{language}")
    with pytest.raises(UserError, match="several test sets: test_2016, test_2017; choose one with --test-set"):
        texts.find_splits(folder, "en", "de")
    assert texts.find_splits(folder, "en", "de", "test_2017")["test"][0] == folder / "test_2017.en"


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
def test_bad_text_is_named_with_a_remedy_and_nothing_written(folder, tmp_path, case):
    spoil, message = BAD_FOLDERS[case]
    spoil(folder)
    with pytest.raises(UserError, match=message):
        run(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_and_equal_languages(folder, tmp_path):
    with pytest.raises(UserError, match=r"no train.xx in .*--source-lang"):
        prepare(folder, "xx", "de", tmp_path / "out", VOCABULARY_SIZE)
    with pytest.raises(UserError, match="both en"):
        prepare(folder, "en", "en", tmp_path / "out", VOCABULARY_SIZE)


def test_unsuitable_vocabulary_size_tells_the_limit(folder, tmp_path):
    with pytest.raises(UserError, match=r"cannot learn 5000 sub-words .*--vocab-size .*<= \d+"):
        run(folder, tmp_path / "out", vocabulary_size=5000)
    assert not (tmp_path / "out" / "sentencepiece.model").exists()


def test_output_below_a_file_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        run(folder, tmp_path / "file" / "out")


def test_command_line(folder, tmp_path):
    main(
        ["--data", str(folder), "--source-lang", "en", "--target-lang", "de", "--output", str(tmp_path / "out")]
        + ["--vocab-size", str(VOCABULARY_SIZE)]
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["reference.de", "sentencepiece.model", "source.en"]
        + [f"{split}.{language}" for split in ("train", "valid", "test") for language in ("en", "de")]
    )
