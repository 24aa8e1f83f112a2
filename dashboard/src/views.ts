// The views as rayhpc/observe/views/ makes them.  Times are seconds since the program's start.

export interface Overview {
  command: string; job: string; started: number; seconds: number; end: string;
  nodes_asked: number; nodes_given: number; nodes_used: number;
  cpus_given: number; cpus_used: number; gpus_given: number; gpus_used: number;
  memory_given: number; memory_used: number; memory_limit: number; store_given: number;
  tasks: number; calls: number; failed: number; retried: number;
  time_left: number | null; dropped: number; pending: string[]; warnings: string[]; notes: string[];
}
export interface Advice { kind: string; finding: string; remedy: string; saves: number }
export interface NodeUsage { name: string; cpus: number; gpus: number; busy: number; percent: number[] }
export interface Usage {
  step: number; cpus: number; gpus: number; at_work: number[]; reserved: number[];
  gpus_at_work: number[]; nodes: NodeUsage[]; nodes_left_out: number; nodes_used: number;
}
export interface MemoryRow { node: string; limit: number; used_most: number; percent: number[] }
export interface Memory { step: number; limit: number; used: number[]; nodes: MemoryRow[]; left_out: number }
export interface Lane { node: string; pid: number; segments: number }
export interface Timeline {
  tick: number; segments: number; is_merged: boolean; functions: string[]; lanes: Lane[];
  columns: string; runs_left_out: number;
}
export interface FunctionRow {
  name: string; count: number; failed: number; retried: number; total: number; p50: number;
  p99: number; longest: number; share: number; waiting: number; for_arguments: number;
  for_room: number; for_room_of: number; node: string; node_share: number; large_calls: number; large_bytes: number;
}
export interface LongRun {
  function: string; seconds: number; start: number; node: string; pid: number; failed: boolean;
}
export interface Step {
  function: string; start: number; seconds: number; gap: number; waited_for: string; node: string;
}
export interface CriticalPath {
  seconds: number; running: number; before: number; between: number; after: number; count: number;
  functions: { function: string; seconds: number; runs: number }[]; steps: Step[];
}
export interface ActorRow {
  class_name: string; name: string; state: string; node: string; pid: number; calls: number;
  failed: number; seconds: number; busy: number; restarts: number; reason: string;
}
export interface StoreRow {
  node: string; size: number; used_most: number; spilled_most: number; spilled: number;
  spilled_bytes: number; pulled: number; pulled_bytes: number;
}
export interface Stores {
  step: number; size: number; used: number[]; on_disk: number[]; nodes: StoreRow[]; left_out: number;
}
export interface Losses {
  nodes: { node: string; reason: string }[];
  workers: { node: string; reason: string; count: number }[];
  remade: { function: string; retried: number; made_again: number; seconds: number }[];
}
export interface FailureRow {
  kind: string; count: number; functions: string[]; nodes: string[]; first: number; last: number;
  seconds: number; traceback: string;
}
export interface Views {
  overview: Overview; advice: Advice[]; usage: Usage; memory: Memory; timeline: Timeline; functions: FunctionRow[];
  longest: LongRun[]; critical_path: CriticalPath | null;
  actors: { rows: ActorRow[]; left_out: number };
  stores: Stores; losses: Losses; failures: FailureRow[];
}
