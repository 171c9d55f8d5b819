"""Shortening a text by cutting out its middle."""

from __future__ import annotations


def truncate(text: str, limit: int) -> str:
    """Shortens a text by cutting out its middle: the beginning shows what it is, the end holds result or error.

    Args:
        text: Any text.
        limit: Longest result in characters, the marker that replaces the middle included.

    Returns:
        The text itself if it is short enough.
    """
    if len(text) <= limit:
        return text
    marker = f"\n... [{len(text)} characters, middle cut out] ...\n"
    room = max(0, limit - len(marker))
    head = room * 2 // 3
    return (text[:head] + marker + text[len(text) - (room - head) :])[:limit]
