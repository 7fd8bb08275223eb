"""JSON files as dataclasses, every value checked."""

from dataclasses import asdict, dataclass
from typing import Dict, NamedTuple, Optional, Tuple

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import write_json
from rdrop_fairseq.common.records import read_record


class Pair(NamedTuple):
    first: int
    second: float


@dataclass(frozen=True)
class Part:
    name: str
    is_new: bool = False


@dataclass(frozen=True)
class Whole:
    number: float
    parts: Tuple[Part, ...]
    counts: Dict[str, int]
    pair: Optional[Pair] = None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("its number is negative")


def read(tmp_path, content):
    write_json(tmp_path / "file.json", content)
    return read_record(tmp_path / "file.json", Whole, "program")


def test_a_part_of_a_record_is_read_and_checked(tmp_path):
    """Whatever the other entries are; what is asked for must be there, and of its type."""
    write_json(tmp_path / "file.json", {"name": "a", "else": {"any": [1]}})
    assert read_record(tmp_path / "file.json", Part, "program", partial=True) == Part("a")
    for content in ({"else": 1}, {"name": 3, "else": 1}, [1]):
        write_json(tmp_path / "file.json", content)
        with pytest.raises(UserError, match="is not what program writes"):
            read_record(tmp_path / "file.json", Part, "program", partial=True)


def test_what_was_written_is_read_again(tmp_path):
    for whole in (Whole(1.5, (), {}), Whole(0.0, (Part("a"), Part("b", True)), {"x": 3}, Pair(1, 2.0))):
        assert read(tmp_path, asdict(whole)) == whole
    shortest = read(tmp_path, {"number": 2, "parts": [{"name": "a"}], "counts": {}})
    assert shortest == Whole(2.0, (Part("a"),), {}) and type(shortest.number) is float


@pytest.mark.parametrize(
    "change, message",
    [
        ({"number": -1}, "its number is negative"),
        ({"number": True}, "number is true, not a finite number"),
        ({"parts": [{"name": "a", "is_new": 1}]}, r"parts\[0\]\.is_new is 1, not true or false"),
        ({"parts": [{"name": "a"}, {}]}, r"it lacks parts\[1\]\.name"),
        ({"parts": {}}, "parts is {}, not a list"),
        ({"parts": ["a"]}, r'parts\[0\] is "a", not an object'),
        ({"counts": {"x": 1.0}}, r"counts\.x is 1\.0, not a whole number"),
        ({"pair": [1, 2, 3]}, r"pair is \[1, 2, 3\], not a list"),
        ({"pair": [1, "x"]}, r'pair\.second is "x", not a finite number'),
        ({"other": 1}, "it has an unknown entry other"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    content = {"number": 1, "parts": [], "counts": {}, **change}
    with pytest.raises(UserError, match=rf"file\.json is not what program writes \(.*{message}.*\); make it anew"):
        read(tmp_path, content)
