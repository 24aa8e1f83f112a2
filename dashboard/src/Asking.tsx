// What is shown only when it is asked for: logs, and where a worker's threads are now.
import { useState } from "preact/hooks";
import { ask, type NodeNow } from "./now";

interface LogLine { node: string; text: string }
interface Worker { pid: number; kind: string; state: string; actor: string; address: string }
interface Stacks { threads: { name: string; frames: string }[] }

/** Something that is asked for, and what came of it. */
function useAnswer<T>(): [T | null, string, (promise: Promise<T>) => void] {
  const [found, setFound] = useState<T | null>(null);
  const [problem, setProblem] = useState("");
  const take = (promise: Promise<T>) => {
    setProblem("");
    promise.then(setFound, (error: Error) => { setFound(null); setProblem(error.message); });
  };
  return [found, problem, take];
}

export function Logs() {
  const [text, setText] = useState("");
  const [lines, problem, take] = useAnswer<LogLine[]>();
  return (
    <>
      <form class="tools" onSubmit={(event) => { event.preventDefault(); take(ask("log", { text })); }}>
        <label>Lines with <input type="search" value={text} onInput={(event) => setText(event.currentTarget.value)} /></label>
        <button type="submit">Search</button>
        <span class="faint">the latest of each node; without a text, its last lines</span>
      </form>
      {problem && <p role="alert">{problem}</p>}
      {lines && !lines.length && <p>No line has it.</p>}
      {lines && lines.length > 0 && <pre class="log" tabIndex={0}>{lines.map((x) => `${x.node} ${x.text}`).join("\n")}</pre>}
    </>
  );
}

export function Workers({ nodes }: { nodes: NodeNow[] }) {
  const living = nodes.filter((x) => x.state !== "gone");
  const [node, setNode] = useState(0);
  const [workers, problem, take] = useAnswer<Worker[]>();
  const [stacks, noStacks, takeStacks] = useAnswer<Stacks>();
  const [pid, setPid] = useState(0);
  const chosen = node || living[0]?.number;
  return (
    <>
      <form class="tools" onSubmit={(event) => { event.preventDefault(); if (chosen) take(ask("workers", { node: String(chosen) })); }}>
        <label>Processes of <select value={chosen} onChange={(event) => setNode(Number(event.currentTarget.value))}>
          {living.map((x) => <option key={x.number} value={x.number}>{x.name}</option>)}
        </select></label>
        <button type="submit">List</button>
      </form>
      {problem && <p role="alert">{problem}</p>}
      {workers && (
        <ul class="workers">
          {workers.map((x) => (
            <li key={x.address}>
              <button type="button" aria-pressed={pid === x.pid} onClick={() => { setPid(x.pid); takeStacks(ask("stacks", { address: x.address })); }}>
                {x.kind} {x.pid}
              </button> <span class="faint">{x.state}</span>
            </li>
          ))}
        </ul>
      )}
      {noStacks && <p role="alert">Process {pid}: {noStacks}</p>}
      {stacks && stacks.threads.map((x) => (
        <details key={x.name} open={x.name === "MainThread"}>
          <summary>{x.name} of process {pid}</summary>
          <pre tabIndex={0}>{x.frames}</pre>
        </details>
      ))}
    </>
  );
}
