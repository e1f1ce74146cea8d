"""Folded stacks as one flame graph: an SVG that needs nothing else, a click zooms."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

_WIDTH, _ROW, _TOP, _MARGIN = 1200.0, 17, 46, 8
_LETTER = 6.6
_NARROWEST = 0.3  # pixels: what is narrower is not drawn

_SCRIPT = """
var svg = document.documentElement, width = %WIDTH%, margin = %MARGIN%;
function boxes() { return svg.querySelectorAll('g.f'); }
function zoom(x, w) {
  boxes().forEach(function (g) {
    var l = (+g.dataset.x - x) / w, s = +g.dataset.w / w, r = g.children[1], t = g.children[2];
    var from = Math.max(l, 0), to = Math.min(l + s, 1);
    g.style.display = to - from > 0.0003 ? '' : 'none';
    r.setAttribute('x', margin + from * width); r.setAttribute('width', Math.max((to - from) * width, 0));
    var room = Math.floor(((to - from) * width - 6) / %LETTER%), name = g.dataset.n;
    t.setAttribute('x', margin + from * width + 3);
    t.textContent = room < 3 ? '' : name.length <= room ? name : name.slice(0, room - 2) + '..';
  });
}
svg.addEventListener('click', function (event) {
  var g = event.target.closest ? event.target.closest('g.f') : null;
  if (g) zoom(+g.dataset.x, +g.dataset.w); else zoom(0, 1);
});
"""


@dataclass(slots=True)
class Node:
    """A function where it was called from: seconds in it and in all that it called."""

    name: str
    seconds: float = 0.0
    children: dict[str, Node] = field(default_factory=dict)


def tree(stacks: Mapping[str, float]) -> Node:
    """All stacks (``outermost;...;innermost`` to seconds) under one root."""
    root = Node("all")
    for stack, seconds in stacks.items():
        root.seconds += seconds
        node = root
        for name in stack.split(";"):
            node = node.children.setdefault(name, Node(name))
            node.seconds += seconds
    return root


def svg(stacks: Mapping[str, float], title: str) -> str:
    """The picture, as text."""
    root = tree(stacks)
    boxes = list(_boxes(root))
    height = _TOP + (max(depth for _, depth, _, _ in boxes) + 1) * _ROW + 24
    script = (
        _SCRIPT.replace("%WIDTH%", f"{_WIDTH:g}").replace("%MARGIN%", str(_MARGIN)).replace("%LETTER%", str(_LETTER))
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 2 * _MARGIN:g}" height="{height}" '
        f'viewBox="0 0 {_WIDTH + 2 * _MARGIN:g} {height}" font-family="monospace" font-size="11">',
        '<rect width="100%" height="100%" fill="#fdfdf8"/>',
        f'<text x="{_MARGIN}" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="{_MARGIN}" y="38" fill="#666">Width is time; click a box to zoom, the background to go back.</text>',
        *(_box(node, depth, begin, share, root.seconds) for node, depth, begin, share in boxes),
        f"<script><![CDATA[{script}]]></script>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _boxes(root: Node) -> Iterator[tuple[Node, int, float, float]]:
    """(node, depth, where it begins, how wide it is), the last two as shares of the whole."""
    whole = root.seconds or 1.0
    waiting = [(root, 0, 0.0)]
    while waiting:
        node, depth, begin = waiting.pop()
        share = node.seconds / whole if root.seconds else 1.0
        yield node, depth, begin, share
        at = begin
        for child in sorted(node.children.values(), key=lambda one: one.name):
            if child.seconds / whole * _WIDTH >= _NARROWEST:
                waiting.append((child, depth + 1, at))
            at += child.seconds / whole


def _box(node: Node, depth: int, begin: float, share: float, whole: float) -> str:
    x, y, width = _MARGIN + begin * _WIDTH, _TOP + depth * _ROW, share * _WIDTH
    percent = 100 * node.seconds / whole if whole else 0.0
    room = int((width - 6) / _LETTER)
    shown = "" if room < 3 else node.name if len(node.name) <= room else node.name[: room - 2] + ".."
    return (
        f'<g class="f" data-x="{begin:.6f}" data-w="{share:.6f}" data-n="{escape(node.name)}">'
        f"<title>{escape(node.name)}: {node.seconds:.3f} s, {percent:.1f} %</title>"
        f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_ROW - 1}" rx="2" fill="{_colour(node.name)}"/>'
        f'<text x="{x + 3:.2f}" y="{y + 12}">{escape(shown)}</text></g>'
    )


def _colour(name: str) -> str:
    """The same for the same name: warm for Python, green for the core, grey for what only groups."""
    noise = zlib.crc32(name.encode()) % 40
    if name in ("all", "Python", "core"):
        return "#d5d5d0"
    if "::" in name or name.startswith(("offloop-w", "offloop-r", "offloop-i", "offloop-d")):
        return f"rgb({110 + noise},{185 + noise},{120 + noise})"
    return f"rgb({215 + noise},{150 + noise},{90 + noise})"
