"""From the archives of a corpus to its raw text: train, valid and test, one sentence a line.

    python -m rdrop_fairseq.data.corpora get wmt14_en_de --archives archives
    python -m rdrop_fairseq.data.corpora extract wmt14_en_de --archives archives --output raw

``--raw-dir`` names a folder that is searched first, for the archives or for files extracted from them.
"""

import argparse
import contextlib
import logging
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.data.archives import Table, check_space, find, note, obtain, read_table
from rdrop_fairseq.data.checksums import check_unchanged, note_sums
from rdrop_fairseq.data.corpus_layouts import CORPORA, TextFile
from rdrop_fairseq.data.extraction import lines_of_member
from rdrop_fairseq.data.parallel_text import SPLITS
from rdrop_fairseq.data.test_sets import files_of_test_set

logger = logging.getLogger(__name__)

TABLES = Path(__file__).parent / "archive_tables"
# What a preparation takes on disk, all its copies of the text with the binarised data: for a pair of a WMT corpus, and
# as a multiple of a text. Text is about EXPANSION times as large as the archive, or gzipped file, it comes in.
BYTES_PER_PAIR = 1600
COPIES = 6
EXPANSION = 3


class RawText:
    """The raw text of a corpus, from archives, from a folder of the user's, or from both.

    Args:
        name: of the corpus, one of ``CORPORA``.
        archives: folder for downloads.
        raw_folder: searched before; nothing is written there.
        prefixes: train on PREFIX.LANGUAGE of ``raw_folder``, one after the other, in place of the corpus's own files.
        table: of archives, in place of the one in ``archive_tables``.

    Raises:
        UserError: unknown corpus, a folder that does not exist, or a table that does not suit.
    """

    def __init__(
        self,
        name: str,
        archives: Path,
        raw_folder: Optional[Path] = None,
        prefixes: Iterable[str] = (),
        table: Optional[Path] = None,
    ) -> None:
        if name not in CORPORA:
            raise UserError(f"unknown corpus {name}; give one of {', '.join(CORPORA)}")
        if raw_folder and not raw_folder.is_dir():
            raise UserError(
                f"no folder {raw_folder}; give --raw-dir the folder with the archives or the extracted files"
            )
        self.name, self.corpus = name, CORPORA[name]
        self.archives, self.raw_folder, self.prefixes = archives, raw_folder, list(prefixes)
        self._folders = [*([raw_folder] if raw_folder else []), archives]
        if self.prefixes and not raw_folder:
            raise UserError("--corpus chooses files of a folder; name the folder with --raw-dir")
        self.table: Table = read_table(table or TABLES / f"{name}.txt")

    def get(self) -> None:
        """Have every archive that is needed, checked, downloading those that lie nowhere."""
        check_space(self.archives, self._space_needed(), f"{self.name} with its text")
        for part, alternatives in self._needed_parts().items():
            logger.info(f"{part}: {obtain(alternatives, self.archives, self.raw_folder)} is as it should be")
        for split in self.corpus.test_sets:
            logger.info(f"{split}: {' and '.join(str(path) for path, _ in self._test_set(split))}")

    def check(self) -> None:
        """Check the archives that are there, and that no text of ``raw_folder`` changed since it was extracted.

        Raises:
            UserError: an archive is damaged, or text is another one.
        """
        for part, alternatives in self._needed_parts().items():
            if find(alternatives, self._folders):
                logger.info(f"{part}: {obtain(alternatives, self.archives, self.raw_folder)} is as it should be")
        check_unchanged(self.archives, self._files_of_the_user())

    def extract(self, output: Path) -> None:
        """Write train, valid and test (what the corpus has of them) as SPLIT.LANGUAGE to the folder ``output``.

        Raises:
            UserError: an archive is damaged or lacks a file, text is not UTF-8, or line counts are not as they should.
        """
        for split in SPLITS:
            if split in self.corpus.files:
                self._write(split, self._sources(split), output)
        for split, test_set in self.corpus.test_sets.items():
            sentences = self._write(split, [self._test_set(split)], output)
            if sentences != test_set.sentences:
                logger.warning(
                    f"{split} has {sentences:,} sentences and {test_set.name} has {test_set.sentences:,}; scores on it "
                    "are not those on the published test set"
                )
        note(self._needed_parts().values(), self._folders, self.archives)
        note_sums(self.archives, {str(path): path for path in self._files_of_the_user()})

    def _write(self, split: str, sources: List[Tuple[Tuple[Path, str], Tuple[Path, str]]], output: Path) -> int:
        """Put the pairs of ``sources`` one after the other; each side is (archive or file, name of the member).

        Returns the number of pairs, whether or not there is text on both sides.
        """
        total = 0
        paths = [output / f"{split}.{language}" for language in self.corpus.languages]
        sentences = self.corpus.sentences.get(split, iter)
        with contextlib.ExitStack() as stack:
            streams = []
            for path in paths:
                temporary = stack.enter_context(atomic_output(path))
                streams.append(stack.enter_context(open(temporary, "w", encoding="utf-8", newline="\n")))
            for pair in sources:
                counts = []
                for (archive, name), stream in zip(pair, streams):
                    count = 0
                    for count, sentence in enumerate(sentences(lines_of_member(archive, name)), start=1):  # noqa: B007
                        stream.write(sentence + "\n")
                    counts.append(count)
                if not any(counts):
                    raise UserError(
                        f"{pair[0][1]} of {pair[0][0]} and {pair[1][1]} of {pair[1][0]} hold no text; give files with "
                        "one sentence a line"
                    )
                if counts[0] != counts[1]:
                    raise UserError(
                        f"{pair[0][1]} of {pair[0][0]} has {counts[0]} lines but {pair[1][1]} of {pair[1][0]} has "
                        f"{counts[1]}; the files of a pair must be aligned line by line"
                    )
                logger.info(f"{split}: {counts[0]:,} pairs from {pair[0][1]} and {pair[1][1]}")
                total += counts[0]
            if split == "train" and self.table.pairs not in (None, total) and not self.prefixes:
                raise UserError(
                    f"the training text has {total:,} pairs of lines and not {self.table.pairs:,}; an archive is "
                    "another edition, or give --corpus to train on a part"
                )
        return total

    def _sources(self, split: str) -> List[Tuple[Tuple[Path, str], Tuple[Path, str]]]:
        """For each file of a split, and each language, the file or archive and the name of the text in it."""
        files = self._files()[split]
        return [tuple(self._source(file, language) for language in self.corpus.languages) for file in files]

    def _files(self) -> Dict[str, List[TextFile]]:
        """By split: the files of the corpus, or those that were chosen in their place."""
        chosen = {"train": [TextFile("", f"{prefix}.{{}}") for prefix in self.prefixes]} if self.prefixes else {}
        return {**self.corpus.files, **chosen}

    def _source(self, file: TextFile, language: str) -> Tuple[Path, str]:
        name = file.name.format(language)
        extracted = self._extracted(name)
        if extracted:
            return extracted, name
        if not file.part:
            raise UserError(
                f"no {name} in {self.raw_folder}; --corpus takes the name of two files there, without language"
            )
        archive = find(self._archives_of(file.part.format(language)), self._folders)
        if not archive:
            raise UserError(
                f"no {name} and no archive of it in {' or '.join(map(str, self._folders))}; run the stage download"
            )
        return archive, name

    def _extracted(self, name: str) -> Optional[Path]:
        """The file ``name``, or ``name.gz``, in the folder of raw text."""
        if not self.raw_folder:
            return None
        # The archives of Multi30k have such names as well; an archive is to be checked first.
        archives = {archive.name for alternatives in self.table.parts.values() for archive in alternatives}
        paths = [self.raw_folder / candidate for candidate in (name, f"{name}.gz") if candidate not in archives]
        return next((path for path in paths if path.is_file()), None)

    def _space_needed(self) -> int:
        """Bytes for the archives to be downloaded and for all that is made of the text."""
        downloads = texts = 0
        for alternatives in self._needed_parts().values():
            present = find(alternatives, self._folders)
            size = present.stat().st_size if present else alternatives[0].size or 0
            downloads += 0 if present else size
            texts += size * EXPANSION
        if self.table.pairs and not self.prefixes:
            return downloads + self.table.pairs * BYTES_PER_PAIR
        for path in self._files_of_the_user():
            texts += path.stat().st_size * (EXPANSION if path.suffix == ".gz" else 1)
        return downloads + texts * COPIES

    def _files_of_the_user(self) -> List[Path]:
        """The files of ``raw_folder`` that hold text and are no archives of the table."""
        files = [file.name for files in self._files().values() for file in files]
        files += [f"{test_set.file_name}.{{}}" for test_set in self.corpus.test_sets.values()]
        paths = [self._extracted(name.format(language)) for name in files for language in self.corpus.languages]
        return [path for path in paths if path]

    def _needed_parts(self) -> Dict[str, list]:
        """The parts of the table without which some text is missing, with the archives that have them."""
        needed = {}
        for split, files in self.corpus.files.items():
            if split == "train" and self.prefixes:
                continue
            for file in files:
                for language in self.corpus.languages:
                    if not self._extracted(file.name.format(language)):
                        part = file.part.format(language)
                        needed[part] = self._archives_of(part)
        return needed

    def _archives_of(self, part: str) -> list:
        if part not in self.table.parts:
            raise UserError(f"the table of archives has no part {part}; add a line with its archive")
        return self.table.parts[part]

    def _test_set(self, split: str) -> Tuple[Tuple[Path, str], Tuple[Path, str]]:
        test_set = self.corpus.test_sets[split]
        names = [f"{test_set.file_name}.{language}" for language in self.corpus.languages]
        extracted = [self._extracted(it) for it in names]
        if None not in extracted:
            return (extracted[0], names[0]), (extracted[1], names[1])
        try:
            source, reference = files_of_test_set(test_set.name, *self.corpus.languages)
        except UserError as error:
            raise UserError(f"{error}, or give {' and '.join(names)} in a folder with --raw-dir") from error
        return (source, source.name), (reference, reference.name)


def main(arguments: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rdrop_fairseq.data.corpora", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["get", "check", "extract"], help="archives, those that are there, text")
    parser.add_argument("corpus", help=", ".join(CORPORA))
    parser.add_argument("--archives", type=Path, required=True, help="folder for downloads")
    parser.add_argument("--raw-dir", type=Path, help="folder with archives, or with files extracted from them")
    parser.add_argument("--corpus-prefix", action="append", default=[], help="train on these files of --raw-dir alone")
    parser.add_argument("--table", type=Path, help="another table of archives")
    parser.add_argument("--output", type=Path, help="extract: where the text goes")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S", force=True)
    text = RawText(options.corpus, options.archives, options.raw_dir, options.corpus_prefix, options.table)
    if options.command == "get":
        text.get()
    elif options.command == "check":
        text.check()
    elif not options.output:
        parser.error("extract needs --output")
    else:
        text.extract(options.output)


if __name__ == "__main__":
    main()
