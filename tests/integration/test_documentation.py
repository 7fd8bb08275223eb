"""The documents: every command runs, or says in a comment why not; flags, links and paths exist; the picture is true.

The commands run in a miniature: a copy of the repository with what the quickstart leaves in ``runs/quickstart``, made
from a tiny corpus. ``SHRUNK`` has all that is changed in them.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, Set

import fairseq_tools
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md"))
)
PAGES = [*DOCUMENTS, "CHANGELOG.md", "CONTRIBUTING.md"]  # the first and the last have no commands of their own

# Options that make a command small, after those of the document, so that they win.
SHRUNK = {
    "fairseq-train": "--arch transformer_tiny --max-epoch 5 --max-tokens 2000 --num-workers 0 --cpu",
    "fairseq-generate": "--num-workers 0 --cpu",
    "fairseq-interactive": "--cpu",
    "fairseq-hydra-train": (
        "'model={_name:transformer_tiny,base_layers:0}' optimization.max_update=2 dataset.num_workers=0 common.cpu=true"
    ),
    "scripts/train.sh": "--max-epoch 2 --num-workers 0 --cpu",
    "scripts/evaluate.sh": "--resamples 20 --cpu",
}
# Programs that come with packages which need not be there.
OPTIONAL = {"ct2-fairseq-converter": "ctranslate2"}
# Flags of other programs than ours and fairseq's.
FOREIGN_FLAGS = {
    "--nodes": "sbatch", "--index-url": "pip", "--reg-alpha": "the authors' code",
    "--data_dir": "ct2-fairseq-converter", "--model_path": "ct2-fairseq-converter",
    "--output_dir": "ct2-fairseq-converter", "--user_dir": "ct2-fairseq-converter",
    "--quantization": "ct2-fairseq-converter",
}  # fmt: skip
QUICKSTART_OUTPUT = "<!-- quickstart output -->"


class Block(NamedTuple):
    """A piece of code in a document."""

    document: str
    line: int
    language: str
    text: str
    mark: str
    """The HTML comment above it, without its dashes; often none."""

    @property
    def is_run_here(self) -> bool:
        return self.language in ("bash", "python") and not self.mark

    def programs(self) -> List[str]:
        """What each of the commands of a shell block starts; of ``python`` the file or module."""
        lexer = shlex.shlex(self.text.replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars=";|<>&")
        lexer.whitespace_split, lexer.commenters = True, ""
        programs, words = [], []
        for word in [*lexer, ";"]:
            if set(word) <= set(";|&"):
                if words:
                    is_python = words[0] == "python" and len(words) > 1
                    programs.append(words[2 if words[1] == "-m" else 1] if is_python else words[0])
                words = []
            else:
                words.append(word)
        return programs


def blocks_of(document: str) -> Iterator[Block]:
    """The fenced pieces of code of a document, in order."""
    lines = (REPOSITORY / document).read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines):
        if line.startswith("```") and start is None:
            start = number
        elif line.startswith("```"):
            above = re.fullmatch(r"<!-- (.*) -->", lines[start - 1])
            # A comment of the shell may hold an apostrophe, which the words of a command may not.
            code = [re.sub(r"\s+# .*", "", it) if lines[start] == "```bash" else it for it in lines[start + 1 : number]]
            text = "\n".join(code) + "\n"
            yield Block(document, start + 1, lines[start][3:], text, above[1] if above else "")
            start = None
    assert start is None, f"{document}:{start + 1}: the code has no end"


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
MARKED = [block for block in BLOCKS if block.language in ("bash", "python") and block.mark]


def name_of(block: Block) -> str:
    return f"{block.document}:{block.line}"


def test_code_is_of_a_known_language():
    """What is neither run nor marked would slip through."""
    for block in BLOCKS:
        if block.mark == QUICKSTART_OUTPUT.strip("<>!- "):
            assert block.language == "", name_of(block)
        else:
            assert block.language in ("bash", "python", "mermaid"), name_of(block)


@pytest.mark.parametrize("block", MARKED, ids=name_of)
def test_marks_are_true(block):
    """A command that is not run here needs what no test has; or other tests run it, and name it and its flags."""
    reason = re.fullmatch(r"not run: needs (a GPU|several GPUs|a cluster|an account|the network and hours)", block.mark)
    if reason:
        for program in block.programs():
            assert (REPOSITORY / program).is_file() or shutil.which(program) or program in ("sbatch", "nox"), program
        return
    others = re.fullmatch(r"run by (\S+(?:, \S+)*)", block.mark)
    assert others, f"{name_of(block)}: {block.mark}"
    names = [*others[1].split(", "), "tests/fairseq_tools.py"]  # which has what tests share
    texts = [(REPOSITORY / name).read_text(encoding="utf-8") for name in names]
    for program in block.programs():
        # By its name alone, as paths are put together in many ways.
        assert any(Path(program).name in text for text in texts), f"{name_of(block)}: {program}"
    for flag in flags_in(block.text):
        assert any(f'{flag}"' in text or f"{flag} " in text for text in texts), f"{name_of(block)}: {flag}"


@pytest.fixture(scope="module")
def miniature(parallel_text, tmp_path_factory):
    """A repository after the quickstart, which made ``runs/quickstart`` of a tiny corpus, and that corpus beside it."""
    root = tmp_path_factory.mktemp("documents") / "repository"
    for name in ("rdrop_fairseq", "scripts", "configs", "docs", ".setup"):
        if (REPOSITORY / name).exists():
            shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    activate = root / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text("")  # the environment of the tests is active
    # Not by its script, which would set the environment up for this copy of the repository.
    fairseq_tools.run(
        sys.executable, "-m", "rdrop_fairseq.experiments", "quickstart", "--data", parallel_text, "--vocab-size", "46",
        "--run-dir", root / "runs" / "quickstart", "--max-epoch", "2", "--max-tokens", "200", "--warmup-updates", "10",
        "--num-workers", "0", "--cpu", cwd=REPOSITORY,
    )  # fmt: skip
    # What else the documents name.
    data = root / "runs" / "quickstart" / "data" / "bin"
    shutil.copytree(data, root / "DATA-BIN")
    shutil.copytree(data, root / "data" / "wmt14_en_de" / "bin")
    for path in parallel_text.iterdir():
        shutil.copy(path, root)
    shutil.copy(parallel_text / "test.de", root / "newstest2014.de")
    return root


def run_block(root: Path, language: str, text: str) -> None:
    """Run a piece of code in a folder, its commands made small."""
    if language == "python":
        command = [sys.executable, "-"]
    else:
        functions = [f'{name}() {{ command {name} "$@" {options}; }}\n' for name, options in SHRUNK.items()]
        command = ["bash", "-euo", "pipefail", "-s"]
        text = "".join(functions) + text
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    environment.pop("PYTHONSAFEPATH", None)  # `python -m` finds what lies in the working directory, as for a reader
    result = subprocess.run(
        command, cwd=root, env=environment, input=text, capture_output=True, text=True, timeout=600, encoding="utf-8"
    )
    assert result.returncode == 0, f"{text}\nstatus {result.returncode}\n{result.stdout}\n{result.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("document", sorted({block.document for block in BLOCKS if block.is_run_here}))
def test_commands_run(document, miniature, tmp_path):
    """All of a document in order, as a reader types it."""
    root = shutil.copytree(miniature, tmp_path / "repository")
    for block in blocks_of(document):
        if not block.is_run_here:
            continue
        missing = {program for program in OPTIONAL if program in block.text and shutil.which(program) is None}
        missing |= {name for name in OPTIONAL.values() if f"import {name}\n" in block.text and not is_there(name)}
        if not missing:
            try:
                run_block(root, block.language, block.text)
            except AssertionError as error:
                raise AssertionError(f"{name_of(block)}: {error}") from None


def is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def flags_in(text: str) -> Set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def prose_of(document: str) -> str:
    """A document without its pieces of code."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def code_spans(document: str) -> List[str]:
    """What stands between backticks, on one line or across two."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose_of(document))]


@pytest.fixture(scope="module")
def known_flags(data_bin) -> Set[str]:
    """Flags of fairseq's commands with this plugin, and all that are spelt out in our scripts and modules."""
    from fairseq import options

    flags: Set[str] = set()
    words = [
        str(data_bin), "--user-dir", str(fairseq_tools.PLUGIN), "--task", "rdrop_translation", "--arch", "transformer",
        "--criterion", "label_smoothed_cross_entropy_with_rdrop", "--optimizer", "adam", "--path", "model.pt",
        "--lr-scheduler", "inverse_sqrt", "--tokenizer", "moses", "--bpe", "sentencepiece",
    ]  # fmt: skip
    # The first parsers that fairseq makes read the command line of the process.
    previous, sys.argv = sys.argv, ["fairseq", *words]
    try:
        parsers = [options.get_training_parser(), options.get_interactive_generation_parser()]
        for parser in parsers:
            options.parse_args_and_arch(parser, input_args=words, parse_known=True)
        parsers.append(options.get_preprocessing_parser())
    finally:
        sys.argv = previous
    for parser in parsers:
        flags |= set(parser._option_string_actions)  # argparse has no public way to ask for these
    places = (("scripts", "*.sh"), ("scripts", "*.py"), ("rdrop_fairseq", "*.py"), ("tests", "random_kills.py"))
    for folder, pattern in places:
        for path in (REPOSITORY / folder).rglob(pattern):
            flags |= flags_in(path.read_text(encoding="utf-8"))
    return flags | set(FOREIGN_FLAGS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_exist(document, known_flags):
    texts = [block.text for block in blocks_of(document)] + code_spans(document)
    assert set().union(*map(flags_in, texts)) <= known_flags


def test_unknown_flags_are_noticed(known_flags):
    """The set above is not of everything."""
    assert {"--rdrop-alpha", "--wandb-project", "--patience", "--paper-bleu"} <= known_flags
    assert not {"--rdrop-beta", "--label-smooth", "--wandb"} & known_flags


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"https?://", target):
            continue
        name, _, heading = target.partition("#")
        path = (REPOSITORY / page).parent / name if name else REPOSITORY / page
        assert path.exists(), f"{page}: {target}"
        assert path.resolve().is_relative_to(REPOSITORY) if sys.version_info >= (3, 9) else True, f"{page}: {target}"
        if heading:
            assert heading in anchors_of(path), f"{page}: {target}"


def anchors_of(path: Path) -> Set[str]:
    """The anchors that GitHub makes of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*DOCUMENTS, "CONTRIBUTING.md"])
def test_paths_and_modules_exist(page):
    """Those in the text; names in capital letters stand for others."""
    for span in code_spans(page):
        is_path = re.fullmatch(r"(scripts|docs|tests|configs|rdrop_fairseq|\.ci)/[\w./*-]*", span)
        if is_path and not re.search("[A-Z]{3}", span):
            assert list(REPOSITORY.glob(span.rstrip("/"))), f"{page}: {span}"
        module = re.match(r"python -m (rdrop_fairseq[\w.]*)", span)
        if module:
            assert importlib.util.find_spec(module[1]) is not None, f"{page}: {span}"


def test_every_document_is_in_the_readme():
    linked = set(re.findall(r"\]\(([^)#\s]+)", prose_of("README.md")))
    assert {it for it in PAGES if it != "README.md"} <= linked


def test_quickstart_output_is_of_this_version():
    """It was copied from a terminal. Every line of progress in it is one that the code can print."""
    _, output, _ = (REPOSITORY / "README.md").read_text(encoding="utf-8").split(QUICKSTART_OUTPUT)
    assert output.startswith("\n```\n$ scripts/quickstart.sh\n") and output.endswith("\n```\n")
    messages = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d quickstart.sh: (.*)$", output, re.MULTILINE)
    assert len(messages) > 5
    sources = " ".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "rdrop_fairseq").rglob("*.py"))
    for message in messages:
        # What a program puts in are numbers, paths and names of variants.
        fixed = re.split(r"\S*[\d/]\S*|\b(?:train|valid|test|baseline|rdrop|quickstart|CPU)\b", message)
        for part in (part.strip(" :;,.()*=") for part in fixed):
            assert part in sources, f"{message}: {part!r}"


@pytest.fixture(scope="module")
def draw_imports():
    """The module scripts/draw_imports.py."""
    specification = importlib.util.spec_from_file_location("draw_imports", REPOSITORY / "scripts" / "draw_imports.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_picture_shows_the_imports(draw_imports):
    picture = draw_imports.draw(draw_imports.without_detours(draw_imports.imports_between_parts(draw_imports.PACKAGE)))
    text = draw_imports.DOCUMENT.read_text(encoding="utf-8")
    assert f"{draw_imports.FIRST_LINE}\n{picture}\n{draw_imports.LAST_LINE}\n" in text, (
        "call python scripts/draw_imports.py --write"
    )


def test_what_counts_as_an_import(draw_imports, tmp_path):
    package = tmp_path / "package"
    files = {
        "__init__.py": "import package.top\n",
        "bottom/__init__.py": "import os, json.decoder\n",
        "middle/__init__.py": "from package.bottom.deep import x\nfrom package.middle import y\n",
        "single.py": "def f():\n    from package import bottom\n",
        "top/__init__.py": "import package.middle.deep\nimport package.bottom, package.single\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    imports = draw_imports.imports_between_parts(package)
    assert imports == {
        "bottom": set(), "middle": {"bottom"}, "single": {"bottom"}, "top": {"middle", "bottom", "single"}
    }  # fmt: skip
    assert draw_imports.without_detours(imports) == {**imports, "top": {"middle", "single"}}
    assert draw_imports.draw({"a": {"c", "b"}, "b": set()}) == "```mermaid\ngraph TD\n    a --> b\n    a --> c\n```"
    (package / "top" / "other.py").write_text("from . import f\n")
    with pytest.raises(ValueError, match="other.py:1: a relative import"):
        draw_imports.imports_between_parts(package)
