"""Check the documentation without a network: python -m tests.docs_check, which `make lint` runs.

Every relative link in a Markdown file leads to a file that exists and to a heading that it has, and every generated
page is as the generators would write it now.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

from tests.chart import derived
from tests.loadtest import options
from tests.support import documentation, migrating
from tests.support.documentation import ROOT

SKIPPED_FOLDERS = frozenset({"build", "node_modules"})  # and whatever begins with a dot, but .github
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # a scheme, such as https:


def markdown_files(root: Path = ROOT) -> Iterator[Path]:
    """Every Markdown file of the project."""
    for path in sorted(root.iterdir()):
        if path.suffix == ".md":
            yield path
        elif path.is_dir() and (path.name == ".github" or not is_skipped(path)):
            yield from markdown_files(path)


def is_skipped(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in SKIPPED_FOLDERS or folder.is_symlink()


def without_code(text: str) -> str:
    """Return Markdown without its code blocks, whose lines may look like headings and links."""
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(without_code(text)):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{number}" if number else slug for slug, last in found.items() for number in range(last + 1)}


def broken_links(path: Path) -> Iterator[str]:
    """Describe each relative link of a page that leads nowhere."""
    text = without_code(path.read_text("utf-8"))
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", text)):
        if ELSEWHERE.match(target):
            continue
        file, _, anchor = unquote(target).partition("#")
        page = (path.parent / file).resolve() if file else path
        if not page.exists():
            yield f"{path}: {target}: there is no such file"
        elif anchor and page.suffix == ".md" and anchor not in anchors(page.read_text("utf-8")):
            yield f"{path}: {target}: the page has no such heading"


def stale_pages(pages: Iterable[tuple[Path, str]]) -> Iterator[str]:
    """Describe each generated page that is not as it would be generated now."""
    for path, text in pages:
        if not path.exists() or path.read_text("utf-8") != text:
            yield f"{path}: not what the code says; run: make docs"


def generated() -> Iterator[tuple[Path, str]]:
    return chain(documentation.pages(), migrating.pages(), derived.pages(), options.pages())


def main() -> int:
    problems = [problem for path in markdown_files() for problem in broken_links(path)]
    problems += stale_pages(generated())
    for problem in problems:
        sys.stderr.write(f"{problem.removeprefix(f'{ROOT}/')}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
