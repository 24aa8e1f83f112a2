"""Hadoop's TFile, a file of keys and values in blocks: how YARN keeps the logs of a finished job.

Used by `aggregated_logs`.  Reads files whose blocks are not compressed, or compressed with gz.
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
    """It is no TFile, or of a kind that is not read here."""


def records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each key with its value, in the order in which they were written.

    Raises:
        TFileError: `data` is no whole TFile, or compressed in a way that is not known.
    """
    try:
        for block in _blocks(data):
            reader = Reader(block)
            while not reader.at_end:
                yield reader.take(reader.number()), reader.chunks()
    except (IndexError, struct.error, UnicodeDecodeError, zlib.error) as error:
        raise TFileError(f"a damaged TFile: {error}") from None


class Reader:
    """Numbers, texts and bytes from a block, one after the other."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self._at = data, at

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        """So many bytes.  Raises IndexError if there are not so many."""
        if size < 0 or self._at + size > len(self._data):
            raise IndexError("it is cut off")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self) -> int:
        """An integer of variable length, in the encoding that only TFiles have."""
        first = int.from_bytes(self.take(1), "big", signed=True)
        if first >= -32:
            return first
        kind = (first + 128) // 8
        if kind == 0:
            return int.from_bytes(self.take(first + 129), "big", signed=True)
        # The first byte holds the highest bits of the number, less what says how long it is.
        size, offset = (1, 52) if kind >= 7 else (2, 88) if kind >= 3 else (3, 112)
        return (first + offset) << 8 * size | int.from_bytes(self.take(size), "big")

    def text(self) -> str:
        """A text after its length."""
        return self.take(self.number()).decode()

    def java_text(self) -> str:
        """A text as Java's `writeUTF` writes it; plain characters only."""
        return self.take(int.from_bytes(self.take(2), "big")).decode(errors="replace")

    def chunks(self) -> bytes:
        """A value in chunks: the length of all but the last one is negative."""
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
    """Where a block is and how long; behind it stands how long it is unpacked."""
    found = reader.number(), reader.number()
    reader.number()
    return found


def _unpacked(data: bytes, codec: str, region: tuple[int, int]) -> bytes:
    if codec not in _CODECS:
        raise TFileError(f"it is compressed with {codec or 'nothing known'}: only none and gz are")
    begin, size = region
    packed = data[begin : begin + size]
    return zlib.decompress(packed) if codec == "gz" else packed
