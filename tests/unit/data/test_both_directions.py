"""The data of both directions: every pair twice, the second time the other way round."""

import shutil

import pytest
from fairseq.data.indexed_dataset import make_dataset

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.binarised_data import check_binarised_data
from rdrop_fairseq.data.both_directions import check_one_vocabulary, write_both_directions


def pairs(folder, split, pair="en-de", languages=("en", "de")):
    """The pairs of a split as lists of numbers."""
    sides = [make_dataset(str(folder / f"{split}.{pair}.{language}"), "mmap") for language in languages]
    return [tuple(side[index].tolist() for side in sides) for index in range(len(sides[0]))]


def swapped(some):
    return [(target, source) for source, target in some]


def test_each_pair_is_there_twice(data_bin, tmp_path):
    check_one_vocabulary(data_bin, ("en", "de"))
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "of an earlier call").touch()
    write_both_directions(data_bin, ("en", "de"), tmp_path / "both")
    for split, size in (("train", 80), ("valid", 20)):
        one = pairs(data_bin, split)
        assert len(one) == size and one[0][0] != one[0][1]
        assert pairs(tmp_path / "both", split) == one + swapped(one)
    check_binarised_data(tmp_path / "both", "en", "de", "")
    for language in ("en", "de"):
        dictionary = tmp_path / "both" / f"dict.{language}.txt"
        assert dictionary.read_bytes() == (data_bin / "dict.en.txt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both"]
    assert not (tmp_path / "both" / "of an earlier call").exists()


def test_the_other_direction_and_more_training_data(data_bin, tmp_path):
    """fairseq names data after either direction, and takes train1 along with train, but not valid1 with valid."""
    data = shutil.copytree(data_bin, tmp_path / "data")
    for language in ("en", "de"):
        for ending in ("bin", "idx"):
            for split in ("train", "valid"):
                name = f"en-de.{language}.{ending}"
                shutil.copy(data / f"test.{name}", data / f"{split}1.{name}")
    write_both_directions(data, ("de", "en"), tmp_path / "both")
    for split, parts in (("train", ["train", "test"]), ("valid", ["valid"])):
        one = swapped(pair for part in parts for pair in pairs(data_bin, part))
        assert pairs(tmp_path / "both", split, "de-en", ("de", "en")) == one + swapped(one)


def test_data_that_cannot_stand_on_both_sides_are_refused(data_bin, tmp_path):
    data = shutil.copytree(data_bin, tmp_path / "data")
    file = data / "valid.en-de.en.idx"
    file.write_bytes(b"TNTIDX\0\0" + file.read_bytes())
    with pytest.raises(UserError, match="valid.en-de.en.idx is not of --dataset-impl mmap; binarise"):
        check_one_vocabulary(data, ("en", "de"))
    with open(data / "dict.de.txt", "a", encoding="utf-8") as stream:
        stream.write("another 1\n")
    with pytest.raises(UserError, match="dict.en.txt and .*dict.de.txt differ, .*; binarise .* --joined-dictionary"):
        check_one_vocabulary(data, ("en", "de"))
