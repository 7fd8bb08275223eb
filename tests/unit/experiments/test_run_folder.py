"""The folder of a run: what is in it, and what is done in it."""

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.run_folder import LIMITS, RunFolder


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_damaged_record(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match="cannot read .*run.json .*; choose another run folder, or delete it"):
        RunFolder(tmp_path).read_record()


def test_a_complete_run_follows_the_configuration_in_how_it_is_evaluated(tmp_path):
    configuration = tmp_path / "configuration.args"
    configuration.write_text("first")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    record = {"average": 5, "checkpoint": "average", "generation": ["--beam", "4"], "device": "here"}
    folder.begin(record, configuration, ["train"])
    folder.write_exit_status(0)
    unchanged = folder.record.stat().st_mtime_ns
    folder.update_evaluation({**record, "device": "there"}, configuration)
    assert folder.record.stat().st_mtime_ns == unchanged
    configuration.write_text("second")
    folder.update_evaluation({**record, "average": 3, "device": "there"}, configuration)
    assert folder.read_record() == {**record, "average": 3}
    assert (folder.path / "config.args").read_text() == "second"
    assert folder.read_exit_status() == 0


def test_complete_with_its_checkpoints_only(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "run.json").write_text('{"limits": {"max_update": 12}}')
    folder.checkpoints.mkdir()
    folder.last_checkpoint.touch()
    limits = {**dict.fromkeys(LIMITS, 0), "max_update": 12}
    assert not folder.is_complete(limits)
    folder.write_exit_status(0)
    assert folder.is_complete(limits) and not folder.is_complete({**limits, "max_update": 13})
    folder.last_checkpoint.unlink()
    assert not folder.is_complete(limits)
