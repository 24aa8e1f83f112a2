// How busy each node was over time: a strip for each, and its mean in figures.
import { useEffect, useRef, useState } from "preact/hooks";
import { amount, share } from "./format";
import { useTheme } from "./theme";
import type { NodeUsage } from "./views";

const FIRST = 16;

export function Heat({ nodes, leftOut }: { nodes: NodeUsage[]; leftOut: number }) {
  const [all, setAll] = useState(false);
  const shown = all ? nodes : nodes.slice(0, FIRST);
  return (
    <>
      <table class="heat">
        <caption class="hidden">How busy each node was</caption>
        <thead><tr><th scope="col">node</th><th scope="col" class="number">CPUs</th><th scope="col" class="number">in use</th><th scope="col">over time</th></tr></thead>
        <tbody>
          {shown.map((node) => (
            <tr key={node.name}>
              <th scope="row">{node.name}</th>
              <td class="number">{amount(node.cpus)}{node.gpus ? ` + ${amount(node.gpus)} GPU` : ""}</td>
              <td class="number">{share(node.busy)}</td>
              <td class="strip"><Strip percent={node.percent} /></td>
            </tr>
          ))}
        </tbody>
      </table>
      {nodes.length > FIRST && (
        <button type="button" class="more" onClick={() => setAll(!all)}>{all ? "Show fewer" : `Show all ${nodes.length} nodes`}</button>
      )}
      {leftOut > 0 && <p class="faint">{leftOut} further nodes are not drawn.</p>}
    </>
  );
}

/** The height says it, not the colour. */
function Strip({ percent }: { percent: number[] }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useTheme();
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const width = percent.length * 4, height = 40;
    context.canvas.width = width;
    context.canvas.height = height;
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--c0");
    percent.forEach((value, i) => context.fillRect(i * 4, height * (1 - value / 100), 4, (height * value) / 100));
  }, [percent, theme]);
  return <canvas ref={canvas} aria-hidden="true" />;
}
