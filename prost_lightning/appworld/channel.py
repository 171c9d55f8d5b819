"""JSON lines over a socket, with a deadline and a size limit: how the training process and its workers talk."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

#: A side that reads nothing for so long is given up: what it was told would otherwise block the sender for ever.
_SEND_SECONDS = 60.0
_MAX_LINE_BYTES = 4 << 20
#: How often a process looks whether its parent is still there, in case something else keeps the socket open.
_HEARTBEAT_SECONDS = 2.0


class ChannelClosedError(ConnectionError):
    """The other side is gone."""


class Channel:
    """One end of a conversation in JSON objects, one a line.

    Args:
        connection: A connected stream socket; the channel owns it from now on.
        max_line_bytes: Longest line that is accepted, so that a worker gone wrong cannot fill this process's memory.
    """

    def __init__(self, connection: socket.socket, max_line_bytes: int = _MAX_LINE_BYTES) -> None:
        self._connection = connection
        self._max_line_bytes = max_line_bytes
        self._buffer = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        """Sends one message; what is no valid Unicode in its texts (a model can print that) becomes question marks.

        Raises:
            ChannelClosedError: The other side is gone, or does not read.
        """
        try:
            self._connection.settimeout(_SEND_SECONDS)
            self._connection.sendall(_encode(message))
        except OSError as error:
            raise ChannelClosedError(str(error)) from error

    def receive(self, seconds: float | None = None) -> dict[str, Any]:
        """Waits for one message.

        Args:
            seconds: Wall seconds to wait at most; None waits for ever.

        Returns:
            The message.

        Raises:
            TimeoutError: Nothing complete came in time.
            ChannelClosedError: The other side is gone.
            ValueError: What came is not a message. The other side may be a model's code, so the texts of what is
                returned are valid Unicode, which JSON alone does not promise.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > self._max_line_bytes:
                raise ValueError(f"a message is longer than {self._max_line_bytes} bytes")
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                raise TimeoutError(f"no message within {seconds} s")
            try:
                self._connection.settimeout(remaining)
                chunk = self._connection.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                raise ChannelClosedError(str(error)) from error
            if not chunk:
                raise ChannelClosedError("the other side closed the connection")
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return _decode(line)

    def finish(self, seconds: float) -> bool:
        """Says that nothing more will be sent, and waits until the other side has gone.

        Args:
            seconds: Wall seconds to wait at most.

        Returns:
            Whether the other side has gone.
        """
        deadline = time.monotonic() + seconds
        try:
            self._connection.shutdown(socket.SHUT_WR)
            while (remaining := deadline - time.monotonic()) > 0:
                self._connection.settimeout(remaining)
                if not self._connection.recv(1 << 16):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        return False

    def close(self) -> None:
        """Closes this end at once."""
        self._connection.close()


class AsyncChannel:
    """The same conversation, for whoever has an event loop and holds many of them. Made by :meth:`over`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connection: socket.socket, max_line_bytes: int = _MAX_LINE_BYTES) -> AsyncChannel:
        """Takes a connected stream socket over.

        Args:
            connection: The socket; the channel owns it from now on.
            max_line_bytes: Longest line that is accepted.
        """
        return cls(*await asyncio.open_connection(sock=connection, limit=max_line_bytes))

    async def send(self, message: dict[str, Any]) -> None:
        """Sends one message; see :meth:`Channel.send`.

        Raises:
            ChannelClosedError: The other side is gone, or does not read.
        """
        try:
            self._writer.write(_encode(message))
            async with asyncio.timeout(_SEND_SECONDS):
                await self._writer.drain()
        except OSError as error:
            raise ChannelClosedError(str(error)) from error

    async def receive(self, seconds: float | None = None) -> dict[str, Any]:
        """Waits for one message; see :meth:`Channel.receive`.

        Args:
            seconds: Wall seconds to wait at most; None waits for ever.

        Returns:
            The message.

        Raises:
            TimeoutError: Nothing complete came in time.
            ChannelClosedError: The other side is gone.
            ValueError: What came is not a message.
        """
        try:
            async with asyncio.timeout(seconds):
                line = await self._reader.readline()
        except ConnectionError as error:
            raise ChannelClosedError(str(error)) from error
        if not line.endswith(b"\n"):
            raise ChannelClosedError("the other side closed the connection")
        return _decode(line)

    async def finish(self, seconds: float) -> None:
        """Says that nothing more will be sent, and waits until the other side has gone.

        Args:
            seconds: Wall seconds to wait at most.
        """
        with suppress(OSError):  # A timeout is one, too.
            async with asyncio.timeout(seconds):
                self._writer.write_eof()
                while await self._reader.read(1 << 16):
                    pass

    def close(self) -> None:
        """Closes this end at once."""
        self._writer.transport.abort()


def send_with_descriptor(connection: socket.socket, message: dict[str, Any], companion: socket.socket) -> None:
    """Sends one message, and an open socket with it.

    Args:
        connection: A socket of the Unix kind.
        message: The message.
        companion: The socket, which stays open here as well.

    Raises:
        OSError: The other side is gone, or does not read.
    """
    line = _encode(message)
    connection.settimeout(_SEND_SECONDS)
    sent = socket.send_fds(connection, [line], [companion.fileno()])
    connection.sendall(line[sent:])


def received_with_descriptors(connection: socket.socket) -> Iterator[tuple[dict[str, Any], deque[int]]]:
    """Yields what a parent says to this process, its child, until the parent closes the connection or is gone.

    Args:
        connection: A socket of the Unix kind.

    Yields:
        A message, and the descriptors that have come so far and were not taken; those that came with it are there.
    """
    parent = os.getppid()
    descriptors: deque[int] = deque()
    buffer = b""
    connection.settimeout(_HEARTBEAT_SECONDS)
    while os.getppid() == parent:
        try:
            data, received, _, _ = socket.recv_fds(connection, 1 << 16, 64)
        except TimeoutError:
            continue
        if not data:
            return
        descriptors.extend(received)
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            yield _decode(line), descriptors


def _encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode(errors="replace") + b"\n"


def _decode(line: bytes) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(line)
    except RecursionError as error:
        raise ValueError("a message is nested too deep") from error
    if not isinstance(message, dict):
        raise ValueError(f"a message is not an object but {type(message).__name__}")
    return message
