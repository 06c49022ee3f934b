// What the errors of ONNX Runtime and the drivers below it mean for the reader: a table from what they say to what can
// be done about it. Keeps their own words, without the places in source code that they come from.

interface Advice {
  readonly pattern: RegExp;
  readonly advice: string;
}

const NVIDIA_LIBRARY = /lib(?:cudnn|cublas|cudart|cufft|curand|nvrtc|nvJitLink)\w*\.so[.\d]*/;

/** The first that fits counts. */
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
    advice:
      "NVIDIA's driver is missing or too old: CUDA 12 needs version 525 or later (nvidia-smi says which there is)",
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
    advice: "This build of ONNX Runtime has no code for so old or so new a GPU",
  },
  {
    pattern: /CUDA failure 2\b|out of memory|ALLOC_FAILED|Failed to allocate memory|8007000E/i,
    advice: "The device's memory does not suffice: allow less (--memory), or end what else uses it",
  },
  {
    pattern: /bad[_ ]alloc/,
    advice: "The machine's memory does not suffice: allow less (--memory), or end what else uses it",
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
 * An error of ONNX Runtime for people: what to do about it, when that is known, and what it said.
 * @param text its message
 */
export function explainRuntimeError(text: string): string {
  const words = withoutSourceCode(text);
  const known = ADVICE.find(({ pattern }) => pattern.test(text));
  return known === undefined ? words : `${known.advice} (${words})`;
}

/** A file and line of C++. */
const SOURCE_PLACE = /(?:[A-Za-z]:)?[\w./\\+-]*[/\\][\w.-]+\.(?:cc|cpp|cxx|h|hpp|inc|cu|cuh):\d+\s+/;
/** The condition of a check that failed, between the function's name and the message. */
const FAILED_CONDITION = /^\S.*? was false\.\s*/s;
/** What CUDA's errors end with: number of the device, name of the machine, file, line, call. */
const CUDA_PLACE = /\s*;\s*GPU=-?\d+\s*;\s*hostname=.*$/s;

/** Takes out what only a programmer of ONNX Runtime can use: file, line, function, condition. */
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

/** What stands before the parenthesis of a function's types: `type name`. */
const SIGNATURE_HEAD = /^(?:[\w<>,&*~\s]|::)*[\w>]$/;
/** What can follow it. */
const SIGNATURE_TAIL = /^(?:\s*const\b|\s*\[with [^\]]*\]|::<lambda\([^)]*\)>)*\s*/;

/** Takes the function off the beginning: `type name(types) const [with T = type]`, or Microsoft's name alone. */
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
