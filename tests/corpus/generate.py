"""Writes the messages of the corpus that are made: python -m tests.corpus.generate

The others, in clients/, were recorded from the programs they are named after or written as these write; they stay.
"""

from collections.abc import Iterator
from itertools import chain

from tests.corpus import (
    made_attachments,
    made_authors,
    made_bodies,
    made_charsets,
    made_headers,
    made_images,
    made_structure,
    made_subjects,
    made_transfer,
)
from tests.corpus.case import FOLDER, Case

MAKERS = (
    made_attachments,
    made_authors,
    made_bodies,
    made_charsets,
    made_headers,
    made_images,
    made_structure,
    made_subjects,
    made_transfer,
)


def made() -> Iterator[Case]:
    return chain.from_iterable(maker.cases() for maker in MAKERS)


def stale() -> list[str]:
    """Files in the folders of made cases that nothing makes any more."""
    cases = list(made())
    known = {path for case in cases for path in (case.eml, case.json)}
    folders = {path.parent for path in known}
    return sorted(
        str(path.relative_to(FOLDER)) for folder in folders for path in folder.glob("*.*") if path not in known
    )


if __name__ == "__main__":
    for name in stale():
        (FOLDER / name).unlink()
    for case in made():
        case.write()
