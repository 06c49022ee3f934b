// The one place where quantized weights enter a description: each weight that a family names by its tensor becomes codes
// and scales where the quantization_config says so and the checkpoint has them. What contradicts is an error.

import { CheckpointError, UnsupportedModelError } from "../../errors.js";
import type { Block, Linear } from "../blocks.js";
import type { TensorShapes } from "../check-tensors.js";
import { blocksOf, type Decoder } from "../description.js";
import type { ScaledSource, TensorSource } from "../weight-source.js";
import type { Quantization } from "./quantization.js";
import { codesInPlaceOf, type StoredForm, type WeightInForm, weightInForm } from "./stored-form.js";

/**
 * The decoder with its quantized weights.
 * @throws CheckpointError where the tensors contradict the quantization_config
 */
export function withQuantizedWeights(decoder: Decoder, quantization: Quantization, tensors: TensorShapes): Decoder {
  const weights = new Map(matricesIn(decoder).map((weight) => [weight.name, weight]));
  const forms = quantization.formsOf([...weights.keys()].map(moduleOf));
  const inForm = new Map<string, WeightInForm>();
  for (const weight of weights.values()) {
    const form = forms.get(moduleOf(weight.name));
    const found = form && weightInForm(form, weight, tensors, quantization.where);
    if (found !== undefined) inForm.set(weight.name, found);
    else if (form === undefined) requireNumbers(weight, tensors, quantization);
  }
  for (const { name } of decoder.layers.flatMap(blocksOf).flatMap(matricesThatEnginesQuantize)) {
    const form = forms.get(moduleOf(name));
    if (form === undefined || inForm.has(name)) continue;
    if (inForm.size === 0) refuseNumbersAlone(form, quantization);
    if (quantization.byTensors) continue;
    requireCodes(name, form, tensors, quantization);
  }
  const layers = decoder.layers.map((layer) => {
    const unread = new Set(matricesIn(layer).flatMap(({ name }) => inForm.get(name)?.unread ?? []));
    return unread.size === 0 ? layer : { ...layer, unread: [...(layer.unread ?? []), ...unread] };
  });
  const stored = withSources({ ...decoder, layers }, (name) => inForm.get(name)?.source);
  const names = new Set([...inForm.keys()].flatMap((name) => forms.get(moduleOf(name))?.name ?? []));
  const { method, activations } = quantization;
  return { ...stored, quantization: { method, forms: [...names].sort(), activations } };
}

/** Names of tensors, those of codes as if they were numbers. */
export function* namesOfWeights(names: Iterable<string>): Generator<string> {
  for (const name of names) yield name.replace(/\.(weight_packed|qweight)$/, ".weight");
}

/** The name that lists of modules have for a weight. */
function moduleOf(name: string): string {
  return name.replace(/\.weight$/, "");
}

/** All tensors of two axes or more that a description names. */
function matricesIn(described: unknown): TensorSource[] {
  if (typeof described !== "object" || described === null) return [];
  if (isTensorSource(described)) return described.shape.length > 1 ? [described] : [];
  return Object.values(described).flatMap(matricesIn);
}

function isTensorSource(value: object): value is TensorSource {
  return "kind" in value && value.kind === "tensor";
}

/** A copy in which tensors with other sources are these. */
function withSources<Described>(described: Described, sourceOf: (name: string) => ScaledSource | undefined): Described;
function withSources(described: unknown, sourceOf: (name: string) => ScaledSource | undefined): unknown {
  if (typeof described !== "object" || described === null) return described;
  if (Array.isArray(described)) return described.map((item) => withSources(item, sourceOf));
  if (isTensorSource(described)) return sourceOf(described.name) ?? described;
  return Object.fromEntries(Object.entries(described).map(([key, value]) => [key, withSources(value, sourceOf)]));
}

/**
 * Engines quantize neither routers nor gates of one output, nor what has one output per head, and leave the selective scan
 * in 16 bits (read in vLLM 0.32).
 */
function matricesThatEnginesQuantize(block: Block): TensorSource[] {
  switch (block.kind) {
    case "attention":
      return matricesOf(block.query, block.key, block.value, block.output);
    case "shared-attention":
      return matricesOf(block.query, block.output);
    case "gated-delta-net": {
      const { query, key, value, gate, output } = block;
      return matricesOf(query.projection, key.projection, value.projection, gate, output);
    }
    case "short-convolution":
      return matricesOf(block.gateBefore, block.input, block.gateBehind, block.output);
    case "state-space": {
      const { x, b, c, gate, output } = block;
      return matricesOf(x.projection, b.projection, c.projection, gate, output);
    }
    case "selective-scan":
      return [];
    case "feed-forward":
      return matricesOf(block.gate, block.up, block.down);
    case "low-rank":
      return matricesOf(block.left, block.right);
    case "per-layer-input":
      return matricesOf(block.gate, block.projection);
    case "experts": {
      const shared = block.shared === undefined ? [] : [block.shared.feedForward];
      const inside = [...block.experts, ...shared].flatMap(matricesThatEnginesQuantize);
      return [...inside, ...matricesOf(block.latent?.into, block.latent?.out)];
    }
  }
}

function matricesOf(...linears: readonly (Linear | undefined)[]): TensorSource[] {
  return linears.flatMap((linear) => matricesIn(linear?.weight));
}

/** @throws CheckpointError for codes of a weight that the config says has numbers */
function requireNumbers({ name }: TensorSource, tensors: TensorShapes, { where }: Quantization): void {
  const codes = codesInPlaceOf(name, tensors);
  if (codes === undefined) return;
  throw new CheckpointError(
    `${codes.file}: tensor "${codes.name}": found ${codes.dtype}, but ${where} says that "${moduleOf(name)}" is not quantized: it is left out by a list, or no group is for it. One of them is wrong.`,
  );
}

function refuseNumbersAlone(form: StoredForm, { where, key }: Quantization): never {
  const accept =
    key === undefined ? "" : `; if you know that it changes neither, accept it with --assume-harmless ${key}`;
  throw new UnsupportedModelError(
    `${where}: says that weights are quantized (${form.name}), but all are of 16 or 32 bits: engines would quantize them, which changes K and V. Remove it if it is a leftover${accept}.`,
  );
}

/** @throws CheckpointError for numbers of a weight that the config says has codes */
function requireCodes(name: string, form: StoredForm, tensors: TensorShapes, { where }: Quantization): void {
  const found = tensors.get(name);
  if (found === undefined) return; // missing altogether, which is told where tensors are checked
  throw new CheckpointError(
    `${found.file}: tensor "${name}": found ${found.dtype}, but ${where} says that "${moduleOf(name)}" is quantized (${form.name}). One of them is wrong; if it is the list of modules that are left in 16 bits, add this one.`,
  );
}
