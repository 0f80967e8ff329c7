"""Two bar charts side by side as SVG: seconds, and peak memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_ROW, _LEFT, _WIDTH, _GAP = 28, 170, 250, 90


@dataclass(frozen=True)
class Tool:
    """One tool: wall seconds and peak resident bytes."""

    label: str
    seconds: float
    peak_bytes: float


def draw(tools: Sequence[Tool]) -> str:
    """The first one is ours, and drawn in colour."""
    height = _ROW * len(tools) + 60
    width = _LEFT + 2 * (_WIDTH + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(_LEFT, 24, "seconds, whole process"),
        _text(_LEFT + _WIDTH + _GAP, 24, "peak memory, MB"),
    ]
    slowest = max(tool.seconds for tool in tools)
    largest = max(tool.peak_bytes for tool in tools)
    for number, tool in enumerate(tools):
        top = 40 + number * _ROW
        colour = "#3b6fd4" if number == 0 else "#b8c0cc"
        parts.append(
            f'<text x="{_LEFT - 10}" y="{top + 15}" text-anchor="end" fill="#333333">{escape(tool.label)}</text>'
        )
        megabytes = tool.peak_bytes / 1_000_000
        for left, share, shown in (
            (_LEFT, tool.seconds / slowest, f"{tool.seconds:.1f}"),
            (_LEFT + _WIDTH + _GAP, tool.peak_bytes / largest, f"{megabytes:,.0f}"),
        ):
            length = max(2.0, share * _WIDTH)
            parts.append(f'<rect x="{left}" y="{top}" width="{length:.1f}" height="20" fill="{colour}"/>')
            parts.append(_text(left + length + 6, top + 15, shown))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="#333333">{escape(text)}</text>'
