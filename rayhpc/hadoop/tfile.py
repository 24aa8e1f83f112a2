"""Hadoop's TFile, a file of keys and values in blocks, in which YARN keeps a finished job's logs.

Used by `aggregated_logs`.  Reads files whose blocks are uncompressed, or compressed with gz.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_MAGIC = bytes.fromhex("d111d36891b5d7b639df414092bae150")
_TAIL = 8 + 4 + len(_MAGIC)
_INDEX = "data:BCFile.index"
_CODECS = ("none", "gz")


class TFileError(ValueError):
    """Not a TFile, or of an unsupported kind."""


def records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each key with its value, in the order in which they were written.

    Raises:
        TFileError: `data` is not a complete TFile, or its compression is unsupported.
    """
    try:
        for block in _blocks(data):
            reader = Reader(block)
            while not reader.at_end:
                yield reader.take(reader.number()), reader.chunks()
    except (IndexError, struct.error, UnicodeDecodeError, zlib.error) as error:
        raise TFileError(f"a damaged TFile: {error}") from None


class Reader:
    """Reads numbers, texts and bytes from a block, one after another."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self._at = data, at

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        """This many bytes.  Raises IndexError if there are fewer."""
        if size < 0 or self._at + size > len(self._data):
            raise IndexError("it is cut off")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self) -> int:
        """A variable-length integer, in the encoding specific to TFiles."""
        first = int.from_bytes(self.take(1), "big", signed=True)
        if first >= -32:
            return first
        kind = (first + 128) // 8
        if kind == 0:
            return int.from_bytes(self.take(first + 129), "big", signed=True)
        # The first byte contains the highest bits of the number, minus the code for its length.
        size, offset = (1, 52) if kind >= 7 else (2, 88) if kind >= 3 else (3, 112)
        return (first + offset) << 8 * size | int.from_bytes(self.take(size), "big")

    def text(self) -> str:
        """A text, preceded by its length."""
        return self.take(self.number()).decode()

    def java_text(self) -> str:
        """A text as Java's `writeUTF` writes it; plain characters only."""
        return self.take(int.from_bytes(self.take(2), "big")).decode(errors="replace")

    def chunks(self) -> bytes:
        """A value in chunks: all lengths except the last one are negative."""
        found = []
        while (size := self.number()) < 0:
            found.append(self.take(-size))
        found.append(self.take(size))
        return b"".join(found)


def _blocks(data: bytes) -> Iterator[bytes]:
    if len(data) < _TAIL or not data.endswith(_MAGIC):
        raise TFileError("this is no TFile, or it is not finished")
    (start,) = struct.unpack_from(">q", data, len(data) - _TAIL)
    reader = Reader(data, start)
    entries = {}
    for _ in range(reader.number()):
        name, codec = reader.text(), reader.text()
        entries[name] = codec, _region(reader)
    codec, region = entries.get(_INDEX, ("", (0, 0)))
    index = Reader(_unpacked(data, codec, region))
    codec = index.text()
    for _ in range(index.number()):
        yield _unpacked(data, codec, _region(index))


def _region(reader: Reader) -> tuple[int, int]:
    """The offset and length of a block, which are followed by its unpacked length."""
    found = reader.number(), reader.number()
    reader.number()
    return found


def _unpacked(data: bytes, codec: str, region: tuple[int, int]) -> bytes:
    if codec not in _CODECS:
        raise TFileError(f"it is compressed with {codec or 'nothing known'}: only none and gz are")
    begin, size = region
    packed = data[begin : begin + size]
    return zlib.decompress(packed) if codec == "gz" else packed
