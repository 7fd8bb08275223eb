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
from rdrop_fairseq.data.archives import (
    Archive,
    Table,
    check_space,
    check_unchanged,
    find,
    note,
    note_sums,
    obtain,
    read_table,
)
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
        UserError: a folder or file that does not exist, or a table that does not suit.
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
        if raw_folder and not raw_folder.is_dir():
            raise UserError(
                f"no folder {raw_folder}; give --raw-dir the folder with the archives or the extracted files"
            )
        self.name, self.languages, self.corpus = recipe.name, recipe.languages, recipe.corpus
        self.archives, self.raw_folder, self.prefixes = archives, raw_folder, list(prefixes)
        self._folders = [*([raw_folder] if raw_folder else []), archives]
        if self.prefixes and not raw_folder:
            raise UserError("--corpus chooses files of a folder; name the folder with --raw-dir")
        self.table: Table = read_table(table or TABLES / f"{self.name}.txt")
        self._report, self._place_option = report, place_option

    def check_chosen_files(self) -> None:
        """Raises a UserError unless the files are there that were chosen to train on."""
        if self.prefixes:
            self._sources("train")

    def get(self) -> None:
        """Have every archive that is needed, checked, downloading those that lie nowhere."""
        check_space(self.archives, self._space_needed(), f"{self.name} with its text", self._place_option)
        for part, alternatives in self._needed_parts().items():
            self._obtain(part, alternatives)
        for split in self.corpus.test_sets:
            self._report(f"{split}: {' and '.join(str(path) for path, _ in self._test_set(split))}")

    def check(self) -> None:
        """Check the archives that are there, and that no text of ``raw_folder`` changed since it was extracted.

        Raises:
            UserError: an archive is damaged, or text is another one.
        """
        for part, alternatives in self._needed_parts().items():
            if find(alternatives, self._folders):
                self._obtain(part, alternatives)
        check_unchanged(self.archives, self._files_of_the_user(), self._place_option)

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
                self._report(
                    f"warning: {split} has {sentences:,} sentences and {test_set.name} has {test_set.sentences:,}; "
                    "scores on it are not those on the published test set"
                )
        note(self._needed_parts().values(), self._folders, self.archives)
        note_sums(self.archives, {str(path): path for path in self._files_of_the_user()})

    def _obtain(self, part: str, alternatives: List[Archive]) -> None:
        self._report(f"{part}: {obtain(alternatives, self.archives, self.raw_folder)} is as it should be")

    def _write(self, split: str, sources: List[_Pair], output: Path) -> int:
        """Put the pairs of ``sources`` one after the other; returns their number, lines without text included."""
        total = 0
        paths = [output / f"{split}.{language}" for language in self.languages]
        sentences = self.corpus.sentences.get(split, iter)
        with contextlib.ExitStack() as stack:
            streams = []
            for path in paths:
                temporary = stack.enter_context(atomic_output(path))
                streams.append(stack.enter_context(open(temporary, "w", encoding="utf-8", newline="\n")))
            for pair in sources:
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
            if split == "train" and self.table.pairs not in (None, total) and not self.prefixes:
                raise UserError(
                    f"the training text has {total:,} pairs of lines and not {self.table.pairs:,}; an archive is "
                    "another edition, or give --corpus to train on a part"
                )
        return total

    def _sources(self, split: str) -> List[_Pair]:
        """What a split is put together from."""
        source, target = self.languages
        return [(self._source(file, source), self._source(file, target)) for file in self._files()[split]]

    def _files(self) -> Dict[str, List[TextFile]]:
        """By split: the files of the corpus, or those that were chosen in their place."""
        chosen = {"train": [TextFile("", f"{prefix}.{{}}") for prefix in self.prefixes]} if self.prefixes else {}
        return {**self.corpus.files, **chosen}

    def _source(self, file: TextFile, language: str) -> _Side:
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
        paths = [self._extracted(name.format(language)) for name in files for language in self.languages]
        return [path for path in paths if path]

    def _needed_parts(self) -> Dict[str, List[Archive]]:
        """The parts of the table without which some text is missing, with the archives that have them."""
        needed = {}
        for split, files in self.corpus.files.items():
            if split == "train" and self.prefixes:
                continue
            for file in files:
                for language in self.languages:
                    if not self._extracted(file.name.format(language)):
                        part = file.part.format(language)
                        needed[part] = self._archives_of(part)
        return needed

    def _archives_of(self, part: str) -> List[Archive]:
        if part not in self.table.parts:
            raise UserError(f"the table of archives has no part {part}; add a line with its archive")
        return self.table.parts[part]

    def _test_set(self, split: str) -> _Pair:
        test_set = self.corpus.test_sets[split]
        names = [f"{test_set.file_name}.{language}" for language in self.languages]
        extracted = [self._extracted(it) for it in names]
        if None not in extracted:
            return (extracted[0], names[0]), (extracted[1], names[1])
        try:
            source, reference = files_of_test_set(test_set.name, *self.languages)
        except UserError as error:
            raise UserError(f"{error}, or give {' and '.join(names)} in a folder with --raw-dir") from error
        return (source, source.name), (reference, reference.name)


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
        with _open_member(archive, name) as stream:
            for number, line in enumerate(stream, start=1):
                yield decode_line(line, number, inside)
    except _DAMAGE as error:
        raise UserError(
            f"{archive} is damaged or no archive ({error}); remove it and run the same command again"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {archive}: {error.strerror or error}; give an existing, readable file") from error


@contextlib.contextmanager
def _open_member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The member as a stream of what it holds when it is decompressed."""
    if _is_called(archive.name, name):
        with open(archive, "rb") as stream:
            yield _decompressed(stream, archive.name)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                if _is_called(member.filename, name):
                    with members.open(member) as stream:
                        yield _decompressed(stream, member.filename)
                    return
            raise _missing(archive, name)
    else:
        # "r|*" reads from the front to the end once, as a large compressed archive should be.
        with tarfile.open(archive, "r|*") as members:
            for member in members:
                if member.isfile() and _is_called(member.name, name):
                    yield _decompressed(members.extractfile(member), member.name)
                    return
            raise _missing(archive, name)


def _is_called(path: str, name: str) -> bool:
    return PurePosixPath(path).name in (name, f"{name}.gz")


def _decompressed(stream: IO[bytes], name: str) -> IO[bytes]:
    return gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream


def _missing(archive: Path, name: str) -> UserError:
    return UserError(f"{archive} has no member {name}; give the official archive, or the extracted file with --raw-dir")
