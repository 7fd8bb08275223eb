"""Archives laid out like the official ones, made from generated text, and a server that sends them."""

import gzip
import hashlib
import http.server
import io
import random
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Dict, List, Optional

from rdrop_fairseq.data.recipes import IWSLT14_TEST_SETS

WORDS = {
    "en": "the house is green and old but my sister's dog doesn't like it , said Mr. Smith well-known".split(),
    "de": "das Haus ist grün und alt aber der Hund mag es nicht sagte Herr Schmidt z.B. E-Mail groß".split(),
    "fr": "la maison est verte et vieille mais l'ami d'elle n'aime pas ça , dit-il à l'école où".split(),
}


def sentences(language: str, count: int, seed: int) -> List[str]:
    """``count`` random lines of about the same length on every side for the same seed."""
    generator = random.Random(f"{seed} {language}")
    lengths = random.Random(seed)
    sizes = [lengths.randint(3, 12) for _ in range(count)]
    return [" ".join(generator.choices(WORDS[language], k=size)).capitalize() + " ." for size in sizes]


def text(lines: List[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode("utf-8")


def tar(path: Path, members: Dict[str, bytes], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def pairs(prefix: str, other: str, count: int, seed: int) -> Dict[str, bytes]:
    """Two members, such as training/europarl-v7.de-en.de and .en; the official archives hold other pairs, too."""
    return {f"{prefix}.{language}": text(sentences(language, count, seed)) for language in (other, "en")}


def wmt14_en_de(folder: Path) -> Path:
    """The three archives of the recipe, and their table."""
    tar(
        folder / "training-parallel-europarl-v7.tgz",
        {
            **pairs("training/europarl-v7.fr-en", "fr", 5, 9),
            **pairs("training/europarl-v7.de-en", "de", 60, 1),
        },
    )
    tar(folder / "training-parallel-commoncrawl.tgz", pairs("commoncrawl.de-en", "de", 40, 2))
    tar(folder / "training-parallel-nc-v9.tgz", pairs("training/news-commentary-v9.de-en", "de", 30, 3))
    names = {"europarl-v7": "europarl-v7", "commoncrawl": "commoncrawl", "news-commentary-v9": "nc-v9"}
    return table(folder, {part: [f"training-parallel-{name}.tgz"] for part, name in names.items()}, 130)


def wmt14_en_fr(folder: Path) -> Path:
    """The five archives: UN as a zip, Giga-FrEn as gzipped files in a tar that is not compressed."""
    tar(folder / "training-parallel-europarl-v7.tgz", pairs("training/europarl-v7.fr-en", "fr", 60, 1))
    tar(folder / "training-parallel-commoncrawl.tgz", pairs("commoncrawl.fr-en", "fr", 30, 2))
    tar(folder / "training-parallel-nc-v9.tgz", pairs("training/news-commentary-v9.fr-en", "fr", 20, 3))
    with zipfile.ZipFile(folder / "training-parallel-un.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pairs("un/undoc.2000.fr-en", "fr", 20, 4).items():
            archive.writestr(name, content)
    giga = pairs("giga-fren.release2.fixed", "fr", 20, 5)
    tar(
        folder / "training-giga-fren.tar", {f"{name}.gz": gzip.compress(content) for name, content in giga.items()}, "w"
    )
    parts = {
        "europarl-v7": ["training-parallel-europarl-v7.tgz"],
        "commoncrawl": ["training-parallel-commoncrawl.tgz"],
        "un": ["absent.tgz", "training-parallel-un.zip"],
        "news-commentary-v9": ["training-parallel-nc-v9.tgz"],
        "giga-fren": ["training-giga-fren.tar"],
    }
    return table(folder, parts, 150)


def iwslt14_de_en(folder: Path) -> Path:
    """One archive: tagged training text, and five test sets in XML."""
    members = {}
    for language in ("de", "en"):
        lines = ["<url>http://www.ted.com/x</url>", "<keywords>talks</keywords>", "<talkid>1</talkid>"]
        lines += [f"<title>{language} title</title>", f"<description>TED Talk {language} .</description>"]
        members[f"de-en/train.tags.de-en.{language}"] = text(lines + sentences(language, 90, 1))
        for number, name in enumerate(IWSLT14_TEST_SETS):
            segments = [
                f'<seg id="{index}"> {line.replace(chr(39), chr(0x2019))} </seg>'
                for index, line in enumerate(sentences(language, 3, 10 + number), start=1)
            ]
            xml = ["<?xml version='1.0'?>", "<doc docid='1'>", "<title>not this</title>", *segments, "</doc>"]
            members[f"de-en/IWSLT14.{name}.de-en.{language}.xml"] = text(xml)
    tar(folder / "de-en.tgz", members)
    return table(folder, {"iwslt14": ["de-en.tgz"]})


def multi30k_en_de(folder: Path) -> Path:
    """Six gzipped files."""
    sizes = {"train": 90, "val": 10, "test_2016_flickr": 10}
    parts = {}
    for seed, (split, count) in enumerate(sizes.items()):
        for language in ("en", "de"):
            name = f"{split}.{language}"
            (folder / f"{name}.gz").write_bytes(gzip.compress(text(sentences(language, count, seed))))
            parts[name] = [f"{name}.gz"]
    return table(folder, parts)


RECIPES = {
    "wmt14_en_de": (wmt14_en_de, ("en", "de")),
    "wmt14_en_fr": (wmt14_en_fr, ("en", "fr")),
    "iwslt14_de_en": (iwslt14_de_en, ("de", "en")),
    "multi30k": (multi30k_en_de, ("en", "de")),
}


def newstests(folder: Path, target: str) -> None:
    """newstest2013 and newstest2014 as plain files of a raw folder."""
    for name, count, seed in (("newstest2013", 10, 21), ("newstest2014", 12, 22)):
        for language in ("en", target):
            (folder / f"{name}.{language}").write_bytes(text(sentences(language, count, seed)))


def table(folder: Path, parts: Dict[str, List[str]], total: Optional[int] = None) -> Path:
    """A table of the archives in ``folder``, with size and SHA-256 of those that exist."""
    lines = []
    for part, names in parts.items():
        for name in names:
            path = folder / name
            known = f"{path.stat().st_size} {hashlib.sha256(path.read_bytes()).hexdigest()}" if path.exists() else "- -"
            lines.append(f"{part} {known} http://SERVER/{name}")
    if total:
        lines.append(f"pairs {total}")
    result = folder / "table.txt"
    result.write_text("\n".join(lines) + "\n")
    return result


class Server:
    """Sends the files of a folder, with or without ranges; what happens to a request can be changed.

    ``requests`` holds (path, value of the header Range). ``cut_after`` is a number of bytes after which a connection
    is closed, once; ``status`` an error to answer with.
    """

    def __init__(self, folder: Path, ranges: bool = True) -> None:
        server = self
        self.requests: list = []
        self.cut_after: Optional[int] = None
        self.status: Optional[int] = None

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.requests.append((self.path, wanted))
                path = folder / self.path.lstrip("/")
                if server.status or not path.is_file():
                    self.send_error(server.status or 404)
                    return
                content = path.read_bytes()
                start = int(wanted[len("bytes=") :].rstrip("-")) if wanted and ranges else 0
                if start and start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.end_headers()
                body = content[start:]
                if server.cut_after is not None:
                    body, server.cut_after = body[: server.cut_after], None
                self.wfile.write(body)

            def log_message(self, *arguments) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
