// Bundles src/ into the package's static files, or into the folder that is named.
import { build } from "esbuild";

const outdir = process.argv[2] ?? "../rayhpc/observe/static";

await build({
  entryPoints: { report: "src/main.tsx" },
  outdir,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2020",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  charset: "utf8",
});
