// Llama and the families built like it: pre-norm blocks of grouped-query attention and a gated feed-forward.
// A family is a row of differences; what is common is written once. Pure data out; reads no files.

import { CheckpointError, UnsupportedModelError } from "../errors.js";
import type {
  Activation,
  Attention,
  Decoder,
  DecoderLayer,
  GatedFeedForward,
  Linear,
  ModelEnd,
  RmsNorm,
} from "./description.js";
import type { ModelConfig } from "./model-config.js";
import { type Rope, readRope } from "./rope.js";

export interface LlamaFamily {
  /** Biases of q, k, v and of o; "config" reads attention_bias. */
  readonly attentionBias: { readonly qkv: boolean | "config"; readonly output: boolean | "config" };
  readonly mlpBias: boolean | "config";
  readonly queryKeyNorm: boolean;
  readonly defaultHeadDim?: number;
  /** What transformers takes when num_key_value_heads is absent; without this, as many as there are heads. */
  readonly defaultKvHeads?: number;
  readonly slidingWindow: (config: ModelConfig, layers: number) => readonly (number | undefined)[];
}

/** Far beyond any real model; describing more layers than memory holds would end the process, not the run. */
const MAX_LAYERS = 10_000;

/** config.hidden_act → activation. */
const ACTIVATIONS: Record<string, Activation> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_new: "gelu_tanh",
  relu: "relu",
};

/** Keys that other families use and that change K or V: with another value than the neutral one, they are refused. */
const REFUSED_UNLESS: Record<string, unknown> = {
  rope_interleaved: false,
  partial_rotary_factor: 1,
  attention_multiplier: undefined,
  embedding_multiplier: 1,
  residual_multiplier: 1,
  clip_qkv: undefined,
  attn_logit_softcapping: undefined,
  query_pre_attn_scalar: undefined,
  position_embedding_type: "rope",
  no_rope_layers: undefined,
  no_rope_layer_interval: undefined,
  attention_chunk_size: undefined,
  num_local_experts: undefined,
  num_experts: undefined,
  moe_layers: undefined,
  qk_layernorm: false,
  use_qk_norm: false,
  parallel_attn: false,
  alibi: false,
  attn_temperature_tuning: false,
  cross_attention_layers: undefined,
  scale_emb: 1,
  scale_depth: undefined,
};

/** All layers attend to every token. */
export function noSlidingWindow(_config: ModelConfig, layers: number): undefined[] {
  return Array.from({ length: layers }, () => undefined);
}

/** Mistral: one window for every layer; when the key is absent (not null), transformers takes 4096. */
export function uniformSlidingWindow(config: ModelConfig, layers: number): (number | undefined)[] {
  const window = readWindow(config);
  return Array.from({ length: layers }, () => window);
}

/** null is no window; absent is what transformers takes then. */
function readWindow(config: ModelConfig): number | undefined {
  return config.mentions("sliding_window") ? config.optionalPositiveInteger("sliding_window") : 4096;
}

/** Qwen: `layer_types` says which layers have the window, else those from max_window_layers on. */
export function slidingWindowOfUpperLayers(config: ModelConfig, layers: number): (number | undefined)[] {
  const used = config.boolean("use_sliding_window", false);
  const window = used ? readWindow(config) : undefined;
  const types = config.optionalStrings("layer_types");
  if (types === undefined) {
    const firstWithWindow = config.count("max_window_layers", 28);
    return Array.from({ length: layers }, (_, layer) => (layer >= firstWithWindow ? window : undefined));
  }
  if (types.length !== layers) {
    throw new CheckpointError(
      `${config.nameOf("layer_types")}: expected ${layers} entries, one per layer, found ${types.length}`,
    );
  }
  return types.map((type, layer) => {
    if (type === "full_attention") return undefined;
    if (type === "sliding_attention" && window !== undefined) return window;
    throw new UnsupportedModelError(
      `${config.nameOf("layer_types")}: layer ${layer} is "${type}" with use_sliding_window ${used}: not supported`,
    );
  });
}

/**
 * Describes a checkpoint of the family.
 * @param prefix what precedes `layers.0.` in the tensor names
 * @throws CheckpointError, UnsupportedModelError naming the key of config.json
 */
export function describeLlamaFamily(family: LlamaFamily, config: ModelConfig, prefix: string): Decoder {
  refuseWhatIsNotUnderstood(config, family);
  const dimensions = readDimensions(family, config);
  const layerCount = readLayerCount(config);
  const windows = family.slidingWindow(config, layerCount);
  const layers = windows.map((window, index) =>
    describeLayer(family, config, dimensions, `${prefix}layers.${index}`, index, window),
  );
  return {
    modelType: config.string("model_type"),
    hiddenSize: dimensions.hidden,
    vocabularySize: config.positiveInteger("vocab_size"),
    embedding: `${prefix}embed_tokens.weight`,
    rope: dimensions.rope,
    layers,
  };
}

/**
 * The end of a model of the family, as config.json has it.
 * @throws UnsupportedModelError when config.json scales the logits in a way that is not understood
 */
export function describeEnd(config: ModelConfig, decoder: Decoder): ModelEnd {
  const norm = decoder.embedding.replace(/embed_tokens\.weight$/, "norm.weight");
  const head = config.boolean("tie_word_embeddings", false) ? decoder.embedding : HEAD;
  for (const key of SCALES_OF_LOGITS) {
    const value = config.raw(key);
    if (value === undefined || value === null || value === 1) continue;
    throw new UnsupportedModelError(
      `${config.nameOf(key)}: ${JSON.stringify(value)} is not understood for model_type "${decoder.modelType}"`,
    );
  }
  const epsilon = config.positiveNumber("rms_norm_eps", 1e-6);
  return { norm: { weight: norm, size: decoder.hiddenSize, epsilon }, head };
}

const HEAD = "lm_head.weight";
/** Keys of other families that change the logits. */
const SCALES_OF_LOGITS = ["logits_scaling", "logit_scale", "final_logit_softcapping", "lm_head_multiplier"];

function readLayerCount(config: ModelConfig): number {
  const layers = config.positiveInteger("num_hidden_layers");
  if (layers <= MAX_LAYERS) return layers;
  throw new CheckpointError(
    `${config.nameOf("num_hidden_layers")}: expected a number of layers up to ${MAX_LAYERS}, found ${layers}`,
  );
}

interface Dimensions {
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly epsilon: number;
  readonly activation: Activation;
  readonly rope: Rope;
}

function readDimensions(family: LlamaFamily, config: ModelConfig): Dimensions {
  const hidden = config.positiveInteger("hidden_size");
  const heads = config.positiveInteger("num_attention_heads");
  // null means as many as heads; absent means the family's default, where it has one.
  const defaultKvHeads = config.mentions("num_key_value_heads") ? heads : (family.defaultKvHeads ?? heads);
  const kvHeads = config.positiveInteger("num_key_value_heads", defaultKvHeads);
  if (heads % kvHeads !== 0) {
    throw new CheckpointError(
      `${config.nameOf("num_key_value_heads")}: ${kvHeads} does not divide num_attention_heads (${heads})`,
    );
  }
  const headDim = config.positiveInteger("head_dim", family.defaultHeadDim ?? Math.floor(hidden / heads));
  if (headDim % 2 !== 0) {
    throw new CheckpointError(`${config.nameOf("head_dim")}: expected an even number for RoPE, found ${headDim}`);
  }
  const rope = readRope(config, headDim);
  return {
    hidden,
    intermediate: config.positiveInteger("intermediate_size"),
    heads,
    kvHeads,
    headDim,
    epsilon: config.positiveNumber("rms_norm_eps", 1e-6),
    activation: readActivation(config),
    rope,
  };
}

function readActivation(config: ModelConfig): Activation {
  const name = config.string("hidden_act", "silu");
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation !== undefined) return activation;
  throw new UnsupportedModelError(
    `${config.nameOf("hidden_act")}: "${name}" is not supported; supported: ${Object.keys(ACTIVATIONS).join(", ")}`,
  );
}

function refuseWhatIsNotUnderstood(config: ModelConfig, family: LlamaFamily): void {
  for (const [key, neutral] of Object.entries(REFUSED_UNLESS)) {
    const value = config.raw(key);
    if (value === undefined || value === neutral) continue;
    throw new UnsupportedModelError(
      `${config.nameOf(key)}: ${JSON.stringify(value)} is not understood for model_type "${config.string("model_type")}", and it may change K or V`,
    );
  }
  const types = config.optionalStrings("layer_types");
  const otherType = types?.find((type) => type !== "full_attention");
  if (family.slidingWindow !== slidingWindowOfUpperLayers && otherType !== undefined) {
    throw new UnsupportedModelError(
      `${config.nameOf("layer_types")}: "${otherType}" is not understood for model_type "${config.string("model_type")}"`,
    );
  }
}

function describeLayer(
  family: LlamaFamily,
  config: ModelConfig,
  dimensions: Dimensions,
  name: string,
  index: number,
  slidingWindow: number | undefined,
): DecoderLayer {
  const { hidden, epsilon } = dimensions;
  const norm = (tensor: string, size = hidden): RmsNorm => ({ weight: `${name}.${tensor}.weight`, size, epsilon });
  return {
    index,
    inputNorm: norm("input_layernorm"),
    attention: {
      ...describeAttention(family, config, dimensions, `${name}.self_attn`),
      ...(family.queryKeyNorm && {
        queryNorm: norm("self_attn.q_norm", dimensions.headDim),
        keyNorm: norm("self_attn.k_norm", dimensions.headDim),
      }),
      ...(slidingWindow !== undefined && { slidingWindow }),
    },
    feedForwardNorm: norm("post_attention_layernorm"),
    feedForward: describeFeedForward(family, config, dimensions, `${name}.mlp`),
  };
}

function describeAttention(
  family: LlamaFamily,
  config: ModelConfig,
  { hidden, heads, kvHeads, headDim }: Dimensions,
  name: string,
): Attention {
  const qkvBias = isBiased(family.attentionBias.qkv, config, "attention_bias");
  const outputBias = isBiased(family.attentionBias.output, config, "attention_bias");
  return {
    name,
    heads,
    kvHeads,
    headDim,
    query: linear(`${name}.q_proj`, hidden, heads * headDim, qkvBias),
    key: linear(`${name}.k_proj`, hidden, kvHeads * headDim, qkvBias),
    value: linear(`${name}.v_proj`, hidden, kvHeads * headDim, qkvBias),
    output: linear(`${name}.o_proj`, heads * headDim, hidden, outputBias),
  };
}

function describeFeedForward(
  family: LlamaFamily,
  config: ModelConfig,
  { hidden, intermediate, activation }: Dimensions,
  name: string,
): GatedFeedForward {
  const bias = isBiased(family.mlpBias, config, "mlp_bias");
  return {
    activation,
    gate: linear(`${name}.gate_proj`, hidden, intermediate, bias),
    up: linear(`${name}.up_proj`, hidden, intermediate, bias),
    down: linear(`${name}.down_proj`, intermediate, hidden, bias),
  };
}

function isBiased(rule: boolean | "config", config: ModelConfig, key: string): boolean {
  return rule === "config" ? config.boolean(key, false) : rule;
}

function linear(name: string, inputs: number, outputs: number, bias: boolean): Linear {
  return { weight: `${name}.weight`, inputs, outputs, ...(bias && { bias: `${name}.bias` }) };
}
