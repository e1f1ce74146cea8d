"""File names in messages, quoted as GNU programs do it: a name can go into a shell as it is, and cannot forge lines."""

from __future__ import annotations

import os

_SPECIAL = frozenset(" !\"$&()*;<=>?[\\^`|:'")
_SPECIAL_FIRST = frozenset("#~")
_SPECIAL_IN_DOUBLE_QUOTES = _SPECIAL - frozenset(" :'") | _SPECIAL_FIRST
_NAMED = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}


def quote_name(name: str) -> str:
    """Return `name` (as `os.fsdecode` gives it) as it is, or shell-quoted where it holds anything special.

    Control characters and bytes that are no text become ``$'\\n'`` and ``$'\\377'``.
    """
    printable = name.isprintable()  # surrogates, which stand for bytes that are no text, are not printable
    if name in ("{", "}") or not name:
        return f"'{name}'"
    if printable and _SPECIAL.isdisjoint(name) and name[0] not in _SPECIAL_FIRST:
        return name
    if printable and "'" in name and _SPECIAL_IN_DOUBLE_QUOTES.isdisjoint(name):
        return f'"{name}"'
    return _quote_in_pieces(name)


def _quote_in_pieces(name: str) -> str:
    out = ["'"]
    in_dollar = False
    for character in name:
        if character.isprintable():
            if in_dollar:
                out.append("''")
                in_dollar = False
            out.append("'\\''" if character == "'" else character)
            continue
        if not in_dollar:
            out.append("'$'")
            in_dollar = True
        out += (_NAMED.get(byte) or f"\\{byte:03o}" for byte in os.fsencode(character))
    return "".join(out) + "'"
