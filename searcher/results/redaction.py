"""Passwords out of what people read."""

import re

CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^\s/@:'\"]*):(?P<password>[^\s'\"]*)@")
QUERY_SECRET = re.compile(r"(?P<key>[?&](?:password|passwd|pwd|token|secret)=)[^&\s'\"]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with the password of every address in it replaced by three stars."""
    return QUERY_SECRET.sub(r"\g<key>***", CREDENTIALS.sub(r"\g<scheme>\g<user>:***@", text))
