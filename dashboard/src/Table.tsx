// A table whose columns sort it, and which shows its first rows until asked for all.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

export interface Column<Row> {
  name: string;
  /** What the heading means, shown as its tooltip. */
  title?: string;
  show: (row: Row) => ComponentChildren;
  /** A number by which the column sorts; without it the column is text. */
  sort?: (row: Row) => number;
  wide?: boolean;
  /** Left out of the table unless this holds of a row. */
  unless?: (row: Row) => boolean;
}

const FIRST = 15;

export function Table<Row>({ rows, columns: known, caption, keep }: { rows: Row[]; columns: Column<Row>[]; caption: string; keep?: boolean }) {
  const [by, setBy] = useState<{ column: number; down: boolean } | null>(null);
  const [all, setAll] = useState(false);
  const columns = known.filter((column) => !column.unless || rows.some(column.unless));
  const sort = by && columns[by.column].sort;
  const ordered = sort ? [...rows].sort((a, b) => (sort(b) - sort(a)) * (by.down ? 1 : -1)) : rows;
  const shown = all ? ordered : ordered.slice(0, FIRST);
  return (
    <div class="scroll">
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column, i) => {
              const order = by?.column === i ? (by.down ? "descending" : "ascending") : "none";
              return (
                <th key={column.name} scope="col" class={column.sort ? "number" : ""} title={column.title}
                  aria-sort={column.sort && !keep ? order : undefined}>
                  {column.sort && !keep
                    ? <button type="button" onClick={() => setBy({ column: i, down: !(by?.column === i && by.down) })}>
                        {column.name}<span aria-hidden="true">{order === "none" ? "" : by?.down ? " ↓" : " ↑"}</span>
                      </button>
                    : column.name}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, i) => (
            <tr key={i}>
              {columns.map((column) => (
                <td key={column.name} class={`${column.sort ? "number" : ""}${column.wide ? " wide" : ""}`}>{column.show(row)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > FIRST && (
        <button type="button" class="more" onClick={() => setAll(!all)}>
          {all ? "Show fewer" : `Show all ${rows.length.toLocaleString("en")}`}
        </button>
      )}
    </div>
  );
}
