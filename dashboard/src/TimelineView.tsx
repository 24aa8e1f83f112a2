// What every worker ran when: zoomable with the mouse and the keyboard.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { count, seconds } from "./format";
import { AXIS, LABEL, paint, type Look, type Window } from "./painting";
import { nodeRows, workerRows } from "./rows";
import { segmentAt, unpack, type Segments } from "./segments";
import { useTheme } from "./theme";
import type { FunctionRow, Timeline } from "./views";

const COLOURS = 8;
const TALLEST = 460;
const MANY_LANES = 48;

export function TimelineView({ timeline, functions, span }: { timeline: Timeline; functions: FunctionRow[]; span: number }) {
  const [segments, setSegments] = useState<Segments | null>(null);
  const [problem, setProblem] = useState("");
  const [byNode, setByNode] = useState(timeline.lanes.length > MANY_LANES);
  const [range, setRange] = useState<Window>({ from: 0, to: span });
  const [said, setSaid] = useState("");
  const [marked, setMarked] = useState(-1);
  const canvas = useRef<HTMLCanvasElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const drag = useRef<{ x: number; range: Window } | null>(null);
  const [width, setWidth] = useState(900);
  const [scroll, setScroll] = useState(0);
  const theme = useTheme();

  useEffect(() => {
    unpack(timeline).then(setSegments, (error) => setProblem(String(error)));
  }, [timeline]);
  useEffect(() => {
    const seen = new ResizeObserver(() => setWidth(frame.current?.clientWidth ?? 900));
    if (frame.current) seen.observe(frame.current);
    return () => seen.disconnect();
  }, []);

  const rows = useMemo(() => (byNode ? nodeRows(timeline) : workerRows(timeline)), [timeline, byNode]);
  const rank = useMemo(() => {
    const place = new Map(functions.map((row, i) => [row.name, i]));
    return timeline.functions.map((name) => place.get(name) ?? COLOURS);
  }, [functions, timeline]);
  const rowHeight = byNode ? 26 : 20;
  const whole = rows.length * rowHeight + AXIS;
  const height = Math.min(TALLEST, whole + 2);
  const firstRow = Math.floor(scroll / rowHeight);

  useEffect(() => {
    if (!canvas.current || !segments) return;
    paint(canvas.current, width, height, {
      segments, rows, rowHeight, firstRow, window: range, colourOf: (fn) => rank[fn] ?? COLOURS,
      names: timeline.functions, look: look(), marked,
    });
  }, [segments, rows, rowHeight, firstRow, range, width, height, theme, marked]);

  const zoom = (factor: number, at: number) => setRange((old) => zoomed(old, factor, at, span));
  const pan = (part: number) => setRange((old) => moved(old, part * (old.to - old.from), span));
  const timeAt = (x: number) => range.from + ((x - LABEL) / (width - LABEL)) * (range.to - range.from);

  function onWheel(event: WheelEvent) {
    if (!event.ctrlKey && !event.metaKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY / 300), timeAt(event.offsetX));
    else pan(event.deltaX / (width - LABEL));
  }

  function onKey(event: KeyboardEvent) {
    const middle = (range.from + range.to) / 2;
    const actions: Record<string, () => void> = {
      "+": () => zoom(0.5, middle), "=": () => zoom(0.5, middle), "-": () => zoom(2, middle),
      ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), Home: () => setRange({ from: 0, to: span }),
    };
    const action = actions[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  }

  function onMove(event: PointerEvent) {
    if (drag.current) {
      const by = ((drag.current.x - event.offsetX) / (width - LABEL)) * (drag.current.range.to - drag.current.range.from);
      setRange(moved(drag.current.range, by, span));
      return;
    }
    if (!segments) return;
    const row = rows[firstRow + Math.floor((event.offsetY - AXIS) / rowHeight)];
    if (!row || event.offsetX < LABEL) return;
    const at = timeAt(event.offsetX), near = (2 * (range.to - range.from)) / (width - LABEL);
    const found = row.lanes.length === 1 ? segmentAt(segments, row.lanes[0], at, near) : -1;
    setMarked(found);
    setSaid(found >= 0 ? described(timeline, segments, found, row.label) : crowd(segments, row.lanes, row.label, at));
  }

  return (
    <div>
      <div class="tools">
        <div class="choice" role="group" aria-label="Rows">
          <button type="button" aria-pressed={byNode} onClick={() => { setByNode(true); setScroll(0); }}>Nodes</button>
          <button type="button" aria-pressed={!byNode} onClick={() => { setByNode(false); setScroll(0); }}>Workers</button>
        </div>
        <button type="button" onClick={() => zoom(0.5, (range.from + range.to) / 2)} aria-label="Zoom in">+</button>
        <button type="button" onClick={() => zoom(2, (range.from + range.to) / 2)} aria-label="Zoom out">−</button>
        <button type="button" onClick={() => setRange({ from: 0, to: span })}>All</button>
        <span class="faint">drag to move, Ctrl + wheel to zoom; keys + − ← → Home</span>
      </div>
      {problem && <p role="alert">The timeline cannot be shown: {problem}</p>}
      <div class="frame" ref={frame} style={{ height: `${height}px` }} onScroll={(e) => setScroll(e.currentTarget.scrollTop)}>
        <div style={{ height: `${whole}px` }}>
          <canvas
            ref={canvas} tabIndex={0} role="img"
            aria-label={`Timeline of ${count(timeline.lanes.length)} workers over ${seconds(span)}. The tables below have its figures.`}
            style={{ width: `${width}px`, height: `${height}px` }}
            onWheel={onWheel} onKeyDown={onKey} onPointerMove={onMove}
            onPointerDown={(e) => { drag.current = { x: e.offsetX, range }; e.currentTarget.setPointerCapture(e.pointerId); }}
            onPointerUp={() => { drag.current = null; }}
          />
        </div>
      </div>
      <p class="said" aria-live="polite">{said || " "}</p>
      <ul class="legend">
        {functions.slice(0, COLOURS).map((row, i) => (
          <li key={row.name}><i class={`swatch c${i}`} /> {row.name}</li>
        ))}
        {functions.length > COLOURS && <li><i class="swatch other" /> others</li>}
        <li><i class="swatch failed">×</i> failed</li>
      </ul>
      {timeline.is_merged && (
        <p class="faint">Many runs: what a worker began within a short time is drawn as one bar, as high as it was busy.</p>
      )}
      {timeline.runs_left_out > 0 && <p class="faint">{count(timeline.runs_left_out)} runs of further workers are not drawn.</p>}
    </div>
  );
}

function zoomed(old: Window, factor: number, at: number, span: number): Window {
  const length = Math.min(span, Math.max(span * 1e-7, (old.to - old.from) * factor));
  const part = (at - old.from) / (old.to - old.from);
  return moved({ from: at - part * length, to: at + (1 - part) * length }, 0, span);
}

function moved(old: Window, by: number, span: number): Window {
  const length = old.to - old.from;
  const from = Math.max(0, Math.min(span - length, old.from + by));
  return { from, to: from + length };
}

function described(timeline: Timeline, segments: Segments, i: number, where: string): string {
  const name = timeline.functions[segments.function[i]];
  const many = segments.runs[i];
  const what = many > 1 ? `${count(many)} runs, most of it ${name}` : name;
  const failed = segments.failed[i] ? (many > 1 ? ", some failed" : ", failed") : "";
  return `${where}: ${what}, from ${seconds(segments.start[i])}, ${seconds(segments.length[i])}${failed}`;
}

function crowd(segments: Segments, lanes: number[], where: string, at: number): string {
  const busy = lanes.filter((lane) => segmentAt(segments, lane, at, 0) >= 0).length;
  return `${where}: ${busy} of ${lanes.length} workers at work at ${seconds(Math.max(0, at))}`;
}

function look(): Look {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string) => style.getPropertyValue(name).trim();
  return {
    ink: value("--ink"), faint: value("--faint"), line: value("--line"), ground: value("--panel"),
    failed: value("--failed"), other: value("--other"),
    colours: Array.from({ length: COLOURS }, (_, i) => value(`--c${i}`)),
  };
}
