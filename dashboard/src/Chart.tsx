// A small chart of values over time: filled areas and lines, each named at its end.
import { moment, ticks } from "./format";

export interface Series { name: string; values: number[]; kind: "area" | "dashed" | "line" }

const WIDTH = 1000, HEIGHT = 190, LEFT = 64, RIGHT = 8, BOTTOM = 24, TOP = 10;

// `least` is the smallest value that the axis goes up to, where nothing larger was seen.
export function Chart({ series, step, label, format, least = 1 }: { series: Series[]; step: number; label: string; format: (x: number) => string; least?: number }) {
  const bins = Math.max(1, ...series.map((each) => each.values.length));
  const top = Math.max(least, ...series.flatMap((each) => each.values)) * 1.05;
  const x = (i: number) => LEFT + (i / bins) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const marks = ticks(0, bins * step, 8);
  return (
    <figure class="chart">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
        {ticks(0, top, 4).map((value) => (
          <g key={value}>
            <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(value)} y2={y(value)} />
            <text class="tick" x={LEFT - 6} y={y(value) + 4} text-anchor="end">{format(value)}</text>
          </g>
        ))}
        {marks.map((at) => (
          <text key={at} class="tick" x={x(at / step)} y={HEIGHT - 6} text-anchor="middle">{moment(at, marks[1] - marks[0] || 1)}</text>
        ))}
        {series.map((each, number) => <path key={each.name} class={`${each.kind} s${number}`} d={path(each, x, y)} />)}
      </svg>
      <figcaption>
        {series.map((each, number) => (
          <span key={each.name}><svg class="key" viewBox="0 0 24 10" aria-hidden="true">
            <path class={`${each.kind} s${number}`} d={each.kind === "area" ? "M0 10V3H24V10Z" : "M0 5H24"} />
          </svg>{each.name}</span>
        ))}
      </figcaption>
    </figure>
  );
}

/** Steps: a value holds for its whole bin. */
function path(series: Series, x: (i: number) => number, y: (value: number) => number): string {
  const points = series.values.map((value, i) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}H${x(i + 1).toFixed(1)}`);
  if (!points.length) return "";
  if (series.kind !== "area") return `M${points.join("L")}`;
  return `M${x(0)} ${y(0)}L${points.join("L")}L${x(series.values.length).toFixed(1)} ${y(0)}Z`;
}
