"""How each daemon is started: a plain process, detached, its output in a log of its own.

Used by `lab`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from yarn.lab import jars, kerberos
from yarn.lab.errors import LabError
from yarn.lab.layout import Layout
from yarn.lab.network import Network
from yarn.lab.processes import MARK, Process

_CLASSES = {
    "rm": "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
    "nm": "org.apache.hadoop.yarn.server.nodemanager.NodeManager",
    "nn": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "dn": "org.apache.hadoop.hdfs.server.datanode.DataNode",
    "zk": "org.apache.zookeeper.server.quorum.QuorumPeerMain",
}
_HEAP_MB = {"rm": 512, "nm": 384, "nn": 256, "dn": 256, "zk": 128}
JAVA_OPTIONS = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # daemons of a short life: compile fast, not well
    "-XX:-UsePerfData",  # no hsperfdata file outside our folder
    "--add-opens=java.base/java.lang=ALL-UNNAMED",  # without it they die under Java 17
    "-Djava.net.preferIPv4Stack=true",
]


def kind(name: str) -> str:
    """nm2 is an nm."""
    return name.rstrip("0123456789")


def start(layout: Layout, network: Network, name: str) -> Process:
    """Start one on its host.  Raises LabError if a program or a jar is missing."""
    if name == "kdc":
        command = [kerberos.tool("krb5kdc"), "-n"]
        environ = {**os.environ, **kerberos.environment(layout), MARK: str(layout.run)}
    else:
        arguments = [str(layout.configuration("zk") / "zoo.cfg")] if name == "zk" else []
        command, environ = _java(layout, name, arguments)
    with open(layout.log(name), "ab") as log:
        started = subprocess.Popen(
            network.command(name, command),
            env=environ,
            cwd=layout.run,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = Process.of(started.pid)
    if process is None:
        raise LabError(f"{name} ended at once:\n{layout.log_tail(name)}")
    return process


def format_name_node(layout: Layout) -> None:
    """An empty HDFS.  Raises LabError."""
    command, environ = _java(layout, "nn", ["-format", "-nonInteractive"])
    with open(layout.log("nn"), "ab") as log:
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        raise LabError(f"the NameNode could not be formatted:\n{layout.log_tail('nn')}")


def _java(layout: Layout, name: str, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    java = jars.java()
    if java is None:
        raise LabError("java is needed: on PATH, or JAVA_HOME")
    configuration = layout.configuration(name)
    secure = kerberos.java_options(layout) if layout.options.kerberos else []
    command = [
        *(java, f"-Xmx{_HEAP_MB[kind(name)]}m", *JAVA_OPTIONS),
        *(f"-Djava.io.tmpdir={layout.run / 'tmp'}", *secure),
        *("-cp", f"{configuration}:{jars.fetch(layout.options.hadoop)}/*"),
        *(_CLASSES[kind(name)], *arguments),
    ]
    environ = {name: value for name, value in os.environ.items() if name != "CONTAINER_ID"}
    environ[MARK] = str(layout.run)
    environ["HADOOP_CONF_DIR"] = str(configuration)
    environ["JAVA_HOME"] = os.environ.get("JAVA_HOME") or str(Path(java).resolve().parents[1])
    return command, environ
