// The page of one function, or of one actor.
import { useEffect, useState } from "preact/hooks";
import { ask } from "./now";
import { Failures } from "./Report";
import { Actors, Functions, Longest } from "./tables";
import type { ActorRow, FailureRow, FunctionRow, LongRun } from "./views";

interface Page {
  name?: string; actor?: string; actors?: ActorRow[]; functions: FunctionRow[];
  longest: LongRun[]; latest: LongRun[]; failures: FailureRow[];
}

export function One({ kind, name }: { kind: string; name: string }) {
  const [page, setPage] = useState<Page | null>(null);
  const [problem, setProblem] = useState("");
  const load = () => {
    const words: Record<string, string> = kind === "actor" ? { id: name } : { name };
    ask<Page | null>(kind, words).then(setPage, (error: Error) => setProblem(error.message));
  };
  useEffect(load, [kind, name]);
  return (
    <main id="main">
      <section>
        <p><a href="#">← all</a></p>
        <h2>{kind === "actor" ? "Actor " : "Function "}<code>{page?.actors?.[0]?.class_name ?? name}</code></h2>
        <div class="tools"><button type="button" onClick={load}>Look again</button>
          <span class="faint">of the latest runs that the dashboard has kept</span></div>
        {problem && <p role="alert">{problem}</p>}
        {page?.actors && page.actors.length > 0 && <Actors rows={page.actors} leftOut={0} />}
        {page && page.functions.length > 0 && <Functions rows={page.functions} />}
        {page && !page.functions.length && <p>No run of it is remembered.</p>}
      </section>
      {page && page.latest.length > 0 && <section><h2>Latest runs</h2><Longest rows={page.latest} caption="The latest runs" /></section>}
      {page && page.longest.length > 0 && <section><h2>Longest runs</h2><Longest rows={page.longest} /></section>}
      {page && page.failures.length > 0 && <section><h2>Failures</h2><Failures rows={page.failures} /></section>}
    </main>
  );
}
