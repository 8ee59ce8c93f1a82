"""Text that editors and Windows tools save in another form than plain ASCII or UTF-8: recognized, never guessed."""

_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT = 512


class ForeignText(Exception):
    """The content is text in a form that is not taken; the message names the form."""


def plain(content: bytes) -> bytes:
    """Return the content of a text file without a byte order mark; raises ForeignText if it is UTF-16 or UTF-32."""
    head = content[:_LOOKED_AT]
    # Without a byte order mark every second byte of Latin text is zero.
    if head.startswith(_WIDE) or head.count(0) * 4 > len(head):
        raise ForeignText("UTF-16 text")
    return content.removeprefix(_BOM)


def reason_of(error: Exception) -> str:
    """Return the operating system's words for an error, else those of the error itself."""
    return getattr(error, "strerror", None) or str(error)


def one_line(text: str, longest: int) -> str:
    """Return the text with every run of white space as one space, cut to `longest` characters."""
    return " ".join(text.split())[:longest]


def pluralize(count: int, noun: str) -> str:
    """Return a number of things: `1 fault`, `2 faults`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
