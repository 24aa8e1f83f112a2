"""Reading TFiles: numbers, blocks of both kinds, damage.  `tests/yarn` has real ones."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayhpc.hadoop.aggregated_logs import logs_of, path_of
from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.tfile import Reader, TFileError, records

MAGIC = bytes.fromhex("d111d36891b5d7b639df414092bae150")


def number(value: int) -> bytes:
    """As Hadoop's `tfile.Utils.writeVLong` does."""
    if -32 <= value <= 127:
        return value.to_bytes(1, "big", signed=True)
    size = ((~value if value < 0 else value).bit_length() // 8) + 1
    data = value.to_bytes(8, "big", signed=True)
    for length, limit, offset in ((2, 20, 52), (3, 16, 88), (4, 8, 112)):
        high = value >> 8 * (length - 1)
        if size <= length and -limit <= high < limit:
            return (high - offset).to_bytes(1, "big", signed=True) + data[9 - length :]
    size = max(size, 4)
    return (size - 129).to_bytes(1, "big", signed=True) + data[8 - size :]


def text(value: str) -> bytes:
    return number(len(value)) + value.encode()


def java(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


def tfile(pairs: list[tuple[bytes, list[bytes]]], codec: str) -> bytes:
    pack = zlib.compress if codec == "gz" else bytes
    out, regions = bytearray(MAGIC), []

    def add(data: bytes, packed: bytes) -> bytes:
        out.extend(packed)
        return number(len(out) - len(packed)) + number(len(packed)) + number(len(data))

    for key, chunks in pairs:
        value = b"".join(number(-len(each)) + each for each in chunks[:-1])
        value += number(len(chunks[-1])) + chunks[-1]
        block = number(len(key)) + key + value
        regions.append(add(block, pack(block)))
    index = text(codec) + number(len(regions)) + b"".join(regions)
    where = add(index, pack(index))
    start = len(out)
    out += number(1) + text("data:BCFile.index") + text(codec) + where
    return bytes(out) + struct.pack(">qhh", start, 1, 0) + MAGIC


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_come_back(value: int) -> None:
    assert Reader(number(value)).number() == value


@pytest.mark.parametrize("codec", ["none", "gz"])
def test_a_containers_logs_are_found(codec: str) -> None:
    value = java("stdout") + java("5") + b"hello" + java("stderr") + java("0")
    data = tfile(
        [
            (java("VERSION"), [b"\0\0\0\1"]),
            (java("container_1_0001_01_000001"), [value[:3], value[3:]]),
            (java("container_1_0001_01_000002"), [b"x" * 3000]),
        ],
        codec,
    )
    assert [len(value) for _, value in records(data)] == [4, len(value), 3000]
    assert logs_of(data, "container_1_0001_01_000001") == {"stdout": b"hello", "stderr": b""}
    assert logs_of(data, "container_1_0001_01_000009") == {}


def test_what_cannot_be_read_is_told() -> None:
    whole = tfile([(b"key", [b"value"])], "none")
    for data in (b"", whole[:-1], whole.replace(MAGIC, b"?" * 16), whole[-28:]):
        with pytest.raises(TFileError):
            list(records(data))
    with pytest.raises(TFileError, match="compressed with lzo"):
        list(records(tfile([(b"key", [b"value"])], "lzo")))


def test_the_path_is_the_configurations() -> None:
    name = "application_1795374369437_20001"
    found = path_of(Configuration({}), "me", name, "h1:45454")
    assert found == f"/tmp/logs/me/bucket-logs-tfile/0001/{name}/h1_45454"
    root = {"yarn.nodemanager.remote-app-log-dir": "hdfs://nn/app-logs/"}
    assert path_of(Configuration(root), "me", name, "h1:1").startswith("/app-logs/me/bucket-")
