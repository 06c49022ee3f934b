// The serving engines by the names that the command line has for them. Knows nothing of what they do.

export const ENGINE_NAMES = ["tgi-documented", "tgi", "vllm", "sglang", "trtllm", "transformers"] as const;

export type EngineName = (typeof ENGINE_NAMES)[number];
