"""Any text where the kernel's files should be: a number, or as if the file were not there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rayhpc.machine.affinity import parse_cpu_list
from rayhpc.machine.cgroups import read_cgroups
from rayhpc.machine.gpus import GpuDevices, read_devices, visible_gpus
from rayhpc.machine.memory import read_memory
from rayhpc.machine.mounts import mount_of, read_mounts

MOUNTS = b"30 1 0:1 / /cg rw - cgroup2 none rw\n31 1 0:2 / /old rw - cgroup none rw,cpu,memory\n"
GROUPS = b"0::/us\n3:cpu,memory:/us\n"
FILES = (
    *("cpu.max", "cpuset.cpus", "cpuset.cpus.effective", "memory.max", "memory.high"),
    *("memory.stat", "memory.current", "pids.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
    "memory.limit_in_bytes",
)
numbers = st.integers(-5, 2**70).map(lambda x: str(x).encode())
texts = (
    st.binary(max_size=60)
    | numbers
    | st.tuples(numbers, numbers).map(b" ".join)
    | st.sampled_from(["\u00b2".encode(), b"9" * 5000, b"0-99999999999", b"max 100000", b"1-"])
    | numbers.map(lambda x: b"hierarchical_memory_limit " + x)
)


@given(texts, texts, st.dictionaries(st.sampled_from(FILES), texts), texts)
@settings(max_examples=150, deadline=None)
def test_whatever_the_files_of_the_kernel_say(
    mounts: bytes, groups: bytes, files: dict[str, bytes], meminfo: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/mountinfo").write_bytes(MOUNTS + mounts)
        (root / "proc/self/cgroup").write_bytes(GROUPS + groups)
        (root / "proc/meminfo").write_bytes(b"MemTotal: " + meminfo)
        for top in ("cg", "old"):
            (root / top / "us").mkdir(parents=True)
            for name, content in files.items():
                (root / top / "us" / name).write_bytes(content)
        topology = root / "sys/class/kfd/kfd/topology/nodes/0"
        topology.mkdir(parents=True)
        (topology / "properties").write_bytes(meminfo)
        found = read_cgroups(root)
        assert found.memory_limit is None or found.memory_limit.value >= 0
        assert read_memory(root).total > 0
        read_devices(root)
        mount_of("/cg/us", read_mounts(root))


@given(st.text(max_size=40) | st.from_regex(r"[0-9,-]{0,30}", fullmatch=True))
def test_a_list_of_processors_is_one_or_an_error(text: str) -> None:
    try:
        assert len(parse_cpu_list(text)) <= 1 << 16
    except ValueError:
        pass


@given(st.dictionaries(st.sampled_from(["CUDA_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"]), st.text()))
def test_any_text_may_name_gpus(environ: dict[str, str]) -> None:
    assert all(visible_gpus(environ, GpuDevices()).ids)
