// The live tables, each of one view.
import { amount, bytes, count, seconds, share } from "./format";
import { Table } from "./Table";
import { Bar, some } from "./tables";
import type { ActorNow, FunctionNow, NodeNow, PendingNow, ProgramNow } from "./now";

const rate = (value: number) => (value ? `${value < 10 ? value.toFixed(1) : count(Math.round(value))}/s` : "–");
const of = (used: number, total: number) => <Bar part={used / Math.max(1e-9, total)} text={`${amount(used)} / ${amount(total)}`} />;

export function Nodes({ rows }: { rows: NodeNow[] }) {
  return (
    <Table rows={rows} caption="Nodes" columns={[
      { name: "node", show: (x) => <>{x.name}{x.is_head && <span class="faint"> (head)</span>}{x.ip !== x.name && <><br /><span class="faint">{x.ip}</span></>}</> },
      { name: "state", show: (x) => (x.ended ? `${x.state}: ${x.ended}` : x.state), wide: rows.some((x) => x.ended !== "") },
      { name: "CPUs", sort: (x) => x.cpus_used, show: (x) => of(x.cpus_used, x.cpus) },
      { name: "GPUs", unless: (x) => x.gpus > 0, sort: (x) => x.gpus_used, show: (x) => of(x.gpus_used, x.gpus) },
      { name: "memory", unless: (x) => x.memory > 0, title: "What the node's processes use of its limit", sort: (x) => x.memory_used, show: (x) => <Bar part={x.memory_used / Math.max(1, x.memory)} text={`${bytes(x.memory_used)} / ${bytes(x.memory)}`} /> },
      { name: "store", sort: (x) => x.store_used, show: (x) => <Bar part={x.store_used / Math.max(1, x.store)} text={`${bytes(x.store_used)} / ${bytes(x.store)}`} /> },
      { name: "on disk", unless: (x) => x.spilled > 0, sort: (x) => x.spilled, show: (x) => some(x.spilled, bytes(x.spilled)) },
      { name: "from others", unless: (x) => x.pulled > 0, title: "Bytes that came from other nodes", sort: (x) => x.pulled, show: (x) => some(x.pulled, bytes(x.pulled)) },
      { name: "workers", sort: (x) => x.workers, show: (x) => count(x.workers) },
      { name: "waiting", title: "What waits at this node for resources", sort: (x) => x.waiting, show: (x) => some(x.waiting, count(x.waiting)) },
    ]} />
  );
}

export function FunctionsNow({ rows }: { rows: FunctionNow[] }) {
  const ordered = [...rows].sort((a, b) => b.rate - a.rate || b.seconds - a.seconds);
  const most = Math.max(1e-9, ...rows.map((x) => x.seconds));
  return (
    <Table rows={ordered} caption="Functions now" columns={[
      { name: "function", show: (x) => <a href={`#function=${encodeURIComponent(x.name)}`}><code>{x.name}</code></a>, wide: true },
      { name: "rate", title: "Runs that ended in a second, lately", sort: (x) => x.rate, show: (x) => rate(x.rate) },
      { name: "runs", sort: (x) => x.count, show: (x) => count(x.count) },
      { name: "failed", unless: (x) => x.failed > 0, sort: (x) => x.failed, show: (x) => some(x.failed, count(x.failed)) },
      { name: "time", title: "All runs together", sort: (x) => x.seconds, show: (x) => <Bar part={x.seconds / most} text={seconds(x.seconds)} /> },
      { name: "p50", title: "Half of the runs took at most about this", sort: (x) => x.p50, show: (x) => seconds(x.p50) },
      { name: "p99", title: "99 of 100 runs took at most about this", sort: (x) => x.p99, show: (x) => seconds(x.p99) },
      { name: "longest", sort: (x) => x.longest, show: (x) => seconds(x.longest) },
      { name: "queued", title: "What a run waited on average to begin, from its submission", sort: (x) => x.queued, show: (x) => some(x.queued, seconds(x.queued)) },
    ]} />
  );
}

export function ActorsNow({ rows, leftOut }: { rows: ActorNow[]; leftOut: number }) {
  return (
    <>
      <Table rows={rows} caption="Actors now" columns={[
        { name: "actor", show: (x) => <a href={`#actor=${x.actor}`}><code>{x.class_name}</code></a>, wide: true },
        { name: "name", unless: (x) => x.name !== "", show: (x) => x.name || "–" },
        { name: "state", show: (x) => x.state.toLowerCase() },
        { name: "busy", title: "The share of its life in which a call ran", sort: (x) => x.busy, show: (x) => <Bar part={x.busy} text={share(x.busy)} /> },
        { name: "calls", sort: (x) => x.calls, show: (x) => count(x.calls) },
        { name: "failed", unless: (x) => x.failed > 0, sort: (x) => x.failed, show: (x) => some(x.failed, count(x.failed)) },
        { name: "restarts", unless: (x) => x.restarts > 0, sort: (x) => x.restarts, show: (x) => some(x.restarts, count(x.restarts)) },
        { name: "node", show: (x) => x.node },
        { name: "pid", show: (x) => x.pid || "–" },
        { name: "ended by", unless: (x) => x.reason !== "", show: (x) => x.reason, wide: true },
      ]} />
      {leftOut > 0 && <p class="faint">{count(leftOut)} older actors are not listed.</p>}
    </>
  );
}

function wants(row: PendingNow): string {
  const parts = Object.entries(row.wants).map(([name, value]) => (name.includes("memory") ? `${bytes(value)} ${name}` : `${amount(value)} ${name}`));
  return parts.join(", ") || "nothing";
}

export function Pending({ rows }: { rows: PendingNow[] }) {
  if (!rows.length) return <p>Nothing waits for resources.</p>;
  return (
    <Table rows={rows} caption="What waits for resources" columns={[
      { name: "waiting", sort: (x) => x.count, show: (x) => count(x.count) },
      { name: "wants", show: wants },
      { name: "why it waits", show: (x) => x.reason, wide: true },
    ]} />
  );
}

export function Programs({ rows }: { rows: ProgramNow[] }) {
  return (
    <Table rows={rows} caption="Programs" columns={[
      { name: "program", show: (x) => <code>{x.command || `program ${x.number}`}</code>, wide: true },
      { name: "pid", show: (x) => x.pid },
      { name: "since", show: (x) => new Date(x.started * 1000).toLocaleTimeString() },
      { name: "state", show: (x) => (x.ended ? `ended: ${x.reason}` : "runs"), wide: true },
    ]} />
  );
}
