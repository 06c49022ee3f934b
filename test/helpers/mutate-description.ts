// Every way in which one field of a decoder's description can be another: numbers, switches, names of tensors, what is
// optional and there, what is optional and not there. Descriptions are walked as data, so no field is forgotten; the compiler
// keeps the table of optional fields complete. Knows no model.

import type {
  Attention,
  AttentionReading,
  CausalConvolution,
  FeedForward,
  GatedDeltaNet,
  LayerNorm,
  Linear,
  RmsNorm,
  SharedAttention,
} from "../../src/architectures/blocks.js";
import type {
  AltUp,
  Branch,
  Decoder,
  DecoderLayer,
  Embedding,
  ModelEnd,
  Residual,
} from "../../src/architectures/description.js";
import type { Experts, ScoreRouter, SharedExpert } from "../../src/architectures/experts.js";
import type { Rope, RopeScaling } from "../../src/architectures/rope.js";
import type { SelectiveScan, StateSpace, TimeStepLimits } from "../../src/architectures/state-space.js";
import { tensorSource, type WeightSource } from "../../src/architectures/weight-source.js";

/** One field that is otherwise. */
export interface Mutation {
  /** Where, such as `layers.0.residuals.0.branches.0.block.heads`. */
  readonly path: string;
  readonly from: unknown;
  readonly to: unknown;
  /** May break every rule of its type: that is what is tried. */
  readonly decoder: Decoder;
}

/** What there is to put in the place of something. */
interface Around {
  readonly decoder: Decoder;
  /** Tensors of the checkpoint with their shapes. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
}

type Path = readonly (string | number)[];

/**
 * All mutations of a description, field by field: of each field its several other values, the likeliest to be noticed last.
 * @param isWanted whether a field is to be changed
 */
export function* mutationsOf(
  around: Around,
  isWanted: (path: string) => boolean = () => true,
): Generator<readonly Mutation[]> {
  for (const { path, from, others } of changes(around, around.decoder, [])) {
    const name = path.join(".");
    if (!isWanted(name)) continue;
    // A description that is no longer one, on purpose.
    const changed = (to: unknown) => withValue(around.decoder, path, to) as Decoder;
    yield others.map((to) => ({ path: name, from, to, decoder: changed(to) }));
  }
}

interface Change {
  readonly path: Path;
  readonly from: unknown;
  readonly others: readonly unknown[];
}

function* changes(around: Around, value: unknown, path: Path): Generator<Change> {
  const others = leavesInsteadOf(around, value, path);
  if (others.length > 0) yield { path, from: value, others };
  if (typeof value !== "object" || value === null) return;
  if (path.at(-1) === "scaling") yield { path, from: value, others: [scalingInsteadOf(value)] };
  for (const [key, make] of Object.entries(optionalFieldsOf(value, path))) {
    if (hasField(value, key)) {
      yield { path: [...path, key], from: "there", others: [undefined] };
    } else {
      const added = make(value, around);
      if (added !== undefined) yield { path: [...path, key], from: "absent", others: [added] };
    }
  }
  for (const [key, inner] of Object.entries(value)) {
    // Of one axis there is no order.
    if (key === "stored" && "shape" in value && isVector(value.shape)) continue;
    yield* changes(around, inner, [...path, Array.isArray(value) ? Number(key) : key]);
  }
}

function isVector(shape: unknown): boolean {
  return Array.isArray(shape) && shape.filter((size) => size !== 1).length < 2;
}

function hasField(value: object, key: string): boolean {
  return Object.entries(value).some(([name, inner]) => name === key && inner !== undefined);
}

// --- numbers, switches, names -------------------------------------------------------------------------------------------

function leavesInsteadOf(around: Around, value: unknown, path: Path): readonly unknown[] {
  const key = path.filter((part) => typeof part === "string").at(-1) ?? "";
  if (typeof value === "number") return numbersInsteadOf(key, value);
  if (typeof value === "boolean") return [!value];
  return typeof value === "string" ? stringsInsteadOf(around, key, value) : [];
}

function numbersInsteadOf(key: string, value: number): readonly number[] {
  if (key === "epsilon") return [1000 * value, value + 0.1];
  return Number.isInteger(value) ? [value + 1, value - 1, 10 * value + 10] : [1.3 * value, 10 * value, value + 1];
}

/** The values of a field that has few, by its name. */
const CHOICES: Readonly<Record<string, readonly (readonly string[])[]>> = {
  activation: [
    ["silu", "gelu", "relu", "relu2", "gelu_tanh", "gelu_quick"],
    ["sigmoid", "softplus"],
  ],
  kind: [["rms", "layer"]],
  score: [["softmax", "sigmoid"]],
  pairing: [["halves", "neighbours"]],
  over: [["head", "projection"]],
  when: [
    ["before-rotation", "after-rotation"],
    ["before-gate", "after-gate"],
  ],
  weighted: [["input", "output"]],
  stored: [["outputs-first", "inputs-first"]],
};
/** Kinds and types that say what else an object has: another one would be another object. */
const SAYS_WHAT_IT_IS = new Set(["kind", "type"]);
const OTHER_TENSORS = 3;

function stringsInsteadOf({ shapes }: Around, key: string, value: string): readonly string[] {
  const choices = CHOICES[key]?.find((names) => names.includes(value));
  if (choices !== undefined) return choices.filter((name) => name !== value);
  if (SAYS_WHAT_IT_IS.has(key)) return [];
  const shape = shapes.get(value);
  if (shape === undefined) return [`${value}_of_another`];
  const others = [...shapes].filter(([name, { length }]) => name !== value && length === shape.length);
  const alike = others.filter(([, sizes]) => sizes.every((size, axis) => size === shape[axis])).map(([name]) => name);
  return alike.length === 0 ? [`${value}.absent`] : alike.slice(0, OTHER_TENSORS);
}

function scalingInsteadOf(scaling: object): RopeScaling {
  const isDefault = "type" in scaling && scaling.type === "default";
  return isDefault ? { type: "linear", factor: 2 } : { type: "default" };
}

// --- what is optional ---------------------------------------------------------------------------------------------------

type OptionalKeys<Type> = {
  [Key in keyof Type]-?: Record<never, never> extends Pick<Type, Key> ? Key : never;
}[keyof Type];
/** What each optional field may be where it is absent; undefined: nothing that would fit. */
type Optional<Type> = {
  readonly [Key in OptionalKeys<Type>]: (holder: Type, around: Around) => Required<Type>[Key] | undefined;
};
type Maker = (holder: unknown, around: Around) => unknown;

const nothing = () => undefined;
const more = () => 1.3;
const plainNorm = (_holder: unknown, { decoder: { hiddenSize } }: Around) => normOf(hiddenSize);
const normOf = (size: number): RmsNorm => ({ kind: "rms", size, epsilon: 1e-5 });

function vectorOf(size: number, { shapes }: Around): WeightSource | undefined {
  const found = [...shapes].find(([, shape]) => shape.length === 1 && shape[0] === size);
  return found && tensorSource(found[0], [size]);
}

const READING: Optional<AttentionReading> = {
  valueDim: nothing,
  queryNorm: ({ headDim }) => ({ norm: normOf(headDim), over: "head", when: "before-rotation" }),
  rope: (_, { decoder }) => ropeUse(decoder),
  queryRope: ({ rope }, { decoder }) => ropeUse(decoder, rope?.rope === 0 ? 1 : 0),
  scale: ({ headDim }) => 1.3 * headDim ** -0.5,
  softcap: () => 1,
  slidingWindow: () => 5,
  chunkSize: () => 5,
  sinks: ({ heads }, around) => vectorOf(heads, around),
  gate: nothing,
};

function ropeUse({ ropes }: Decoder, index = 0): AttentionReading["rope"] {
  const rope = ropes[index];
  return rope && { rope: index, dimensions: rope.dimensions, pairing: "halves" };
}

const OPTIONAL = {
  decoder: {
    perLayerInputs: nothing,
    streams: nothing,
    nextTokenLayers: nothing,
    quantization: nothing,
  } satisfies Optional<Decoder>,
  embedding: { multiplier: more, positions: nothing, norm: plainNorm } satisfies Optional<Embedding>,
  end: {
    bias: ({ norm: { size } }, { decoder, shapes }) =>
      [...shapes.keys()].find((name) => `${shapes.get(name)}` === `${decoder.vocabularySize}` && size > 0),
    multiplier: more,
    softcap: () => 1,
  } satisfies Optional<ModelEnd>,
  layer: { altUp: nothing, unread: nothing } satisfies Optional<DecoderLayer>,
  altUp: { lastScale: (_, around) => vectorOf(around.decoder.hiddenSize, around) } satisfies Optional<AltUp>,
  residual: { postNorm: plainNorm, multiplier: more, scale: more } satisfies Optional<Residual>,
  branch: { norm: plainNorm, inputMultiplier: more, postNorm: plainNorm, multiplier: more } satisfies Optional<Branch>,
  attention: {
    ...READING,
    keyNorm: ({ headDim }) => ({ norm: normOf(headDim), over: "head", when: "before-rotation" }),
    valueNorm: ({ headDim, valueDim = headDim }) => normOf(valueDim),
    clip: () => 0.5,
    keyMultiplier: more,
    valueMultiplier: more,
  } satisfies Optional<Attention>,
  "shared-attention": READING satisfies Optional<SharedAttention>,
  "gated-delta-net": { betaMultiplier: more } satisfies Optional<GatedDeltaNet>,
  "state-space": {
    timeStepLimits: () => ({ least: 0.5 }),
    norm: ({ heads, headDim, groups }, around) => {
      const weight = vectorOf(heads * headDim, around);
      return weight && { weight, groups, epsilon: 1e-5, when: "after-gate" };
    },
    multipliers: () => ({ x: 1.3, b: 1.3, c: 1.3, timeStep: 1.3, gate: 1.3 }),
  } satisfies Optional<StateSpace>,
  "selective-scan": {} satisfies Optional<SelectiveScan>,
  limits: { most: ({ least }) => 1.01 * least } satisfies Optional<TimeStepLimits>,
  "feed-forward": {
    gateCutoff: ({ gate }) => gate && 0.5,
    gate: ({ up }) => up,
    gateMultiplier: ({ gate }) => gate && 1.3,
  } satisfies Optional<FeedForward>,
  linear: { bias: ({ outputs }, around) => vectorOf(outputs, around) } satisfies Optional<Linear>,
  convolution: { bias: ({ channels }, around) => vectorOf(channels, around) } satisfies Optional<CausalConvolution>,
  rms: {
    weight: ({ size }, around) => vectorOf(size, around),
    plusOne: ({ weight }) => weight && true,
    product: ({ weight }) => weight && "float32",
  } satisfies Optional<RmsNorm>,
  "layer-norm": {
    weight: ({ size }, around) => vectorOf(size, around),
    bias: ({ size }, around) => vectorOf(size, around),
    plusOne: ({ weight }) => weight && true,
  } satisfies Optional<LayerNorm>,
  experts: {
    norm: plainNorm,
    latent: nothing,
    shared: ({ experts: [feedForward] }) => feedForward && { feedForward },
  } satisfies Optional<Experts>,
  shared: { gate: nothing } satisfies Optional<SharedExpert>,
  scores: {
    input: ({ logits }) => ({ norm: normOf(logits.inputs), multiplier: 1 }),
    softcap: () => 0.5,
    correction: ({ logits }, around) => vectorOf(logits.outputs, around),
    groups: ({ logits }) => (logits.outputs % 2 === 0 ? { count: 2, chosen: 1 } : undefined),
    normalised: () => ({ p: 1, epsilon: 0, floor: 0 }),
    perExpert: ({ logits }, around) => vectorOf(logits.outputs, around),
  } satisfies Optional<ScoreRouter>,
  rope: { growth: () => ({ beta: 0.3, every: 8 }), first: () => 7 } satisfies Optional<Rope>,
  growth: { offset: () => 1 } satisfies Optional<NonNullable<Rope["growth"]>>,
  longrope: { longAttentionFactor: () => 1.3 } satisfies Optional<Extract<RopeScaling, { type: "longrope" }>>,
  "expert-source": { count: nothing } satisfies Optional<Extract<WeightSource, { kind: "expert" }>>,
};

function optionalFieldsOf(value: object, path: Path): Readonly<Record<string, Maker>> {
  const type = typeOf(value, path);
  // The walk knows what it looks at by where it is; the makers' own types are held where they are written.
  return type === undefined ? {} : (OPTIONAL[type] as Readonly<Record<string, Maker>>);
}

const BY_KEY: Readonly<Record<string, keyof typeof OPTIONAL>> = {
  embedding: "embedding",
  end: "end",
  altUp: "altUp",
  last: "branch",
  layers: "layer",
  residuals: "residual",
  branches: "branch",
  ropes: "rope",
  growth: "growth",
  shared: "shared",
  convolution: "convolution",
  timeStepLimits: "limits",
};

/** What an object of a description is: by its kind, or by where it is. */
function typeOf(value: object, path: Path): keyof typeof OPTIONAL | undefined {
  if (Array.isArray(value)) return undefined;
  if ("inputs" in value && "outputs" in value) return "linear";
  if ("type" in value) return value.type === "longrope" ? "longrope" : undefined;
  if ("kind" in value) {
    if (value.kind === "layer") return "layer-norm";
    if (value.kind === "expert") return "expert-source";
    return Object.keys(OPTIONAL).find((name): name is keyof typeof OPTIONAL => name === value.kind);
  }
  return path.length === 0 ? "decoder" : BY_KEY[path.filter((part) => typeof part === "string").at(-1) ?? ""];
}

/** A copy with another value at one place; undefined takes the field away. */
function withValue(holder: unknown, [key, ...rest]: Path, to: unknown): unknown {
  if (key === undefined) return to;
  if (Array.isArray(holder)) return holder.map((inner, index) => (index === key ? withValue(inner, rest, to) : inner));
  if (typeof holder !== "object" || holder === null) throw new RangeError(`nothing at ${key}`);
  const entries = Object.entries(holder).filter(([name]) => name !== key);
  const inner = Object.entries(holder).find(([name]) => name === key)?.[1];
  const changed = withValue(inner, rest, to);
  return Object.fromEntries(changed === undefined ? entries : [...entries, [key, changed]]);
}
