// The residual structure of a layer: norms before and after blocks, parallel blocks, multipliers, and the sums. Does
// not know segments, steps or caches.

import type { Attention, Block, LowRank, Norm, SharedAttention } from "../architectures/blocks.js";
import type { Branch, DecoderLayer, Residual } from "../architectures/description.js";
import type { Experts } from "../architectures/experts.js";
import type { Value } from "../onnx/graph-builder.js";
import { feedForward, type GraphContext, linear, multiplied, perLayerInput } from "./blocks.js";
import { gatedDeltaNet } from "./gated-delta-net.js";
import { norm, normOfSum } from "./norm.js";
import { selectiveScan } from "./selective-scan.js";
import { shortConvolution } from "./short-convolution.js";
import { stateSpace } from "./state-space.js";

/**
 * Hidden states between two residuals. The last addend is kept apart until a norm reads the sum, so that both can be
 * fused.
 */
export interface ResidualStream {
  readonly hidden: Value; // [batch, tokens, hidden]
  readonly addend?: Value; // [batch, tokens, hidden]
}

type BranchInput = Pick<Branch, "norm" | "inputMultiplier">;

/** Records the blocks that need more than their input. Each gives [batch, tokens, hidden]. */
export interface BlockRecorder {
  /** Attention; it depends on what the cache is. */
  readonly attention: (block: Attention, x: Value) => Value;
  /** Experts; they skip padding and may count their tokens. */
  readonly experts: (block: Experts, x: Value) => Value;
  /** Attention over the cache of an earlier layer. Absent where it is not supported. */
  readonly sharedAttention?: (block: SharedAttention, x: Value) => Value;
  /** The per-layer embeddings. [batch, tokens, size] Absent where they are not supported. */
  readonly perLayerInput?: (layer: number) => Value;
}

/** The switch: a case per kind of block. @param x [batch, tokens, hidden] */
function recordBlock(context: GraphContext, block: Block, x: Value, recorder: BlockRecorder): Value {
  switch (block.kind) {
    case "attention":
      return recorder.attention(block, x);
    case "shared-attention":
      if (recorder.sharedAttention === undefined) throw new RangeError(`no cache of layer ${block.cacheOf} to share`);
      return recorder.sharedAttention(block, x);
    case "gated-delta-net":
      return gatedDeltaNet(context, block, x);
    case "short-convolution":
      return shortConvolution(context, block, x);
    case "state-space":
      return stateSpace(context, block, x);
    case "selective-scan":
      return selectiveScan(context, block, x);
    case "feed-forward":
      return feedForward(context, block, x);
    case "experts":
      return recorder.experts(block, x);
    case "low-rank":
      return lowRank(context, block, x);
    case "per-layer-input":
      if (recorder.perLayerInput === undefined) throw new RangeError(`no embeddings of layer ${block.layer}`);
      return perLayerInput(context, block, x, recorder.perLayerInput(block.layer));
  }
}

/** Appends residuals, one after the other. */
export function recordResiduals(
  context: GraphContext,
  residuals: readonly Residual[],
  stream: ResidualStream,
  recorder: BlockRecorder,
): ResidualStream {
  return residuals.reduce((before, residual) => recordResidual(context, residual, before, recorder), stream);
}

/** (x + multiplier · postNorm(Σ branch(x))) · scale */
function recordResidual(
  context: GraphContext,
  { branches, postNorm, multiplier, scale }: Residual,
  stream: ResidualStream,
  recorder: BlockRecorder,
): ResidualStream {
  const { builder } = context;
  const inputs = new BranchInputs(context, stream);
  const outputs = branches.map((branch) => recordBranch(context, branch, inputs.of(branch), recorder));
  const summed = outputs.reduce((sum, output) => builder.op("Add", [sum, output]));
  const added = postNorm === undefined ? summed : norm(context, postNorm, summed);
  const after = { hidden: inputs.sum(), addend: multiplied(context, added, multiplier) };
  if (scale === undefined) return after;
  const sum = sumOfStream(context, after);
  if (typeof scale === "number") return { hidden: multiplied(context, sum, scale) };
  return { hidden: builder.op("Mul", [sum, context.weights.as(context.arithmetic.elementType, scale)]) };
}

/** multiplier · postNorm(block(x)) @param x the output of the branch's norm */
export function recordBranch(
  context: GraphContext,
  { block, postNorm, multiplier }: Branch,
  x: Value,
  recorder: BlockRecorder,
): Value {
  const y = recordBlock(context, block, x, recorder);
  return multiplied(context, postNorm === undefined ? y : norm(context, postNorm, y), multiplier);
}

/** x + norm(right(left(x))) */
function lowRank(context: GraphContext, { left, right, norm: description }: LowRank, x: Value): Value {
  const y = linear(context, right, linear(context, left, x));
  return context.builder.op("Add", [x, norm(context, description, y)]);
}

/**
 * The inputs of a residual's branches. The first norm is fused with the sum before it; a norm that two branches share
 * is recorded once.
 */
class BranchInputs {
  readonly #context: GraphContext;
  readonly #normed = new Map<string, Value>();
  #stream: ResidualStream;

  constructor(context: GraphContext, stream: ResidualStream) {
    this.#context = context;
    this.#stream = stream;
  }

  of({ norm: description, inputMultiplier }: BranchInput): Value {
    return multiplied(this.#context, this.#normedBy(description), inputMultiplier);
  }

  #normedBy(description: Norm | undefined): Value {
    if (description === undefined) return this.sum();
    const key = JSON.stringify(description);
    const normed = this.#normed.get(key) ?? this.#norm(description);
    this.#normed.set(key, normed);
    return normed;
  }

  /** x itself. */
  sum(): Value {
    const hidden = sumOfStream(this.#context, this.#stream);
    this.#stream = { hidden };
    return hidden;
  }

  #norm(description: Norm): Value {
    const { hidden, addend } = this.#stream;
    if (addend === undefined) return norm(this.#context, description, hidden);
    const { sum, normed } = normOfSum(this.#context, description, hidden, addend);
    this.#stream = { hidden: sum };
    return normed;
  }
}

/**
 * The input of a layer's attention, with everything before it recorded and nothing after it: nothing else of the last
 * layer with a cache is needed.
 */
export function attentionInput(
  context: GraphContext,
  layer: DecoderLayer,
  stream: ResidualStream,
  recorder: BlockRecorder,
): Value {
  const number = layer.residuals.findIndex(({ branches }) => branches.some(writesCache));
  const branch = layer.residuals[number]?.branches.find(writesCache);
  if (branch === undefined) throw new RangeError(`layer ${layer.index} has no attention`);
  const before = recordResiduals(context, layer.residuals.slice(0, number), stream, recorder);
  return branchInput(context, branch, before);
}

/** What a branch of a residual reads. */
export function branchInput(context: GraphContext, branch: BranchInput, stream: ResidualStream): Value {
  return new BranchInputs(context, stream).of(branch);
}

function writesCache({ block }: Branch): boolean {
  return block.kind === "attention";
}

/** The hidden states after the last residual. [batch, tokens, hidden] */
export function sumOfStream({ builder }: GraphContext, { hidden, addend }: ResidualStream): Value {
  return addend === undefined ? hidden : builder.op("Add", [hidden, addend]);
}
