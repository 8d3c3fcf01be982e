"""format=flowed: the paragraphs their author wrote, from the lines they were sent in (RFC 3676).

The API re-encodes the text and does not say `format=flowed` for it, so that what was a paragraph would arrive broken
after every 70 or so characters, and with `DelSp=yes` with a space in the middle of long words.
"""

MAX_LINES = 50_000  # beyond it the text stays as it is, which every reader of plain text can show (RFC 3676 §4)
SIGNATURE = "-- "  # RFC 3676 §4.3: never flowed


def join_paragraphs(text: str, delete_space: bool) -> str:
    """`text`, its lines ended by newlines, with flowed lines joined and space-stuffing removed."""
    if text.count("\n") > MAX_LINES:
        return text
    lines: list[str] = []
    depth, paragraph = 0, ""  # the flowed line so far
    for line in text.split("\n"):
        unquoted = line.lstrip(">")
        quotes = len(line) - len(unquoted)
        unquoted = unquoted.removeprefix(" ")  # RFC 3676 §4.4
        if paragraph and (quotes != depth or unquoted == SIGNATURE):
            lines.append(quote(depth, paragraph))  # RFC 3676 §4.5: improperly flowed
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
    return f"{'>' * depth} {line}" if depth else line
