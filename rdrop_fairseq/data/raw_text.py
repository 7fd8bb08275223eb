"""Raw text from archives: train, valid and test, one sentence a line.

Archives are read as streams: nothing is unpacked, so no member can write anywhere.
"""

import contextlib
import gzip
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.text import decode_line
from rdrop_fairseq.data.archives import Archive, check_space, check_unchanged, find, note_sums, obtain, read_table
from rdrop_fairseq.data.parallel_text import SPLITS, check_aligned
from rdrop_fairseq.data.recipes import Recipe, TextFile
from rdrop_fairseq.data.test_sets import files_of_test_set

TABLES = Path(__file__).parent / "archive_tables"
# What a preparation takes on disk, all its copies of the text with the binarised data: for a pair of a WMT corpus, and
# as a multiple of a text. Text is about EXPANSION times as large as the archive, or gzipped file, it comes in.
BYTES_PER_PAIR = 1600
COPIES = 6
EXPANSION = 3

_Side = Tuple[Path, str]  # an archive or a file, and the name of the text in it
_Pair = Tuple[_Side, _Side]


class RawText:
    """The raw text of a corpus, from archives, from a folder of the user's, or from both.

    Args:
        recipe: has a corpus.
        archives: folder for downloads.
        raw_folder: searched before; nothing is written there.
        prefixes: train on PREFIX.LANGUAGE of ``raw_folder``, one after the other, in place of the corpus's own files.
        table: of archives, in place of the one in ``archive_tables``.
        report: takes a line on what was done.
        place_option: the option that chooses another folder for the results, for messages.

    Raises:
        UserError: a table that is missing or damaged.
    """

    def __init__(
        self,
        recipe: Recipe,
        archives: Path,
        raw_folder: Optional[Path] = None,
        prefixes: Iterable[str] = (),
        table: Optional[Path] = None,
        report: Callable[[str], None] = print,
        place_option: str = "--output-dir",
    ) -> None:
        self._name, self._languages, self._test_sets = recipe.name, recipe.languages, recipe.corpus.test_sets
        self._sentences = recipe.corpus.sentences
        self._archives, self._raw_folder = archives, raw_folder
        self._folders = [*([raw_folder] if raw_folder else []), archives]
        self._files = dict(recipe.corpus.files)
        for split, test_set in self._test_sets.items():
            self._files[split] = [TextFile("", f"{test_set.file_name}.{{}}")]
        self._chosen = [TextFile("", f"{prefix}.{{}}") for prefix in prefixes]
        if self._chosen:
            self._files["train"] = self._chosen
        self._table = read_table(table or TABLES / f"{recipe.name}.txt")
        self._report, self._place_option = report, place_option

    def check_choice(self) -> None:
        """Raises a UserError unless the folder and the files that were chosen are there."""
        if self._chosen and not self._raw_folder:
            raise UserError("--corpus chooses files of a folder; name the folder with --raw-dir")
        if self._raw_folder and not self._raw_folder.is_dir():
            raise UserError(f"no folder {self._raw_folder}; give --raw-dir a folder that exists")
        if self._chosen:
            self._sources("train")

    def get(self) -> None:
        """Have every archive that is needed, checked, downloading those that lie nowhere."""
        check_space(self._archives, self._space_needed(), f"{self._name} with its text", self._place_option)
        for part, alternatives in self._needed_parts().items():
            self._obtain(part, alternatives)
        for split in self._test_sets:
            self._report(f"{split}: {' and '.join(str(path) for path, _ in self._test_set(split))}")

    def check(self) -> None:
        """Check the archives that are there, and that no text of ``raw_folder`` changed since it was extracted.

        Raises:
            UserError: an archive is damaged, or text is another one.
        """
        for part, alternatives in self._needed_parts().items():
            if find(alternatives, self._folders):
                self._obtain(part, alternatives)
        check_unchanged(self._archives, self._files_of_the_user(), self._place_option)

    def extract(self, output: Path) -> None:
        """Write train, valid and test (what the corpus has of them) as SPLIT.LANGUAGE to the folder ``output``.

        Raises:
            UserError: an archive is damaged or lacks a file, text is not UTF-8, or line counts are not as they should.
        """
        for split in filter(self._files.get, SPLITS):
            sentences = self._write(split, output)
            test_set = self._test_sets.get(split)
            if test_set and sentences != test_set.sentences:
                self._report(
                    f"warning: {split} has {sentences:,} sentences and {test_set.name} has {test_set.sentences:,}; "
                    "scores on it are not those on the published test set"
                )
        # Not before the text was read: an archive that is cut off would pass as the right one from then on.
        read = {str(path): path for path in self._files_of_the_user()}
        for alternatives in self._needed_parts().values():
            path = find(alternatives, self._folders)
            read.update({it.name: path for it in alternatives if it.name == path.name and not it.sha256})
        note_sums(self._archives, read)

    def _obtain(self, part: str, alternatives: List[Archive]) -> None:
        self._report(f"{part}: {obtain(alternatives, self._archives, self._raw_folder)} is as it should be")

    def _write(self, split: str, output: Path) -> int:
        """Put the pairs of a split one after the other; returns their number, lines without text included."""
        total = 0
        sentences = self._sentences.get(split, iter)
        with contextlib.ExitStack() as stack:
            streams = []
            for language in self._languages:
                temporary = stack.enter_context(atomic_output(output / f"{split}.{language}"))
                streams.append(stack.enter_context(open(temporary, "w", encoding="utf-8", newline="\n")))
            for pair in self._sources(split):
                counts = []
                names = [f"{name} of {archive}" for archive, name in pair]
                for (archive, name), stream in zip(pair, streams):
                    count = 0
                    for count, sentence in enumerate(sentences(lines_of_member(archive, name)), start=1):  # noqa: B007
                        stream.write(sentence + "\n")
                    counts.append(count)
                if not any(counts):
                    raise UserError(f"{' and '.join(names)} hold no text; give files with one sentence a line")
                check_aligned(names, counts)
                self._report(f"{split}: {counts[0]:,} pairs from {pair[0][1]} and {pair[1][1]}")
                total += counts[0]
            if split == "train" and self._table.pairs not in (None, total) and not self._chosen:
                raise UserError(
                    f"the training text has {total:,} pairs of lines and not {self._table.pairs:,}; an archive is "
                    "another edition, or give --corpus to train on a part"
                )
        return total

    def _sources(self, split: str) -> List[_Pair]:
        """What a split is put together from."""
        if split in self._test_sets:
            return [self._test_set(split)]
        source, target = self._languages
        return [(self._source(file, source), self._source(file, target)) for file in self._files[split]]

    def _source(self, file: TextFile, language: str) -> _Side:
        name = file.name.format(language)
        path = self._extracted(name)
        if not path and not file.part:
            raise UserError(
                f"no {name} in {self._raw_folder}; --corpus takes the name of two files there, without language"
            )
        path = path or find(self._archives_of(file.part.format(language)), self._folders)
        if not path:
            raise UserError(
                f"no {name} and no archive of it in {' or '.join(map(str, self._folders))}; run the stage download"
            )
        return path, name

    def _test_set(self, split: str) -> _Pair:
        test_set = self._test_sets[split]
        source, target = (f"{test_set.file_name}.{language}" for language in self._languages)
        extracted = self._extracted(source), self._extracted(target)
        if None not in extracted:
            return (extracted[0], source), (extracted[1], target)
        try:
            first, second = files_of_test_set(test_set.name, *self._languages)
        except UserError as error:
            raise UserError(f"{error}, or give {source} and {target} in a folder with --raw-dir") from error
        return (first, first.name), (second, second.name)

    def _extracted(self, name: str) -> Optional[Path]:
        """The file ``name``, or ``name.gz``, in the folder of raw text."""
        if not self._raw_folder:
            return None
        # The archives of Multi30k have such names as well; an archive is to be checked first.
        archives = {archive.name for alternatives in self._table.parts.values() for archive in alternatives}
        paths = [self._raw_folder / candidate for candidate in (name, f"{name}.gz") if candidate not in archives]
        return next((path for path in paths if path.is_file()), None)

    def _names_and_parts(self) -> List[Tuple[str, str]]:
        """Of every file of text its name, and the part of the table that has it, or nothing."""
        files = [file for files in self._files.values() for file in files]
        return [(it.name.format(language), it.part.format(language)) for it in files for language in self._languages]

    def _files_of_the_user(self) -> List[Path]:
        """The files of ``raw_folder`` that hold text and are no archives of the table."""
        return [path for path in (self._extracted(name) for name, _ in self._names_and_parts()) if path]

    def _needed_parts(self) -> Dict[str, List[Archive]]:
        """The parts of the table without which some text is missing, with the archives that have them."""
        parts = [part for name, part in self._names_and_parts() if part and not self._extracted(name)]
        return {part: self._archives_of(part) for part in parts}

    def _archives_of(self, part: str) -> List[Archive]:
        if part not in self._table.parts:
            raise UserError(f"the table of archives has no part {part}; add a line with its archive")
        return self._table.parts[part]

    def _space_needed(self) -> int:
        """Bytes for the archives to be downloaded and for all that is made of the text."""
        downloads = texts = 0
        for alternatives in self._needed_parts().values():
            present = find(alternatives, self._folders)
            size = present.stat().st_size if present else alternatives[0].size or 0
            downloads += 0 if present else size
            texts += size * EXPANSION
        if self._table.pairs and not self._chosen:
            return downloads + self._table.pairs * BYTES_PER_PAIR
        for path in self._files_of_the_user():
            texts += path.stat().st_size * (EXPANSION if path.suffix == ".gz" else 1)
        return downloads + texts * COPIES


_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, lzma.LZMAError, EOFError)


def lines_of_member(archive: Path, name: str) -> Iterator[str]:
    """The lines of the member called ``name``, or ``name.gz``, in whatever folder of the archive.

    ``archive`` is a tar (compressed or not), a zip, or itself ``name`` or ``name.gz``.

    Raises:
        UserError: the archive is damaged or lacks the member, or the member is not UTF-8.
    """
    name = PurePosixPath(name).name  # the user's may be in a folder of the raw text
    inside = archive if archive.name == name else archive / name
    try:
        with contextlib.ExitStack() as stack:
            for number, line in enumerate(_open_member(archive, name, stack), start=1):
                yield decode_line(line, number, inside)
    except _DAMAGE as error:
        raise UserError(
            f"{archive} is damaged or no archive ({error}); remove it and run the same command again"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {archive}: {error.strerror or error}; give an existing, readable file") from error


def _open_member(archive: Path, name: str, stack: contextlib.ExitStack) -> IO[bytes]:
    """The member as a stream of what it holds when it is decompressed; ``stack`` closes it."""

    def is_wanted(path: str) -> bool:
        return PurePosixPath(path).name in (name, f"{name}.gz")

    stream: Optional[IO[bytes]] = None
    if is_wanted(archive.name):
        path, stream = archive.name, stack.enter_context(open(archive, "rb"))
    elif zipfile.is_zipfile(archive):
        members = stack.enter_context(zipfile.ZipFile(archive))
        path = next(filter(is_wanted, members.namelist()), "")
        stream = members.open(path) if path else None
    else:
        # "r|*" reads from the front to the end once, as a large compressed archive should be.
        tar = stack.enter_context(tarfile.open(archive, "r|*"))
        member = next((member for member in tar if member.isfile() and is_wanted(member.name)), None)
        path, stream = (member.name, tar.extractfile(member)) if member else ("", None)
    if stream is None:
        raise UserError(
            f"{archive} has no member {name}; give the official archive, or the extracted file with --raw-dir"
        )
    return gzip.GzipFile(fileobj=stream) if path.endswith(".gz") else stream
