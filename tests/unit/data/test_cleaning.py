"""Which pairs are dropped, and what the report says of them."""

import json
import random
import resource

import pytest
from official_archives import text

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.cleaning import Rules, as_text, clean

PAIRS = [
    ("a b c", "x y z"),  # 1
    ("", "x"),
    (" \t", "x"),
    ("a", ""),
    ("a b c d e f", "u v w x y z"),  # 5: longer than 5
    ("a b", "x y z"),  # a ratio of exactly 1.5 is kept
    ("a b c d", "x y"),
    ("a b c", "x y z"),  # 8: as 1
    ("a b c", "x y other"),
    ("a b c d e f", "u v w x y z"),  # 10: too long before it is a duplicate
    ("a b", "x y z"),  # 11: as 6
]


@pytest.fixture
def files(tmp_path):
    for side, language in enumerate(("en", "de")):
        (tmp_path / f"train.{language}").write_bytes(text([pair[side] for pair in PAIRS]))
    return tmp_path


def paths(folder, name):
    return folder / f"{name}.en", folder / f"{name}.de"


def test_each_pair_is_dropped_for_its_first_reason(files):
    result = clean(
        paths(files, "train"), paths(files / "out", "train"), Rules(5, 1.5, True), files / "out" / "cleaning.json"
    )
    report = json.loads((files / "out" / "cleaning.json").read_text())
    assert report["read"] == 11 and report["kept"] == 3
    assert report["dropped"] == {"empty": 3, "too long": 2, "length ratio": 1, "duplicate": 2}
    assert report["examples"] == {"empty": [2, 3, 4], "too long": [5, 10], "length ratio": [7], "duplicate": [8, 11]}
    kept = [PAIRS[number - 1] for number in (1, 6, 9)]
    for side, path in enumerate(paths(files / "out", "train")):
        assert path.read_bytes() == text([pair[side] for pair in kept])
    assert report == result
    printed = (files / "out" / "cleaning.txt").read_text()
    assert printed == as_text(result)
    assert "dropped: duplicate" in printed and "such as lines 8, 11" in printed and "27.27%" in printed
    assert sorted(path.name for path in (files / "out").iterdir()) == [
        "cleaning.json",
        "cleaning.txt",
        "train.de",
        "train.en",
    ]


def test_the_report_has_the_first_five_examples(tmp_path):
    for path in paths(tmp_path, "train"):
        path.write_bytes(text(["kept", *[""] * 7]))
    report = clean(paths(tmp_path, "train"), paths(tmp_path, "out"), Rules(5, 3, False), tmp_path / "report.json")
    assert report["dropped"]["empty"] == 7 and report["examples"] == {"empty": [2, 3, 4, 5, 6]}


@pytest.mark.parametrize(("max_length", "ratio"), [(0, 1.5), (5, 0.9), (5, float("nan")), (float("nan"), 2)])
def test_rules_that_keep_nothing(max_length, ratio):
    with pytest.raises(UserError, match="give numbers of at least 1"):
        Rules(max_length, ratio, False)


def test_duplicates_may_stay(files):
    report = clean(paths(files, "train"), paths(files, "out"), Rules(5, 1.5, False), files / "report.json")
    assert report["kept"] == 5 and report["dropped"]["duplicate"] == 0


def test_duplicates_as_a_set_finds_them(tmp_path):
    """Many pairs, against the obvious way of doing it."""
    generator = random.Random(1)
    pairs = [(f"a{generator.randrange(700)}", f"b{generator.randrange(3)}") for _ in range(3000)]
    for side, path in enumerate(paths(tmp_path, "train")):
        path.write_bytes(text([pair[side] for pair in pairs]))
    clean(paths(tmp_path, "train"), paths(tmp_path, "out"), Rules(5, 1.5, True), tmp_path / "report.json")
    expected = list(dict.fromkeys(pairs))
    assert len(expected) < len(pairs)
    assert [tuple(it) for it in zip(*(path.read_text().split() for path in paths(tmp_path, "out")))] == expected


def test_what_does_not_show_is_no_text(tmp_path):
    """A tokeniser drops control characters, and would leave an empty line of them."""
    lines = ["\x01", "\u200b", " \x01 \u200b\u2028\xad", "\x85", "\u200bx", "\xa0-\x01", "x"]
    for other, path in zip((lines, ["y"] * 7), paths(tmp_path, "train")):
        path.write_bytes(text(other))
    report = clean(paths(tmp_path, "train"), paths(tmp_path, "out"), Rules(5, 3, False), tmp_path / "report.json")
    assert report["dropped"]["empty"] == 4 and report["kept"] == 3


def test_a_full_disk_ends_in_one_line(files):
    """Here a limit of the size of files, which fails in the same places."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in (10, 20):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(UserError, match="cannot write .*; free space or choose another folder"):
                clean(paths(files, "train"), paths(files / "out", "train"), Rules(5, 1.5, True), files / "report.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((files / "out").iterdir()) == []


def test_sides_are_not_confused(tmp_path):
    """The boundary between the sides is part of a pair."""
    (tmp_path / "train.en").write_bytes(text(["a b", "a"]))
    (tmp_path / "train.de").write_bytes(text(["c", "b c"]))
    rules = Rules(5, 3, True)
    assert clean(paths(tmp_path, "train"), paths(tmp_path, "out"), rules, tmp_path / "report.json")["kept"] == 2


@pytest.mark.parametrize("drop_duplicates", [True, False])
def test_mistakes_leave_earlier_results_alone(files, drop_duplicates):
    rules = Rules(5, 1.5, drop_duplicates)
    clean(paths(files, "train"), paths(files, "out"), rules, files / "report.json")
    before = {path: path.read_bytes() for path in files.iterdir() if path.name[:3] in ("out", "rep")}
    original = (files / "train.de").read_bytes()
    for content, message in (
        (original + b"more\n", "train.en has 11 lines but .*train.de has 12"),
        (original.replace(b"other", b"\xff"), "train.de, line 9: not UTF-8"),
        (b"\n" * len(PAIRS), "no pair of .* is left"),
    ):
        (files / "train.de").write_bytes(content)
        with pytest.raises(UserError, match=message):
            clean(paths(files, "train"), paths(files, "out"), rules, files / "report.json")
        assert {path: path.read_bytes() for path in before} == before
        assert len(list(files.iterdir())) == len(before) + 2, "nothing temporary is left"
