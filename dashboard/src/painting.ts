// Draws the timeline's visible rows on a canvas.
import { moment, ticks } from "./format";
import { lastBefore, type Segments } from "./segments";
import type { Row } from "./rows";

export const LABEL = 150;
export const AXIS = 22;

export interface Window { from: number; to: number }
export interface Look { ink: string; faint: string; line: string; ground: string; failed: string; colours: string[]; other: string }
export interface Scene {
  segments: Segments; rows: Row[]; rowHeight: number; firstRow: number; window: Window;
  colourOf: (fn: number) => number; names: string[]; look: Look; marked: number;
}

export function paint(canvas: HTMLCanvasElement, width: number, height: number, scene: Scene): void {
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.fillStyle = scene.look.ground;
  context.fillRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  axis(context, width, height, scene);
  const visible = Math.ceil((height - AXIS) / scene.rowHeight);
  for (let i = 0; i < visible && scene.firstRow + i < scene.rows.length; i++) {
    const row = scene.rows[scene.firstRow + i];
    const top = AXIS + i * scene.rowHeight;
    label(context, row.label, top, scene);
    if (row.lanes.length === 1) lane(context, row.lanes[0], top, width, scene);
    else together(context, row, top, width, scene);
  }
}

function axis(context: CanvasRenderingContext2D, width: number, height: number, scene: Scene): void {
  const { from, to } = scene.window;
  const marks = ticks(from, to, (width - LABEL) / 110);
  const step = marks.length > 1 ? marks[1] - marks[0] : to - from;
  for (const at of marks) {
    const x = LABEL + ((at - from) / (to - from)) * (width - LABEL);
    context.fillStyle = scene.look.line;
    context.fillRect(Math.round(x), AXIS - 4, 1, height);
    context.fillStyle = scene.look.faint;
    const text = moment(at, step);
    const wide = context.measureText(text).width;
    context.fillText(text, Math.min(x + 3, width - wide - 2), AXIS / 2);
  }
}

function label(context: CanvasRenderingContext2D, text: string, top: number, scene: Scene): void {
  context.fillStyle = scene.look.ink;
  context.save();
  context.beginPath();
  context.rect(0, top, LABEL - 6, scene.rowHeight);
  context.clip();
  context.fillText(text, 4, top + scene.rowHeight / 2);
  context.restore();
}

function lane(context: CanvasRenderingContext2D, number: number, top: number, width: number, scene: Scene): void {
  const { segments, window, look } = scene;
  const room = width - LABEL, scale = room / (window.to - window.from);
  const high = scene.rowHeight - 3, y = top + 1;
  const begin = Math.max(segments.first[number], lastBefore(segments, number, window.from) - 20);
  let reached = -1, drawn = -1;
  for (let i = begin; i < segments.first[number + 1]; i++) {
    if (segments.start[i] > window.to) break;
    const x = Math.max(0, (segments.start[i] - window.from) * scale);
    const end = Math.min(room, (segments.start[i] + segments.length[i] - window.from) * scale);
    if (end < 0) continue;
    const wide = Math.max(1, end - x);
    const colour = scene.colourOf(segments.function[i]);
    // Hundreds within one pixel look like the first of them.
    if (x + wide <= reached && colour === drawn && !segments.failed[i] && i !== scene.marked) continue;
    reached = Math.ceil(x + wide);
    drawn = colour;
    context.fillStyle = colour < look.colours.length ? look.colours[colour] : look.other;
    const full = segments.runs[i] > 1 ? Math.max(0.15, segments.percent[i] / 100) : 1;
    context.fillRect(LABEL + x, y + high * (1 - full), Math.max(1, wide - (wide > 4 ? 1 : 0)), high * full);
    if (segments.failed[i]) cross(context, LABEL + x, y, wide, high, look);
    if (i === scene.marked) {
      context.strokeStyle = look.ink;
      context.lineWidth = 2;
      context.strokeRect(LABEL + x, y, wide, high);
    }
    if (wide > 40 && high >= 12) caption(context, scene.names[segments.function[i]], LABEL + x, y, wide, high);
  }
}

function cross(context: CanvasRenderingContext2D, x: number, y: number, wide: number, high: number, look: Look): void {
  context.strokeStyle = look.failed;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + Math.max(3, wide), y + high);
  context.moveTo(x + Math.max(3, wide), y);
  context.lineTo(x, y + high);
  context.stroke();
}

function caption(context: CanvasRenderingContext2D, text: string, x: number, y: number, wide: number, high: number): void {
  context.save();
  context.beginPath();
  context.rect(x, y, wide - 4, high);
  context.clip();
  context.fillStyle = "#fff";
  context.fillText(text, x + 4, y + high / 2 + 0.5);
  context.restore();
}

/** All workers of a node: how many of them are at work, by the height of the bar. */
function together(context: CanvasRenderingContext2D, row: Row, top: number, width: number, scene: Scene): void {
  const { segments, window, look } = scene;
  const room = Math.floor(width - LABEL), scale = room / (window.to - window.from);
  const busy = new Float32Array(room + 1), failed = new Uint8Array(room + 1);
  const most = new Map<number, number>();
  for (const number of row.lanes) {
    const begin = Math.max(segments.first[number], lastBefore(segments, number, window.from) - 20);
    for (let i = begin; i < segments.first[number + 1]; i++) {
      if (segments.start[i] > window.to) break;
      const from = Math.max(0, (segments.start[i] - window.from) * scale);
      const to = Math.min(room, (segments.start[i] + segments.length[i] - window.from) * scale);
      if (to <= 0) continue;
      const part = segments.percent[i] / 100;
      add(busy, from, to, part);
      if (segments.failed[i]) failed[Math.floor(from)] = 1;
      const colour = scene.colourOf(segments.function[i]);
      most.set(colour, (most.get(colour) ?? 0) + (to - from) * part);
    }
  }
  const high = scene.rowHeight - 3, y = top + 1;
  const [colour] = [...most].sort((a, b) => b[1] - a[1])[0] ?? [look.colours.length];
  context.fillStyle = colour < look.colours.length ? look.colours[colour] : look.other;
  for (let x = 0; x < room; x++) {
    const share = Math.min(1, busy[x] / row.lanes.length);
    if (share > 0.002) context.fillRect(LABEL + x, y + high * (1 - share), 1, high * share);
  }
  for (let x = 0; x < room; x++) if (failed[x]) cross(context, LABEL + x, y, 3, Math.min(6, high), look);
}

function add(into: Float32Array, from: number, to: number, part: number): void {
  const first = Math.floor(from), last = Math.floor(to);
  if (first === last) {
    into[first] += (to - from) * part;
    return;
  }
  into[first] += (first + 1 - from) * part;
  for (let x = first + 1; x < last; x++) into[x] += part;
  into[last] += (to - last) * part;
}
