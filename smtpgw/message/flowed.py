"""Decoding of format=flowed: joins the lines of each paragraph (RFC 3676).

The API encodes the text again without `format=flowed`. Without this step a paragraph would arrive as short lines, and
with `DelSp=yes` as words with spaces in them.
"""

# A longer text is not joined; every reader of plain text can show it as it is (RFC 3676 §4).
MAX_LINES = 50_000
# RFC 3676 §4.3: the signature separator is never a flowed line.
SIGNATURE = "-- "


def join_paragraphs(text: str, delete_space: bool) -> str:
    """Return a text with flowed lines joined and space-stuffing removed. Its lines end with newlines."""
    if text.count("\n") > MAX_LINES:
        return text
    lines: list[str] = []
    # `paragraph` holds the flowed lines that are not complete yet.
    depth, paragraph = 0, ""
    for line in text.split("\n"):
        unquoted = line.lstrip(">")
        quotes = len(line) - len(unquoted)
        unquoted = unquoted.removeprefix(" ")  # RFC 3676 §4.4
        if paragraph and (quotes != depth or unquoted == SIGNATURE):
            # RFC 3676 §4.5: a change of the quote depth ends an improperly flowed paragraph.
            lines.append(quote(depth, paragraph))
            paragraph = ""
        depth = quotes
        if unquoted.endswith(" ") and unquoted != SIGNATURE:
            paragraph += unquoted[:-1] if delete_space else unquoted
        else:
            lines.append(quote(depth, paragraph + unquoted))
            paragraph = ""
    if paragraph:
        lines.append(quote(depth, paragraph))
    return "\n".join(lines)


def quote(depth: int, line: str) -> str:
    """Return a line with the quote marks of its depth."""
    return f"{'>' * depth} {line}" if depth else line
