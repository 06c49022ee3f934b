// The list of providers as people read it in a terminal, and as JSON for machines. Pure: text out.

import type { ListedProvider, ProviderList } from "../pipeline/list-providers.js";
import { resultJson } from "./result-json.js";
import type { Screen } from "./screen.js";
import { type Shown, shown } from "./shown-text.js";
import { formatBytes } from "./text.js";
import { CONTINUED, wrapCommand, wrapText } from "./wrapped-text.js";

const NAME_WIDTH = 8;
const USE_WIDTH = 12;
/** Columns for what is said beside a provider's name; with fewer, it stands below. */
const LEAST_TEXT_WIDTH = 40;

type Device = ProviderList["devices"][number];

/** Each provider with its type or its obstacle, then the devices. */
export function providersReport(list: ProviderList, screen: Screen): string {
  const { colors, width } = screen;
  const { providers, devices } = shown(list);
  const automatic = providers.find(({ isAutomatic }) => isAutomatic);
  return [
    ...providers.flatMap((provider) => providerLines(provider, screen)),
    ...(devices.length > 0 ? ["", ...devices.map((device) => wrapText(deviceLine(device), width, CONTINUED))] : []),
    "",
    automatic === undefined ? "None is usable." : `--provider auto takes ${colors.bold(automatic.provider)}.`,
    "",
  ].join("\n");
}

function providerLines(listed: Shown<ListedProvider>, { colors, width }: Screen): string[] {
  const { provider, description, usable, obstacle, remarks } = listed;
  const use = usable ? colors.green("usable".padEnd(USE_WIDTH)) : colors.yellow("not usable".padEnd(USE_WIDTH));
  const head = `${colors.bold(provider.padEnd(NAME_WIDTH))}${use}`;
  const sentences = [usable ? usableLine(listed) : description, ...(obstacle === undefined ? [] : [obstacle.what])];
  const isWide = width - NAME_WIDTH - USE_WIDTH >= LEAST_TEXT_WIDTH;
  const indent = isWide ? " ".repeat(NAME_WIDTH + USE_WIDTH) : CONTINUED;
  const texts = [...sentences, ...remarks].map((text) => `${indent}${wrapText(text, width, indent)}`);
  const lines = isWide ? [`${head}${texts.join("\n").trimStart()}`] : [head.trimEnd(), ...texts];
  if (obstacle?.command === undefined) return lines;
  return [...lines, `${indent}This installs it:`, wrapCommand(obstacle.command, width)];
}

function usableLine({ description, computesIn, deviation = 0 }: Shown<ListedProvider>): string {
  const near =
    deviation === 0 ? "" : `, the example's absmax within ${(100 * deviation).toPrecision(2)} % of the CPU's`;
  return `${description}: computes in ${computesIn}${near}`;
}

function deviceLine({ index, name, driver, freeBytes, totalBytes }: Shown<Device>): string {
  return `GPU ${index}: ${name}, ${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} free, driver ${driver}`;
}

/** The result for machines. Keys are stable. */
export function providersJson({ providers, devices }: ProviderList): string {
  const summary = {
    automatic: providers.find(({ isAutomatic }) => isAutomatic)?.provider ?? null,
    providers: providers.map(({ provider, description, usable, computesIn, deviation, obstacle, remarks }) => ({
      provider,
      description,
      usable,
      computes_in: computesIn ?? null,
      deviation_from_cpu: deviation === undefined || Number.isNaN(deviation) ? null : deviation,
      obstacle: obstacle?.what ?? null,
      command: obstacle?.command?.join(" ") ?? null,
      remarks,
    })),
    devices: devices.map(({ index, uuid, name, driver, totalBytes, freeBytes }) => ({
      device: index,
      uuid,
      name,
      driver,
      total_bytes: totalBytes,
      free_bytes: freeBytes,
    })),
  };
  return resultJson(summary);
}
