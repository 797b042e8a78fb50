"""XML of other people's files before a parser sees it."""

import codecs

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def trap_in(content: bytes) -> str | None:
    """What makes an XML file dangerous to parse, or None.

    Entities let a few hundred bytes stand for gigabytes or for other files. In UTF-16 and UTF-32 they would not be
    seen.
    """
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        return "contains DOCTYPE or ENTITY, which it does not need"
    if content.startswith(UTF_16) or b"\0" in content:
        return "is not encoded in UTF-8 or Latin-1"
    return None
