"""The command line of the preparations: ``scripts/prepare_*.sh``, whose --help says what the options do.

python -m rdrop_fairseq.data.prepare RECIPE [OPTION]...
"""

import argparse
import sys
from pathlib import Path
from typing import List, Optional

import rdrop_fairseq
from rdrop_fairseq.common.command_line import Parser, positive_number, some_text
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.data.recipes import RECIPES, Recipe


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that preparing a recipe and reproducing it share."""
    parser.add_argument("--raw-dir", type=_path, metavar="DIR")
    parser.add_argument("--corpus", type=some_text, action="append", default=[], metavar="PREFIX")
    parser.add_argument("--table", type=_path, metavar="FILE")
    parser.add_argument("--vocab-size", type=positive_number, metavar="N")
    parser.add_argument("--workers", type=positive_number, metavar="N")


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    words = sys.argv[1:] if arguments is None else arguments
    # As the script of the recipe, which is what people call.
    script = f"prepare_{words[0]}.sh" if words else "prepare_RECIPE.sh"
    parser = Parser(prog=f"scripts/{script}", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("recipe", metavar="RECIPE", help=f"{', '.join(RECIPES)}, or multi30k with --target-lang")
    add_options(parser)
    parser.add_argument("--target-lang", type=some_text, metavar="LANG")
    parser.add_argument("--tokenised-dir", type=_path, metavar="DIR")
    parser.add_argument("--output-dir", type=_path, metavar="DIR")
    parser.add_argument("--stage", type=some_text, metavar="NAME")
    parser.add_argument("--stop-stage", type=some_text, metavar="NAME")
    options = parser.parse_args(words)
    recipe = _recipe(options.recipe, options.target_lang)
    Preparation(
        recipe,
        options.output_dir or Path(rdrop_fairseq.__file__).resolve().parents[1] / "data" / recipe.name,
        script,
        raw_dir=options.raw_dir,
        tokenised_dir=options.tokenised_dir,
        corpus_prefixes=options.corpus,
        table=options.table,
        vocabulary_size=options.vocab_size,
        workers=options.workers,
    ).run(options.stage, options.stop_stage)


def _recipe(name: str, target_language: Optional[str]) -> Recipe:
    """The recipe of a command line; multi30k is one of two, by its target language."""
    if name == "multi30k":
        name = f"multi30k_en_{target_language or 'de'}"
        if name not in RECIPES:
            raise UserError(f"--target-lang is {target_language}; give de or fr")
    elif target_language is not None:
        raise UserError(f"--target-lang is for multi30k alone; leave it out with {name}")
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name}; give one of {', '.join(RECIPES)}")
    return RECIPES[name]


def _path(value: str) -> Path:
    return Path(some_text(value))


if __name__ == "__main__":
    main()
