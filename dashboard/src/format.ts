// Amounts as people read them.

export function seconds(value: number): string {
  if (value === 0) return "0 s";
  if (value < 1e-3) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 1) return `${Number((value * 1e3).toPrecision(3))} ms`;
  if (value < 100) return `${value.toFixed(1)} s`;
  const all = Math.round(value);
  const hours = Math.floor(all / 3600), minutes = Math.floor((all % 3600) / 60);
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${all % 60} s`;
}

export function bytes(value: number): string {
  let size = value;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (size < 1000 || unit === "TB") return `${Number(size.toPrecision(3))} ${unit}`;
    size /= 1000;
  }
  return "";
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

export function share(value: number): string {
  return `${(value * 100).toFixed(value < 0.1 && value > 0 ? 1 : 0)} %`;
}

export function amount(value: number): string {
  return value >= 100 ? value.toFixed(0) : Number(value.toFixed(1)).toString();
}

/** Round steps for an axis that is `span` long: about `wanted` of them. */
export function ticks(from: number, to: number, wanted: number): number[] {
  const raw = (to - from) / Math.max(1, wanted);
  const base = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((x) => x * base).find((x) => x >= raw) ?? raw;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}

/** A moment on an axis whose neighbouring ticks are `step` apart. */
export function moment(at: number, step: number): string {
  if (at >= 3600) {
    const hours = Math.floor(at / 3600), minutes = Math.floor((at % 3600) / 60);
    return `${hours}:${String(minutes).padStart(2, "0")}:${String(Math.round(at % 60)).padStart(2, "0")}`;
  }
  const digits = step >= 1 ? 0 : Math.min(6, Math.ceil(-Math.log10(step)));
  return `${at.toFixed(digits)} s`;
}
