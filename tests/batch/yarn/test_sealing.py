"""What is sealed comes back to who has the secret, and to nobody else."""

from __future__ import annotations

import pytest

from rayhpc.batch.yarn.sealing import seal, unseal


def test_what_was_sealed_comes_back() -> None:
    first, second = seal(b"record", b"shared"), seal(b"record", b"shared")
    assert first != second
    assert unseal(first, b"shared") == unseal(second, b"shared") == b"record"
    assert unseal(seal(b"", b"shared"), b"shared") == b""


@pytest.mark.parametrize("shared", [b"another", b""])
def test_another_secret_is_refused(shared: bytes) -> None:
    with pytest.raises(ValueError, match="another secret"):
        unseal(seal(b"record", b"shared"), shared)


def test_every_change_is_noticed() -> None:
    for secret in (b"record", b"record.", b"record.."):  # each ends in other spare bits
        text = seal(secret, b"shared")
        for at in range(len(text)):
            other = chr(ord(text[at]) ^ 1)
            with pytest.raises(ValueError):
                unseal(text[:at] + other + text[at + 1 :], b"shared")
        with pytest.raises(ValueError, match="changed"):
            unseal(text + "!", b"shared")
    with pytest.raises(ValueError, match="changed"):
        unseal("", b"shared")
