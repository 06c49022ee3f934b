// One layer with experts on the CPU: this program's graph, the same arithmetic as dense products, and transformers' layer,
// in turns. Needs a checkpoint that random-checkpoint.js made of a shape with experts, and the built program.
//
//   node bench/moe-layer.js CHECKPOINT [--tokens 1024] [--repeats 7] [--python python3]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { loadavg } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { attentionOf } from "../dist/architectures/cache-sites.js";
import { blocksOf } from "../dist/architectures/description.js";
import { describeModel } from "../dist/architectures/registry.js";
import { openCheckpoint } from "../dist/checkpoint/open-checkpoint.js";
import { FLOAT32_ARITHMETIC } from "../dist/graphs/arithmetic.js";
import { multiply } from "../dist/graphs/blocks.js";
import { buildSegment } from "../dist/graphs/segment.js";
import { GraphWeights } from "../dist/graphs/weights.js";
import { GraphBuilder } from "../dist/onnx/graph-builder.js";
import { encodeModelProto } from "../dist/onnx/model-proto.js";
import { layerInputs, RopeTableCache } from "../dist/pipeline/batch-inputs.js";
import { weightLocations } from "../dist/pipeline/weight-locations.js";
import { openSession } from "../dist/runtime/session.js";
import { spreadOf } from "./summary.js";

/** @typedef {import("../dist/architectures/description.js").Decoder} Decoder */
/** @typedef {{ seconds: number, processorSeconds: number }} Time */

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    tokens: { type: "string", default: "1024" },
    repeats: { type: "string", default: "7" },
    python: { type: "string", default: "python3" },
  },
});
const [folder] = positionals;
if (folder === undefined) throw new Error("Usage: node bench/moe-layer.js CHECKPOINT [--tokens N] [--repeats N]");
const [tokens, repeats] = [Number(values.tokens), Number(values.repeats)];

const checkpoint = await openCheckpoint(folder);
const decoder = describeModel(checkpoint.config, checkpoint.tensors);
const { folder: externalDataFolder, locate } = weightLocations(checkpoint);
const [layer] = decoder.layers;
const mixture = layer && blocksOf(layer).find((block) => block.kind === "experts");
const attention = layer && attentionOf(layer);
if (layer === undefined || mixture === undefined || attention === undefined) throw new Error("no layer with experts");

const hidden = randomNumbers(tokens * decoder.hiddenSize);
const state = /** @type {const} */ ({ type: "float32", data: hidden, shape: [1, tokens, decoder.hiddenSize] });
const batch = { prompts: [0], lengths: [tokens], width: tokens };
const ours = {
  session: await open(buildSegment(decoder, [{ kind: "layer", layer }], locate)),
  inputs: { hidden: state, ...layerInputs(batch, new RopeTableCache(decoder).of(tokens)) },
};
const dense = { session: await open(denseProducts()), inputs: { hidden: state } };
const python = spawn(values.python, [fileURLToPath(new URL("./moe_layer.py", import.meta.url)), folder, `${tokens}`], {
  stdio: ["pipe", "pipe", "inherit"],
});
const answers = createInterface(python.stdout)[Symbol.asyncIterator]();
/** @type {string[]} */
const implementations = JSON.parse((await answers.next()).value);

/** @type {Record<string, Time[]>} */
const times = { ours: [], dense: [], ...Object.fromEntries(implementations.map((name) => [name, []])) };
for (let repeat = 0; repeat <= repeats; repeat++) {
  const round = { ours: await timed(ours), dense: await timed(dense), ...(await timesOfTransformers()) };
  // The first round warms up.
  if (repeat > 0) for (const [name, time] of Object.entries(round)) times[name]?.push(time);
}
python.stdin.end();
await once(python, "exit");

const of = (/** @type {string} */ name, /** @type {keyof Time} */ what) =>
  spreadOf((times[name] ?? []).map((time) => time[what])).median;
console.log(`${tokens} tokens, medians of ${repeats}, load ${loadavg()[0]?.toFixed(1)}`);
for (const name of Object.keys(times)) {
  const { least, median } = spreadOf((times[name] ?? []).map(({ seconds }) => seconds));
  const processor = of(name, "processorSeconds").toFixed(3);
  console.log(`${name}: ${median.toFixed(3)} s (least ${least.toFixed(3)}), ${processor} s of the processor`);
}
for (const name of Object.keys(times).filter((other) => other !== "ours")) {
  // Of each round by itself: what else the machine does weighs on neighbours alike.
  const ratioOf = (/** @type {keyof Time} */ what) =>
    spreadOf((times.ours ?? []).map((time, round) => time[what] / (times[name]?.[round]?.[what] ?? Number.NaN)));
  const [wall, processor] = [ratioOf("seconds").median.toFixed(2), ratioOf("processorSeconds").median.toFixed(2)];
  console.log(`ours / ${name}: ${wall} of time, ${processor} of processor time`);
}

/** The products that a token meets, each over as many rows as the layer has for it. */
function denseProducts() {
  if (mixture === undefined || attention === undefined) throw new Error("no layer with experts");
  const builder = new GraphBuilder();
  const context = { builder, weights: new GraphWeights(builder, locate), arithmetic: FLOAT32_ARITHMETIC };
  const x = builder.input("hidden", "float32", [1, "tokens", decoder.hiddenSize]);
  const product = (/** @type {typeof x} */ value, /** @type {{ weight: any } | undefined} */ linear) =>
    multiply(context, value, linear?.weight);
  const [query, key, value] = [attention.query, attention.key, attention.value].map((each) => product(x, each));
  const projected = product(/** @type {typeof x} */ (query), attention.output);
  const sent = Array.from({ length: mixture.router.perToken }, () => projected);
  const rows = builder.op("Concat", sent, { attributes: { axis: 1 } }); // [1, tokens × per_token, hidden]
  const [expert] = mixture.experts;
  const opened = builder.op("Add", [product(rows, expert?.gate), product(rows, expert?.up)]);
  const results = [product(opened, expert?.down), key, value, product(x, mixture.router.logits)];
  for (const [number, result] of results.entries()) {
    // A small result, so that nothing but products is measured.
    const last = builder.op("Gather", [/** @type {typeof x} */ (result), builder.int64s([0])], {
      attributes: { axis: 1 },
    });
    builder.output(last, `result_${number}`, "float32", [1, 1, "width"]);
  }
  return builder.finish();
}

/** @param {import("../dist/onnx/model-proto.js").Graph} graph */
function open(graph) {
  return openSession({ model: encodeModelProto(graph), externalDataFolder, provider: "cpu", purpose: "the benchmark" });
}

/**
 * @param {{ session: Awaited<ReturnType<typeof open>>, inputs: import("../dist/runtime/session.js").NamedTensors }} graph
 * @returns {Promise<Time>}
 */
async function timed({ session, inputs }) {
  const [start, used] = [performance.now(), process.cpuUsage()];
  await session.run(inputs);
  const { user, system } = process.cpuUsage(used);
  return { seconds: (performance.now() - start) / 1000, processorSeconds: (user + system) / 1e6 };
}

/** @returns {Promise<Record<string, Time>>} by implementation of experts */
async function timesOfTransformers() {
  python.stdin.write("run\n");
  return JSON.parse((await answers.next()).value);
}

/** From −1 to 1, the same in every run (a linear congruential generator). @param {number} count */
function randomNumbers(count) {
  let last = 1;
  return Float32Array.from({ length: count }, () => {
    last = (Math.imul(last, 1664525) + 1013904223) >>> 0;
    return last / 2 ** 31 - 1;
  });
}
