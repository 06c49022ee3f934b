// Facts about each kind of block for planning and checking: its weights, the width of its activations, whether
// --generate can compute it token by token. The compiler keeps the table complete. Computes nothing.

import {
  type AttentionReading,
  type Block,
  type CausalConvolution,
  type FeedForward,
  type GatedDeltaNet,
  type Linear,
  type Norm,
  type ShortConvolution,
  valueDimOf,
} from "./blocks.js";
import { type AltUp, branchesOf, type Decoder, type DecoderLayer, type Residual } from "./description.js";
import type { Experts } from "./experts.js";
import type { SelectiveScan, StateSpace } from "./state-space.js";
import { storedTensors, type TensorSource, tensorSource, type WeightSource } from "./weight-source.js";

export interface BlockFacts {
  readonly linears: readonly Linear[];
  /** Multiplications per token; absent: those of all linear layers. */
  readonly products?: number;
  readonly norms: readonly Norm[];
  /** Weights of neither products nor norms. */
  readonly others: readonly WeightSource[];
  /** Width of the widest activation, per token. */
  readonly widest: number;
  /** Width of all activations that are in memory at the same time, per token. */
  readonly activations: number;
  /** Numbers of the state that a recurrence keeps per prompt; absent: none. They are float32. */
  readonly state?: number;
  /** Whether a step of --generate can compute it. */
  readonly canStep: boolean;
}

/** The table: a case per kind. */
export function factsOf(block: Block): BlockFacts {
  switch (block.kind) {
    case "attention": {
      const reading = readingFacts(block);
      return {
        ...reading,
        linears: [block.query, block.key, block.value, ...reading.linears.slice(1)],
        norms: [...reading.norms, ...present(block.keyNorm?.norm, block.valueNorm)],
      };
    }
    case "shared-attention":
      return { ...readingFacts(block), canStep: false };
    case "gated-delta-net":
      return gatedDeltaNetFacts(block);
    case "short-convolution":
      return shortConvolutionFacts(block);
    case "state-space":
      return stateSpaceFacts(block);
    case "selective-scan":
      return selectiveScanFacts(block);
    case "feed-forward":
      return feedForwardFacts(block);
    case "experts":
      return expertsFacts(block);
    case "low-rank":
      return {
        ...{ linears: [block.left, block.right], norms: [block.norm], others: [] },
        ...{ widest: block.right.outputs, activations: 3 * block.right.outputs, canStep: true },
      };
    case "per-layer-input":
      return {
        ...{ linears: [block.gate, block.projection], norms: [], others: [] },
        ...{ widest: block.gate.outputs, activations: 3 * block.gate.outputs, canStep: false },
      };
  }
}

function readingFacts(block: AttentionReading): BlockFacts {
  const { query, output, queryNorm, sinks, gate, heads, kvHeads, headDim } = block;
  return {
    linears: [query, output, ...present(gate?.projection)],
    norms: present(queryNorm?.norm),
    others: present(sinks),
    widest: heads * Math.max(headDim, valueDimOf(block)),
    activations: 3 * query.outputs + 8 * kvHeads * headDim,
    // A decode step would have to cut the past at the beginning of the token's chunk.
    canStep: block.chunkSize === undefined,
  };
}

function gatedDeltaNetFacts(block: GatedDeltaNet): BlockFacts {
  const { keyHeads, valueHeads, keyDim, valueDim, query, key, value, decay, beta, gate, norm, output } = block;
  const convolved = [query, key, value];
  const [keyWidth, valueWidth] = [keyHeads * keyDim, valueHeads * valueDim];
  return {
    linears: [...convolved.map(({ projection }) => projection), decay, beta, gate, output],
    norms: [norm],
    others: [
      ...convolved.flatMap(({ convolution }) => weightsOfConvolution(convolution)),
      block.decayBias,
      block.decayLogRate,
    ],
    // Between the projections everything is float32, twice as wide as elsewhere.
    widest: 2 * Math.max(keyWidth, valueWidth),
    activations: 8 * (keyWidth + valueWidth),
    state: valueHeads * keyDim * valueDim,
    canStep: false,
  };
}

function shortConvolutionFacts({ gateBefore, input, convolution, gateBehind, output }: ShortConvolution): BlockFacts {
  return {
    linears: [gateBefore, input, gateBehind, output],
    norms: [],
    others: weightsOfConvolution(convolution),
    widest: convolution.channels,
    // Two gates, the input, and their product before and after the convolution, which has tokens on its last axis.
    activations: 6 * convolution.channels,
    canStep: false,
  };
}

function stateSpaceFacts(block: StateSpace): BlockFacts {
  const { heads, headDim, groups, x, b, c, timeStep, gate, output, norm } = block;
  const [width, shared] = [heads * headDim, b.projection.outputs];
  return {
    linears: [x.projection, b.projection, c.projection, timeStep, gate, output],
    norms: [],
    others: [
      ...[x, b, c].flatMap(({ convolution }) => weightsOfConvolution(convolution)),
      ...present(block.timeStepBias, block.decayLogRate, block.skip, norm?.weight),
    ],
    widest: Math.max(width, shared),
    // The recurrence and what is around it are float32, twice as wide as others.
    activations: 10 * width + 8 * shared,
    state: (width * shared) / groups,
    canStep: false,
  };
}

function selectiveScanFacts(block: SelectiveScan): BlockFacts {
  const { channels, x, b, c, timeStepInput, timeStep, gate, output } = block;
  const normed = [b, c, timeStepInput];
  const stateSize = b.projection.outputs;
  return {
    linears: [x.projection, ...normed.map(({ projection }) => projection), timeStep, gate, output],
    norms: normed.map(({ norm }) => norm),
    others: [...weightsOfConvolution(x.convolution), block.decayLogRate, block.skip],
    widest: channels + stateSize,
    // As above; the decays of a group of channels are as wide as all channels.
    activations: 14 * channels + 8 * stateSize,
    state: channels * stateSize,
    canStep: false,
  };
}

function weightsOfConvolution({ weight, bias }: CausalConvolution): WeightSource[] {
  return present(weight, bias);
}

function feedForwardFacts({ activation, gate, up, down }: FeedForward): BlockFacts {
  return {
    linears: [...present(gate), up, down],
    norms: [],
    others: weightsOfActivation(activation),
    widest: up.outputs,
    activations: 3 * up.outputs,
    canStep: true,
  };
}

function weightsOfActivation(activation: FeedForward["activation"]): WeightSource[] {
  if (typeof activation === "string" || activation.kind !== "xielu") return [];
  return [activation.positive, activation.negative, activation.beta, activation.epsilon];
}

/** A token passes through only some of the experts. */
function expertsFacts({ router, norm, latent, experts, shared }: Experts): BlockFacts {
  const { logits, perToken } = router;
  const each = experts.map(feedForwardFacts);
  const always = shared && feedForwardFacts(shared.feedForward);
  const besides = [logits, ...present(latent?.into, latent?.out), ...(always?.linears ?? []), ...present(shared?.gate)];
  const widest = Math.max(0, ...each.map((facts) => facts.widest));
  const perExpert = Math.max(0, ...each.map(({ linears }) => multiplications(linears)));
  return {
    linears: [...besides, ...each.flatMap(({ linears }) => linears)],
    // Of a mixture in groups, a token passes through this group's experts as often as on average.
    products: multiplications(besides) + (perToken * perExpert * experts.length) / logits.outputs,
    norms: present(norm, router.kind === "scores" ? router.input?.norm : undefined),
    others: router.kind === "scores" ? present(router.correction, router.perExpert) : [],
    widest: Math.max(logits.outputs * perToken, perToken * Math.max(widest, logits.inputs), always?.widest ?? 0),
    activations: perToken * (4 * logits.inputs + 3 * widest) + (always?.activations ?? 0),
    canStep: true,
  };
}

function multiplications(linears: readonly Linear[]): number {
  return linears.reduce((sum, { inputs, outputs }) => sum + inputs * outputs, 0);
}

function present<Item>(...items: readonly (Item | undefined)[]): Item[] {
  return items.filter((item) => item !== undefined);
}

interface ProductsAndNorms {
  readonly linears: readonly Linear[];
  readonly norms: readonly Norm[];
}

/** All products and norms of a layer. */
export function productsAndNormsOf(layer: DecoderLayer): ProductsAndNorms {
  const branches = branchesOf(layer);
  const facts = branches.map(({ block }) => factsOf(block));
  const { residuals, altUp } = layer;
  const besides = altUp === undefined ? [] : [altUp.modalities, altUp.prediction, altUp.correction];
  return {
    linears: [...facts.flatMap(({ linears }) => linears), ...besides],
    norms: present(
      ...facts.flatMap(({ norms }) => norms),
      ...branches.flatMap(({ norm, postNorm }) => [norm, postNorm]),
      ...residuals.map(({ postNorm }) => postNorm),
      altUp?.routerNorm,
    ),
  };
}

/** Every weight of some residuals, including those of branches outside their blocks. */
function weightsOfResiduals(residuals: readonly Residual[]): WeightSource[] {
  return residuals.flatMap(({ branches, postNorm: behind, scale }) => [
    ...branches.flatMap(({ norm, block, postNorm }) => {
      const { linears, norms, others } = factsOf(block);
      return [
        ...linears.flatMap(weightsOfLinear),
        ...present(norm, postNorm, ...norms).flatMap(weightsOfNorm),
        ...others,
      ];
    }),
    ...present(behind).flatMap(weightsOfNorm),
    ...(typeof scale === "object" ? [scale] : []),
  ]);
}

function weightsOfAltUp({ routerNorm, modalities, prediction, correction, last, lastScale }: AltUp): WeightSource[] {
  return [
    ...[modalities, prediction, correction].flatMap(weightsOfLinear),
    ...weightsOfNorm(routerNorm),
    ...weightsOfResiduals([{ branches: [last] }]),
    ...present(lastScale),
  ];
}

function weightsOfLinear({ weight, bias }: Linear): WeightSource[] {
  return present(weight, bias);
}

/** The weights of a norm that has any. */
export function weightsOfNorm(norm: Norm): WeightSource[] {
  return present(norm.weight, norm.kind === "layer" ? norm.bias : undefined);
}

/** Weights before the first layer and right after the last, without embedding tables. */
export function weightsAroundLayers(decoder: Decoder): WeightSource[] {
  const { linears, norms } = productsAndNormsAround(decoder);
  return [...norms.flatMap(weightsOfNorm), ...linears.flatMap(weightsOfLinear)];
}

/** Products and norms before the first layer and right after the last. */
export function productsAndNormsAround({ embedding, perLayerInputs, streams }: Decoder): ProductsAndNorms {
  const ofStreams = streams === undefined ? [] : [...streams.projections, ...streams.projectionsBack];
  return {
    linears: [...(perLayerInputs?.projections ?? []), ...ofStreams],
    norms: present(embedding.norm, perLayerInputs?.norm),
  };
}

/** Embedding tables, [tokens, …]. */
export function tablesOf({ embedding, perLayerInputs, ...sizes }: Decoder): TensorSource[] {
  const { weight, positions } = embedding;
  const tables = [tensorSource(weight, [sizes.vocabularySize, sizes.hiddenSize])];
  if (positions !== undefined) {
    tables.push(tensorSource(positions.weight, [positions.offset + positions.tokens, sizes.hiddenSize]));
  }
  if (perLayerInputs === undefined) return tables;
  const { table, size } = perLayerInputs;
  return [...tables, tensorSource(table.name, [table.tokens, table.layers * size])];
}

/** The weights of some residuals, and around them, each once. */
export function distinctWeights(residuals: readonly Residual[], altUp?: AltUp): WeightSource[] {
  const sources = [...weightsOfResiduals(residuals), ...present(altUp).flatMap(weightsOfAltUp)];
  return [...new Map(sources.map((source) => [JSON.stringify(source), source])).values()];
}

/** Multiplications per token in some residuals. */
export function productsOf(residuals: readonly Residual[]): number {
  const facts = residuals.flatMap(({ branches }) => branches.map(({ block }) => factsOf(block)));
  return facts.reduce((sum, { linears, products }) => sum + (products ?? multiplications(linears)), 0);
}

/** Every tensor that a layer uses, as the description expects it. */
export function tensorsOfLayer(layer: DecoderLayer): Map<string, TensorSource> {
  return distinctTensors([...weightsOfResiduals(layer.residuals), ...present(layer.altUp).flatMap(weightsOfAltUp)]);
}

/** The tensors that contain the weights, by name. @throws RangeError where two say different shapes of one */
export function distinctTensors(sources: readonly WeightSource[]): Map<string, TensorSource> {
  const tensors = new Map<string, TensorSource>();
  for (const tensor of sources.flatMap(storedTensors)) {
    const other = tensors.get(tensor.name);
    if (other !== undefined && other.shape.join() !== tensor.shape.join()) {
      throw new RangeError(
        `a description says [${other.shape.join(", ")}] and [${tensor.shape.join(", ")}] of "${tensor.name}"`,
      );
    }
    tensors.set(tensor.name, tensor);
  }
  return tensors;
}

/** The kind of a decoder's first block that --generate cannot compute. */
export function blockWithoutStep(layers: readonly DecoderLayer[]): string | undefined {
  const blocks = layers.flatMap((layer) => branchesOf(layer).map(({ block }) => block));
  const found = blocks.find((block) => !factsOf(block).canStep);
  return found?.kind === "attention" ? "attention in chunks of positions" : found?.kind;
}
