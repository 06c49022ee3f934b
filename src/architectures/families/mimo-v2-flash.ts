// MiMo V2 Flash: V narrower than K and multiplied, layers with a window have twice as many heads of K and V, sinks and a
// rotation of their own; DeepSeek-V3's router, no shared expert, the first layer dense.

import { CheckpointError } from "../../errors.js";
import type { Attention } from "../blocks.js";
import type { Decoder } from "../description.js";
import type { ModelConfig } from "../model-config.js";
import { expertsOf, mixture, mixtureOrDense, mlpLayerTypes, readMixture, sigmoidRouter } from "../moe-parts.js";
import { decoderOf, type FamilyInput, groupedQuery, linear, normsBefore, rmsNormOf, rotateAll } from "../parts.js";
import { readRopesByWindow } from "../rope.js";
import { readSizes, type Sizes } from "../sizes.js";
import type { LayerNames } from "../tensor-names.js";
import { tensorSource } from "../weight-source.js";
import { slidingWindows } from "../windows.js";

const AS_HERE = "what this family is anyway";
// biome-ignore lint/suspicious/noApproximativeNumericConstant: what transformers takes, which is not √½
const DEFAULT_VALUE_SCALE = 0.707;
const SAYS_THE_SAME = "says the same as the key of transformers";

export function describeMimoV2Flash(input: FamilyInput): Decoder {
  const { config, names } = input;
  const sizes = readSizes(config, { kvHeads: 4, headDim: 192 });
  const { hidden, layers, heads, kvHeads, headDim } = sizes;
  const valueDim = config.positiveInteger("v_head_dim", 128);
  const norm = rmsNormOf(config, "rms_norm_eps", 1e-5);
  config.ignoreIf("layernorm_epsilon", [norm("", 1).epsilon], SAYS_THE_SAME);
  const windows = readWindows(config, layers);
  const [full, sliding] = readRopesByWindow(config, headDim, windows, {
    full: { defaultTheta: 5_000_000, partial: 0.334 },
    sliding: { defaultTheta: 10_000, partial: 0.334, thetaKey: "swa_rope_theta" },
  });
  const scale = config.mentions("attention_value_scale")
    ? config.optionalPositiveNumber("attention_value_scale")
    : DEFAULT_VALUE_SCALE;
  const bias = config.boolean("attention_bias", false);
  ignoreWhatIsSaidTwice(config, sizes, valueDim);
  const attention = (layer: LayerNames, window: number | undefined): Attention => {
    const own = window === undefined ? sizes : { ...sizes, kvHeads: 2 * kvHeads };
    return groupedQuery(
      layer,
      own,
      { qkv: bias },
      {
        value: linear(layer.inAttention("value"), hidden, own.kvHeads * valueDim, bias),
        output: linear(layer.inAttention("output"), heads * valueDim, hidden),
        rope: window === undefined ? rotateAll(full) : { ...rotateAll(sliding), rope: 1 },
        ...{ window, valueDim, ...(scale !== undefined && { valueMultiplier: scale }) },
        ...(window !== undefined && { sinks: tensorSource(`${layer.attention}.attention_sink_bias`, [heads]) }),
      },
    );
  };
  const feedForward = readFeedForwards(config, sizes);
  return decoderOf(input, {
    sizes,
    ropes: [full, sliding],
    layer: (layer, index) =>
      normsBefore(layer, hidden, norm, [attention(layer, windows[index]), feedForward(layer, index)]),
    finalNorm: norm(names.finalNorm, hidden),
  });
}

/** The window of the original code counts the tokens before one; transformers' window includes the token itself. */
function readWindows(config: ModelConfig, layers: number): readonly (number | undefined)[] {
  const before = config.optionalPositiveInteger("sliding_window_size");
  if (before !== undefined) config.ignore("sliding_window", "sliding_window_size takes its place");
  const window = before === undefined ? config.positiveInteger("sliding_window", 129) : before + 1;
  const windows = slidingWindows(config, layers, window, (layer) => layer !== 0 && (layer + 1) % 6 !== 0);
  requireSame(
    config,
    "hybrid_layer_pattern",
    windows.map((each) => each !== undefined),
  );
  return windows;
}

function readFeedForwards(config: ModelConfig, { hidden, layers }: Sizes) {
  const experts = readMixture(config, hidden, { experts: ["n_routed_experts", "num_local_experts"] });
  const hasExperts = mlpLayerTypes(config, layers) ?? Array.from({ length: layers }, (_, layer) => layer > 0);
  requireSame(config, "moe_layer_freq", hasExperts);
  const router = sigmoidRouter(config, experts, { normalised: true, multiplier: 1 });
  config.ignoreIf("scoring_func", ["sigmoid"], AS_HERE);
  config.ignoreIf("topk_method", ["noaux_tc"], AS_HERE);
  return mixtureOrDense(config, hidden, hasExperts, ({ feedForward: prefix }) =>
    mixture(
      router(`${prefix}.gate`, `${prefix}.gate.e_score_correction_bias`),
      expertsOf(`${prefix}.experts`, experts),
    ),
  );
}

/** Lists of 0 and 1 of the original code, which transformers ignores. @throws CheckpointError */
function requireSame(config: ModelConfig, key: string, expected: readonly boolean[]): void {
  const list = config.optionalNumbers(key);
  if (list === undefined) return;
  if (list.length === expected.length && list.every((entry, layer) => (entry === 1) === expected[layer])) return;
  throw new CheckpointError(
    `${config.nameOf(key)}: contradicts the types of layers, which are ${expected.map(Number).join(", ")}`,
  );
}

function ignoreWhatIsSaidTwice(config: ModelConfig, { heads, kvHeads, headDim }: Sizes, valueDim: number): void {
  config.ignoreIf("swa_num_attention_heads", [heads], SAYS_THE_SAME);
  config.ignoreIf("swa_num_key_value_heads", [2 * kvHeads], AS_HERE);
  config.ignoreIf("swa_head_dim", [headDim], SAYS_THE_SAME);
  config.ignoreIf("swa_v_head_dim", [valueDim], SAYS_THE_SAME);
  config.ignoreIf("add_swa_attention_sink_bias", [true], AS_HERE);
  config.ignore("attention_chunk_size", "no layer is cut into chunks: windows are read");
  config.ignoreIf("n_shared_experts", [0], AS_HERE);
}
