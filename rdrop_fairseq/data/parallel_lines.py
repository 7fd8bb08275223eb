"""Every line of a large file through a function: on several cores, in order, in memory that does not grow with it."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import BinaryIO, Callable, Deque, Iterable, Iterator, List, Tuple

from tqdm import tqdm

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.processes import end_with_parent
from rdrop_fairseq.common.progress import progress_bar
from rdrop_fairseq.common.text import decode_line

LineFunction = Callable[[str], str]
# Enough that handing them to a worker costs nothing beside the work, few enough to keep all busy until the end.
LINES_PER_CHUNK = 2000
# Chunks that wait for a worker or to be written, for each worker: what bounds the memory.
CHUNKS_PER_WORKER = 3


def map_lines(
    make_function: Callable[..., LineFunction], arguments: Tuple, source: Path, destination: Path, workers: int
) -> None:
    """Write ``make_function(*arguments)(line)`` for every line of ``source`` to ``destination``.

    Args:
        make_function: a function of a module; called once in each worker.
        arguments: what can be pickled.
        source: UTF-8; its lines are those of :func:`rdrop_fairseq.common.text.iterate_lines`.
        destination: appears when it is complete.
        workers: processes, of which no more are started than there are chunks of lines. The output does not depend
            on it.

    Raises:
        UserError: ``source`` is missing or not UTF-8, or a worker was killed.
    """
    try:
        with open(source, "rb") as stream, atomic_output(destination) as temporary, open(temporary, "wb") as output:
            with progress_bar(str(destination), os.fstat(stream.fileno()).st_size, "B") as bar:
                chunks = _chunks(stream, bar)
                first_chunks = list(itertools.islice(chunks, workers))
                chunks = itertools.chain(first_chunks, chunks)
                # A process without a chunk would take longer to start than the others to finish.
                if len(first_chunks) <= 1:
                    function = make_function(*arguments)
                    output.writelines(_map_chunk(function, source, chunk) for chunk in chunks)
                else:
                    initial = (os.getpid(), make_function, arguments, source)
                    output.writelines(_map_in_workers(len(first_chunks), initial, chunks))
    except OSError as error:
        raise UserError(f"cannot read {source}: {error.strerror}; give an existing, readable file") from error
    except BrokenProcessPool as error:
        raise UserError(
            f"a worker that read {source} was killed (out of memory?); try again with fewer --workers"
        ) from error


_Chunk = Tuple[int, List[bytes]]  # the number of its first line, from 1, and the lines


def _chunks(stream: BinaryIO, bar: tqdm) -> Iterator[_Chunk]:
    first = 1
    while lines := list(itertools.islice(stream, LINES_PER_CHUNK)):
        yield first, lines
        first += len(lines)
        bar.update(sum(map(len, lines)))


def _map_chunk(function: LineFunction, source: Path, chunk: _Chunk) -> bytes:
    results = [function(decode_line(line, number, source)) for number, line in enumerate(chunk[1], start=chunk[0])]
    return "".join(result + "\n" for result in results).encode("utf-8")


def _map_in_workers(workers: int, initial: Tuple, chunks: Iterable[_Chunk]) -> Iterator[bytes]:
    # Forked workers share the modules that are loaded already: a new interpreter would import them again.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _start_worker, initial) as pool:
        waiting: Deque[Future] = collections.deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(_map_in_worker, chunk))
                if len(waiting) >= CHUNKS_PER_WORKER * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


_worker: Tuple[LineFunction, Path]  # in each worker its own


def _start_worker(parent: int, make_function: Callable[..., LineFunction], arguments: Tuple, source: Path) -> None:
    global _worker
    # Ctrl-C goes to every process of the terminal; the parent tells the workers when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(parent)
    _worker = make_function(*arguments), source


def _map_in_worker(chunk: _Chunk) -> bytes:
    return _map_chunk(*_worker, chunk)
