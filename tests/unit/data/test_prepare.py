"""The command line of the preparations; scripts/prepare_*.sh are tested as a whole elsewhere."""

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data import prepare
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.data.prepare import main


def test_the_command_line(tmp_path, monkeypatch):
    made = []

    class Recorded(Preparation):
        def run(self, first_stage=None, last_stage=None):
            made.append((self, first_stage, last_stage))

    monkeypatch.setattr(prepare, "Preparation", Recorded)
    main(["multi30k", "--target-lang", "fr", "--vocab-size=7", "--stage", "learn", "--workers", "3"])
    made_here, first, last = made.pop()
    assert (made_here.recipe.name, made_here.vocabulary_size, made_here.workers) == ("multi30k_en_fr", 7, 3)
    assert (first, last) == ("learn", None) and made_here.folder.parts[-2:] == ("data", "multi30k_en_fr")
    for words, message in (
        (["multi30k", "--target-lang", "cs"], "--target-lang is cs; give de or fr"),
        (["wmt14_en_de", "--target-lang", "fr"], "--target-lang is for multi30k alone; leave it out"),
        (["wmt14_en_xx"], "unknown recipe wmt14_en_xx; give one of wmt14_en_de, wmt14_en_fr"),
        (["wmt14_en_de", "--vocab", "3"], "unrecognized arguments: --vocab 3; see .*--help"),
        (["wmt14_en_de", "--raw-dir="], "argument --raw-dir: needs a value"),
    ):
        with pytest.raises(UserError, match=message):
            main(words)
