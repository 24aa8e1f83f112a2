// The whole page: what matters most first.
import type { ComponentChildren } from "preact";
import { Chart, type Series } from "./Chart";
import { amount, bytes, count, seconds, share } from "./format";
import { Heat } from "./Heat";
import { Actors, Functions, Longest, Path, StoreTable } from "./tables";
import { ThemeButton } from "./ThemeButton";
import { TimelineView } from "./TimelineView";
import type { Advice, FailureRow, Losses, Memory, Overview, Usage, Stores, Views } from "./views";

/** Where it is on the page, its title, whether there is any of it, and it. */
export type Part = [string, string, boolean, ComponentChildren];

export function reportParts(views: Views): Part[] {
  const { overview, critical_path: path, losses } = views;
  const hasRuns = overview.tasks + overview.calls > 0;
  const lost = losses.nodes.length + losses.workers.length + losses.remade.length > 0;
  return [
    ["usage", "Asked, given, used", true, <UsagePart usage={views.usage} />],
    ["timeline", "Timeline", hasRuns, <TimelineView timeline={views.timeline} functions={views.functions} span={overview.seconds} />],
    ["functions", "Functions", hasRuns, <Functions rows={views.functions} />],
    ["path", "Critical path", path !== null, path && <Path path={path} />],
    ["longest", "Longest runs", hasRuns, <Longest rows={views.longest} />],
    ["actors", "Actors", views.actors.rows.length > 0, <Actors rows={views.actors.rows} leftOut={views.actors.left_out} />],
    ["memory", "Memory", views.memory.nodes.length > 0, <MemoryPart memory={views.memory} />],
    ["stores", "Object stores", views.stores.nodes.length > 0, <StoresPart stores={views.stores} />],
    ["failures", "Failures", views.failures.length > 0, <Failures rows={views.failures} />],
    ["losses", "Lost and made again", lost, <LossesPart losses={losses} />],
    ["warnings", "Warnings", overview.warnings.length > 0, <List lines={overview.warnings} />],
    ["notes", "Notes", overview.notes.length + overview.pending.length + overview.dropped > 0, <Notes overview={overview} />],
  ];
}

export function Report({ views }: { views: Views }) {
  const { overview } = views;
  return (
    <>
      <a class="skip" href="#main">To the figures</a>
      <header>
        <div>
          <p class="faint">rayhpc report{overview.job && `, job ${overview.job}`}</p>
          <h1><code>{overview.command || "a cluster"}</code></h1>
        </div>
        <ThemeButton />
      </header>
      <Sections parts={reportParts(views)} name="Parts of the report">
        <Figures overview={overview} />
        <AdvicePart advice={views.advice} overview={overview} />
      </Sections>
    </>
  );
}

/** The parts that there are, below what comes first, with links to them above. */
export function Sections({ parts, name, children }: { parts: Part[]; name: string; children: ComponentChildren }) {
  const shown = parts.filter(([, , isThere]) => isThere);
  return (
    <>
      <nav aria-label={name}>
        {shown.map(([id, title]) => <a key={id} href={`#${id}`}>{title}</a>)}
      </nav>
      <main id="main">
        {children}
        {shown.map(([id, title, , content]) => (
          <section key={id} id={id} aria-labelledby={`${id}-title`}>
            <h2 id={`${id}-title`}>{title}</h2>
            {content}
          </section>
        ))}
      </main>
    </>
  );
}

export function Figure({ value, of, name, warns }: { value: string; of?: string; name: string; warns?: boolean }) {
  return <div class={warns ? "figure warns" : "figure"}><dt>{name}</dt><dd><b>{value}</b>{of && <span> {of}</span>}</dd></div>;
}

function Figures({ overview: x }: { overview: Overview }) {
  const asked = x.nodes_asked && x.nodes_asked !== x.nodes_given ? `, ${x.nodes_asked} asked for` : "";
  return (
    <dl class="figures">
      <Figure name="took" value={seconds(x.seconds)} of={new Date(x.started * 1000).toLocaleString()} />
      <Figure name="end" value={x.end} warns={x.end !== "exit code 0" && x.end !== "runs"} />
      <Figure name="nodes used" value={amount(x.nodes_used)} of={`of ${x.nodes_given}${asked}`} />
      <Figure name="CPUs used" value={amount(x.cpus_used)} of={`of ${amount(x.cpus_given)}`} />
      {x.gpus_given > 0 && <Figure name="GPUs used" value={amount(x.gpus_used)} of={`of ${amount(x.gpus_given)}`} />}
      {x.memory_used > 0
        ? <Figure name="memory used" value={bytes(x.memory_used)} of={`at the most, of ${bytes(x.memory_limit)}`} />
        : <Figure name="memory" value={bytes(x.memory_given)} of={`and ${bytes(x.store_given)} for objects`} />}
      <Figure name="runs" value={count(x.tasks + x.calls)} of={x.calls ? `${count(x.calls)} of actors` : "of tasks"} />
      <Figure name="failed" value={count(x.failed)} of={x.retried ? `${count(x.retried)} tried again` : undefined} warns={x.failed > 0} />
      {x.time_left !== null && <Figure name="time left" value={seconds(Math.max(0, x.time_left))} of="of the allocation" warns={x.time_left < 60} />}
    </dl>
  );
}

function AdvicePart({ advice, overview }: { advice: Advice[]; overview: Overview }) {
  return (
    <section id="advice" aria-labelledby="advice-title">
      <h2 id="advice-title">What would make it faster</h2>
      {advice.length === 0 && (
        <p>{overview.tasks + overview.calls > 0 ? "Nothing that stands out: the cluster was well used." : "No task ran."}</p>
      )}
      <ol class="advice">
        {advice.map((each) => (
          <li key={each.kind}>
            <p><strong>{each.finding}</strong></p>
            <p>{each.remedy} <span class="faint">Worth about {seconds(each.saves)}.</span></p>
          </li>
        ))}
      </ol>
    </section>
  );
}

function UsagePart({ usage }: { usage: Usage }) {
  const bins = usage.at_work.length;
  const series: Series[] = [
    { name: "CPUs at work", values: usage.at_work, kind: "area" },
    { name: "given", values: Array(bins).fill(usage.cpus), kind: "line" },
  ];
  if (usage.reserved.length) series.push({ name: "held by tasks, actors and groups", values: usage.reserved, kind: "dashed" });
  return (
    <>
      <Chart series={series} step={usage.step} label="CPUs at work, held and given over time" format={amount} />
      {usage.gpus > 0 && (
        <Chart step={usage.step} label="GPUs at work and given over time" format={amount} series={[
          { name: "GPUs of running tasks", values: usage.gpus_at_work, kind: "area" },
          { name: "given", values: Array(bins).fill(usage.gpus), kind: "line" },
        ]} />
      )}
      <Heat caption="How busy each node was" heads={["CPUs", "in use"]} leftOut={usage.nodes_left_out} rows={usage.nodes.map((x) => ({
        name: x.name, figures: [`${amount(x.cpus)}${x.gpus ? ` + ${amount(x.gpus)} GPU` : ""}`, share(x.busy)], percent: x.percent,
      }))} />
    </>
  );
}

function MemoryPart({ memory }: { memory: Memory }) {
  const series: Series[] = [{ name: "used by the nodes' processes and stores", values: memory.used, kind: "area" }];
  // Far away it would make what was used flat.
  const isNear = Math.max(...memory.used) > 0.2 * memory.limit;
  if (isNear) series.push({ name: "limit", values: Array(memory.used.length).fill(memory.limit), kind: "line" });
  return (
    <>
      <Chart step={memory.step} label="Memory used over time" format={bytes} series={series} />
      {!isNear && <p class="faint">The limit of all nodes together, {bytes(memory.limit)}, is far above.</p>}
      <Heat caption="Memory of each node" heads={["limit", "most used"]} leftOut={memory.left_out} rows={memory.nodes.map((x) => ({
        name: x.node, figures: [bytes(x.limit), `${bytes(x.used_most)}, ${share(x.used_most / x.limit)}`], percent: x.percent,
      }))} />
    </>
  );
}

function StoresPart({ stores }: { stores: Stores }) {
  return (
    <>
      <Chart step={stores.step} least={1024 * 1024} label="Bytes in the object stores and on disk over time" format={bytes} series={[
        { name: "in the stores", values: stores.used, kind: "area" },
        { name: "spilled to disk", values: stores.on_disk, kind: "dashed" },
      ]} />
      <StoreTable rows={stores.nodes} />
      {stores.left_out > 0 && <p class="faint">{stores.left_out} further nodes are not listed.</p>}
    </>
  );
}

export function Failures({ rows }: { rows: FailureRow[] }) {
  return (
    <>
      {rows.map((row, i) => (
        <details key={row.kind} open={i === 0}>
          <summary><b>{count(row.count)} × </b><code>{row.kind}</code></summary>
          <p>
            In {row.functions.join(", ")} on {row.nodes.join(", ")}, from {seconds(Math.max(0, row.first))} to{" "}
            {seconds(Math.max(0, row.last))}; {seconds(row.seconds)} of work were lost with them.
          </p>
          {row.traceback && <pre tabIndex={0}>{row.traceback}</pre>}
        </details>
      ))}
    </>
  );
}

function LossesPart({ losses }: { losses: Losses }) {
  return (
    <ul>
      {losses.nodes.map((x) => <li key={x.node}>Node <b>{x.node}</b> was lost: {x.reason}</li>)}
      {losses.workers.map((x, i) => <li key={i}>{count(x.count)} worker{x.count === 1 ? "" : "s"} of <b>{x.node}</b> ended: {x.reason}</li>)}
      {losses.remade.map((x) => (
        <li key={x.function}><code>{x.function}</code>: {[
          x.retried && `${count(x.retried)} further attempts`, x.made_again && `${count(x.made_again)} made again`,
        ].filter(Boolean).join(", ")}, {seconds(x.seconds)} of work</li>
      ))}
    </ul>
  );
}

function List({ lines }: { lines: string[] }) {
  return <ul>{lines.map((x, i) => <li key={i}>{x}</li>)}</ul>;
}

function Notes({ overview }: { overview: Overview }) {
  return (
    <ul>
      {overview.pending.map((x, i) => <li key={i}>{x}</li>)}
      {overview.notes.map((x, i) => <li key={i}>{x}</li>)}
      {overview.dropped > 0 && (
        <li>{count(overview.dropped)} older runs are not here: each node remembers its latest ones (RAYHPC_TASK_RUNS).</li>
      )}
    </ul>
  );
}
