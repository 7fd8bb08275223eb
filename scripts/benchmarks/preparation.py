"""Lines per second and core of the steps that prepare a corpus, and the hours that they take for a large one.

    python scripts/benchmarks/preparation.py --source train.en --target train.fr --source-lang en --target-lang fr

cleans, tokenises, splits into sub-words (learnt from the text itself) and binarises on one core, and projects. Cleaning
runs on one core, the other steps on all. The rate of binarising includes the start of fairseq-preprocess, so it is too
low for small text. Reading archives and learning come on top.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List

from measuring import summary, write_rows

from rdrop_fairseq.data import moses, subwords
from rdrop_fairseq.data.archives import read_table
from rdrop_fairseq.data.cleaning import Rules, clean
from rdrop_fairseq.data.parallel_lines import map_lines
from rdrop_fairseq.data.parallel_text import check_pair
from rdrop_fairseq.data.raw_text import TABLES


def make_steps(options: argparse.Namespace, folder: Path) -> Dict[str, Callable[[], None]]:
    """The steps by name, each on the whole text and on one core; each writes what the next one reads."""
    files = {options.source_lang: options.source, options.target_lang: options.target}
    raw = (options.source, options.target)
    cleaned = tuple(folder / f"clean.{language}" for language in files)
    tokens = {language: folder / f"tokens.{language}" for language in files}
    model = folder / "model"
    rules = Rules(max_length=250, ratio=1.5, drop_duplicates=True)
    steps: Dict[str, Callable[[], None]] = {"clean": lambda: clean(raw, cleaned, rules, folder / "report.json")}
    for language, file in files.items():
        steps[f"tokenise {language}"] = lambda language=language, file=file: map_lines(
            moses.make_tokenise, (language,), file, tokens[language], workers=1
        )
        steps[f"tokenise {language}"]()
    subwords.learn(list(tokens.values()), options.vocab_size, model)
    for language in files:
        steps[f"sub-words {language}"] = lambda language=language: subwords.encode_file(
            model, tokens[language], folder / f"subwords.{language}", workers=1
        )
    command = ["fairseq-preprocess", "--joined-dictionary", "--workers", "1", "--trainpref", str(folder / "subwords")]
    command += ["--source-lang", options.source_lang, "--target-lang", options.target_lang]
    command += ["--destdir", str(folder / "bin")]

    def binarise() -> None:
        shutil.rmtree(folder / "bin", ignore_errors=True)  # fairseq-preprocess refuses its own earlier dictionary
        subprocess.run(command, check=True, capture_output=True)

    return {**steps, "binarise": binarise}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--source-lang", required=True)
    parser.add_argument("--target-lang", required=True)
    parser.add_argument("--vocab-size", type=int, default=8000, help="default: %(default)s")
    parser.add_argument(
        "--pairs",
        type=int,
        default=read_table(TABLES / "wmt14_en_fr.txt").pairs,
        help="of the large corpus (default: %(default)s, WMT14 English-French)",
    )
    parser.add_argument("--cores", type=int, default=16, help="to project for (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="CSV file to write")
    options = parser.parse_args()
    lines = check_pair(options.source, options.target).pairs
    with tempfile.TemporaryDirectory() as folder:
        steps = make_steps(options, Path(folder))
        seconds: Dict[str, List[float]] = {name: [] for name in steps}
        for _ in range(options.rounds):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - start)
    rows: List[Dict[str, object]] = []
    for row in summary(seconds, "clean"):
        rate = lines / float(row["median_seconds"])
        cores = 1 if row["variant"] == "clean" else options.cores
        rows.append(
            {
                "step": row["variant"],
                "lines": lines,
                "median_seconds": row["median_seconds"],
                "lines_per_second_and_core": round(rate, 1),
                "projected_cores": cores,
                "projected_hours": round(options.pairs / rate / cores / 3600, 3),
            }
        )
    write_rows(rows, options.output)
    total = sum(float(row["projected_hours"]) for row in rows)
    print(f"{total:.2f} hours for {options.pairs:,} pairs: cleaning on one core, all else on {options.cores}")


if __name__ == "__main__":
    main()
