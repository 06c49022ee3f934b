// Names of tensors: Llama's, and the differences of other families. Finds the prefix that a checkpoint has before them.
// Knows no shape.

import { CheckpointError } from "../errors.js";

export interface NameTable {
  /** End of the name of a tensor in the first layer; the text before it is the decoder's prefix. */
  readonly anchor: string;
  readonly embedding: string;
  /** Name before a layer's number. */
  readonly layers: string;
  readonly attention: string;
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly output: string;
  readonly queryNorm: string;
  readonly keyNorm: string;
  readonly feedForward: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
  readonly attentionNorm: string;
  readonly feedForwardNorm: string;
  readonly finalNorm: string;
  /** Replaces the `model.` of the prefix. */
  readonly head: string;
}

export const LLAMA_NAMES: NameTable = {
  anchor: "layers.0.self_attn.k_proj.weight",
  embedding: "embed_tokens",
  layers: "layers",
  attention: "self_attn",
  query: "q_proj",
  key: "k_proj",
  value: "v_proj",
  output: "o_proj",
  queryNorm: "q_norm",
  keyNorm: "k_norm",
  feedForward: "mlp",
  gate: "gate_proj",
  up: "up_proj",
  down: "down_proj",
  attentionNorm: "input_layernorm",
  feedForwardNorm: "post_attention_layernorm",
  finalNorm: "norm",
  head: "lm_head",
};

/** GPT-2's names, which GPT-J's resemble. */
export const GPT_NAMES: NameTable = {
  ...LLAMA_NAMES,
  anchor: "h.0.attn.c_attn.weight",
  embedding: "wte",
  layers: "h",
  attention: "attn",
  output: "c_proj",
  up: "c_fc",
  down: "c_proj",
  attentionNorm: "ln_1",
  feedForwardNorm: "ln_2",
  finalNorm: "ln_f",
};

/** Llama's names where not every layer has attention. */
export const HYBRID_NAMES: NameTable = { ...LLAMA_NAMES, anchor: "layers.0.input_layernorm.weight" };

/** Jamba's names, which Bamba and Falcon-H1 took over. */
export const JAMBA_NAMES: NameTable = {
  ...HYBRID_NAMES,
  feedForward: "feed_forward",
  feedForwardNorm: "pre_ff_layernorm",
  finalNorm: "final_layernorm",
};

/** A name table with a checkpoint's prefix: whole names, without `.weight`. */
export class TensorNames {
  readonly #table: NameTable;
  readonly #prefix: string;
  readonly #isThere: (name: string) => boolean;

  /** @param isThere whether the checkpoint has a tensor; absent: it is not known */
  constructor(table: NameTable, prefix: string, isThere: (name: string) => boolean = () => false) {
    this.#table = table;
    this.#prefix = prefix;
    this.#isThere = isThere;
  }

  /** Whether the checkpoint has a tensor, where one family's checkpoints have several layouts. @param name the whole one */
  has(name: string): boolean {
    return this.#isThere(name);
  }

  /** A tensor outside the layers, after the prefix. @param name one of the family's own */
  of(name: string): string {
    return `${this.#prefix}${name}`;
  }

  get embedding(): string {
    return `${this.#prefix}${this.#table.embedding}`;
  }

  get finalNorm(): string {
    return `${this.#prefix}${this.#table.finalNorm}`;
  }

  /** The output head, outside the decoder: a multimodal model has it beside the decoder, or at the top. */
  get head(): string {
    return `${/^(.*\.)?(?:model|backbone)\.$/.exec(this.#prefix)?.[1] ?? ""}${this.#table.head}`;
  }

  /** Common prefix of the layers' tensors. */
  get layers(): string {
    return `${this.#prefix}${this.#table.layers}.`;
  }

  layer(index: number): LayerNames {
    return new LayerNames(this.#table, `${this.layers}${index}`);
  }
}

/** The names within a layer. */
export class LayerNames {
  readonly #table: NameTable;
  readonly #layer: string;

  constructor(table: NameTable, layer: string) {
    this.#table = table;
    this.#layer = layer;
  }

  /** A tensor directly in the layer, such as a norm. @param name the table's, or one of the family's own */
  of(name: string): string {
    return `${this.#layer}.${name}`;
  }

  get attention(): string {
    return this.of(this.#table.attention);
  }

  get attentionNorm(): string {
    return this.of(this.#table.attentionNorm);
  }

  get feedForwardNorm(): string {
    return this.of(this.#table.feedForwardNorm);
  }

  /** A tensor of the attention. */
  inAttention(part: "query" | "key" | "value" | "output" | "queryNorm" | "keyNorm"): string {
    return `${this.attention}.${this.#table[part]}`;
  }

  get feedForward(): string {
    return this.of(this.#table.feedForward);
  }

  inFeedForward(part: "gate" | "up" | "down"): string {
    return `${this.feedForward}.${this.#table[part]}`;
  }
}

/** Stacks of layers beside a decoder: image and sound towers, and layers that predict several tokens at once. */
const NOT_A_DECODER = /(^|\.)(vision|visual|audio|image|speech|encoder|mtp|draft)[^.]*\./;

/**
 * Prefixes of a decoder's tensors that engines know: of a model with an output head, without one, and of the text part
 * of a multimodal model. Each is the name of a module in transformers or vLLM.
 */
const PREFIXES = new Set([
  ...["", "model.", "model.decoder.", "decoder.", "transformer.", "gpt_neox.", "backbone."],
  ...["model.language_model.", "language_model.model.", "language_model.", "model.language_model.model."],
  ...["model.language_model.transformer.", "language_model.transformer.", "language_model.model.decoder."],
  ...["model.text_model.", "text_model.model.", "text_model.", "thinker.model.", "llm.model.", "model.llm."],
  ...["model.language_model.decoder.", "language_model.gpt_neox.", "language_model.backbone."],
]);

/**
 * The prefix: `model.` in most checkpoints, empty in those saved from a base model.
 * @throws CheckpointError when no tensor has the table's anchor, or when engines do not know the prefix
 */
export function findPrefix({ anchor }: NameTable, names: Iterable<string>): string {
  let unknown: { readonly name: string; readonly prefix: string } | undefined;
  for (const name of names) {
    const prefix = name.slice(0, -anchor.length);
    const isWhole = prefix === "" || prefix.endsWith(".");
    if (!name.endsWith(anchor) || !isWhole || NOT_A_DECODER.test(prefix)) continue;
    if (PREFIXES.has(prefix)) return prefix;
    unknown ??= { name, prefix };
  }
  if (unknown !== undefined) {
    throw new CheckpointError(
      `Tensor "${unknown.name}": engines do not know "${unknown.prefix}" before the tensors of a decoder: the model was saved as a part of something else. Save the model alone, or rename its tensors; most models have "model." there.`,
    );
  }
  throw new CheckpointError(
    `No tensor is named "…${anchor}": the checkpoint lacks its first layer, or names it otherwise`,
  );
}
