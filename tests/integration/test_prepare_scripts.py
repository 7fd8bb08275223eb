"""The prepare scripts from archives like the official ones to binarised data: again, killed anywhere, with mistakes."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import fairseq_tools
import pytest
from official_archives import RECIPES, Server, newstests, sentences, text

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
VOCABULARY = {"wmt14_en_de": 95, "wmt14_en_fr": 100, "iwslt14_de_en": 95, "multi30k": 95}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """For each recipe a server with its archives, a table that names it, and a folder with the test sets of WMT."""
    made, servers = {}, []
    for recipe, (make, (_, target)) in RECIPES.items():
        folder = tmp_path_factory.mktemp(recipe)
        table = make(folder)
        server = Server(folder)
        servers.append(server)
        table.write_text(table.read_text().replace("SERVER", server.address))
        tests = tmp_path_factory.mktemp("tests")
        newstests(tests, "en" if target == "en" else target)
        made[recipe] = (server, table, tests)
    yield made
    for server in servers:
        server.close()


def command(recipe, served, folder, *arguments):
    _, table, tests = served[recipe]
    words = [SCRIPTS / f"prepare_{recipe}.sh", "--output-dir", folder, "--table", table]
    words += ["--vocab-size", VOCABULARY[recipe], "--workers", "2", *arguments]
    return words + (["--raw-dir", tests] if recipe.startswith("wmt") else [])


def results(folder) -> dict:
    """What is in the binarised data, but for the commit, which other work may change meanwhile, and logs."""
    files = {path.name: path.read_bytes() for path in (folder / "bin").iterdir() if path.name != "preprocess.log"}
    files["preparation.json"] = {**json.loads(files["preparation.json"]), "versions": None}
    return files


@pytest.fixture(scope="module")
def finished(served, tmp_path_factory):
    """By recipe: a folder that was prepared without disturbance, when a test first asked for it."""

    class Folders(dict):
        def __missing__(self, recipe):
            self[recipe] = tmp_path_factory.mktemp("prepared") / recipe
            fairseq_tools.run(*command(recipe, served, self[recipe]))
            return self[recipe]

    return Folders()


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_prepared_from_archives(recipe, served, finished):
    source, target = RECIPES[recipe][1]
    folder = finished[recipe]
    preparation = json.loads((folder / "bin" / "preparation.json").read_text())
    assert (preparation["source_language"], preparation["target_language"]) == (source, target)
    counts = {"wmt14_en_de": (10, 12), "wmt14_en_fr": (10, 12), "iwslt14_de_en": (4, 15), "multi30k": (10, 10)}[recipe]
    assert (preparation["sentences"]["valid"], preparation["sentences"]["test"]) == counts
    reference = (folder / "bin" / f"reference.{target}").read_text()
    if recipe.startswith("wmt"):
        assert reference == text(sentences(target, 12, 22)).decode()
        assert preparation["tokenizer"] == "moses" and not preparation["lowercase"]
        assert preparation["sentences"]["train"] == json.loads((folder / "clean" / "cleaning.json").read_text())["kept"]
    if recipe == "iwslt14_de_en":
        assert reference == "".join(text(sentences("en", 3, 10 + number)).decode() for number in range(5))
        assert preparation["lowercase"] and preparation["moses_no_dash_splits"]
        cleaned = (folder / "clean" / "train.de").read_text().splitlines()
        assert (folder / "split" / "valid.de").read_text().splitlines() == cleaned[22::23]
        assert all(line == line.lower() for line in cleaned)
    if recipe == "multi30k":
        assert preparation["tokenizer"] is None and preparation["sentences"]["train"] == 90
    for language in (source, target):
        assert (folder / "bin" / f"dict.{language}.txt").stat().st_size > 0


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_again_does_nothing_but_check(recipe, served, finished):
    server = served[recipe][0]
    folder = finished[recipe]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    requests = len(server.requests)
    result = fairseq_tools.run_module_of(*command(recipe, served, folder))
    assert "is as it should be" in result.stderr and len(server.requests) == requests
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before
    archive = next(path for path in (folder / "archives").iterdir() if path.name != "SHA256SUMS")
    content = archive.read_bytes()
    archive.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    message = fairseq_tools.last_line(fairseq_tools.run_module_of(*command(recipe, served, folder), fails=True).stderr)
    assert "is damaged or another file" in message
    # Archives that are no longer needed may be removed.
    archive.unlink()
    fairseq_tools.run_module_of(*command(recipe, served, folder))
    archive.write_bytes(content)


@pytest.mark.parametrize("recipe", ["wmt14_en_de", "iwslt14_de_en"])
def test_killed_in_every_stage(recipe, served, finished, tmp_path):
    """The whole process group is killed at a moment in each stage; the same command continues, with equal results."""
    folder = tmp_path / "killed"
    words = [str(word) for word in command(recipe, served, folder)]
    # How a stage announces itself, the folder of its results, and how long it may go on.
    stages = [
        ("getting and checking", "archives", 0.2), ("extracting the text", "raw", 0.02),
        ("dropping pairs", "clean", 0.01), ("tokenising", "tokenised", 0.05), ("learning", "subwords", 0.02),
        ("splitting into", "subwords", 0.05), ("binarising", "bin", 1.5), ("binarising", "bin", 4),
    ]  # fmt: skip
    if recipe == "iwslt14_de_en":
        stages[2], stages[3] = stages[3], stages[2]
    while stages:
        announcement, result, seconds = stages.pop(0)
        process = subprocess.Popen(
            words, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        line = next((line for line in process.stderr if announcement in line), "all done before")
        done_before = "done before" in line
        if not done_before:
            time.sleep(seconds)
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
        process.stderr.close()
        process.wait()
        if done_before or ended:
            # On a fast machine the kill came after the end of the stage: once more, and sooner.
            shutil.rmtree(folder / result)
            stages.insert(0, (announcement, result, seconds / 2))
    fairseq_tools.run_module_of(*words)
    assert results(folder) == results(finished[recipe])


def test_the_number_of_workers_does_not_matter(served, finished, tmp_path):
    words = command("wmt14_en_de", served, tmp_path / "one")
    words[words.index("--workers") + 1] = "1"
    fairseq_tools.run_module_of(*words)
    assert results(tmp_path / "one") == results(finished["wmt14_en_de"])
    # More than there is work for are not even started.
    assert "workers=1," in (finished["wmt14_en_de"] / "preprocess.log").read_text()


def test_stages_one_by_one(served, finished, tmp_path):
    folder = tmp_path / "staged"
    for stage in ("download", "extract", "clean", "tokenise", "learn", "apply", "binarise"):
        assert not (folder / "bin").exists()
        fairseq_tools.run_module_of(*command("wmt14_en_de", served, folder, "--stage", stage, "--stop-stage", stage))
    assert results(folder) == results(finished["wmt14_en_de"])


def test_what_was_removed_is_made_again(served, finished, tmp_path):
    """Without bin a step whose result is gone, and all that follow; with bin nothing else is needed."""
    folder = Path(shutil.copytree(finished["multi30k"], tmp_path / "copy"))
    for lost, titles in (
        (["bin"], ["binarising"]),
        (["raw"], []),
        (["bin", "subwords/train.en"], ["extracting the text", "learning 95", "splitting into", "binarising"]),
        (["raw", "subwords", "archives"], []),
        (["bin/dict.de.txt"], ["extracting the text", "learning 95", "splitting into", "binarising"]),
    ):
        for name in lost:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        stderr = fairseq_tools.run_module_of(*command("multi30k", served, folder)).stderr
        for title in ["extracting the text", "learning 95", "splitting into", "binarising"]:
            done = any(title in line and "before" not in line and "gone" not in line for line in stderr.splitlines())
            assert done == (title in titles), (lost, title, stderr)
        assert results(folder) == results(finished["multi30k"])


def test_nothing_left_to_do_needs_no_more_than_to_read(served, finished, tmp_path):
    """The folder may be read-only, and the raw text gone; the names may be relative, whatever CDPATH says."""
    folder = Path(shutil.copytree(finished["wmt14_en_de"], tmp_path / "copy"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    gone = shutil.copytree(served["wmt14_en_de"][2], tmp_path / "text")
    words = command("wmt14_en_de", served, "copy")[:-2]
    settings = (folder / "settings.txt").read_text()
    (folder / "settings.txt").chmod(0o644)
    (folder / "settings.txt").write_text(settings.replace(str(served["wmt14_en_de"][2]), str(gone)))
    (folder / "settings.txt").chmod(0o444)
    if os.getuid() == 0:
        # Root may write everywhere unless it gives up the right to.
        words = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", *words]
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    options = {"cwd": tmp_path, "env": {"CDPATH": str(tmp_path)}}
    assert "is as it should be" in fairseq_tools.run(*words, "--raw-dir", "text", **options).stderr
    shutil.rmtree(gone)
    assert "done:" in fairseq_tools.run(*words, "--raw-dir=text", **options).stderr
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before


def test_text_of_the_user_that_has_changed(served, tmp_path):
    raw, folder = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    newstests(raw, "de")
    for language in ("en", "de"):
        (raw / f"mine.{language}").write_bytes(text(sentences(language, 60, 1)))
    words = [SCRIPTS / "prepare_wmt14_en_de.sh", "--raw-dir", raw, "--corpus", "mine", "--output-dir", folder]
    words += ["--stop-stage", "extract"]
    fairseq_tools.run_module_of(*words)
    fairseq_tools.run_module_of(*words)
    (raw / "mine.en").write_bytes(text(sentences("en", 60, 2)))
    message = fairseq_tools.last_line(fairseq_tools.run_module_of(*words, fails=True).stderr)
    assert "mine.en has changed since its text was taken" in message
    shutil.rmtree(folder / "raw")
    fairseq_tools.run_module_of(*words)
    assert (folder / "raw" / "train.en").read_bytes() == (raw / "mine.en").read_bytes()


def test_tokenised_text_is_taken_as_it_is(tmp_path):
    folder, words = tmp_path / "out", tmp_path / "text"
    words.mkdir()

    def write(split, language, count):
        lines = [f"{line.lower()[:-2]} &apos;s {language} ." for line in sentences(language, count, 1)]
        (words / f"{split}.{language}").write_bytes(text(lines))

    def prepare(*arguments, fails=False):
        options = ["--tokenised-dir", words, "--output-dir", folder, "--vocab-size", "95", *arguments]
        result = fairseq_tools.run_module_of(SCRIPTS / "prepare_iwslt14_de_en.sh", *options, fails=fails)
        return fairseq_tools.last_line(result.stderr)

    for split, count in (("train", 90), ("valid", 10), ("test", 10)):
        for language in ("de", "en"):
            write(split, language, count)
    write("train", "en", 89)
    assert "train.de has 90 lines but" in prepare(fails=True)
    write("train", "en", 90)
    write("valid", "en", 0)
    assert "valid.en holds no text" in prepare(fails=True)
    assert not (folder / "subwords").exists()
    write("valid", "en", 10)
    assert "cannot learn 5000 sub-words" in prepare("--vocab-size", "5000", fails=True)
    prepare()
    assert json.loads((folder / "bin" / "preparation.json").read_text())["sentences"]["train"] == 90
    assert (folder / "bin" / "reference.en").read_text().splitlines()[0].endswith("'s en.")

    before = results(folder), (folder / "settings.txt").read_text()
    assert "made with other settings" in prepare("--vocab-size", "100", fails=True)
    assert "made with other settings" in prepare("--tokenised-dir", tmp_path, fails=True)
    write("test", "en", 11)
    assert "test.en has changed since its text was taken" in prepare(fails=True)
    assert (results(folder), (folder / "settings.txt").read_text()) == before
    shutil.rmtree(words)
    prepare()


def test_an_archive_is_checked_before_its_text_is_taken(served, tmp_path):
    """Also where the stage before was left out."""
    raw = shutil.copytree(served["wmt14_en_de"][1].parent, tmp_path / "raw")
    newstests(raw, "de")
    archive = raw / "training-parallel-nc-v9.tgz"
    archive.write_bytes(archive.read_bytes() + b"x")
    words = [SCRIPTS / "prepare_wmt14_en_de.sh", "--raw-dir", raw, "--table", raw / "table.txt"]
    words += ["--output-dir", tmp_path / "out", "--stage", "extract"]
    errors = fairseq_tools.run_module_of(*words, fails=True).stderr
    assert "is damaged or another file" in fairseq_tools.last_line(errors)


def test_mistakes_end_in_one_line(served, finished, tmp_path):
    def last_error(recipe, *arguments, folder=tmp_path / "out"):
        return fairseq_tools.last_line(
            fairseq_tools.run_module_of(*command(recipe, served, folder, *arguments), fails=True).stderr
        )

    assert "no folder" in last_error("multi30k", "--raw-dir", tmp_path / "absent")
    assert "unrecognized arguments: --vocabulary 3" in last_error("wmt14_en_de", "--vocabulary", "3")
    assert "argument --vocab-size: 'many' is not a whole number" in last_error("wmt14_en_de", "--vocab-size", "many")
    assert "unknown stage cleaning; the stages are download" in last_error("wmt14_en_de", "--stage", "cleaning")
    assert "--target-lang is cs" in last_error("multi30k", "--target-lang", "cs")
    assert "--tokenised-dir is for text that this recipe cannot take" in last_error(
        "wmt14_en_de", "--tokenised-dir", tmp_path
    )
    assert "unknown stage extract clean;" in last_error("wmt14_en_de", "--stage", "extract clean")
    assert "--stop-stage download comes before --stage binarise" in last_error(
        "wmt14_en_de", "--stage", "binarise", "--stop-stage", "download"
    )
    assert "the stage learn needs the stage extract" in last_error("multi30k", "--stage", "learn")
    assert "--raw-dir: needs a value" in last_error("multi30k", "--raw-dir=")
    message = last_error("wmt14_en_de", "--vocab-size", "90", folder=finished["wmt14_en_de"])
    assert "made with other settings" in message and "--output-dir" in message
    assert "because of its :; choose another --output-dir" in last_error("multi30k", folder=tmp_path / "a:b")


def test_a_number_of_subwords_can_be_corrected_until_they_are_learnt(served, finished, tmp_path):
    folder = tmp_path / "corrected"
    result = fairseq_tools.run_module_of(*command("multi30k", served, folder, "--vocab-size", "5000"), fails=True)
    assert "cannot learn 5000 sub-words" in fairseq_tools.last_line(result.stderr)
    other_text = command("multi30k", served, folder, "--raw-dir", tmp_path)
    errors = fairseq_tools.run_module_of(*other_text, fails=True).stderr
    assert "made with other settings" in fairseq_tools.last_line(errors)
    again = fairseq_tools.run_module_of(*command("multi30k", served, folder))
    assert "extracting the text: done before" in again.stderr
    assert results(folder) == results(finished["multi30k"])


def test_names_with_blanks_are_told_from_several_names(tmp_path):
    newstests(tmp_path, "de")
    for name in ("a", "b", "a b"):
        for language in ("en", "de"):
            (tmp_path / f"{name}.{language}").write_bytes(text(sentences(language, 9, 1)))
    noted = []
    for choice in (["--corpus", "a b"], ["--corpus", "a", "--corpus", "b"]):
        words = [SCRIPTS / "prepare_wmt14_en_de.sh", "--output-dir", tmp_path / "out", "--raw-dir", tmp_path, *choice]
        fairseq_tools.run_module_of(*words, "--stop-stage", "download")
        noted.append((tmp_path / "out" / "settings.txt").read_text())
    assert noted[0] != noted[1]


def test_help_names_every_option():
    for recipe in RECIPES:
        result = fairseq_tools.run(SCRIPTS / f"prepare_{recipe}.sh", "--help")
        for option in ("--raw-dir", "--output-dir", "--vocab-size", "--workers", "--table", "--stage", "--stop-stage"):
            assert option in result.stdout
