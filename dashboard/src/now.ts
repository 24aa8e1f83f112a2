// The live views as rayhpc/observe/live/now.py makes them, and how changes are applied to them.
import type { Views } from "./views";

export interface ClusterNow {
  address: string; cluster_id: string; at: number; started: number; nodes: number; nodes_gone: number;
  cpus: number; cpus_used: number; gpus: number; gpus_used: number;
  store: number; store_used: number; spilled: number; workers: number; programs: number;
  runs: number; rate: number; failed: number; waiting: number; behind: number;
  time_left: number | null; errors: number; last_error: string;
}
export interface NodeNow {
  number: number; name: string; ip: string; is_head: boolean; state: string; ended: string;
  cpus: number; cpus_used: number; gpus: number; gpus_used: number; memory: number; memory_used: number; memory_held: number;
  store: number; store_used: number; spilled: number; workers: number; waiting: number;
  pulled: number; spilled_ever: number; errors: number; last_error: string;
}
export interface FunctionNow {
  name: string; rate: number; count: number; failed: number; retried: number; seconds: number;
  waited: number; queued: number; p50: number; p99: number; longest: number;
}
export interface ActorNow {
  actor: string; class_name: string; name: string; state: string; node: string; pid: number;
  calls: number; failed: number; seconds: number; busy: number; restarts: number; reason: string;
}
export interface PendingNow { wants: Record<string, number>; count: number; reason: string }
export interface ProgramNow { number: number; command: string; pid: number; started: number; ended: number; reason: string }
export interface Now {
  cluster: ClusterNow; nodes: NodeNow[]; functions: FunctionNow[]; actors: ActorNow[];
  actors_left_out: number; pending: PendingNow[]; programs: ProgramNow[];
}

type Row = Record<string, unknown>;
interface RowChanges { rows?: Row[]; order?: unknown[] }
export interface Changes { parts?: Record<string, unknown>; rows?: Record<string, RowChanges> }

const KEYS: Record<string, string> = { nodes: "number", functions: "name", actors: "actor", programs: "number" };

/** The view that the changes lead to. */
export function applied<T extends object>(before: T | null, told: Changes): T {
  const found: Record<string, unknown> = { ...(before ?? {}), ...(told.parts ?? {}) };
  for (const [part, change] of Object.entries(told.rows ?? {})) {
    const key = KEYS[part];
    const known = new Map((found[part] as Row[]).map((row) => [row[key], row]));
    const order = change.order ?? [...known.keys()];
    for (const row of change.rows ?? []) known.set(row[key], row);
    found[part] = order.map((name) => known.get(name));
  }
  return found as T;
}

export interface Seen { now: Now | null; views: Views | null; silent: string; ended: string; isConnected: boolean }

/** Calls with all that there is whenever anything has changed; returns what ends it. */
export function follow(show: (seen: Seen) => void): () => void {
  let seen: Seen = { now: null, views: null, silent: "", ended: "", isConnected: false };
  const tell = (more: Partial<Seen>) => show((seen = { ...seen, ...more }));
  const events = new EventSource("events");
  const on = (name: string, take: (data: string) => void) =>
    events.addEventListener(name, (event) => take((event as MessageEvent<string>).data));
  // A new connection begins with the whole: nothing of the old one is needed.
  events.onopen = () => tell({ isConnected: true });
  events.onerror = () => tell({ isConnected: false });
  on("now", (data) => tell({ now: applied<Now>(seen.now, JSON.parse(data)) }));
  on("views", (data) => tell({ views: applied<Views>(seen.views, JSON.parse(data)) }));
  on("silent", (data) => tell({ silent: JSON.parse(data) }));
  on("ended", (data) => {
    events.close();
    tell({ ended: JSON.parse(data) });
  });
  return () => events.close();
}

/** An answer of the dashboard; throws what it says if it refuses. */
export async function ask<T>(what: string, words: Record<string, string>): Promise<T> {
  const response = await fetch(`${what}?${new URLSearchParams(words)}`);
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("application/json")) throw new Error("the dashboard does not answer");
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found as T;
}
