"""Writes the generated corpus: train, valid and test, each as .en and .de with one sentence a line."""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from rdrop_fairseq.atomic_files import atomic_output
from rdrop_fairseq.data.generated_corpus.corpus import generate


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rdrop_fairseq.data.generated_corpus",
        description="Write generated English-German text: train, valid and test, each as .en and .de, UTF-8, "
        "one sentence a line. Valid and test hold combinations of words that train does not.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write; made if missing")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds give equal text (default: %(default)s)")
    for split, count in (("train", 6000), ("valid", 500), ("test", 500)):
        parser.add_argument(
            f"--{split}-pairs",
            type=int,
            default=count,
            metavar="N",
            help="sentence pairs (default: %(default)s)",
        )
    options = parser.parse_args(arguments)
    splits = generate(options.seed, options.train_pairs, options.valid_pairs, options.test_pairs)
    for split, pairs in splits.items():
        for column, language in enumerate(("en", "de")):
            with atomic_output(options.output / f"{split}.{language}") as path:
                with open(path, "w", encoding="utf-8", newline="\n") as stream:
                    stream.writelines(pair[column] + "\n" for pair in pairs)
    counts = ", ".join(f"{len(pairs)} {split}" for split, pairs in splits.items())
    print(f"generated sentence pairs in {options.output}: {counts}")


if __name__ == "__main__":
    main()
