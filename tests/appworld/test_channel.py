from __future__ import annotations

import os
import socket
import time

import pytest

from prost_lightning.appworld import channel as channel_module
from prost_lightning.appworld.channel import (
    Channel,
    ChannelClosedError,
    received_with_descriptors,
    send_with_descriptor,
)


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


def test_open_sockets_travel_with_messages() -> None:
    ours, theirs = socket.socketpair()
    pairs = [socket.socketpair() for _ in range(2)]
    for number, (_, given) in enumerate(pairs):
        send_with_descriptor(ours, {"number": number}, given)
        given.close()
    ours.sendall(b'{"alone": 1}\n{"al')
    ours.close()
    received = []
    for message, descriptors in received_with_descriptors(theirs):
        received.append(message)
        if "number" in message:
            with socket.socket(fileno=descriptors.popleft()) as taken:
                taken.sendall(str(message["number"]).encode())
    assert received == [{"number": 0}, {"number": 1}, {"alone": 1}]
    assert [kept.recv(10) for kept, _ in pairs] == [b"0", b"1"]
    theirs.close()


def test_a_child_listens_only_as_long_as_its_parent_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    parents = iter([1, 1, 2])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(channel_module, "_HEARTBEAT_SECONDS", 0.05)
    assert list(received_with_descriptors(theirs)) == []
    ours.close()
    theirs.close()
