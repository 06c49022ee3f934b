// What a GPU computes is what the CPU computes: calibration and verification of the embedded example, end to end. Each
// provider is tested where it is usable; elsewhere the tests are skipped, and say why.

import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { decodeBits16, encodeBits16 } from "../../src/numerics/bits16.js";
import { nvidiaDevices } from "../../src/runtime/devices.js";
import { hasNoGpu } from "../../src/runtime/provider-obstacles.js";
import type { ProviderName } from "../../src/runtime/providers.js";
import { type CliResult, REPOSITORY, runCli } from "../helpers/run-cli.js";
import { readTensors, safetensorsOf } from "../helpers/safetensors-files.js";

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

interface Cache {
  readonly stored_as: string;
  readonly bytes_per_token: number;
}

interface Generated {
  readonly provider: string;
  readonly warnings: readonly string[];
  readonly generation: {
    readonly texts: readonly Readonly<Record<"bits_16" | "fp8", { readonly token_ids: readonly number[] }>>[];
    readonly caches: { readonly bits_16: Cache; readonly fp8: Cache };
  };
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

type CalibratedFolder = Calibrated & { readonly output: string };

let outputs = 0;
async function calibrate(checkpoint: string, ...options: readonly string[]): Promise<CalibratedFolder> {
  const output = join(root, String(outputs++));
  const args = [checkpoint, "-o", output, "--samples", "48", "--format", "vllm", "--json", ...options];
  return { ...jsonOf<Calibrated>(await runCli(args)), output };
}

function calibrateOn(...options: readonly string[]): Promise<CalibratedFolder> {
  return calibrate(EXAMPLE, ...options);
}

/** The example with the weights that bfloat16 has, in float16: what is too small for it loses bits. */
function withFloat16Weights(): string {
  const folder = join(root, "float16");
  cpSync(EXAMPLE, folder, { recursive: true });
  for (const shard of readdirSync(folder).filter((name) => name.endsWith(".safetensors"))) {
    const file = readFileSync(join(folder, shard));
    const tensors = [...readTensors(file)].map(([name, { dtype, shape, bytes }]) => {
      expect(dtype).toBe("BF16");
      const codes = new Uint16Array(bytes.slice().buffer);
      const data = codes.map((code) => encodeBits16("float16", decodeBits16("bfloat16", code)));
      return { name, dtype: "F16", shape, data: new Uint8Array(data.buffer) };
    });
    writeFileSync(join(folder, shard), safetensorsOf(tensors));
  }
  return folder;
}

/** So few texts decide nothing, and nothing is to be decided here. */
const UNDECIDED = "--allow-inconclusive";

async function verifyOn(provider: ProviderName, checkpoint: string, ...options: readonly string[]): Promise<Verified> {
  const args = ["verify", checkpoint, "--samples", "6", UNDECIDED, "--json", "--provider", provider, ...options];
  return jsonOf(await runCli(args));
}

async function generateOn(provider: ProviderName, checkpoint: string): Promise<Generated> {
  const args = ["--samples", "2", "--generate", "--max-new-tokens", "24", "--json", "--provider", provider];
  return jsonOf(await runCli(["verify", checkpoint, UNDECIDED, ...args]));
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

/** Of the example: 6 layers, 2 heads of K and V, head_dim 32. */
const NUMBERS_PER_TOKEN = 6 * 2 * 2 * 32;
const CODES = /Texts were generated through uint8 codes, not through GroupQueryAttention's own cache: /;
const withoutCuda = reasons.cuda === undefined ? "" : ` (skipped: ${reasons.cuda})`;

describe("texts on CUDA", () => {
  test.skipIf(reasons.cuda !== undefined)(
    `go through the device's own float8 cache, one byte per number, and most begin as the CPU's${withoutCuda}`,
    async () => {
      const { output } = await calibrateOn("--provider", "cpu");
      const [expected, found] = [await generateOn("cpu", output), await generateOn("cuda", output)];
      expect(found.provider).toBe("cuda");
      expect(found.warnings.filter((warning) => CODES.test(warning))).toEqual([]);
      expect(found.generation.caches).toMatchObject({
        fp8: { stored_as: "float8_e4m3fn in GroupQueryAttention's own cache", bytes_per_token: NUMBERS_PER_TOKEN },
        bits_16: { stored_as: "bfloat16 in GroupQueryAttention's own cache", bytes_per_token: 2 * NUMBERS_PER_TOKEN },
      });
      for (const cache of ["bits_16", "fp8"] as const) {
        const begins = ({ generation: { texts } }: Generated) =>
          texts.map((text) => text[cache].token_ids.slice(0, 4).join());
        const onCpu = begins(expected);
        const equal = begins(found).filter((beginning, index) => beginning === onCpu[index]);
        expect(equal.length, cache).toBeGreaterThan(onCpu.length / 2);
      }
    },
    TIMEOUT,
  );

  test.skipIf(reasons.cuda !== undefined)(
    `go through codes, with a warning, in a format that the operator does not store${withoutCuda}`,
    async () => {
      const { output } = await calibrateOn("--provider", "cpu", "--format", "tgi", "--dtype", "float8_e4m3fnuz");
      const { generation, warnings } = await generateOn("cuda", output);
      expect(generation.caches.fp8).toMatchObject({ stored_as: "uint8 codes", bytes_per_token: NUMBERS_PER_TOKEN });
      expect(warnings.filter((warning) => CODES.test(warning))).toEqual([
        expect.stringContaining("it does not store float8_e4m3fnuz"),
      ]);
    },
    TIMEOUT,
  );
});

test.skipIf(reasons.cuda !== undefined)(
  `a GPU without room for --generate is exit 5, before anything is computed${withoutCuda}`,
  async () => {
    const { exitCode, stderr } = await runCli(["verify", "--provider", "cuda", "--generate", "--memory", "1GiB"]);
    expect(exitCode).toBe(5);
    expect(stderr).toMatch(/^Error: --generate keeps the whole model on the device: .* there is room for 0\.0 MiB/m);
    expect(stderr).not.toContain("Verifying");
  },
  TIMEOUT,
);

test.skipIf(reasons.cuda !== undefined)(
  `CUDA computes with float16 weights in float16, and generates so${withoutCuda}`,
  async () => {
    const example = withFloat16Weights();
    const onCpu = await calibrateOn("--provider", "cpu");
    const found = await calibrate(example, "--provider", "cuda");
    expect(found).toMatchObject({ computed_in: "float16", warnings: onCpu.warnings });
    expectNear(found, onCpu);

    const [expected, verified] = [await verifyOn("cpu", onCpu.output), await verifyOn("cuda", found.output)];
    expect(verified.verdict.name).toBe(expected.verdict.name);
    const { generation, warnings } = await generateOn("cuda", found.output);
    expect(warnings).toEqual([]);
    expect(generation.caches).toMatchObject({
      fp8: { stored_as: "float8_e4m3fn in GroupQueryAttention's own cache" },
      bits_16: { stored_as: "float16 in GroupQueryAttention's own cache" },
    });
  },
  TIMEOUT,
);

const alone = reasons.cuda ?? (gpus.length < 2 ? `${gpus.length} GPU` : undefined);
test.skipIf(alone !== undefined)(
  `two devices give the scales and the perplexities of one${alone === undefined ? "" : ` (skipped: ${alone})`}`,
  async () => {
    const one = await calibrateOn("--provider", "cuda", "--device", "0");
    const two = await calibrateOn("--provider", "cuda", "--device", "0,1");
    expect(two.layers).toEqual(one.layers);

    const expected = await verifyOn("cuda", one.output, "--device", "0");
    const found = await verifyOn("cuda", one.output, "--device", "0,1");
    expect(found.verdict.name).toBe(expected.verdict.name);
    for (const [index, { perplexity }] of found.arms.entries()) {
      // The head's matrix product has other rows beside a row, and may cut its blocks elsewhere.
      expect(perplexity / (expected.arms[index]?.perplexity ?? Number.NaN)).toBeCloseTo(1, 5);
    }
  },
  TIMEOUT,
);
