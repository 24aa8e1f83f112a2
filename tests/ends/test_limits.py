"""A machine that has too little of something: a clear error, quickly, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayhpc.machine import scratch
from tests.ends.scene import ROOT
from tests.launch.processes import names_in

PROGRAM = """
import os, resource, sys
import rayhpc as ray
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
ray.init(num_cpus=2, object_store_memory=64 << 20, log_to_driver=False)

@ray.remote
def square(x):
    return x * x

assert ray.get([square.remote(i) for i in range(100)], timeout=60) == [i * i for i in range(100)]
blocks = [ray.put(bytes([i]) * (5 << 20)) for i in range(int(os.environ.get("BLOCKS", "3")))]
assert all(ray.get(each)[:1] == bytes([i]) for i, each in enumerate(blocks))
print("it ran")
"""

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs a mount namespace of its own",
)


def run(*arguments: str, before: str = "true", **environ: str) -> subprocess.CompletedProcess[str]:
    """The program's end, in a shell that does `before` first."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    if before != "true":
        command = ["unshare", "-m", "sh", "-c", f'{before} && exec "$@"', "sh", *command]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )


@pytest.mark.parametrize("most", [24, 100])
def test_too_few_descriptors_are_named_with_what_to_do(base: Path, most: int) -> None:
    done = run(str(most), **{scratch.VARIABLE: str(base)})
    assert done.returncode == 1
    assert "open files" in done.stderr or "Too many open files" in done.stderr
    assert "ulimit" in done.stderr or most < 64
    assert [each for name in names_in(base) for each in names_in(base / name)] == []


def test_few_descriptors_are_enough(base: Path) -> None:
    done = run("256", **{scratch.VARIABLE: str(base)})
    assert (done.returncode, done.stdout) == (0, "it ran\n"), done.stderr


@needs_mounts
def test_a_tiny_shm_does_not_matter(base: Path) -> None:
    tiny = "mount -t tmpfs -o size=64k none /dev/shm"
    done = run(before=tiny, **{scratch.VARIABLE: str(base)})
    assert (done.returncode, done.stdout) == (0, "it ran\n"), done.stderr


@needs_mounts
@pytest.mark.parametrize(
    "full",
    [
        "mount -t tmpfs -o size=64k none {0} && ! head -c 1M /dev/zero > {0}/fill 2>/dev/null",
        "mount -t tmpfs -o size=1m,nr_inodes=4 none {0}",
    ],
)
def test_a_full_session_disk_is_named_with_what_to_do(base: Path, full: str) -> None:
    done = run(before=full.format(base), **{scratch.VARIABLE: str(base)})
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert scratch.VARIABLE in done.stderr


@needs_mounts
def test_a_full_spill_disk_is_an_error_that_says_so(base: Path) -> None:
    """Objects that are all in use, more than the store and the disk together can take."""
    small = f"mount -t tmpfs -o size=20m none {base}"
    places = {scratch.VARIABLE: str(base), "TMPDIR": str(base)}
    done = run(before=small, BLOCKS="40", **places)
    if done.returncode == 0:  # another disk took them
        assert done.stdout == "it ran\n"
        return
    assert "ObjectStoreFullError" in done.stderr


FULL = """
import numpy as np, rayhpc as ray
from rayhpc.exceptions import ObjectStoreFullError
ray.init(num_cpus=2, object_store_memory=64 << 20, log_to_driver=False)
MIB = 2**20
refs = []
try:
    while len(refs) < 100:
        refs.append(ray.put(np.full(8 * MIB, len(refs), np.uint8)))
except ObjectStoreFullError as error:
    print("full:", str(error).splitlines()[0])

@ray.remote
def last(*arrays):
    return [int(x[-1]) for x in arrays]

for _ in range(3):
    assert [int(ray.get(x, timeout=20)[0]) for x in refs] == list(range(len(refs)))
held = ray.get(refs, timeout=60)
assert [int(x[-1]) for x in held] == list(range(len(refs)))
assert ray.get(last.remote(*refs), timeout=60) == list(range(len(refs)))
print("read", len(refs))
"""


@needs_mounts
def test_all_can_be_read_when_memory_and_disk_are_full(base: Path) -> None:
    """What was spilled is read where it lies: no room has to be made for it."""
    if str(ROOT).startswith(("/tmp/", "/var/tmp/")):
        pytest.skip("the program to run lies on the disk that this fills")
    tiny = "mount -t tmpfs -o size=60m none"
    small = f"{tiny} /tmp && {tiny} /var/tmp && mkdir -m 700 {base}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{small} && exec "$@"', "sh", sys.executable, "-c", FULL],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            scratch.VARIABLE: str(base),
            "TMPDIR": str(base),
        },
    )
    assert done.returncode == 0, done.stderr
    assert "full: The object store of node 1 has no room" in done.stdout
    assert "read" in done.stdout
