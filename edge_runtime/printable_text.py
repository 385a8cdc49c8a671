"""Shows text that came from outside, such as a file name, within one line and without power over a terminal."""

from __future__ import annotations

import unicodedata

# Control characters, line and paragraph separators, and signs without a look of their own, such as those that turn the
# direction of writing. The lone surrogates of a name that is not UTF-8 are left: the stream knows what to do with them.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cf"})
_JOINERS = frozenset("\u200c\u200d")  # Persian and Indic words need them


def printable(text: str) -> str:
    """Return `text` with characters that cannot be seen, line breaks among them, as backslash escapes.

    Letters of all scripts stay as they are, a backslash too.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(character) if _is_hidden(character) else character for character in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_CATEGORIES and character not in _JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
