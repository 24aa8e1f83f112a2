// The rows of the timeline: workers one by one, or all workers of a node together.
import type { Timeline } from "./views";

export interface Row { label: string; lanes: number[] }

export function workerRows(timeline: Timeline): Row[] {
  return timeline.lanes.map((lane, i) => ({ label: `${lane.node} ${lane.pid}`, lanes: [i] }));
}

export function nodeRows(timeline: Timeline): Row[] {
  const found = new Map<string, number[]>();
  timeline.lanes.forEach((lane, i) => {
    const own = found.get(lane.node);
    if (own) own.push(i);
    else found.set(lane.node, [i]);
  });
  return [...found].map(([label, lanes]) => ({ label: `${label} (${lanes.length})`, lanes }));
}
