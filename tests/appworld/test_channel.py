from __future__ import annotations

import socket
import time

import pytest

from prost_lightning.appworld import channel as channel_module
from prost_lightning.appworld.channel import Channel, ChannelClosedError


@pytest.fixture
def ends() -> tuple[Channel, socket.socket]:
    ours, theirs = socket.socketpair()
    return Channel(ours, max_line_bytes=1000), theirs


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    for part in (b'{"a": 1}\n{"b"', b": 2", b'}\n{"c": "\\u00e9"}\n'):
        other.sendall(part)
    assert [channel.receive(1) for _ in range(3)] == [{"a": 1}, {"b": 2}, {"c": "é"}]


def test_a_deadline_holds_even_if_bytes_keep_coming(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(b'{"never": ')
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        channel.receive(0.2)
    assert 0.1 < time.monotonic() - started < 2


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[1]\n", b"\xff\xfe\n", b'{"a": "\\ud800"}\n', b"[" * 900 + b"\n", b"x" * 70_000]
)
def test_what_is_no_message_is_an_error(ends: tuple[Channel, socket.socket], line: bytes) -> None:
    channel, other = ends
    other.sendall(line)
    with pytest.raises(ValueError, match=r".+"):
        channel.receive(1)


def test_texts_arrive_as_valid_unicode(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    Channel(other).send({"a": "\ud800 \u2028 é\n"})
    assert channel.receive(1) == {"a": "? \u2028 é\n"}


def test_a_side_that_does_not_read_is_given_up(
    ends: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "_SEND_SECONDS", 0.1)
    with pytest.raises(ChannelClosedError):
        ends[0].send({"a": "x" * (1 << 24)})


def test_the_end_is_told_apart_from_silence(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    assert not channel.finish(0.1)
    other.close()
    assert channel.finish(0.1)
    with pytest.raises(ChannelClosedError):
        channel.receive(1)
    with pytest.raises(ChannelClosedError):
        channel.send({"a": 1})
