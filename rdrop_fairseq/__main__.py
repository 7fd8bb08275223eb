"""``python -m rdrop_fairseq`` prints the directory to give to fairseq's ``--user-dir``::

fairseq-train DATA-BIN --user-dir "$(python -m rdrop_fairseq)" --task rdrop_translation ...
"""

import argparse
from pathlib import Path


def main() -> None:
    """Print the directory of the installed package, one line."""
    parser = argparse.ArgumentParser(
        prog="python -m rdrop_fairseq",
        description="Print the directory to give to fairseq's --user-dir.",
    )
    parser.parse_args()
    print(Path(__file__).absolute().parent)


if __name__ == "__main__":
    main()
