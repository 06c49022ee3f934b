// AltUp (arXiv 2301.13310): several streams of hidden states, side by side in the last axis. Makes them from the
// embedding, updates them around a layer, and joins them at the end. Knows nothing of what a layer computes.

import type { AltUp, Decoder, DecoderLayer, Streams } from "../architectures/description.js";
import type { Value } from "../onnx/graph-builder.js";
import { type GraphContext, linear, mergeHeads, multiplied, splitHeads } from "./blocks.js";
import {
  type BlockRecorder,
  branchInput,
  type ResidualStream,
  recordBranch,
  recordResiduals,
  sumOfStream,
} from "./decoder-layer.js";
import { norm } from "./norm.js";
import { cast } from "./weights.js";

/** Lower bound of a projected stream's mean square. */
const LEAST_MEAN_SQUARE = 1e-5;

/** The embedding and its projections. @param x [batch, tokens, hidden] @returns [batch, tokens, streams × hidden] */
export function openStreams(context: GraphContext, { projections }: Streams, x: Value): Value {
  const others = projections.map((projection) => asLongAs(context, x, linear(context, projection, x)));
  return context.builder.op("Concat", [x, ...others], { attributes: { axis: -1 } });
}

/** @param hidden [batch, tokens, streams × hidden] @returns [batch, tokens, hidden] */
export function closeStreams(context: GraphContext, streams: Streams, hidden: Value, size: number): Value {
  const { builder } = context;
  const split = splitHeads(builder, hidden, streams.count, size);
  const first = streamOf(context, split, 0);
  const others = streams.projectionsBack.map((projection, index) =>
    asLongAs(context, first, linear(context, projection, streamOf(context, split, index + 1))),
  );
  const sum = [first, ...others].reduce((all, stream) => builder.op("Add", [all, stream]));
  return multiplied(context, sum, 1 / streams.count);
}

/** The input of a layer's residuals. */
export function activeStream(
  context: GraphContext,
  decoder: Decoder,
  altUp: AltUp,
  stream: ResidualStream,
): ResidualStream {
  return { hidden: streamOf(context, predicted(context, decoder, altUp, stream), altUp.active) };
}

/** A whole layer. */
export function altUpLayer(
  context: GraphContext,
  decoder: Decoder,
  layer: DecoderLayer & { readonly altUp: AltUp },
  stream: ResidualStream,
  recorder: BlockRecorder,
): ResidualStream {
  const { builder } = context;
  const { altUp } = layer;
  const predictions = predicted(context, decoder, altUp, stream); // [batch, tokens, streams, hidden]
  const active = streamOf(context, predictions, altUp.active);
  const after = recordResiduals(context, layer.residuals, { hidden: active }, recorder);
  const activated = sumOfStream(context, after);
  const innovation = builder.op("Unsqueeze", [builder.op("Sub", [activated, active]), builder.int64s([2])]);
  const shares = linear(context, altUp.correction, modalitiesOf(context, altUp, activated)); // [batch, tokens, streams]
  const one = cast(builder, builder.float32(1), "float32", context.arithmetic.elementType);
  const factors = builder.op("Unsqueeze", [builder.op("Add", [shares, one]), builder.int64s([-1])]);
  const corrected = builder.op("Add", [predictions, builder.op("Mul", [innovation, factors])]);
  const added = builder.op("Unsqueeze", [lastBranch(context, altUp, corrected, recorder), builder.int64s([2])]);
  const [first, others] = [
    streamsOf(context, corrected, 0, 1),
    streamsOf(context, corrected, 1, decoder.streams?.count),
  ];
  const joined = builder.op("Concat", [first, builder.op("Add", [others, added])], { attributes: { axis: 2 } });
  return { hidden: mergeHeads(builder, joined) };
}

/** s + C(s[active]) · s. [batch, tokens, streams, hidden] */
function predicted(
  context: GraphContext,
  { streams, hiddenSize }: Decoder,
  altUp: AltUp,
  stream: ResidualStream,
): Value {
  if (streams === undefined) throw new RangeError("a layer for several streams, of which there is one");
  const { builder } = context;
  const { count } = streams;
  const split = splitHeads(builder, sumOfStream(context, stream), count, hiddenSize);
  const modalities = modalitiesOf(context, altUp, streamOf(context, split, altUp.active));
  const coefficients = splitHeads(builder, linear(context, altUp.prediction, modalities), count, count);
  return builder.op("Add", [builder.op("MatMul", [coefficients, split]), split]);
}

/** @param x [batch, tokens, hidden] @returns [batch, tokens, streams] */
function modalitiesOf(context: GraphContext, { routerNorm, routerMultiplier, modalities }: AltUp, x: Value): Value {
  const routed = multiplied(context, norm(context, routerNorm, x), routerMultiplier);
  return context.builder.op("Tanh", [linear(context, modalities, routed)]);
}

/** @param corrected [batch, tokens, streams, hidden] @returns [batch, tokens, hidden] */
function lastBranch(
  context: GraphContext,
  { active, last, lastScale }: AltUp,
  corrected: Value,
  recorder: BlockRecorder,
): Value {
  const { builder, weights, arithmetic } = context;
  const stream = streamOf(context, corrected, active);
  const scaled =
    lastScale === undefined ? stream : builder.op("Mul", [stream, weights.as(arithmetic.elementType, lastScale)]);
  return recordBranch(context, last, branchInput(context, last, { hidden: scaled }), recorder);
}

/** y scaled to the length of x. In float32, because squares overflow 16 bits. [batch, tokens, hidden] */
function asLongAs({ builder, arithmetic: { elementType } }: GraphContext, x: Value, y: Value): Value {
  const [wideX, wideY] = [x, y].map((value) => cast(builder, value, elementType, "float32")) as [Value, Value];
  const meanSquare = (of: Value) =>
    builder.op("ReduceMean", [builder.op("Mul", [of, of]), builder.int64s([-1])], { attributes: { keepdims: 1 } });
  const length = builder.op("Sqrt", [meanSquare(wideX)]);
  const own = builder.op("Sqrt", [builder.op("Max", [meanSquare(wideY), builder.float32(LEAST_MEAN_SQUARE)])]);
  const scaled = builder.op("Div", [builder.op("Mul", [wideY, length]), own]);
  return cast(builder, scaled, "float32", elementType);
}

/** @param streams [batch, tokens, streams, hidden] @returns [batch, tokens, hidden] */
function streamOf(context: GraphContext, streams: Value, index: number): Value {
  return context.builder.op("Squeeze", [streamsOf(context, streams, index, index + 1), context.builder.int64s([2])]);
}

function streamsOf({ builder }: GraphContext, streams: Value, start: number, end = Number.MAX_SAFE_INTEGER): Value {
  return builder.op("Slice", [streams, builder.int64s([start]), builder.int64s([end]), builder.int64s([2])]);
}
