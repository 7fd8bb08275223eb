"""Draw the packages and their imports, for docs/development.md; with --write, put the picture there."""

import argparse
import ast
import re
from pathlib import Path
from typing import Dict, Iterator, List, Set

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "rdrop_fairseq"
DOCUMENT = REPOSITORY / "docs" / "development.md"
# What stands between these lines of the document is made here.
FIRST_LINE = "<!-- made by scripts/draw_imports.py --write -->"
LAST_LINE = "<!-- end of what scripts/draw_imports.py makes -->"


def imports_between_parts(package: Path) -> Dict[str, Set[str]]:
    """Part of the package -> the other parts that it imports, at the top of a file or inside a function.

    A part is a folder of the package, or a file beside them other than those whose names begin with ``__``.
    """
    imports: Dict[str, Set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        part = path.relative_to(package).parts[0]
        if part.startswith("__"):
            continue
        part = part[: -len(".py")] if part.endswith(".py") else part
        others = {module.split(".")[1] for module in _imported_modules(path, package.name)}
        imports.setdefault(part, set()).update(others - {part})
    return {part: others & imports.keys() for part, others in imports.items()}


def _imported_modules(path: Path, package: str) -> Iterator[str]:
    """The modules of the package that a file imports, with their full names. Imports are absolute in this code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        names: List[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            # "from package import part" names the part beside the module.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            raise ValueError(f"{path}:{node.lineno}: a relative import; write it with the name of the package")
        yield from (name for name in names if name.startswith(f"{package}."))


def without_detours(imports: Dict[str, Set[str]]) -> Dict[str, Set[str]]:
    """The imports that do not follow from others: a -> c is left out where a -> b and b leads to c."""

    def reachable(part: str, seen: Set[str]) -> Set[str]:
        for other in imports[part] - seen:
            seen.add(other)
            reachable(other, seen)
        return seen

    return {
        part: {it for it in others if not any(it in reachable(other, {part}) for other in others - {it})}
        for part, others in imports.items()
    }


def draw(imports: Dict[str, Set[str]]) -> str:
    """The picture in Mermaid's language, which GitHub draws."""
    arrows = [f"    {part} --> {other}" for part, others in sorted(imports.items()) for other in sorted(others)]
    return "\n".join(["```mermaid", "graph TD", *arrows, "```"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the picture into docs/development.md")
    picture = draw(without_detours(imports_between_parts(PACKAGE)))
    if not parser.parse_args().write:
        print(picture)
        return
    text = DOCUMENT.read_text(encoding="utf-8")
    place = re.compile(f"{re.escape(FIRST_LINE)}\n.*?{re.escape(LAST_LINE)}", re.DOTALL)
    replacement = f"{FIRST_LINE}\n{picture}\n{LAST_LINE}"
    text, count = place.subn(lambda _: replacement, text)
    if count != 1:
        parser.error(f"{DOCUMENT} has {count} places for the picture; put it between {FIRST_LINE} and {LAST_LINE}")
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
