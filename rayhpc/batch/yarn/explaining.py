"""Why an application waits, runs or is gone, and what would start sooner.

Used by `jobs`.
"""

from __future__ import annotations

from rayhpc.batch.errors import OptionError
from rayhpc.batch.folder import JobFolder
from rayhpc.batch.job_status import Explanation, State
from rayhpc.batch.yarn import document
from rayhpc.batch.yarn.document import Document
from rayhpc.batch.yarn.reports import first_sentence, status_of
from rayhpc.hadoop.client import Client
from rayhpc.hadoop.ids import parse_application
from rayhpc.hadoop.messages.applications import ApplicationReportProto
from rayhpc.hadoop.messages.records import NodeReportProto, NodeStateProto
from rayhpc.hadoop.resources import Size


def explain(folder: JobFolder, client: Client) -> Explanation:
    """The explanation, in sentences."""
    report = client.report(parse_application(folder.record().id))
    status = status_of(report)
    if status.state is State.PENDING:
        return _waiting(folder, report, client)
    if status.state is State.RUNNING:
        usage = report.app_resource_Usage
        have = usage.num_used_containers if usage is not None else 0
        wanted = folder.record().nodes
        of = f" of {wanted}" if have <= wanted else ""
        why = [f"job {status.id} runs in queue {report.queue} with {have}{of} containers"]
        if have < wanted:
            why += _nodes_in_words(client.nodes(), _size_of(folder), wanted - have)
        elif _grows(folder):
            why += _queue_in_words(report.queue, client)
            why += _nodes_in_words(client.nodes(), _size_of(folder), 1)
        return Explanation(why, [])
    code = "" if status.exit_code is None else f", exit code {status.exit_code}"
    reason = f": {status.reason}" if status.reason else ""
    return Explanation([f"job {status.id} is over ({status.word}{code}){reason}"], [])


def _waiting(folder: JobFolder, report: ApplicationReportProto, client: Client) -> Explanation:
    why = [f"job {folder.record().id} waits in queue {report.queue}: {status_of(report).reason}"]
    why += _queue_in_words(report.queue, client)
    size = _size_of(folder)
    why += _nodes_in_words(client.nodes(), size, folder.record().nodes)
    sooner = []
    if "AM resource limit" in report.diagnostics:
        sooner.append(
            "the first container counts as an ApplicationMaster, of which the queue takes a share "
            "(yarn.scheduler.capacity.maximum-am-resource-percent): use smaller containers, or a "
            "larger share, which administrators can set"
        )
    return Explanation(why, sooner)


def _queue_in_words(name: str, client: Client) -> list[str]:
    queue = client.queue(name)
    if queue is None:
        return []
    used, share = queue.currentCapacity, queue.capacity
    return [f"the queue has {share:.0%} of the cluster and uses {used:.0%} of that"]


def _nodes_in_words(nodes: list[NodeReportProto], size: Size | None, wanted: int) -> list[str]:
    alive = [each for each in nodes if each.node_state == NodeStateProto.NS_RUNNING]
    sick = [each for each in nodes if each.node_state == NodeStateProto.NS_UNHEALTHY]
    found = []
    if size is not None:
        fits = sum(not size.beyond(_free(each)) for each in alive)
        found.append(
            f"{fits} of {len(alive)} nodes have {size.memory_mib} MiB, {size.vcores} vcores and "
            f"{size.gpus} GPUs free now; {wanted} are needed"
        )
    for node in sick[:3]:
        host = node.nodeId.host if node.nodeId is not None else "a node"
        found.append(f"{host} is unhealthy: {first_sentence(node.health_report)}")
    return found


def _free(node: NodeReportProto) -> Size:
    whole, used = Size.of(node.capability), Size.of(node.used)
    return Size(
        whole.memory_mib - used.memory_mib, whole.vcores - used.vcores, whole.gpus - used.gpus
    )


def _grows(folder: JobFolder) -> bool:
    found = _document_of(folder)
    return found is not None and not {"--elastic", "--growth"}.isdisjoint(found.program.options)


def _size_of(folder: JobFolder) -> Size | None:
    found = _document_of(folder)
    if found is None:
        return None
    wanted = found.containers
    return Size(wanted.memory, wanted.vcores, wanted.gpus)


def _document_of(folder: JobFolder) -> Document | None:
    try:
        return document.read(folder.script.read_text())
    except (OSError, OptionError):
        return None
