"""Finding the files of a parallel corpus, checking that they are aligned, and dividing them."""

import shutil

import pytest
from official_archives import text

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.text import iterate_lines
from rdrop_fairseq.data.parallel_text import check_pair, find_splits, numbered_pairs, split_off


@pytest.fixture
def folder(parallel_text, tmp_path):
    return shutil.copytree(parallel_text, tmp_path / "text")


def pair_of(folder, source, target):
    paths = folder / "some.en", folder / "some.de"
    for path, lines in zip(paths, (source, target)):
        path.write_bytes(text(lines))
    return paths


def test_only_line_feeds_end_lines(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffone\u2028still one\x0bstill one\rstill one\ntwo\r\nthree".encode())
    assert list(iterate_lines(path)) == ["one\u2028still one\x0bstill one\rstill one", "two", "three"]


def test_splits_are_found_under_their_usual_names(folder):
    for language in ("en", "de"):
        (folder / f"valid.{language}").rename(folder / f"val.{language}")
        (folder / f"test.{language}").rename(folder / f"test_2016.{language}")
    splits = find_splits(folder, "en", "de")
    assert splits["valid"] == (folder / "val.en", folder / "val.de")
    assert splits["test"] == (folder / "test_2016.en", folder / "test_2016.de")
    for language in ("en", "de"):
        shutil.copy(folder / f"test_2016.{language}", folder / f"test_2017.{language}")
    with pytest.raises(UserError, match="several test sets: test_2016, test_2017; choose one with --test-set"):
        find_splits(folder, "en", "de")
    assert find_splits(folder, "en", "de", "test_2017")["test"][0] == folder / "test_2017.en"


def test_missing_and_equal_languages(folder):
    with pytest.raises(UserError, match=r"no train.xx in .*--source-lang"):
        find_splits(folder, "xx", "de")
    with pytest.raises(UserError, match="both en"):
        find_splits(folder, "en", "en")


def test_pairs_with_an_empty_side_are_counted(tmp_path):
    count = check_pair(*pair_of(tmp_path, ["a", "b", " ", "", "e"], ["u", "", "w", "\u2003", "y"]))
    assert count == (5, 3, 2)
    assert str(count) == "5 sentence pairs, 3 of them with an empty side (the first in line 2)"
    assert str(check_pair(*pair_of(tmp_path, ["a"] * 1234, ["b"] * 1234))) == "1,234 sentence pairs"


@pytest.mark.parametrize(("source", "target", "message"), [
    (["a", "b"], ["c"], "some.en has 2 lines but .*some.de has 1; .* aligned"),
    (["a"], ["c", "d", "e"], "some.en has 1 lines but .*some.de has 3; .* aligned"),
    ([], ["c"], "some.en holds no text"),
    (["a", "b"], [" ", "\u3000"], "some.de holds no text"),
])  # fmt: skip
def test_pairs_that_are_none(tmp_path, source, target, message):
    with pytest.raises(UserError, match=message):
        check_pair(*pair_of(tmp_path, source, target))


def test_what_is_aligned_comes_before_the_error(tmp_path):
    pairs = numbered_pairs(pair_of(tmp_path, ["a", "b"], ["c", "d", "e"]))
    assert [next(pairs), next(pairs)] == [(1, ("a", "c")), (2, ("b", "d"))]
    with pytest.raises(UserError, match="has 2 lines but .* has 3"):
        next(pairs)


def test_every_third_pair_is_for_validation(tmp_path):
    for path in pair_of(tmp_path, [f"a{number}" for number in range(1, 8)], [f"b{number}" for number in range(1, 8)]):
        split_off(path.rename(path.with_name(f"train{path.suffix}")), tmp_path / "out", 3)
    assert (tmp_path / "out" / "valid.en").read_text() == "a3\na6\n"
    assert (tmp_path / "out" / "train.de").read_text() == "b1\nb2\nb4\nb5\nb7\n"
