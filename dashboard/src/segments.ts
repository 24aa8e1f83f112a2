// The timeline's columns, unpacked: what every lane ran when.
import type { Timeline } from "./views";

export interface Segments {
  start: Float64Array; length: Float64Array; runs: Uint32Array; function: Uint16Array;
  percent: Uint8Array; failed: Uint8Array;
  /** Where each lane's segments begin, and after the last where they end. */
  first: Int32Array;
}

export async function unpack(timeline: Timeline): Promise<Segments> {
  const packed = Uint8Array.from(atob(timeline.columns), (x) => x.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(stream).arrayBuffer();
  const many = timeline.segments;
  const gap = new Uint32Array(data, 0, many);
  const ticks = new Uint32Array(data, 4 * many, many);
  const runs = new Uint32Array(data, 8 * many, many);
  const called = new Uint16Array(data, 12 * many, many);
  const shares = new Uint8Array(data, 14 * many, many);
  const start = new Float64Array(many), length = new Float64Array(many);
  const percent = new Uint8Array(many), failed = new Uint8Array(many);
  const first = new Int32Array(timeline.lanes.length + 1);
  let i = 0;
  timeline.lanes.forEach((lane, number) => {
    first[number] = i;
    let at = 0;
    for (const last = i + lane.segments; i < last; i++) {
      at += gap[i];
      start[i] = at * timeline.tick;
      length[i] = ticks[i] * timeline.tick;
      failed[i] = shares[i] >> 7;
      percent[i] = shares[i] & 127;
    }
  });
  first[timeline.lanes.length] = i;
  return { start, length, runs, function: called, percent, failed, first };
}

/** The last segment of a lane that begins at or before a moment; -1: none. */
export function lastBefore(segments: Segments, lane: number, at: number): number {
  let low = segments.first[lane], high = segments.first[lane + 1];
  const begin = low;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments.start[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low > begin ? low - 1 : -1;
}

/** The segment of a lane that is under way at a moment, or begins or ended within `near` of it. */
export function segmentAt(segments: Segments, lane: number, at: number, near: number): number {
  const found = lastBefore(segments, lane, at + near);
  if (found < 0) return -1;
  // Runs of an actor's threads overlap: one that began earlier may still go on.
  for (let i = found; i >= Math.max(segments.first[lane], found - 50); i--) {
    if (segments.start[i] + segments.length[i] >= at - near) return i;
  }
  return -1;
}
