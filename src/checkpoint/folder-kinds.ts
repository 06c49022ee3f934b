// Recognizes folders that are no safetensors checkpoint by the names in them, and says what to do: one row per kind,
// the surest signs first. Opens no file.

import { readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import { modelOfRepoFolder, modelOfSnapshot } from "./hub-folders.js";

interface FolderKind {
  /** The telling file name. */
  readonly sign: (names: readonly string[]) => string | undefined;
  /** What it is. Without a full stop at the end. */
  readonly what: string;
  /** A sentence. */
  readonly advice: string;
}

const first = (pattern: RegExp) => (names: readonly string[]) => names.find((name) => pattern.test(name));
const firstWith = (pattern: RegExp, other: RegExp) => (names: readonly string[]) =>
  first(other)(names) === undefined ? undefined : first(pattern)(names);
const isThere = (pattern: RegExp, names: readonly string[]) => first(pattern)(names) !== undefined;

const SAFETENSORS = /\.safetensors$/;
const PICKLED_WEIGHTS = /^(?!training_args|optimizer|scheduler|rng_state|random_states).*\.(bin|pt|pth|ckpt)$/;
const GIVE_CHECKPOINT = "Give a folder with config.json and *.safetensors, or a hub id such as org/name.";
const ORIGINAL = "Give the safetensors checkpoint that it was made from.";

const KINDS: readonly FolderKind[] = [
  {
    sign: first(/^adapter_(config\.json|model\.(safetensors|bin))$/),
    what: "an adapter (LoRA or another of PEFT), not a model",
    advice:
      "Merge it into its base model, in Python with peft: AutoPeftModelForCausalLM.from_pretrained(ADAPTER).merge_and_unload().save_pretrained(FOLDER). Save the tokenizer there, too, and give that folder.",
  },
  {
    sign: first(/^model_index\.json$/),
    what: "a diffusers pipeline, which makes images or sound",
    advice: "It has no KV cache to calibrate. Give a language model.",
  },
  { sign: first(/\.gguf$/i), what: "a model in GGUF, llama.cpp's format", advice: ORIGINAL },
  {
    sign: firstWith(/^params\.json$/, /\.pth$/),
    what: "a model in Meta's own format (params.json)",
    advice:
      "Give the checkpoint in transformers' format: the hub's repository with -hf in its name or with config.json, or what transformers' convert_llama_weights_to_hf.py writes.",
  },
  {
    sign: first(/^(params\.json|consolidated(\.\d+)?\.safetensors(\.index\.json)?)$/),
    what: "a model in Mistral's own format (params.json, consolidated.safetensors)",
    advice:
      "Give the checkpoint in transformers' format, with config.json and model*.safetensors: most of Mistral's repositories on the hub have both, so download those files, too.",
  },
  {
    sign: first(/^(genai_config\.json|onnx)$|\.(onnx|onnx_data|ort)$/),
    what: "an export to ONNX",
    advice: `${ORIGINAL} ONNX Runtime runs it here without an export.`,
  },
  {
    sign: first(/^openvino_.*\.xml$|\.(mlpackage|mlmodel|tflite|engine|nemo|npz|keras)$/),
    what: "a model that was exported for another runtime",
    advice: ORIGINAL,
  },
  {
    sign: first(/^(tf_model.*\.h5|flax_model.*\.msgpack|rust_model\.ot)$/),
    what: "a model in the format of TensorFlow, Flax or Rust",
    advice:
      "Load and save it with transformers in Python, which writes safetensors: AutoModelForCausalLM.from_pretrained(…).save_pretrained(FOLDER).",
  },
  {
    sign: first(/^(zero_to_fp32\.py|latest_checkpointed_iteration\.txt|mp_rank_\d+|global_step\d+)$|\.distcp$/),
    what: "the state of a training run (DeepSpeed, FSDP or Megatron)",
    advice: "Export the model from it first: with zero_to_fp32.py of DeepSpeed, or the trainer's save_model.",
  },
  {
    sign: (names) => (isThere(SAFETENSORS, names) ? undefined : first(PICKLED_WEIGHTS)(names)),
    what: "a model with weights in PyTorch's format only, which can run code when read",
    advice: "Convert them to safetensors first: load it in Python and save_pretrained(FOLDER).",
  },
];

/**
 * What an incomplete checkpoint folder is, and what to do: sentences that follow "not found: ".
 * @param names what is in it
 */
export async function describeFolder(
  folder: string,
  names: readonly string[],
  missing: "config.json" | "weights",
): Promise<string> {
  const visible = names.filter((name) => !name.startsWith("."));
  if (visible.length === 0) return `the folder is empty. ${GIVE_CHECKPOINT}`;
  const cache = await describeHubFolder(folder, visible);
  if (cache !== undefined) return cache;
  for (const { sign, what, advice } of KINDS) {
    const found = sign(visible);
    if (found !== undefined) return `the folder is ${what}; it has ${found}. ${advice}`;
  }
  const inside = await findCheckpointInside(folder, visible);
  if (inside !== undefined) return `a checkpoint is in a folder inside. Give that: ${inside}`;
  if (missing === "config.json" && isThere(SAFETENSORS, visible))
    return "the folder has weights without it. Download it, too.";
  if (isThere(/^(tokenizer|vocab|merges|special_tokens_map|chat_template)[._]/, visible)) {
    const what = missing === "weights" ? "a configuration and a tokenizer" : "a tokenizer";
    return `the folder has ${what} alone. Download the weights, too, or give the folder that has them.`;
  }
  return GIVE_CHECKPOINT;
}

/** The same for folders of the hub's cache above a snapshot. */
async function describeHubFolder(folder: string, names: readonly string[]): Promise<string | undefined> {
  const path = await realpath(folder).catch(() => folder);
  const model = modelOfRepoFolder(path) ?? modelOfSnapshot(join(path, "any"));
  if (model !== undefined) {
    const [commit] = (await namesIn(join(model.repoFolder, "snapshots"))).sort();
    const snapshot = commit && join(model.repoFolder, "snapshots", commit);
    const orSnapshot = snapshot === undefined ? "" : `, or a snapshot in it: ${snapshot}`;
    return `the folder is the hub's cache of ${model.repo}. Give the hub id ${model.repo}${orSnapshot}`;
  }
  const cached = names.flatMap((name) => modelOfRepoFolder(join(path, name))?.repo ?? []);
  if (cached.length === 0) return undefined;
  return `the folder is the hub's cache. Give the hub id of a model, such as ${cached[0]}.`;
}

const LISTED_FOLDERS = 100;

/** The last folder by name and number with a config.json, such as the last checkpoint of a training run. */
async function findCheckpointInside(folder: string, names: readonly string[]): Promise<string | undefined> {
  const byNumber = new Intl.Collator("en", { numeric: true });
  for (const name of names.toSorted((a, b) => byNumber.compare(b, a)).slice(0, LISTED_FOLDERS)) {
    const inside = await namesIn(join(folder, name));
    if (inside.includes("config.json") && isThere(SAFETENSORS, inside)) return join(folder, name);
  }
  return undefined;
}

/** Empty when it is no folder, or cannot be listed. */
async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((): string[] => []);
}
