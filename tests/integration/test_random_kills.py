"""``random_kills.py``, which kills trainings at random moments, with few kills."""

import json

import pytest
import random_kills


@pytest.mark.slow
def test_a_training_killed_twice_is_the_one_that_was_not(capsys):
    assert random_kills.main(["--kills", "2", "--seed", "3", "--kinds", "update-freq"]) == 0
    assert "2 kills of 1 trainings; 0 of them differ" in capsys.readouterr().out


def test_what_differs_is_found(monkeypatch, tmp_path):
    """A figure, a line too few, a line too many."""

    def line(tag: str, **entry: str) -> str:
        return f"2026 | INFO | {tag} | {json.dumps(entry)}\n"

    state = {"model": {}, "last_optimizer_state": {}, "extra_state": {}, "optimizer_history": [{}]}
    monkeypatch.setattr(random_kills, "load_checkpoint", lambda path: {**state})
    straight = line("train_inner", num_updates="3", loss="2.5", wps="10") + line(
        "train_inner", num_updates="6", loss="2"
    )
    same = [line("train_inner", num_updates="3", loss="2.5", wps="7"), straight]
    assert random_kills.differences(same, tmp_path, straight, tmp_path) == []
    for outputs, expected in (
        ([line("train_inner", num_updates="3", loss="2.4"), straight], "'2.4'"),
        ([line("train_inner", num_updates="3", loss="2.5")], "nothing logged at ('train_inner', '6')"),
        ([straight + line("valid", valid_num_updates="6", valid_loss="1")], "logged besides: ('valid', '6')"),
    ):
        (found,) = random_kills.differences(outputs, tmp_path, straight, tmp_path)
        assert expected in found
