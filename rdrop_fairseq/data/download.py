"""Downloads that continue where they were cut off."""

import http.client
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable, Optional

from rdrop_fairseq.common.errors import UserError

ATTEMPTS = 4
SECONDS_TO_WAIT = (1, 5, 20)  # before the second attempt and so on
TIMEOUT = 60  # seconds without a byte
_BLOCK = 1 << 20
_SECONDS_BETWEEN_REPORTS = {True: 0.5, False: 15.0}  # on a terminal, in a log


class DownloadError(Exception):
    """A download that could not be finished, or sent another file; the message names URL and cause."""


def download(url: str, destination: Path, size: Optional[int], find_fault: Callable[[Path], Optional[str]]) -> None:
    """Fetch ``url`` into ``destination``, which appears when it is complete and ``find_fault`` found none.

    What was received before lies in ``destination`` with ``.partial`` added; only the rest is asked for, where the
    server can send it. ``size`` in bytes is that of the whole file, where it is known.

    Raises:
        DownloadError: the server or the network failed, and what was received is kept; or the server has another
            file, which is removed if that was found out by ``find_fault`` only.
        UserError: it cannot be written.
    """
    partial = destination.with_name(destination.name + ".partial")
    for attempt in range(ATTEMPTS):
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            if size is None or not partial.exists() or partial.stat().st_size != size:
                _receive(url, partial, size)
            break
        except urllib.error.HTTPError as error:
            # A server that is busy (429, 5xx) may answer later; one that has no such file will not.
            if error.code not in (408, 429) and error.code < 500 or attempt + 1 == ATTEMPTS:
                raise DownloadError(f"{url} answers {error.code} {error.reason}") from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            if attempt + 1 == ATTEMPTS:
                raise DownloadError(f"{url}: {getattr(error, 'reason', None) or error}") from error
        except OSError as error:
            raise UserError(f"cannot write {partial}: {error.strerror}; free space or choose another folder") from error
        time.sleep(SECONDS_TO_WAIT[min(attempt, len(SECONDS_TO_WAIT) - 1)])
    fault = find_fault(partial)
    if fault:
        partial.unlink()
        raise DownloadError(f"{url} is damaged or another file: it has {fault}")
    partial.replace(destination)


def _receive(url: str, partial: Path, size: Optional[int]) -> None:
    """Append to ``partial`` what it lacks."""
    start = partial.stat().st_size if partial.exists() else 0
    if size is not None and start > size:
        start = 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        # 416: nothing lies beyond what was received, so that was all of it, or the file is another one by now.
        if error.code == 416 and start and error.headers.get("Content-Range", "").endswith(f"/{start}"):
            return
        if error.code == 416:
            partial.unlink()
        raise
    with response:
        # 206 is the rest of the file, anything else the whole.
        resumed = start > 0 and response.status == 206
        remaining = response.headers.get("Content-Length")
        total = (start if resumed else 0) + int(remaining) if remaining else size
        if size is not None and total != size:
            raise DownloadError(f"{url} is damaged or another file: it has {total} bytes and not {size}")
        with open(partial, "ab" if resumed else "wb") as stream:
            progress = _Progress(url, start if resumed else 0, total)
            while block := _read(response):
                stream.write(block)
                progress.advance(len(block))
            progress.finish()
    received = partial.stat().st_size
    if total is not None and received < total:
        raise ConnectionError(f"the connection ended after {received} of {total} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    """The next bytes; whatever fails here (TLS, no route to the host) is the network, and not the disk."""
    try:
        return response.read(_BLOCK)
    except OSError as error:
        raise ConnectionError(str(error)) from error


class _Progress:
    """Says on stderr how far a download has come."""

    def __init__(self, url: str, received: int, total: Optional[int]) -> None:
        self.name, self.received, self.total = url.rsplit("/", 1)[-1], received, total
        self.first, self.start = received, time.monotonic()
        self.last = self.start
        self.on_terminal = sys.stderr.isatty()

    def advance(self, count: int) -> None:
        self.received += count
        now = time.monotonic()
        if now - self.last >= _SECONDS_BETWEEN_REPORTS[self.on_terminal]:
            self.last = now
            self._say(now)

    def finish(self) -> None:
        self._say(time.monotonic())
        if self.on_terminal:
            print(file=sys.stderr)

    def _say(self, now: float) -> None:
        share = f" of {self.total / 1e6:,.1f} MB, {self.received / self.total:.0%}" if self.total else " MB"
        speed = (self.received - self.first) / max(1e-9, now - self.start) / 1e6
        text = f"{self.name}: {self.received / 1e6:,.1f}{share}, {speed:,.1f} MB/s"
        print(f"\r{text}\033[K" if self.on_terminal else text, end="" if self.on_terminal else "\n", file=sys.stderr)
        sys.stderr.flush()
