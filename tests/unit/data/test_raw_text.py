"""Raw text from archives laid out like the official ones, from extracted files, and from damaged ones."""

import gzip
import shutil

import official_archives
import pytest
from official_archives import RECIPES, newstests, sentences, text

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data import raw_text
from rdrop_fairseq.data.archives import read_table
from rdrop_fairseq.data.raw_text import RawText
from rdrop_fairseq.data.recipes import RECIPES as DATA_RECIPES


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw folder"
    folder.mkdir()
    return folder


def extract(name, raw, tmp_path, **options):
    text_of = RawText(DATA_RECIPES[name], tmp_path / "archives", raw, **options)
    text_of.get()
    text_of.extract(tmp_path / "text")
    return {path.name: path.read_text().splitlines() for path in (tmp_path / "text").iterdir()}


@pytest.mark.parametrize(("name", "target", "seeds"), [
    ("wmt14_en_de", "de", [(60, 1), (40, 2), (30, 3)]),
    ("wmt14_en_fr", "fr", [(60, 1), (30, 2), (20, 4), (20, 3), (20, 5)]),
])  # fmt: skip
def test_wmt14_puts_the_corpora_one_after_the_other(raw, tmp_path, name, target, seeds):
    """In the order of fairseq's and the published preparations: Europarl, Common Crawl, (UN,) news, (Giga-FrEn)."""
    table = RECIPES[name][0](raw)
    newstests(raw, target)
    lines = extract(name, raw, tmp_path, table=table)
    for language in ("en", target):
        assert lines[f"train.{language}"] == [line for it in seeds for line in sentences(language, *it)]
        assert lines[f"valid.{language}"] == sentences(language, 10, 21)
        assert lines[f"test.{language}"] == sentences(language, 12, 22)


def test_iwslt14_is_cut_out_of_its_markup(raw, tmp_path):
    table = official_archives.iwslt14_de_en(raw)
    lines = extract("iwslt14_de_en", raw, tmp_path, table=table)
    for language in ("de", "en"):
        assert lines[f"train.{language}"][:2] == [f"{language} title", f"TED Talk {language} ."]
        assert lines[f"train.{language}"][2:] == sentences(language, 90, 1)
        assert lines[f"test.{language}"] == [line for it in range(5) for line in sentences(language, 3, 10 + it)]


def test_extracted_files_are_taken_in_place_of_archives(raw, tmp_path):
    """Also gzipped; the archives of the other parts are still used, and the folder is only read."""
    table = official_archives.wmt14_en_de(raw)
    newstests(raw, "de")
    (raw / "training-parallel-commoncrawl.tgz").unlink()
    for language in ("de", "en"):
        (raw / f"commoncrawl.de-en.{language}.gz").write_bytes(gzip.compress(text(sentences(language, 40, 2))))
    before = sorted(raw.iterdir())
    lines = extract("wmt14_en_de", raw, tmp_path, table=table)
    assert len(lines["train.en"]) == 130 and lines["train.de"][60:100] == sentences("de", 40, 2)
    assert sorted(raw.iterdir()) == before


def test_chosen_files_need_no_archive(raw, tmp_path):
    newstests(raw, "de")
    for language in ("de", "en"):
        (raw / f"mine.{language}").write_bytes(text(sentences(language, 7, 3)))
    lines = extract("wmt14_en_de", raw, tmp_path, prefixes=["mine", "newstest2013"])
    assert lines["train.de"] == sentences("de", 7, 3) + sentences("de", 10, 21)
    with pytest.raises(UserError, match="no absent.en in .*--corpus"):
        extract("wmt14_en_de", raw, tmp_path, prefixes=["absent"])


def test_chosen_files_in_a_folder_below(raw, tmp_path):
    newstests(raw, "de")
    (raw / "below").mkdir()
    (raw / "below" / "mine.en").write_bytes(text(sentences("en", 7, 3)))
    (raw / "below" / "mine.de.gz").write_bytes(gzip.compress(text(sentences("de", 7, 3))))
    assert extract("wmt14_en_de", raw, tmp_path, prefixes=["below/mine"])["train.de"] == sentences("de", 7, 3)
    (raw / "below" / "mine.en").write_bytes(b"\xff")
    with pytest.raises(UserError, match="below/mine.en, line 1: not UTF-8"):
        extract("wmt14_en_de", raw, tmp_path, prefixes=["below/mine"])


def test_empty_files(raw, tmp_path):
    newstests(raw, "de")
    for language in ("en", "de"):
        (raw / f"newstest2014.{language}").write_bytes(b"")
    with pytest.raises(UserError, match="newstest2014.en of .* and newstest2014.de of .* hold no text"):
        extract("wmt14_en_de", raw, tmp_path, prefixes=["newstest2013"])


def test_text_of_the_user_needs_space_as_well(raw, tmp_path, monkeypatch):
    """For what is made of it; a table that knows the number of pairs tells more than the size of archives."""
    table = official_archives.wmt14_en_de(raw)
    newstests(raw, "de")
    needed = []
    monkeypatch.setattr(raw_text, "check_space", lambda folder, size, what, option: needed.append(size))
    RawText(DATA_RECIPES["wmt14_en_de"], tmp_path / "archives", raw, table=table).get()
    RawText(DATA_RECIPES["wmt14_en_de"], tmp_path / "archives", raw, prefixes=["newstest2013"]).get()
    (raw / "newstest2013.en").unlink()
    size = sum((raw / f"newstest20{name}").stat().st_size for name in ("13.de", "14.de", "14.en"))
    (raw / "newstest2013.en").write_bytes(b"x" * 10**6)
    RawText(DATA_RECIPES["wmt14_en_de"], tmp_path / "archives", raw, prefixes=["newstest2013"]).get()
    assert needed[0] == 130 * 1600 and needed[2] >= 6 * (10**6 + size) > needed[1] > 0


def test_other_numbers_of_lines(raw, tmp_path):
    newstests(raw, "de")
    (raw / "mine.en").write_bytes(text(sentences("en", 7, 3)))
    (raw / "mine.de").write_bytes(text(sentences("de", 6, 3)))
    with pytest.raises(UserError, match="mine.en of .* has 7 lines but mine.de of .* has 6"):
        extract("wmt14_en_de", raw, tmp_path, prefixes=["mine"])
    assert not (tmp_path / "text" / "train.en").exists(), "what is not aligned gets no name"


def test_another_edition_of_an_archive(raw, tmp_path):
    """The table's total is that of the published corpus."""
    table = official_archives.wmt14_en_de(raw)
    newstests(raw, "de")
    table.write_text(table.read_text().replace("pairs 130", "pairs 131"))
    with pytest.raises(UserError, match="has 130 pairs of lines and not 131"):
        extract("wmt14_en_de", raw, tmp_path, table=table)


def test_lines_without_text_count(raw, tmp_path):
    """The table's total is of lines: in the official archives some are empty, which only cleaning drops."""
    table = official_archives.wmt14_en_de(raw)
    newstests(raw, "de")
    lines = text(sentences("de", 60, 1)).splitlines(keepends=True)
    (raw / "europarl-v7.de-en.de").write_bytes(b"".join([*lines[:10], b"\n", *lines[11:]]))
    (raw / "europarl-v7.de-en.en").write_bytes(text(sentences("en", 60, 1)))
    train = extract("wmt14_en_de", raw, tmp_path, table=table)["train.de"]
    assert len(train) == 130 and train[10] == ""


def test_another_edition_of_a_test_set(raw, tmp_path, monkeypatch):
    """It is used, as it may be wanted, with a warning: its scores are no published ones."""
    table = official_archives.wmt14_en_de(raw)
    newstests(raw, "de")
    edition = DATA_RECIPES["wmt14_en_de"].corpus.test_sets
    monkeypatch.setitem(edition, "valid", edition["valid"]._replace(sentences=10))
    said = []
    extract("wmt14_en_de", raw, tmp_path, table=table, report=said.append)
    assert [line.split(";")[0] for line in said if "warning" in line] == [
        "warning: test has 12 sentences and wmt14/full has 3,003"
    ]


def test_invalid_utf8_is_refused_by_line(raw, tmp_path):
    newstests(raw, "de")
    (raw / "mine.en").write_bytes(b"good\nbad \xff\n")
    (raw / "mine.de").write_bytes(b"gut\nschlecht\n")
    with pytest.raises(UserError, match="mine.en, line 2: not UTF-8"):
        extract("wmt14_en_de", raw, tmp_path, prefixes=["mine"])


def test_archives_that_are_damaged_or_lack_a_member(raw, tmp_path):
    table = official_archives.wmt14_en_de(raw)
    newstests(raw, "de")
    name = "training-parallel-nc-v9.tgz"
    # A table without sums lets a damaged archive through to where it is read.
    unknown = raw / "unknown.txt"
    unknown.write_text(
        "".join(f"{part} - - http://x/{them[0].name}\n" for part, them in read_table(table).parts.items())
    )
    whole = (raw / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>not found</html>", b""):
        (raw / name).write_bytes(content)
        shutil.rmtree(tmp_path / "archives", ignore_errors=True)
        with pytest.raises(UserError, match=f"{name} is damaged or no archive"):
            extract("wmt14_en_de", raw, tmp_path, table=unknown)
    official_archives.tar(raw / name, {"training/news-commentary-v9.de-en.de": b"eins\n"})
    shutil.rmtree(tmp_path / "archives", ignore_errors=True)
    with pytest.raises(UserError, match=f"{name} has no member news-commentary-v9.de-en.en"):
        extract("wmt14_en_de", raw, tmp_path, table=unknown)


def test_the_right_archive_after_a_damaged_one(raw, tmp_path):
    """The sum of an archive that is cut off is not noted as the right one."""
    table = official_archives.iwslt14_de_en(raw)
    table.write_text("iwslt14 - - http://x/de-en.tgz\n")
    whole = (raw / "de-en.tgz").read_bytes()
    (raw / "de-en.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="de-en.tgz is damaged or no archive"):
        extract("iwslt14_de_en", raw, tmp_path, table=table)
    (raw / "de-en.tgz").write_bytes(whole)
    assert len(extract("iwslt14_de_en", raw, tmp_path, table=table)["train.de"]) == 92
    (raw / "de-en.tgz").write_bytes(whole[:-1] + b"x")
    with pytest.raises(UserError, match="it has SHA-256"):
        RawText(DATA_RECIPES["iwslt14_de_en"], tmp_path / "archives", raw, table=table).check()


def test_mistakes(raw, tmp_path):
    recipe = DATA_RECIPES["wmt14_en_de"]
    with pytest.raises(UserError, match="no folder"):
        RawText(recipe, tmp_path, tmp_path / "absent").check_choice()
    with pytest.raises(UserError, match="--raw-dir"):
        RawText(recipe, tmp_path, prefixes=["mine"]).check_choice()
    with pytest.raises(UserError, match="no mine.en in .*--corpus takes the name of two files there"):
        RawText(recipe, tmp_path, raw, prefixes=["mine"]).check_choice()


def test_test_sets_of_sacrebleu(raw, tmp_path, monkeypatch):
    from sacrebleu.dataset import DATASETS

    from rdrop_fairseq.data.test_sets import files_of_test_set

    with pytest.raises(UserError, match="no test set wmt99"):
        files_of_test_set("wmt99", "en", "de")
    with pytest.raises(UserError, match="no language pair en-xx; it has .*en-de"):
        files_of_test_set("wmt14/full", "en", "xx")
    dataset = DATASETS["wmt14/full"]
    monkeypatch.setattr(dataset, "_outdir", str(tmp_path / "cache"))
    monkeypatch.setattr(dataset, "_rawdir", str(tmp_path / "cache" / "raw"))
    # Nobody listens there: the error of the download becomes one line with the remedy.
    monkeypatch.setattr(dataset, "data", ["http://127.0.0.1:9/test-full.tgz"])
    with pytest.raises(UserError, match="sacreBLEU cannot get test set wmt14/full en-de .*copy its folder") as error:
        files_of_test_set("wmt14/full", "en", "de")
    assert "--raw-dir" not in str(error.value), "not every command that asks for a test set has that option"
    with pytest.raises(UserError, match="or give newstest2014.en and newstest2014.de in a folder with --raw-dir"):
        RawText(DATA_RECIPES["wmt14_en_de"], tmp_path / "archives", raw, prefixes=["x"])._test_set("test")
