"""A folder that belongs to one set of settings, and stages in it that are done once."""

import os

import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.work_folder import WorkFolder


def work_folder(path):
    return WorkFolder(path, "prepare.sh", "--output-dir")


SETTINGS = ["languages en-de", "sub-words 100"]
LASTING = ["text/*"]


def test_a_stage_is_done_once(tmp_path, capsys):
    folder, done = work_folder(tmp_path / "work"), []
    for _ in range(2):
        with folder.opened(SETTINGS, LASTING):
            folder.stage("text", "writing text", lambda: done.append("text"))
    assert done == ["text"] and folder.is_done("text") and not folder.is_done("more")
    assert "writing text: done before" in capsys.readouterr().err
    folder.forget("text")
    folder.forget("text")
    assert not folder.is_done("text")


def test_a_stage_that_fails_is_done_again(tmp_path):
    folder, done = work_folder(tmp_path / "work"), []

    def fail():
        raise UserError("it failed; correct it")

    with folder.opened(SETTINGS, LASTING):
        with pytest.raises(UserError, match="it failed"):
            folder.stage("text", "writing text", fail)
        folder.stage("text", "writing text", lambda: done.append("text"))
    assert done == ["text"]


def test_other_settings_are_refused_once_something_lasting_is_there(tmp_path):
    folder = work_folder(tmp_path / "work")
    with folder.opened(SETTINGS, LASTING):
        folder.stage("text", "writing text", lambda: None)
    # Nothing lasting: a mistake can be corrected, and all is done again.
    with folder.opened(["languages en-fr", "sub-words 100"], LASTING):
        assert not folder.is_done("text")
    (folder.path / "text").mkdir()
    (folder.path / "text" / "train").touch()
    before = (folder.path / "settings.txt").read_text()
    with pytest.raises(UserError) as error:
        with folder.opened(SETTINGS, LASTING):
            pass
    assert "was made with other settings (languages en-" in str(error.value)
    assert str(error.value).endswith("choose another folder with --output-dir, or delete it")
    assert (folder.path / "settings.txt").read_text() == before
    (folder.path / "settings.txt").write_bytes(b"\xff\n")
    with pytest.raises(UserError, match="was made with other settings"), folder.opened(SETTINGS, LASTING):
        pass


def test_late_settings_may_change_until_their_stage(tmp_path):
    folder = work_folder(tmp_path / "work")
    with folder.opened(SETTINGS, LASTING):
        folder.stage("text", "writing text", lambda: None)
        (folder.path / "text").mkdir()
        (folder.path / "text" / "train").touch()
    changed = ["languages en-de", "sub-words 200"]
    with folder.opened(changed, LASTING, late="sub-words", late_stage="learn"):
        assert folder.is_done("text"), "what does not depend on it is kept"
        folder.stage("learn", "learning", lambda: None)
    with pytest.raises(UserError, match="other settings .sub-words"):
        with folder.opened(SETTINGS, LASTING, late="sub-words", late_stage="learn"):
            pass


def test_files_of_something_else_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="has files that are not of this script; choose another folder with --output"):
        with work_folder(tmp_path).opened(SETTINGS, LASTING):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_one_process_at_a_time(tmp_path):
    with work_folder(tmp_path / "work").opened(SETTINGS, LASTING):
        with pytest.raises(UserError, match="another process works in .*/work; wait for it, or choose another folder"):
            with work_folder(tmp_path / "work").opened(SETTINGS, LASTING):
                pass


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    """It suffices where nothing is left to do. Root may write anywhere, so that access is simulated."""
    folder = work_folder(tmp_path / "work")
    with folder.opened(SETTINGS, LASTING):
        folder.stage("text", "writing text", lambda: None)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with folder.opened(SETTINGS, LASTING):
        folder.stage("text", "writing text", lambda: pytest.fail("it was done before"))
        with pytest.raises(UserError, match="cannot write to .*work: Permission denied; free space or choose another"):
            folder.stage("more", "more", lambda: pytest.fail("its result could not be noted"))
