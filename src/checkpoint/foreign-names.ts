// Parts of tensor names from training code, when a model was saved inside its wrapper. No engine finds such tensors.
// Knows no architecture, and reads no tensor.

interface Wrapper {
  /** One or several parts of a name between dots. */
  readonly part: string;
  /** Whether it counts only at the beginning of a name: some models have modules of that name elsewhere. */
  readonly first?: true;
  readonly maker: string;
  readonly advice: string;
}

const MERGE =
  "Merge the adapter into the model and save that: model.merge_and_unload().save_pretrained(FOLDER), in Python with peft";
const UNWRAP = (attribute: string) =>
  `Save the model inside, model.${attribute}.save_pretrained(FOLDER) in Python, or take this part out of the names of all tensors`;

const WRAPPERS: readonly Wrapper[] = [
  { part: "_orig_mod", maker: "torch.compile", advice: UNWRAP("_orig_mod") },
  { part: "_fsdp_wrapped_module", maker: "FSDP", advice: UNWRAP("_fsdp_wrapped_module") },
  {
    part: "_checkpoint_wrapped_module",
    maker: "activation checkpointing",
    advice: UNWRAP("_checkpoint_wrapped_module"),
  },
  { part: "_forward_module", maker: "Lightning", advice: UNWRAP("_forward_module") },
  {
    part: "module",
    first: true,
    maker: "DataParallel, DistributedDataParallel or DeepSpeed",
    advice: UNWRAP("module"),
  },
  { part: "base_model.model", first: true, maker: "PEFT", advice: MERGE },
  { part: "base_layer", maker: "PEFT", advice: MERGE },
  { part: "lora_A", maker: "PEFT", advice: MERGE },
  { part: "lora_embedding_A", maker: "PEFT", advice: MERGE },
  { part: "lora_magnitude_vector", maker: "PEFT", advice: MERGE },
  { part: "pretrained_model", first: true, maker: "TRL", advice: UNWRAP("pretrained_model") },
  { part: "state_dict", first: true, maker: "a trainer", advice: UNWRAP("state_dict") },
  { part: "model_state_dict", first: true, maker: "a trainer", advice: UNWRAP("model_state_dict") },
];

const FOREIGN = new Map(WRAPPERS.map((wrapper) => [wrapper.part, wrapper]));

export interface ForeignName {
  /** The first tensor whose name has the part. */
  readonly name: string;
  /** What was found, why, and what to do, without a final full stop. */
  readonly problem: string;
}

/** The first name with a part that no engine knows; undefined where there is none. */
export function findForeignName(names: Iterable<string>): ForeignName | undefined {
  for (const name of names) {
    const wrapper = wrapperIn(name);
    if (wrapper === undefined) continue;
    const { part, maker, advice } = wrapper;
    return {
      name,
      problem: `tensor "${name}" has "${part}" in its name, which ${maker} put there, and no engine finds such tensors. ${advice}`,
    };
  }
  return undefined;
}

function wrapperIn(name: string): Wrapper | undefined {
  const parts = name.split(".");
  for (const [place, part] of parts.entries()) {
    const wrapper = FOREIGN.get(part) ?? FOREIGN.get(`${part}.${parts[place + 1]}`);
    if (wrapper !== undefined && (place === 0 || wrapper.first !== true)) return wrapper;
  }
  return undefined;
}
