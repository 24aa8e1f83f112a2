"""What each MPI rank checks; run by `test_mpi.py` under mpiexec, through pytest-mpi."""

from __future__ import annotations

import pytest

from rayhpc.exit_codes import ExitCode, LaunchError
from rayhpc.launch.mpi_channel import MpiChannel
from rayhpc.launch.rendezvous import Record
from rayhpc.wire.keys import ClusterKey, KeyPair

KEY = ClusterKey("a" * 32, KeyPair(b"p" * 40, b"s" * 40), b"h" * 40, [("10.0.0.1", 5)])


def pause(_: float) -> None:
    """Poll at once."""


@pytest.mark.mpi(min_size=3)
def test_the_key_reaches_every_rank() -> None:
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.Get_rank()
    channel = MpiChannel(finalize=False)
    assert channel.count_nodes(rank != 1) == MPI.COMM_WORLD.Get_size() - 1
    channel.prepare()
    if rank == 0:
        channel.publish(Record(key=KEY))
        channel.publish(Record(error="too late to tell", code=70))
    else:
        assert channel.wait(30.0, 0.0, pause).key == KEY
        with pytest.raises(LaunchError) as caught:
            channel.wait(30.0, 1.0, pause)
        assert caught.value.code == ExitCode.HEAD_LOST
