// How full something was of each node over time: a strip for each, and figures.
import { useMemo, useState } from "preact/hooks";

const FIRST = 16;

export interface HeatRow { name: string; figures: string[]; percent: number[] }

export function Heat({ caption, heads, rows, leftOut }: { caption: string; heads: string[]; rows: HeatRow[]; leftOut: number }) {
  const [all, setAll] = useState(false);
  const shown = all ? rows : rows.slice(0, FIRST);
  return (
    <>
      <table class="heat">
        <caption class="hidden">{caption}</caption>
        <thead><tr>
          <th scope="col">node</th>
          {heads.map((head) => <th key={head} scope="col" class="number">{head}</th>)}
          <th scope="col">over time</th>
        </tr></thead>
        <tbody>
          {shown.map((row) => (
            <tr key={row.name}>
              <th scope="row">{row.name}</th>
              {row.figures.map((figure, i) => <td key={i} class="number">{figure}</td>)}
              <td class="strip"><Strip percent={row.percent} /></td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > FIRST && (
        <button type="button" class="more" onClick={() => setAll(!all)}>{all ? "Show fewer" : `Show all ${rows.length} nodes`}</button>
      )}
      {leftOut > 0 && <p class="faint">{leftOut} further nodes are not drawn.</p>}
    </>
  );
}

/** The height says it, not the colour. */
function Strip({ percent }: { percent: number[] }) {
  const path = useMemo(() => percent.map((value, i) => `${i ? "V" : "M0 "}${100 - Math.min(100, value)}H${i + 1}`).join(""), [percent]);
  return (
    <svg viewBox={`0 0 ${percent.length} 100`} preserveAspectRatio="none" aria-hidden="true">
      <path d={`${path}V100H0Z`} />
    </svg>
  );
}
