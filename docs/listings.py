"""
Copy listings into the manual's pages, so that they are readable without Sphinx too.

Code hosts show a page as it is, and do not include other files. So a page contains the
code itself, below a comment that names its source::

    .. listing: tutorial/pig.py
       :pyobject: Pig.act

    .. code-block:: python

       ...

Options are those of Sphinx's ``literalinclude``. A test fails if a copy is not its
source's text; ``python docs/listings.py`` copies all of them again.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

DOCS = Path(__file__).resolve().parent
_LISTING = re.compile(
    r"^(?P<margin> *)\.\. listing: (?P<source>\S+)\n"
    r"(?P<options>(?:(?P=margin)   :.*\n)*)\n"
    r"(?P=margin)\.\. code-block:: (?P<language>\w+)\n"
    r"(?P<body>(?:\n|(?P=margin)   .*\n)*)",
    re.MULTILINE,
)


def copied(page: Path) -> str:
    """Return a page's text with every listing as its source is now."""
    text = page.read_text(encoding="utf-8")
    return _LISTING.sub(lambda found: _listing(page, found), text)


def _listing(page: Path, found: re.Match[str]) -> str:
    margin = found["margin"]
    lines = found["options"].splitlines()
    options = dict(line.strip().lstrip(":").split(":", 1) for line in lines)
    code = indent(_read(page.parent / found["source"], options), f"{margin}   ")
    head = f"{margin}.. listing: {found['source']}\n{found['options']}\n"
    block = f"{margin}.. code-block:: {found['language']}\n\n{code.rstrip()}\n"
    # Blank lines behind it belong to the page.
    rest = len(found["body"]) - len(found["body"].rstrip("\n")) - 1
    return head + block + "\n" * rest


def _read(source: Path, given: dict[str, str]) -> str:
    from sphinx.config import Config
    from sphinx.directives.code import LiteralIncludeReader

    options = {name: value.strip() or None for name, value in given.items()}
    reader = LiteralIncludeReader(str(source), options, Config())
    text, _ = reader.read()
    return text


if __name__ == "__main__":
    for each in sorted(DOCS.rglob("*.rst")):
        fresh = copied(each)
        if fresh != each.read_text(encoding="utf-8"):
            each.write_text(fresh, encoding="utf-8")
            print(each.relative_to(DOCS))
