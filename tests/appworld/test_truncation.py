from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.appworld.truncation import truncate


@given(st.text(max_size=400), st.integers(min_value=1, max_value=300))
def test_truncation_keeps_the_limit_the_beginning_and_the_end(text: str, limit: int) -> None:
    shown = truncate(text, limit)
    assert len(shown) <= limit
    if len(text) <= limit:
        assert shown == text
    elif limit >= 100:
        assert shown.startswith(text[:20])
        assert shown.endswith(text[-10:])
        assert str(len(text)) in shown
