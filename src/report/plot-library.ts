// The code that draws the plots of an HTML report, read from where it is installed so that it can stand in the page: uPlot
// and the script that uses it. Knows no results.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface PlotLibrary {
  /** Such as "uPlot 1.6.32". */
  readonly name: string;
  /** Its licence demands to go with it. */
  readonly licence: string;
  readonly style: string;
  /** Defines the global uPlot. */
  readonly script: string;
  /** A module that draws what stands in the page. */
  readonly drawing: string;
}

/** Reads it all; a few milliseconds. */
export function readPlotLibrary(): PlotLibrary {
  const dist = dirname(createRequire(import.meta.url).resolve("uplot/dist/uPlot.iife.min.js"));
  const { version } = JSON.parse(readText(join(dist, "../package.json"))) as { version: string };
  return {
    name: `uPlot ${version}`,
    licence: readText(join(dist, "../LICENSE")),
    style: readText(join(dist, "uPlot.min.css")),
    script: readText(join(dist, "uPlot.iife.min.js")),
    drawing: readText(fileURLToPath(new URL("browser/draw-plots.js", import.meta.url))),
  };
}

/** With the line ends that a browser makes of any: the hash that allows a script is taken over them. */
function readText(path: string): string {
  return readFileSync(path, "utf8").replaceAll(/\r\n?/g, "\n");
}
