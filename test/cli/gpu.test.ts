// What a GPU computes is what the CPU computes: calibration and verification of the embedded example, end to end. Each
// provider is tested where it is usable; elsewhere the tests are skipped, and say why.

import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { nvidiaDevices } from "../../src/runtime/devices.js";
import { hasNoGpu } from "../../src/runtime/provider-obstacles.js";
import type { ProviderName } from "../../src/runtime/providers.js";
import { type CliResult, REPOSITORY, runCli } from "../helpers/run-cli.js";

const EXAMPLE = join(REPOSITORY, "examples/tiny-llama");
const SIDES = ["k", "v"] as const;
/** Of absmax and perplexity: bfloat16 keeps 8 bits, float16 keeps 11. */
const TOLERANCE = 0.01;
const TIMEOUT = 300_000;

interface Calibrated {
  readonly provider: string;
  readonly computed_in: string;
  readonly layers: readonly Readonly<Record<string, number>>[];
  readonly warnings: readonly string[];
}

interface Verified {
  readonly provider: string;
  readonly verdict: { readonly name: string };
  readonly arms: readonly { readonly name: string; readonly perplexity: number }[];
}

interface Listed {
  readonly providers: readonly {
    readonly provider: string;
    readonly usable: boolean;
    readonly obstacle: string | null;
  }[];
}

const root = await mkdtemp(join(tmpdir(), "create-kv-scales-gpu-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Why a provider cannot be tested here. */
async function reasonsToSkip(): Promise<Partial<Record<ProviderName, string>>> {
  const onGpus = ["cuda", "webgpu"] as const;
  const likely = onGpus.filter((name) => !hasNoGpu(name));
  const without = Object.fromEntries(onGpus.map((name) => [name, "there is no GPU"]));
  if (likely.length === 0) return without;
  const { providers } = jsonOf<Listed>(await runCli(["providers", "--json"]));
  return Object.fromEntries(
    providers.flatMap(({ provider, usable, obstacle }) => (usable ? [] : [[provider, obstacle ?? "not usable"]])),
  );
}

function jsonOf<Content>({ exitCode, stdout, stderr }: CliResult): Content {
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as Content;
}

let outputs = 0;
async function calibrateOn(...options: readonly string[]): Promise<Calibrated & { readonly output: string }> {
  const output = join(root, String(outputs++));
  const args = [EXAMPLE, "-o", output, "--samples", "48", "--format", "vllm", "--json", ...options];
  return { ...jsonOf<Calibrated>(await runCli(args)), output };
}

async function verifyOn(provider: ProviderName, checkpoint: string): Promise<Verified> {
  return jsonOf(await runCli(["verify", checkpoint, "--samples", "6", "--json", "--provider", provider]));
}

function expectNear(found: Calibrated, expected: Calibrated): void {
  expect(found.layers).toHaveLength(expected.layers.length);
  for (const [layer, numbers] of expected.layers.entries()) {
    for (const side of SIDES) {
      const ratio = (found.layers[layer]?.[`${side}_absmax`] ?? Number.NaN) / (numbers[`${side}_absmax`] ?? Number.NaN);
      expect(Math.abs(ratio - 1), `layer ${layer} ${side}`).toBeLessThan(TOLERANCE);
    }
  }
}

const reasons = await reasonsToSkip();
const gpus = await nvidiaDevices();

describe.each<[ProviderName, computedIn: string]>([
  ["cuda", "bfloat16"],
  ["webgpu", "float16"],
])("%s", (provider, computedIn) => {
  const reason = reasons[provider];
  const suffix = reason === undefined ? "" : ` (skipped: ${reason})`;

  test.skipIf(reason !== undefined)(
    `absmax of K and V are within 1 % of the CPU's, verify finds its perplexity and its verdict${suffix}`,
    async () => {
      const onCpu = await calibrateOn("--provider", "cpu");
      const onGpu = await calibrateOn("--provider", provider);
      expect(onGpu.provider).toBe(provider);
      expect([computedIn, "float32"]).toContain(onGpu.computed_in);
      expectNear(onGpu, onCpu);

      const [expected, found] = [await verifyOn("cpu", onCpu.output), await verifyOn(provider, onCpu.output)];
      expect(found.provider).toBe(provider);
      expect(found.verdict.name).toBe(expected.verdict.name);
      for (const { name, perplexity } of expected.arms) {
        const onDevice = found.arms.find((arm) => arm.name === name)?.perplexity ?? Number.NaN;
        expect(Math.abs(onDevice / perplexity - 1), name).toBeLessThan(TOLERANCE);
      }
    },
    TIMEOUT,
  );

  test.skipIf(reason !== undefined)(
    `little memory (--memory) changes nothing but the time${suffix}`,
    async () => {
      expectNear(
        await calibrateOn("--provider", provider, "--memory", "1GiB"),
        await calibrateOn("--provider", provider),
      );
    },
    TIMEOUT,
  );
});

const alone = reasons.cuda ?? (gpus.length < 2 ? `${gpus.length} GPU` : undefined);
test.skipIf(alone !== undefined)(
  `two devices give the scales of one${alone === undefined ? "" : ` (skipped: ${alone})`}`,
  async () => {
    const one = await calibrateOn("--provider", "cuda", "--device", "0");
    const two = await calibrateOn("--provider", "cuda", "--device", "0,1");
    expect(two.layers).toEqual(one.layers);
  },
  TIMEOUT,
);
