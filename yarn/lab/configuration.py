"""The configuration files of all daemons, and of the clients.

Used by `lab` when it comes up.  README.md lists what differs from YARN's defaults, and why.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from yarn.lab import kerberos
from yarn.lab.layout import Layout
from yarn.lab.processes import MARK

_STORE = "org.apache.hadoop.yarn.server.resourcemanager.recovery"
_LOG4J = """\
log4j.rootLogger=INFO,out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p %c{2}: %m%n
"""


def write(layout: Layout) -> None:
    """All of them."""
    for name in ["client", *layout.daemons]:
        folder = layout.configuration(name)
        folder.mkdir(parents=True)
        _write_xml(folder / "core-site.xml", _core_site(layout, name))
        own = _daemon_site(layout, name)
        _write_xml(folder / "yarn-site.xml", {**_yarn_site(layout), **own})
        _write_xml(folder / "capacity-scheduler.xml", _capacity(layout))
        (folder / "log4j.properties").write_text(_LOG4J)
        if layout.options.hdfs:
            _write_hdfs(layout, folder)
        if layout.options.gpus:
            _write_gpus(layout, folder)
    if layout.options.ha:
        _write_zookeeper(layout)


def _core_site(layout: Layout, name: str) -> dict[str, Any]:
    hdfs = f"hdfs://{layout.address('nn')}:9000" if layout.options.hdfs else "file:///"
    return {
        "fs.defaultFS": hdfs,
        "hadoop.tmp.dir": layout.run / "tmp",
        "hadoop.rpc.protection": layout.options.protection,
        **(kerberos.core_site(layout, name) if layout.options.kerberos else {}),
        **layout.options.core_site,
    }


def _yarn_site(layout: Layout) -> dict[str, Any]:
    options = layout.options
    expiry_ms = options.expiry_s * 1000
    return {
        "yarn.resourcemanager.recovery.enabled": "true",
        "yarn.resourcemanager.store.class": f"{_STORE}.FileSystemRMStateStore",
        "yarn.resourcemanager.fs.state-store.uri": f"file://{layout.run}/rmstore",
        # A restarted ResourceManager would wait 10 s before it allocates.
        "yarn.resourcemanager.work-preserving-recovery.scheduling-wait-ms": 1000,
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": 200,
        "yarn.nm.liveness-monitor.expiry-interval-ms": expiry_ms,
        "yarn.am.liveness-monitor.expiry-interval-ms": expiry_ms,
        "yarn.resourcemanager.connect.retry-interval.ms": 500,
        "yarn.scheduler.minimum-allocation-mb": 128,
        "yarn.scheduler.maximum-allocation-mb": options.memory,
        "yarn.scheduler.maximum-allocation-vcores": options.vcores,
        "yarn.nodemanager.resource.memory-mb": options.memory,
        "yarn.nodemanager.resource.cpu-vcores": options.vcores,
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": 99.9,
        "yarn.nodemanager.recovery.enabled": "true",
        "yarn.nodemanager.env-whitelist": f"JAVA_HOME,HADOOP_CONF_DIR,PATH,LANG,TZ,{MARK}",
        "yarn.webapp.ui2.enable": "false",
        **_where_managers_are(layout),
        **(kerberos.yarn_site(layout) if options.kerberos else {}),
        **options.yarn_site,
    }


def _where_managers_are(layout: Layout) -> dict[str, Any]:
    if not layout.options.ha:
        return {"yarn.resourcemanager.hostname": layout.address("rm")}
    names = layout.resource_managers
    zookeeper = f"{layout.address('zk')}:2181"
    return {
        "yarn.resourcemanager.ha.enabled": "true",
        "yarn.resourcemanager.ha.rm-ids": ",".join(names),
        "yarn.resourcemanager.cluster-id": "yarnlab",
        "yarn.resourcemanager.store.class": f"{_STORE}.ZKRMStateStore",
        "hadoop.zk.address": zookeeper,
        "yarn.resourcemanager.zk-address": zookeeper,  # what the elector of 3.5.0 reads
        "hadoop.zk.timeout-ms": 4000,
        "yarn.client.failover-sleep-base-ms": 200,
        **{f"yarn.resourcemanager.hostname.{each}": layout.address(each) for each in names},
        # The default is port 8088 of the name without suffix, which high availability lacks.
        **{
            f"yarn.resourcemanager.webapp.address.{each}": f"{layout.address(each)}:8088"
            for each in names
        },
    }


def _daemon_site(layout: Layout, name: str) -> dict[str, Any]:
    """What only this daemon's yarn-site.xml says."""
    own: dict[str, Any] = {}
    if name in layout.resource_managers:
        own = {"yarn.resourcemanager.bind-host": layout.address(name)}
        if layout.options.ha:
            own["yarn.resourcemanager.ha.id"] = name
    elif name in layout.node_managers:
        address, folder = layout.address(name), layout.run / name
        own = {
            "yarn.nodemanager.hostname": address,
            "yarn.nodemanager.bind-host": address,
            "yarn.nodemanager.address": f"{address}:45454",
            "yarn.nodemanager.localizer.address": f"{address}:8040",
            "yarn.nodemanager.collector-service.address": f"{address}:8048",
            "yarn.nodemanager.webapp.address": f"{address}:8042",
            "yarn.nodemanager.local-dirs": folder / "local",
            "yarn.nodemanager.log-dirs": folder / "logs",
            "yarn.nodemanager.recovery.dir": folder / "recovery",
        }
    if own and layout.options.kerberos:
        own.update(kerberos.daemon_site(layout, name))
    return own


def _capacity(layout: Layout) -> dict[str, Any]:
    prefix = "yarn.scheduler.capacity"
    return {
        f"{prefix}.root.queues": "default",
        f"{prefix}.root.default.capacity": 100,
        f"{prefix}.maximum-am-resource-percent": 0.8,
        # The default calculator sees memory alone.
        f"{prefix}.resource-calculator": (
            "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator"
        ),
        **layout.options.capacity,
    }


def _write_gpus(layout: Layout, folder: Path) -> None:
    """GPUs that only the scheduler knows: no plugin, no hardware."""
    _write_xml(folder / "resource-types.xml", {"yarn.resource-types": "yarn.io/gpu"})
    name = "yarn.nodemanager.resource-type.yarn.io/gpu"
    _write_xml(folder / "node-resources.xml", {name: layout.options.gpus})


def _write_hdfs(layout: Layout, folder: Path) -> None:
    name_node, data_node = layout.address("nn"), layout.address("dn")
    # The jars have no web pages, and the daemons must find some.
    for webapp in ("hdfs", "datanode", "static"):
        (folder / "webapps" / webapp).mkdir(parents=True)
    site = {
        "dfs.replication": 1,
        "dfs.namenode.name.dir": f"file://{layout.run}/nn",
        "dfs.namenode.rpc-address": f"{name_node}:9000",
        "dfs.namenode.http-address": f"{name_node}:9870",
        "dfs.namenode.safemode.min.datanodes": 1,
        "dfs.namenode.safemode.extension": 0,
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.datanode.data.dir": f"file://{layout.run}/dn",
        "dfs.datanode.address": f"{data_node}:9866",
        "dfs.datanode.http.address": f"{data_node}:9864",
        "dfs.datanode.ipc.address": f"{data_node}:9867",
        # The NameNode knows the DataNode by where its connection comes from, 127.0.0.1: use its
        # name instead.
        "dfs.datanode.hostname": data_node,
        "dfs.client.use.datanode.hostname": "true",
        "dfs.datanode.use.datanode.hostname": "true",
        **(kerberos.hdfs_site(layout) if layout.options.kerberos else {}),
    }
    _write_xml(folder / "hdfs-site.xml", site)


def _write_zookeeper(layout: Layout) -> None:
    (layout.configuration("zk") / "zoo.cfg").write_text(
        f"dataDir={layout.run}/zk\nclientPort=2181\nclientPortAddress={layout.address('zk')}\n"
        "tickTime=500\nadmin.enableServer=false\n"
    )


def _write_xml(path: Path, properties: dict[str, Any]) -> None:
    body = "".join(
        f"  <property><name>{escape(name)}</name><value>{escape(str(value))}</value></property>\n"
        for name, value in properties.items()
    )
    path.write_text(f"<configuration>\n{body}</configuration>\n")
