// The report's tables, each of one view.
import { bytes, count, seconds, share } from "./format";
import { Table } from "./Table";
import type { ActorRow, CriticalPath, FunctionRow, LongRun, Step, StoreRow } from "./views";

export const some = (value: number, text: string) => (value ? text : <span class="faint">–</span>);

/** A number with a bar behind it, for the share of the largest. */
export function Bar({ part, text }: { part: number; text: string }) {
  return <span class="bar"><i style={{ width: `${Math.max(0, Math.min(1, part)) * 100}%` }} /><b>{text}</b></span>;
}

const forArguments = (x: FunctionRow) => x.for_arguments / Math.max(1, x.for_room_of);
const forRoom = (x: FunctionRow) => x.for_room / Math.max(1, x.for_room_of);

export function Functions({ rows }: { rows: FunctionRow[] }) {
  return (
    <Table rows={rows} caption="Tasks and calls by function" columns={[
      { name: "function", title: "And the node on which its runs took most time", show: (x) => <><code>{x.name}</code><br /><span class="faint">{share(x.node_share)} on {x.node}</span></>, wide: true },
      { name: "time", title: "All runs together", sort: (x) => x.total, show: (x) => <Bar part={x.share} text={seconds(x.total)} /> },
      { name: "runs", sort: (x) => x.count, show: (x) => count(x.count) },
      { name: "p50", title: "Half of the runs took at most this", sort: (x) => x.p50, show: (x) => seconds(x.p50) },
      { name: "p99", title: "99 of 100 runs took at most this", sort: (x) => x.p99, show: (x) => seconds(x.p99) },
      { name: "longest", sort: (x) => x.longest, show: (x) => seconds(x.longest) },
      { name: "failed", unless: (x) => x.failed > 0, sort: (x) => x.failed, show: (x) => some(x.failed, count(x.failed)) },
      { name: "retried", unless: (x) => x.retried > 0, sort: (x) => x.retried, show: (x) => some(x.retried, count(x.retried)) },
      { name: "in get", unless: (x) => x.waiting > 0.001, title: "What the runs waited for other tasks, in get and wait", sort: (x) => x.waiting, show: (x) => some(x.waiting, seconds(x.waiting)) },
      {
        name: "for arguments", unless: (x) => x.for_arguments > 0, title: "What a run waited on average, from its submission, until the references that it took were there",
        sort: forArguments, show: (x) => some(x.for_arguments, seconds(forArguments(x))),
      },
      {
        name: "for room", unless: (x) => x.for_room_of > 0, title: "What a run then waited on average for a worker or, a call, for its actor",
        sort: forRoom, show: (x) => some(x.for_room_of, seconds(forRoom(x))),
      },
      { name: "large arguments", unless: (x) => x.large_calls > 0, title: "Bytes of arguments that were too large for a message", sort: (x) => x.large_bytes, show: (x) => some(x.large_calls, `${count(x.large_calls)} × ${bytes(x.large_bytes / Math.max(1, x.large_calls))}`) },
    ]} />
  );
}

export function Longest({ rows, caption = "The longest runs" }: { rows: LongRun[]; caption?: string }) {
  const top = Math.max(1e-9, ...rows.map((x) => x.seconds));
  return (
    <Table rows={rows} caption={caption} columns={[
      { name: "function", show: (x) => <code>{x.function}</code>, wide: true },
      { name: "took", sort: (x) => x.seconds, show: (x) => <Bar part={x.seconds / top} text={seconds(x.seconds)} /> },
      { name: "from", sort: (x) => x.start, show: (x) => seconds(Math.max(0, x.start)) },
      { name: "node", show: (x) => x.node },
      { name: "pid", show: (x) => x.pid },
      { name: "end", show: (x) => (x.failed ? "failed" : "finished") },
    ]} />
  );
}

export function Path({ path }: { path: CriticalPath }) {
  const outside = [
    { function: "before the first run", seconds: path.before, runs: 0 },
    { function: "between runs: the driver, handing over, waiting for room", seconds: path.between, runs: 0 },
    { function: "after the last run", seconds: path.after, runs: 0 },
  ].filter((x) => x.seconds > 0.001 * path.seconds);
  const all = [...path.functions.map((x) => ({ ...x, isRun: true })), ...outside.map((x) => ({ ...x, isRun: false }))];
  all.sort((a, b) => b.seconds - a.seconds);
  return (
    <>
      <p>
        The end waited for a chain of {count(path.count)} run{path.count === 1 ? "" : "s"}: {seconds(path.running)} of{" "}
        {seconds(path.seconds)} were theirs. Only what shortens this chain makes the program faster.
      </p>
      <Table rows={all} caption="Shares of the critical path" columns={[
        { name: "what", show: (x) => (x.isRun ? <code>{x.function}</code> : <em>{x.function}</em>), wide: true },
        { name: "time on the path", sort: (x) => x.seconds, show: (x) => <Bar part={x.seconds / path.seconds} text={seconds(x.seconds)} /> },
        { name: "share", sort: (x) => x.seconds, show: (x) => share(x.seconds / path.seconds) },
        { name: "runs", sort: (x) => x.runs, show: (x) => some(x.runs, count(x.runs)) },
      ]} />
      <details>
        <summary>Its longest steps, in their order</summary>
        <Steps rows={path.steps} />
      </details>
    </>
  );
}

const WAITED: Record<string, string> = {
  argument: "its last argument", room: "a free worker", parent: "the task that submitted it", driver: "the program",
};

function Steps({ rows }: { rows: Step[] }) {
  return (
    <Table rows={rows} caption="Steps of the critical path" keep columns={[
      { name: "from", sort: (x) => x.start, show: (x) => seconds(Math.max(0, x.start)) },
      { name: "function", show: (x) => <code>{x.function}</code>, wide: true },
      { name: "took", sort: (x) => x.seconds, show: (x) => seconds(x.seconds) },
      { name: "had waited for", show: (x) => WAITED[x.waited_for] ?? x.waited_for },
      { name: "pause before it", sort: (x) => x.gap, show: (x) => some(x.gap > 1e-4 ? 1 : 0, seconds(x.gap)) },
      { name: "node", show: (x) => x.node },
    ]} />
  );
}

export function Actors({ rows, leftOut }: { rows: ActorRow[]; leftOut: number }) {
  return (
    <>
      <Table rows={rows} caption="Actors" columns={[
        { name: "class", show: (x) => <code>{x.class_name}</code>, wide: true },
        { name: "name", unless: (x) => x.name !== "", show: (x) => x.name || <span class="faint">–</span> },
        { name: "busy", title: "The share of its life in which a call ran", sort: (x) => x.busy, show: (x) => <Bar part={x.busy} text={share(x.busy)} /> },
        { name: "calls", sort: (x) => x.calls, show: (x) => count(x.calls) },
        { name: "time", sort: (x) => x.seconds, show: (x) => seconds(x.seconds) },
        { name: "failed", unless: (x) => x.failed > 0, sort: (x) => x.failed, show: (x) => some(x.failed, count(x.failed)) },
        { name: "restarts", unless: (x) => x.restarts > 0, sort: (x) => x.restarts, show: (x) => some(x.restarts, count(x.restarts)) },
        { name: "node", show: (x) => x.node },
        { name: "state", show: (x) => x.state.toLowerCase() },
        { name: "ended by", unless: (x) => x.reason !== "", show: (x) => x.reason, wide: true },
      ]} />
      {leftOut > 0 && <p class="faint">{count(leftOut)} less busy actors are not listed.</p>}
    </>
  );
}

export function StoreTable({ rows }: { rows: StoreRow[] }) {
  return (
    <Table rows={rows} caption="Object stores by node" columns={[
      { name: "node", show: (x) => x.node },
      { name: "size", sort: (x) => x.size, show: (x) => bytes(x.size) },
      { name: "fullest", title: "The most that was in it", sort: (x) => x.used_most, show: (x) => <Bar part={x.used_most / Math.max(1, x.size)} text={bytes(x.used_most)} /> },
      { name: "spilled", unless: (x) => x.spilled > 0, title: "What went to disk", sort: (x) => x.spilled_bytes, show: (x) => some(x.spilled, `${bytes(x.spilled_bytes)} in ${count(x.spilled)}`) },
      { name: "from other nodes", unless: (x) => x.pulled > 0, sort: (x) => x.pulled_bytes, show: (x) => some(x.pulled, `${bytes(x.pulled_bytes)} in ${count(x.pulled)}`) },
    ]} />
  );
}
