"""The folder of a run: what is in it, and what is done in it."""

import json
from dataclasses import asdict, replace

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.run_folder import LIMITS, RunFolder, RunRecord

RECORD = RunRecord(
    config="small", variant="rdrop", data="/data", source_language="en", target_language="de", tokens_per_update=400,
    max_tokens=100, processes=2, update_freq=2, precision="fp32", average=5, checkpoint="average",
    generation=("--beam", "4"), command=("fairseq-train",), environment={}, versions={"torch": "2.13.0"},
    commit="0.2.0", device="here", limits={"max_update": 12}, settings={"--lr": "0.1", "--share-all-embeddings": None},
)  # fmt: skip


@pytest.mark.parametrize("content", ["", "[1]", "{", "null", "[" * 100_000])
def test_a_damaged_record(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError) as error:
        RunFolder(tmp_path).read_record()
    assert str(tmp_path / "run.json") in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, value",
    [
        ("variant", "other"),
        ("variant", None),
        ("data", ["/data"]),
        ("average", "abc"),
        ("average", 0),
        ("average", True),
        ("average", None),
        ("checkpoint", "last"),
        ("precision", "fp8"),
        ("generation", "--beam 4"),
        ("generation", [4]),
        ("limits", {"max_update": float("inf")}),
        ("limits", [12]),
        ("settings", None),
        ("settings", {"--lr": [0.1]}),
        ("max_tokens", 1.5),
        ("unknown", 1),
    ],
)
def test_wrong_values_are_named(tmp_path, name, value):
    (tmp_path / "run.json").write_text(json.dumps({**asdict(RECORD), name: value}))
    with pytest.raises(UserError, match=f"is not what scripts/train.sh writes .*{name}.*; train again") as error:
        RunFolder(tmp_path).read_record("train again")
    assert "\n" not in str(error.value)


def test_a_missing_value_is_named(tmp_path):
    content = asdict(RECORD)
    del content["device"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not what scripts/train.sh writes .it lacks device.; choose another"):
        RunFolder(tmp_path).read_record()


def test_a_complete_run_follows_the_configuration_in_how_it_is_evaluated(tmp_path):
    configuration = tmp_path / "configuration.yaml"
    configuration.write_text("first")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.begin(RECORD, configuration, ["train"])
    assert folder.read_record() == RECORD
    folder.write_exit_status(0)
    unchanged = folder.record.stat().st_mtime_ns
    folder.update_evaluation(replace(RECORD, device="there"), configuration)
    assert folder.record.stat().st_mtime_ns == unchanged
    configuration.write_text("second")
    folder.update_evaluation(replace(RECORD, average=3, device="there"), configuration)
    assert folder.read_record() == replace(RECORD, average=3)
    assert (folder.path / "config.yaml").read_text() == "second"
    assert folder.read_exit_status() == 0


def test_complete_with_its_checkpoints_only(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(asdict(RECORD)))
    folder.checkpoints.mkdir()
    folder.last_checkpoint.write_text("parameters")
    limits = {**dict.fromkeys(LIMITS, 0), "max_update": 12}
    assert not folder.is_complete(limits)
    folder.write_exit_status(0)
    assert folder.is_complete(limits) and not folder.is_complete({**limits, "max_update": 13})
    folder.last_checkpoint.write_text("")
    assert not folder.is_complete(limits)
    folder.last_checkpoint.unlink()
    assert not folder.is_complete(limits)


def test_set_aside(tmp_path):
    """Whatever its record says; what is not a run stays."""
    folder = RunFolder(tmp_path)
    (tmp_path / "thesis.tex").touch()
    assert folder.set_aside("train") is None and (tmp_path / "thesis.tex").exists()
    (tmp_path / "thesis.tex").unlink()
    for content in (json.dumps(asdict(RECORD)), "[" * 100_000):
        folder.checkpoints.mkdir()
        folder.record.write_text(content)
        (tmp_path / ".lock").touch()
        earlier = folder.set_aside("train")
        assert {path.name for path in earlier.iterdir()} == {"run.json", "checkpoints"}
        assert (earlier / "run.json").read_text() == content
        assert {path.name for path in tmp_path.iterdir() if "earlier" not in path.name} == {".lock"}
        folder.check_settings(RECORD.settings)  # it is free for a run
    assert earlier.name == "earlier.2"
    configuration = tmp_path / ".configuration.yaml"
    configuration.touch()
    folder.begin(RECORD, configuration, ["train --start-over", "fairseq-train"])
    # The command that began it continues it, as when a job is put back into the queue.
    assert folder.set_aside("train --start-over") is None
    assert folder.set_aside("train --start-over --lr 1").name == "earlier.3"
    # It cannot continue a run without a checkpoint that can be read.
    folder.begin(RECORD, configuration, ["train --start-over", "fairseq-train"])
    assert folder.set_aside().name == "earlier.4"
