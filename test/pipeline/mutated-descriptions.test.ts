// A golden sees every field of its description: where one is otherwise, K, V or the loss leave what transformers has, or the
// description does not go with the checkpoint. A few fields of a few goldens here; MUTATED_GOLDENS=all tries every one of
// all, and a name or a part of one those of some goldens: CONTRIBUTING.md.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Block } from "../../src/architectures/blocks.js";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { checkEnd, checkTensors } from "../../src/architectures/check-tensors.js";
import type { Decoder } from "../../src/architectures/description.js";
import { ARCHITECTURES, describeModel } from "../../src/architectures/registry.js";
import { findPrefix, LLAMA_NAMES, TensorNames } from "../../src/architectures/tensor-names.js";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { roundingsOf } from "../../src/pipeline/arms.js";
import { type ComputePlan, planCompute } from "../../src/pipeline/compute-plan.js";
import { evaluateArms } from "../../src/pipeline/evaluate-arms.js";
import { measureRanges } from "../../src/pipeline/measure-ranges.js";
import {
  type Expected,
  GOLDEN_NAMES,
  goldenFolder,
  largestDeviation,
  readGolden,
} from "../helpers/golden-checkpoints.js";
import { tries } from "../helpers/how-much.js";
import { type Mutation, mutationsOf } from "../helpers/mutate-description.js";

const CHOSEN = process.env.MUTATED_GOLDENS;
const TOLERANCE = 1e-5;

interface Golden extends Expected {
  readonly loss?: readonly number[];
  readonly experts?: readonly { readonly layer: number; readonly tokens: readonly number[] }[];
}

interface Opened {
  readonly golden: Golden;
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
  readonly plan: ComputePlan;
  /** What the names of all tensors of layers begin with. */
  readonly layersPrefix: string;
}

async function open(name: string): Promise<Opened> {
  const checkpoint = await openCheckpoint(goldenFolder(name));
  const decoder = describeModel(checkpoint.config, checkpoint.tensors);
  const names = ARCHITECTURES[decoder.modelType]?.names ?? LLAMA_NAMES;
  return {
    golden: readGolden<Golden>(`checkpoints/${name}/expected.json`),
    checkpoint,
    decoder,
    plan: planCompute({ provider: "cpu", checkpoint, decoder }),
    layersPrefix: new TensorNames(names, findPrefix(names, checkpoint.tensors.keys())).layers,
  };
}

type Seen = "refused" | "sites" | "ranges" | "loss";

/** What is seen of a mutation: undefined where nothing is. */
async function seenOf({ decoder, path }: Mutation, opened: Opened): Promise<Seen | undefined> {
  const { checkpoint, layersPrefix } = opened;
  const isBehindCaches = path.startsWith("end.") || path.startsWith(`layers.${opened.decoder.layers.length - 1}.`);
  try {
    // What no layer uses is looked at last: that another tensor is used must be seen in the numbers.
    checkTensors(decoder, checkpoint.tensors, "\0");
    if (opened.golden.loss !== undefined) checkEnd(decoder.end, decoder, checkpoint.tensors);
    if (JSON.stringify(cacheSites(decoder)) !== JSON.stringify(cacheSites(opened.decoder))) return "sites";
    const looks = { ranges: () => rangesDeviation(decoder, opened), loss: () => lossDeviation(decoder, opened) };
    for (const what of isBehindCaches ? (["loss", "ranges"] as const) : (["ranges", "loss"] as const)) {
      if (!((await looks[what]()) < TOLERANCE)) return what;
    }
    checkTensors(decoder, checkpoint.tensors, layersPrefix);
  } catch {
    return "refused";
  }
  return undefined;
}

async function rangesDeviation(decoder: Decoder, opened: Opened): Promise<number> {
  const { absmax, token_ids: tokenIds } = opened.golden;
  const { ranges } = await measureRanges({ ...opened, decoder, tokenIds });
  const found = ranges.flatMap(({ k, v }) => [...k.perHead, ...v.perHead]);
  return largestDeviation(
    found,
    absmax.flatMap(({ k, v }) => [...k, ...v]),
  );
}

/** 0 where the checkpoint has no head. */
async function lossDeviation(decoder: Decoder, { checkpoint, golden, plan }: Opened): Promise<number> {
  if (golden.loss === undefined) return 0;
  const { roundings, indexOf } = roundingsOf({ dtype: "float8_e4m3fn", scales: undefined, bits16: "bfloat16" });
  const { arms } = await evaluateArms({
    ...{ checkpoint, decoder, roundings, plan, end: decoder.end, windows: golden.token_ids },
    arms: [cacheSites(decoder).map(() => indexOf("exact"))],
  });
  const nll = [...(arms[0]?.positions.negativeLogLikelihood ?? [])];
  const means = golden.token_ids.map(({ length }) => {
    const ofWindow = nll.splice(0, length - 1);
    return ofWindow.reduce((sum, value) => sum + value, 0) / ofWindow.length;
  });
  return largestDeviation(means, golden.loss);
}

/** The block that a field is of. */
function blockAt({ layers }: Decoder, path: string): Block | undefined {
  const [layer = 0, residual = 0, branch = 0] = [...path.matchAll(/\d+/g)].map(Number);
  return layers[layer]?.residuals[residual]?.branches[branch]?.block;
}

function scaleAt(decoder: Decoder, path: string): number | undefined {
  const block = blockAt(decoder, path);
  return block?.kind === "attention" ? (block.scale ?? block.headDim ** -0.5) : undefined;
}

/** What a field is of: the object around it. */
function ownerOf(decoder: Decoder, path: string): Readonly<Record<string, unknown>> {
  let owner: unknown = decoder;
  for (const step of path.split(".").slice(0, -1)) owner = (owner as Readonly<Record<string, unknown>>)[step];
  return owner as Readonly<Record<string, unknown>>;
}

/** What queries are rotated by, in full. */
function queryRotationAt(decoder: Decoder, path: string): string {
  const block = blockAt(decoder, path);
  if (block?.kind !== "attention") return "";
  const { rope, ...use } = block.queryRope ?? block.rope ?? { rope: -1 };
  return JSON.stringify([decoder.ropes[rope], use]);
}

interface WithoutEffect {
  readonly field: RegExp;
  readonly why: string;
  /** Absent: always. */
  readonly when?: (mutation: Mutation, opened: Opened, golden: string) => boolean;
}

/** Fields that may say something else, with the reason why nothing is then otherwise. */
const WITHOUT_EFFECT: readonly WithoutEffect[] = [
  { field: /^modelType$/, why: "for messages" },
  { field: /[nN]orm\.(weight|bias)\.stored$/, why: "a norm has no inputs" },
  { field: /\.convolution\.weight\.stored$/, why: "a channel has one input: itself" },
  { field: /[bB]ias(\.of)*\.stored$/, why: "a bias has no inputs" },
  {
    field: /^end\./,
    why: "the checkpoint was saved without its head",
    when: (_, { golden }) => golden.loss === undefined,
  },
  {
    field: /[nN]orm(\.norm)?\.size$/,
    why: "a norm without a weight is as wide as what it gets",
    when: ({ path }, { decoder }) => ownerOf(decoder, path).weight === undefined,
  },
  {
    field: /\.(query|key)Norm\.over$/,
    why: "one head is the whole projection",
    when: ({ path }, { decoder }) => {
      const block = blockAt(decoder, path);
      return block?.kind === "attention" && (path.includes("keyNorm") ? block.kvHeads : block.heads) === 1;
    },
  },
  {
    field: /\.(query|key)Norm\.when$/,
    why: "a rotation keeps lengths, which is all that a norm without a weight looks at",
    when: ({ path }, { decoder }) => {
      const { norm, over } = ownerOf(decoder, path) as {
        readonly norm?: { readonly weight?: unknown };
        readonly over?: unknown;
      };
      return norm?.weight === undefined && over === "head";
    },
  },
  {
    field: /\.(key|value)Multiplier$/,
    why: "a norm over what is multiplied takes the factor away again",
    when: ({ path, from }, { decoder }) => {
      const { keyNorm, valueNorm } = ownerOf(decoder, path);
      return from === "absent" && (path.endsWith("keyMultiplier") ? keyNorm : valueNorm) !== undefined;
    },
  },
  {
    field: /^layers\.\d+\.residuals\.\d+\.scale$/,
    why: "the norm behind the last layer takes the factor away again",
    when: ({ path, from }, { decoder: { layers } }) => {
      const last = layers.length - 1;
      const residual = (layers[last]?.residuals.length ?? 0) - 1;
      return from === "absent" && path === `layers.${last}.residuals.${residual}.scale`;
    },
  },
  {
    field: /\.queryRope(\.|$)/,
    why: "the other rotation is the same, or turns nothing",
    when: ({ path, decoder: changed }, { decoder }) => {
      const [before, after] = [queryRotationAt(decoder, path), queryRotationAt(changed, path)];
      return before === after || [before, after].every((rotation) => rotation.includes('"share":0'));
    },
  },
  {
    field: /^ropes\.\d+\.(theta|scaling\.factor)$/,
    why: "nothing turns: the rotation is there for its factor on queries",
    when: ({ path }, { decoder }) => JSON.stringify(decoder.ropes[Number(path.split(".")[1])]).includes('"share":0'),
  },
  {
    field: /\.betaFast$/,
    why: "no dimension turns so often within the length of training",
    when: ({ path }, { decoder }) => {
      const { originalMaxPositions, betaFast } = ownerOf(decoder, path);
      return Number(betaFast) * 2 * Math.PI > Number(originalMaxPositions);
    },
  },
  {
    field: /\.long(Factors\.\d+|AttentionFactor)$/,
    why: "prompts are short here; phi3-longrope-long has the long ones",
    when: (_, __, golden) => golden === "phi3-longrope-short",
  },
  {
    field: /^layers\.\d+\.unread(\.\d+)?$/,
    why: "released files have these tensors, and this one has not",
    when: ({ path }, { decoder, checkpoint }) => {
      const [, layer, number] = /^layers\.(\d+)\.unread\.?(\d*)$/.exec(path) ?? [];
      const names = decoder.layers[Number(layer)]?.unread ?? [];
      const changed = number === "" ? names : names.slice(Number(number), Number(number) + 1);
      return changed.every((name) => !checkpoint.tensors.has(name));
    },
  },
  {
    field: /\.branches\.0\.(inputMultiplier|norm\.epsilon)$/,
    why: "only queries are made of it, and a norm over them takes the factor away again",
    when: ({ path }, { decoder }) => {
      const block = blockAt(decoder, path);
      return block?.kind === "shared-attention" && block.queryNorm !== undefined;
    },
  },
  { field: /\.product$/, why: "how wide a product is in 16 bits: the goldens are computed in float32" },
  {
    field: /^nextTokenLayers$/,
    why: "config.json counts layers that the checkpoint does not have, as released ones do",
    when: (_, { checkpoint, decoder, layersPrefix }) =>
      ![...checkpoint.tensors.keys()].some((name) => name.startsWith(`${layersPrefix}${decoder.layers.length}.`)),
  },
  {
    field: /\.(query|key)Norm\.when$/,
    why: "where nothing rotates, nothing is before or after it",
    when: ({ path }, { decoder }) => {
      const block = blockAt(decoder, path);
      return block?.kind === "attention" && block.rope === undefined;
    },
  },
  {
    field: /\.scale$/,
    why: "absent, it is what is written there",
    when: ({ path, from, decoder: changed }, { decoder }) =>
      from === "there" && JSON.stringify(scaleAt(changed, path)) === JSON.stringify(scaleAt(decoder, path)),
  },
  {
    field: /\.clip$/,
    why: "transformers cannot run DBRX without a clip: this one is so wide that nothing reaches it",
    when: (_, __, golden) => golden === "dbrx-plain",
  },
];

function whyWithout(golden: string, mutation: Mutation, opened: Opened): string | undefined {
  const { path } = mutation;
  return WITHOUT_EFFECT.find(({ field, when }) => field.test(path) && (when?.(mutation, opened, golden) ?? true))?.why;
}

/** The first mutation of a field that is seen, or nothing. */
async function firstSeen(others: readonly Mutation[], opened: Opened) {
  for (const [number, mutation] of others.entries()) {
    const seen = await seenOf(mutation, opened);
    if (seen !== undefined) return { seen, number };
  }
  return undefined;
}

/**
 * Of each field its mutations. Of residuals that are alike in several layers those of the last, in which the least is seen, and
 * then of the first, where the last norms do not take it away again; of the experts of a layer those of the first.
 */
function fieldsOf({ checkpoint, decoder }: Opened): (readonly Mutation[])[] {
  const shapes = new Map([...checkpoint.tensors].map(([tensor, { shape }]) => [tensor, shape]));
  const { last, first } = alikeParts(decoder);
  const isChosen = (path: string) => {
    const part = partOf(path);
    return (part === undefined || last.has(part)) && !/\.experts\.[1-9]/.test(path);
  };
  const around = { decoder, shapes };
  const chosen = [...mutationsOf(around, isChosen)];
  const inFirst = new Map(chosen.flatMap(([mutation]) => pathInFirst(mutation?.path ?? "", first)));
  const earlier = new Map<string | undefined, readonly Mutation[]>();
  for (const mutations of mutationsOf(around, (path) => inFirst.has(path))) {
    earlier.set(inFirst.get(mutations[0]?.path ?? ""), mutations);
  }
  return chosen.map((mutations) => [...mutations, ...(earlier.get(mutations[0]?.path) ?? [])]);
}

/** The same field in the first part that is alike, and the field. */
function pathInFirst(path: string, first: ReadonlyMap<string, string>): (readonly [string, string])[] {
  const part = partOf(path) ?? "";
  const other = first.get(part) ?? part;
  return other === part ? [] : [[other + path.slice(part.length), path]];
}

/** The residual or the layer that a field is in. */
function partOf(path: string): string | undefined {
  return /^layers\.\d+(\.residuals\.\d+)?/.exec(path)?.[0];
}

/** Of parts that are alike but for numbers, the last ones; and by part the first one that is like it. */
function alikeParts({ layers }: Decoder): { last: ReadonlySet<string>; first: ReadonlyMap<string, string> } {
  const withoutNumbers = (value: unknown) => JSON.stringify(value ?? null).replaceAll(/\d+/g, "");
  const looks = layers.flatMap(({ residuals, ...layer }, index): (readonly [look: string, part: string])[] => [
    [withoutNumbers(layer), `layers.${index}`],
    ...residuals.map((residual, at) => [withoutNumbers(residual), `layers.${index}.residuals.${at}`] as const),
  ]);
  const firstOf = new Map(looks.toReversed());
  return {
    last: new Set(new Map(looks).values()),
    first: new Map(looks.map(([look, part]) => [part, firstOf.get(look) ?? part])),
  };
}

describe.runIf(CHOSEN !== undefined)("every field of a description is seen", () => {
  const names = GOLDEN_NAMES.filter(
    (name) => CHOSEN === "all" || (CHOSEN ?? "").split(",").some((part) => name.includes(part)),
  );
  test.each(names)("%s", { timeout: 3_600_000 }, async (name) => {
    const opened = await open(name);
    const asItIs = { path: "", from: "", to: "", decoder: opened.decoder };
    expect(await seenOf(asItIs, opened)).toBeUndefined();
    const start = process.cpuUsage();
    const counts: Record<string, number> = {};
    const survivors: string[] = [];
    const count = (what: string) => {
      counts[what] = (counts[what] ?? 0) + 1;
    };
    for (const others of fieldsOf(opened)) {
      const [first] = others;
      if (first === undefined) continue;
      count("fields");
      if (whyWithout(name, first, opened) !== undefined) {
        count("without effect, as is known");
        continue;
      }
      const found = await firstSeen(others, opened);
      if (found === undefined) survivors.push(`${first.path}: ${JSON.stringify(first.from)}: ${others.length}`);
      else count(found.number > 0 ? `${found.seen} by a later value` : found.seen);
    }
    const { user, system } = process.cpuUsage(start);
    console.log(JSON.stringify({ name, ...counts, seconds: Math.round((user + system) / 1e6), survivors }));
    expect(survivors).toEqual([]);
  });
});

const SAMPLE = tries({ few: 8, all: 48 });

test("a field of any golden that is otherwise is seen", { timeout: 300_000 }, async () => {
  const share = fc.double({ min: 0, max: 0.999, noNaN: true });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...GOLDEN_NAMES), share, async (name, part) => {
      const opened = await open(name);
      const fields = fieldsOf(opened);
      const others = fields[Math.floor(part * fields.length)] ?? [];
      const [first] = others;
      fc.pre(first !== undefined && whyWithout(name, first, opened) === undefined);
      expect(await firstSeen(others, opened), `${name}: ${first?.path}`).toBeDefined();
    }),
    { numRuns: SAMPLE, seed: 14 },
  );
});
