// What the errors of ONNX Runtime and of the drivers below it mean for the reader: a table from their text to advice.
// Keeps their words, without the C++ source locations in them.

interface Advice {
  readonly pattern: RegExp;
  readonly advice: string;
}

const NVIDIA_LIBRARY = /lib(?:cudnn|cublas|cudart|cufft|curand|nvrtc|nvJitLink)\w*\.so[.\d]*/;

/** The first that matches counts. */
const ADVICE: readonly Advice[] = [
  {
    pattern: /No supported adapters|Failed to get a WebGPU adapter/,
    advice:
      "WebGPU found no GPU: it needs one with a driver for Vulkan (Linux), Direct3D 12 (Windows) or Metal (macOS)",
  },
  {
    pattern: /requires f16/,
    advice: "The GPU or its driver has no float16",
  },
  {
    pattern: /libcuda\.so|CUDA failure 35\b|driver version is insufficient/,
    advice: "NVIDIA's driver is missing or too old: CUDA 12 needs version 525 or later (nvidia-smi shows the version)",
  },
  {
    pattern: /CUDA failure 100\b|no CUDA-capable device/,
    advice: "No NVIDIA GPU can be seen: look at nvidia-smi and at CUDA_VISIBLE_DEVICES",
  },
  {
    pattern: NVIDIA_LIBRARY,
    advice:
      "A library of CUDA or cuDNN is missing: install it, in the version named here, or put its folder into LD_LIBRARY_PATH",
  },
  {
    pattern: /no kernel image is available|CUDA failure 209\b/,
    advice: "This build of ONNX Runtime has no code for this GPU: it is too old or too new",
  },
  {
    pattern: /CUDA failure 2\b|out of memory|ALLOC_FAILED|Failed to allocate memory|8007000E/i,
    advice: "The device is out of memory: allow less (--memory), or close other programs that use it",
  },
  {
    pattern: /bad[_ ]alloc/,
    advice: "The machine is out of memory: allow less (--memory), or close other programs that use it",
  },
  {
    pattern: /device (?:was )?lost|887A000[567]/i,
    advice: "The GPU was reset while it computed: give shorter prompts (--sequence-length), or allow less (--memory)",
  },
  {
    pattern: /backend not found/,
    advice: "This build of onnxruntime-node does not have the provider",
  },
  {
    pattern: /Failed to load shared library/,
    advice: "The provider's library cannot be loaded",
  },
];

/**
 * An error of ONNX Runtime for people: advice, when there is any, and the error's own words.
 * @param text its message
 */
export function explainRuntimeError(text: string): string {
  const words = withoutSourceCode(text);
  const known = ADVICE.find(({ pattern }) => pattern.test(text));
  return known === undefined ? words : `${known.advice} (${words})`;
}

/** A C++ file and line. */
const SOURCE_PLACE = /(?:[A-Za-z]:)?[\w./\\+-]*[/\\][\w.-]+\.(?:cc|cpp|cxx|h|hpp|inc|cu|cuh):\d+\s+/;
/** The condition of a check that failed, between the function's name and the message. */
const FAILED_CONDITION = /^\S.*? was false\.\s*/s;
/** The end of CUDA's errors: device number, machine name, file, line, call. */
const CUDA_PLACE = /\s*;\s*GPU=-?\d+\s*;\s*hostname=.*$/s;

/** Removes what only a programmer of ONNX Runtime can use: file, line, function, condition. */
export function withoutSourceCode(text: string): string {
  let rest = text.replace(CUDA_PLACE, "");
  for (;;) {
    const found = SOURCE_PLACE.exec(rest);
    if (found === null) break;
    const behind = withoutFunction(rest.slice(found.index + found[0].length));
    rest = rest.slice(0, found.index) + behind.replace(FAILED_CONDITION, "");
  }
  return rest.replace(/\s+/g, " ").trim();
}

/** The text before a function's parameter list: `type name`. */
const SIGNATURE_HEAD = /^(?:[\w<>,&*~\s]|::)*[\w>]$/;
/** The text after a parameter list. */
const SIGNATURE_TAIL = /^(?:\s*const\b|\s*\[with [^\]]*\]|::<lambda\([^)]*\)>)*\s*/;

/**
 * Removes the function from the beginning: `type name(types) const [with T = type]`, or only the name, as Microsoft's
 * compiler writes it.
 */
function withoutFunction(text: string): string {
  const named = text.replaceAll("(anonymous namespace)::", "");
  const open = named.indexOf("(");
  if (open >= 0 && SIGNATURE_HEAD.test(named.slice(0, open))) {
    return named.slice(closingParenthesis(named, open) + 1).replace(SIGNATURE_TAIL, "");
  }
  return named.replace(/^\w+::\S+\s+/, "");
}

function closingParenthesis(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === "(") depth++;
    else if (text[at] === ")" && --depth === 0) return at;
  }
  return text.length;
}
