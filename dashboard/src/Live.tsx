// The dashboard: what the cluster does now, then the report's views of its latest runs.
import { useEffect, useState } from "preact/hooks";
import { Logs, Workers } from "./Asking";
import { amount, bytes, count, seconds } from "./format";
import { follow, type ClusterNow, type Now, type Seen } from "./now";
import { ActorsNow, FunctionsNow, Nodes, Pending, Programs } from "./nowTables";
import { One } from "./One";
import { Figure, reportParts, Sections, type Part } from "./Report";
import { ThemeButton } from "./ThemeButton";

export function Live() {
  const [seen, setSeen] = useState<Seen>({ now: null, views: null, silent: "", ended: "", isConnected: false });
  const [place, setPlace] = useState(location.hash);
  useEffect(() => follow(setSeen), []);
  useEffect(() => {
    const moved = () => setPlace(location.hash);
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const [, kind, name] = /^#(function|actor)=(.*)$/.exec(place) ?? [];
  const { now } = seen;
  return (
    <>
      <a class="skip" href="#main">To the figures</a>
      <header>
        <div>
          <p class="faint">rayhpc dashboard</p>
          <h1>{now ? <>cluster <code>{now.cluster.address}</code></> : "looking …"}</h1>
        </div>
        <ThemeButton />
      </header>
      <div role="status">{state(seen)}</div>
      {kind ? <One kind={kind} name={decodeURIComponent(name)} /> : now && <Everything seen={seen} now={now} />}
    </>
  );
}

function state({ now, silent, ended, isConnected }: Seen) {
  if (ended) return <p class="banner">{ended}. This is what was seen last.</p>;
  if (!isConnected && now) return <p class="banner">The dashboard does not answer: it has ended, or the connection to it is broken. This is what was seen last.</p>;
  if (silent) return <p class="banner">{silent}. This is what was seen last; it goes on when the head is back.</p>;
  return null;
}

function Everything({ seen, now }: { seen: Seen; now: Now }) {
  const parts: Part[] = [
    ["functions-now", "Functions", now.functions.length > 0, <FunctionsNow rows={now.functions} />],
    ["nodes", "Nodes", true, <Nodes rows={now.nodes} />],
    ["pending", "Pending", true, <Pending rows={now.pending} />],
    ["actors-now", "Actors", now.actors.length > 0, <ActorsNow rows={now.actors} leftOut={now.actors_left_out} />],
    ["programs", "Programs", now.programs.length > 0, <Programs rows={now.programs} />],
    ["logs", "Logs", true, <Logs />],
    ["workers", "Where workers are", true, <Workers nodes={now.nodes} />],
    // Functions and actors are there already, as they are now.
    ...(seen.views ? reportParts(seen.views).filter(([id]) => id !== "functions" && id !== "actors") : []),
  ];
  return <Sections parts={parts} name="Parts of the dashboard"><Figures cluster={now.cluster} /></Sections>;
}

function Figures({ cluster: x }: { cluster: ClusterNow }) {
  return (
    <dl class="figures">
      <Figure name="up" value={seconds(x.at - x.started)} of={`since ${new Date(x.started * 1000).toLocaleTimeString()}`} />
      <Figure name="nodes" value={count(x.nodes)} of={x.nodes_gone ? `${x.nodes_gone} gone` : `${count(x.workers)} workers`} warns={x.nodes_gone > 0} />
      <Figure name="CPUs held" value={amount(x.cpus_used)} of={`of ${amount(x.cpus)}`} />
      {x.gpus > 0 && <Figure name="GPUs held" value={amount(x.gpus_used)} of={`of ${amount(x.gpus)}`} />}
      <Figure name="in the stores" value={bytes(x.store_used)} of={x.spilled ? `${bytes(x.spilled)} on disk` : `of ${bytes(x.store)}`} warns={x.spilled > 0} />
      <Figure name="runs" value={count(x.runs)} of={`${x.rate < 10 ? x.rate.toFixed(1) : count(Math.round(x.rate))} a second${x.behind ? "; reading older ones" : ""}`} />
      <Figure name="failed" value={count(x.failed)} warns={x.failed > 0} />
      <Figure name="waiting" value={count(x.waiting)} of="for resources" />
      {x.time_left !== null && <Figure name="time left" value={seconds(Math.max(0, x.time_left))} of="of the allocation" warns={x.time_left < 600} />}
      {x.errors > 0 && <Figure name="errors inside rayhpc" value={count(x.errors)} of={x.last_error} warns />}
    </dl>
  );
}
