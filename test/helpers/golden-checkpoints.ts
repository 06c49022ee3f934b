// The tiny checkpoints of test/golden, and copies of them that a test may change. Copies are gone when the test ends.

import { readdirSync, readFileSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { ARCHITECTURES, describeConfig, describeModelEnd } from "../../src/architectures/registry.js";
import { WRAPPERS } from "../../src/architectures/wrappers.js";
import { parsePythonJson } from "../../src/checkpoint/json-text.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import type { Arithmetic } from "../../src/graphs/arithmetic.js";
import type { LayerRange } from "../../src/numerics/ranges.js";
import { roundingsOf } from "../../src/pipeline/arms.js";
import { type ComputePlan, planCompute } from "../../src/pipeline/compute-plan.js";
import { describeCheckpoint } from "../../src/pipeline/describe-checkpoint.js";
import { evaluateArms } from "../../src/pipeline/evaluate-arms.js";
import { type MeasureRequest, measureRanges } from "../../src/pipeline/measure-ranges.js";

export const GOLDEN_FOLDER = fileURLToPath(new URL("../golden", import.meta.url));
const CHECKPOINTS = join(GOLDEN_FOLDER, "checkpoints");

/** What transformers found: made by test/golden/make_golden.py. */
export interface Expected {
  readonly token_ids: readonly (readonly number[])[]; // [prompts][tokens]
  /** By cache. */
  readonly absmax: readonly { readonly k: readonly number[]; readonly v: readonly number[] }[]; // [caches][kv_heads]
  /** The layers of the caches; absent: all. */
  readonly sites?: readonly { readonly layer: number }[];
  /** Layers that read the cache of another. */
  readonly shared?: readonly { readonly layer: number }[];
}

/** A golden that also says where the caches are, and the loss of each prompt. */
export interface ExpectedWithLoss extends Expected {
  readonly sites: readonly { readonly layer: number; readonly attention: string }[];
  readonly loss: readonly number[];
}

/** How far numbers are from those expected, relative to them: infinite where they are not as many, NaN where one is. */
export function largestDeviation(found: readonly number[], expected: readonly number[]): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  return Math.max(...expected.map((value, index) => Math.abs((found[index] ?? Number.NaN) / value - 1)));
}

export type Json = Record<string, unknown>;

/** Of the architectures that are supported: the reference knows more of them. */
export const GOLDEN_NAMES = readdirSync(CHECKPOINTS)
  .filter((name) => Object.hasOwn(ARCHITECTURES, String(configOf(name).model_type)))
  .sort();

/** Of multimodal models: the decoder's config is a part of theirs. */
export const WRAPPER_GOLDENS = readdirSync(CHECKPOINTS)
  .filter((name) => Object.hasOwn(WRAPPERS, String(configOf(name).model_type)))
  .sort();

/** model_type of a golden's decoder. */
export function decoderTypeOf(name: string): string {
  return describeConfig(configOf(name)).decoder.modelType;
}

const TEXT_TYPES = new Set(GOLDEN_NAMES.map((name) => configOf(name).model_type));
/** Those of multimodal models whose decoder is a family that stands nowhere else. */
export const DECODER_GOLDENS = WRAPPER_GOLDENS.filter((name) => !TEXT_TYPES.has(decoderTypeOf(name)));

/** config.json as transformers 5 writes it, and as transformers 4 wrote it. */
export const DIALECTS = ["config.json", "config.v4.json"] as const;
export type Dialect = (typeof DIALECTS)[number];

export function goldenFolder(name: string): string {
  return join(CHECKPOINTS, name);
}

export function readGolden<Content>(path: string): Content {
  return parsePythonJson(path, readFileSync(join(GOLDEN_FOLDER, path), "utf8")) as Content;
}

export function expectedOf(name: string): Expected {
  return readGolden<Expected>(`checkpoints/${name}/expected.json`);
}

/** The layers with a cache. */
export function layersWithCache(name: string): number[] {
  const { absmax, sites } = expectedOf(name);
  return sites?.map(({ layer }) => layer) ?? absmax.map((_, layer) => layer);
}

export function configOf(name: string, dialect: Dialect = "config.json"): Json {
  return readGolden<Json>(`checkpoints/${name}/${dialect}`);
}

/** An empty folder that is removed when the test ends. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "create-kv-scales-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of a golden checkpoint, with the given config.json. */
export async function copyGolden(name: string, config: Json = configOf(name)): Promise<string> {
  const folder = await temporaryFolder();
  await cp(goldenFolder(name), folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

/** Overwrites one element (two bytes) of a BF16 tensor in a copy. */
export async function poke(folder: string, tensor: string, element: number, bfloat16: number): Promise<void> {
  const location = (await openCheckpoint(folder)).tensors.get(tensor);
  if (location?.dtype !== "BF16") throw new Error(`${folder} has no BF16 tensor "${tensor}"`);
  const bytes = await readFile(location.file);
  bytes.writeUInt16LE(bfloat16, location.offset + 2 * element);
  await writeFile(location.file, bytes);
}

interface MeasureOptions extends Partial<Pick<MeasureRequest, "signal" | "onProgress">> {
  readonly segmentBytes?: number;
  /** What is computed otherwise than on the CPU. */
  readonly arithmetic?: Partial<Arithmetic>;
  readonly dequantizes?: ComputePlan["dequantizes"];
}

/** Opens, describes and measures, as a calibration does. */
export async function measureFolder(
  folder: string,
  tokenIds: Expected["token_ids"],
  { segmentBytes, arithmetic, dequantizes, ...options }: MeasureOptions = {},
): Promise<LayerRange[]> {
  const checkpoint = await openCheckpoint(folder);
  const decoder = describeCheckpoint(checkpoint);
  const plan = planCompute({ provider: "cpu", checkpoint, decoder, memory: segmentBytes });
  const changed = {
    ...{ ...plan, arithmetic: { ...plan.arithmetic, ...arithmetic } },
    dequantizes: dequantizes ?? plan.dequantizes,
  };
  return (await measureRanges({ checkpoint, decoder, tokenIds, plan: changed, ...options })).ranges;
}

/** Mean negative log-likelihood of each prompt, with a cache that keeps everything. */
export async function lossesOfFolder(folder: string, windows: Expected["token_ids"]): Promise<number[]> {
  const checkpoint = await openCheckpoint(folder);
  const decoder = describeCheckpoint(checkpoint);
  const { roundings, indexOf } = roundingsOf({ dtype: "float8_e4m3fn", scales: undefined, bits16: "bfloat16" });
  const { arms } = await evaluateArms({
    ...{ checkpoint, decoder, windows, roundings },
    end: describeModelEnd(checkpoint.tensors, decoder),
    arms: [cacheSites(decoder).map(() => indexOf("exact"))],
    plan: planCompute({ provider: "cpu", checkpoint, decoder }),
  });
  const nll = [...(arms[0]?.positions.negativeLogLikelihood ?? [])];
  return windows.map(({ length }) => nll.splice(0, length - 1).reduce((sum, value) => sum + value, 0) / (length - 1));
}
