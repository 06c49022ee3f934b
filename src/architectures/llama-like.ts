// Llama and the families built like it: pre-norm blocks of grouped-query attention and a gated feed-forward. A family is a
// short list of differences. Pure data out; reads no files.

import type { Attention, Block, FeedForward, HeadNorm, Norm, RopeUse } from "./blocks.js";
import type { Decoder } from "./description.js";
import type { ModelConfig } from "./model-config.js";
import {
  decoderOf,
  type FamilyInput,
  gated,
  groupedQuery,
  headNorms,
  normsBefore,
  plain,
  rmsNormOf,
  rotateAll,
} from "./parts.js";
import { type Rope, type RopeReading, readRope } from "./rope.js";
import { readActivation, type Sizes } from "./sizes.js";
import type { LayerNames } from "./tensor-names.js";

/** Llama's layers, with the differences of a family. */
export interface LlamaLike {
  readonly sizes: Sizes;
  readonly attentionBias?: { readonly qkv?: boolean; readonly output?: boolean };
  readonly feedForwardBias?: boolean;
  /** Norms over each head of q and k. */
  readonly queryKeyNorms?: HeadNorm["when"];
  /** Sliding window by layer; absent: none. */
  readonly windows?: readonly (number | undefined)[];
  /** transformers' default for `rms_norm_eps`. */
  readonly epsilon?: number;
  /** Absent: RMS norms with `rms_norm_eps`. */
  readonly norm?: (name: string, size: number) => Norm;
  /** Absent: gated, with `intermediate_size` and `hidden_act`. */
  readonly feedForward?: (names: LayerNames, layer: number) => Block;
  /** Other differences of the attention. */
  readonly attention?: (names: LayerNames) => Partial<Omit<Attention, "kind">>;
  readonly rope?: RopeReading;
  readonly pairing?: RopeUse["pairing"];
  /** Factor on queries by position; all dimensions must rotate. */
  readonly queryGrowth?: NonNullable<Rope["growth"]>;
  /** The layers that rotate; absent: all. */
  readonly rotates?: (layer: number) => boolean;
  readonly tied?: boolean;
}

/** RMS norm, grouped-query attention, RMS norm, gated feed-forward. */
export function llamaLike(input: FamilyInput, family: LlamaLike): Decoder {
  const { config, names } = input;
  const { sizes, attentionBias, queryKeyNorms, windows, rotates, queryGrowth, pairing = "halves" } = family;
  const { hidden } = sizes;
  const norm = family.norm ?? rmsNormOf(config, "rms_norm_eps", family.epsilon);
  const rope = readRope(config, sizes.headDim, family.rope);
  const feedForward = family.feedForward ?? gatedAsSaid(config, hidden, family.feedForwardBias ?? false);
  return decoderOf(input, {
    sizes,
    ropes: [rope, ...(queryGrowth ? [{ ...rope, growth: queryGrowth }] : [])],
    layer: (layer, index) => {
      const attention = groupedQuery(layer, sizes, attentionBias, {
        ...(rotates?.(index) !== false && { rope: { ...rotateAll(rope), pairing } }),
        window: windows?.[index],
        ...(queryGrowth && { queryRope: { ...rotateAll(rope), pairing, rope: 1 } }),
        ...(queryKeyNorms && headNorms(layer, sizes, norm, queryKeyNorms)),
        ...family.attention?.(layer),
      });
      return normsBefore(layer, hidden, norm, [attention, feedForward(layer, index)]);
    },
    finalNorm: norm(names.finalNorm, hidden),
    tied: family.tied ?? false,
  });
}

function gatedAsSaid(config: ModelConfig, hidden: number, bias: boolean): (names: LayerNames) => FeedForward {
  const intermediate = config.positiveInteger("intermediate_size");
  const activation = readActivation(config);
  return (names) => gated(names, hidden, { intermediate, activation, bias });
}

/** Keys of config.json for a feed-forward. */
interface PlainKeys {
  readonly width?: string;
  readonly act?: string;
  /** transformers' default width when the key is absent or null. */
  readonly defaultWidth?: number;
}

/** A feed-forward without gate. @param fallback transformers' default for `hidden_act` */
export function plainAsSaid(
  config: ModelConfig,
  hidden: number,
  fallback: string,
  bias: boolean,
  { width = "intermediate_size", act = "hidden_act", defaultWidth }: PlainKeys = {},
): (names: LayerNames) => FeedForward {
  const intermediate = config.positiveInteger(width, defaultWidth);
  const activation = readActivation(config, act, fallback);
  return (names) => plain(names, hidden, { intermediate, activation, bias });
}
