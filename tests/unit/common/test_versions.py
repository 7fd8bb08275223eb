"""What a result was obtained with: versions, and the state of this package."""

import subprocess

import rdrop_fairseq
from rdrop_fairseq.common import versions


def test_plugin_state_in_and_out_of_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "rdrop_fairseq"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(rdrop_fairseq, "__file__", str(package / "__init__.py"))
    version = f"rdrop_fairseq {rdrop_fairseq.__version__}"
    assert versions.plugin_state() == version

    def git(*arguments):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    # Installed inside a checkout of something else: no part of it.
    (tmp_path / "other").write_text("", encoding="utf-8")
    git("add", "other")
    git("commit", "--quiet", "--no-verify", "-m", "first")
    assert versions.plugin_state() == version
    git("add", "rdrop_fairseq")
    git("commit", "--quiet", "--no-verify", "-m", "second")
    assert versions.plugin_state() == f"{version}, git commit {git('rev-parse', 'HEAD')}"
    (package / "__init__.py").write_text("changed = True\n", encoding="utf-8")
    assert versions.plugin_state().endswith("with local changes")
