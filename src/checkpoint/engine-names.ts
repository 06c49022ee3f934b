// The serving engines by their names on the command line. Does not know what they do.

export const ENGINE_NAMES = ["tgi-documented", "tgi", "vllm", "sglang", "trtllm", "transformers"] as const;

export type EngineName = (typeof ENGINE_NAMES)[number];
