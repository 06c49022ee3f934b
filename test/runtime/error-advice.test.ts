// What ONNX Runtime and drivers say, as it was found on machines and in reports of users, and what is made of it.

import { describe, expect, test } from "vitest";
import { explainRuntimeError, withoutSourceCode } from "../../src/runtime/error-advice.js";
import { loadFailure } from "../../src/runtime/provider-library.js";

const NO_ADAPTER =
  "/onnxruntime_src/onnxruntime/core/providers/webgpu/webgpu_context.cc:136 onnxruntime::webgpu::WebGpuContext::Initialize(const onnxruntime::webgpu::WebGpuContextConfig&)::<lambda()> adapter_result.status == wgpu::RequestAdapterStatus::Success was false. Failed to get a WebGPU adapter: No supported adapters\n";
const CUDA_CALL =
  "std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*, const char*, int) [with ERRTYPE = cudaError; bool THRW = true; SUCCTYPE = cudaError; std::conditional_t<THRW, void, common::Status> = void]";
const cudaFailure = (words: string) =>
  `/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:122 ${CUDA_CALL} /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:114 ${CUDA_CALL} ${words} ; GPU=-1 ; hostname=c4327188c000000 ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=336 ; expr=cudaSetDevice(info_.device_id); `;
const OLD_DRIVER = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version";
const OLD_DRIVER_ON_WINDOWS = `D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\cuda_call.cc:121 onnxruntime::CudaCall D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\cuda_call.cc:114 onnxruntime::CudaCall ${OLD_DRIVER} ; GPU=-1704693432 ; hostname=DESKTOP-F9GHF2T ; file=D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\cuda_execution_provider.cc ; line=236 ; expr=cudaSetDevice(info_.device_id); `;
const missing = (library: string) =>
  `OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library: ${library}: cannot open shared object file: No such file or directory`;
const FULL_ARENA =
  "Non-zero status code returned while running MatMul node. Name:'MatMul_0' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 4294967296\n";

describe("what the reader can do comes first, the original words behind it", () => {
  test.each<[what: string, text: string, advice: RegExp, words: string]>([
    [
      "no GPU for WebGPU",
      NO_ADAPTER,
      /^WebGPU found no GPU.*Vulkan/,
      "Failed to get a WebGPU adapter: No supported adapters",
    ],
    ["an old driver", cudaFailure(OLD_DRIVER), /^NVIDIA's driver is missing or too old/, OLD_DRIVER],
    ["an old driver on Windows", OLD_DRIVER_ON_WINDOWS, /^NVIDIA's driver is missing or too old/, OLD_DRIVER],
    ["no driver", missing("libcuda.so.1"), /^NVIDIA's driver is missing/, missing("libcuda.so.1")],
    [
      "no GPU for CUDA",
      cudaFailure("CUDA failure 100: no CUDA-capable device is detected"),
      /^No NVIDIA GPU can be seen.*CUDA_VISIBLE_DEVICES/,
      "CUDA failure 100: no CUDA-capable device is detected",
    ],
    ["no cuDNN", missing("libcudnn.so.9"), /^A library of CUDA or cuDNN is missing.*LD_LIBRARY_PATH/, "libcudnn.so.9:"],
    ["a part of cuDNN", missing("libcudnn_adv.so.9"), /^A library of CUDA or cuDNN is missing/, "libcudnn_adv.so.9:"],
    ["no cuBLAS", missing("libcublasLt.so.12"), /^A library of CUDA or cuDNN is missing/, "libcublasLt.so.12:"],
    [
      "full device memory",
      cudaFailure("CUDA failure 2: out of memory"),
      /^The device is out of memory.*--memory/,
      "CUDA failure 2: out of memory",
    ],
    ["a full arena", FULL_ARENA, /^The device is out of memory/, "requested buffer of size 4294967296"],
    ["full memory", "std::bad_alloc", /^The machine is out of memory/, "std::bad_alloc"],
    [
      "an old GPU",
      cudaFailure("CUDA failure 209: no kernel image is available for execution on the device"),
      /no code for this GPU: it is too old or too new/,
      "CUDA failure 209",
    ],
    ["a lost device", "WebGPU device lost (2): hung", /^The GPU was reset/, "WebGPU device lost (2): hung"],
    [
      "another build",
      "no available backend found. ERR: [dml] backend not found.",
      /^This build/,
      "[dml] backend not found",
    ],
  ])("%s", (_what, text, advice, words) => {
    const explained = explainRuntimeError(text);
    expect(explained).toMatch(advice);
    expect(explained.endsWith(")")).toBe(true);
    expect(explained).toContain(words);
    expect(explained).not.toMatch(/onnxruntime_src|_work|\.cc|hostname|onnxruntime::/);
  });

  test("what is not known is given as it is said", () => {
    const text = "Load model from bytes failed:Protobuf parsing failed.";
    expect(explainRuntimeError(text)).toBe(text);
  });

  test("failure 2 of CUDA is memory, failure 209 is not", () => {
    expect(explainRuntimeError("CUDA failure 209: x")).not.toContain("memory");
    expect(explainRuntimeError("CUDA failure 2: x")).toContain("memory");
  });
});

describe("places in source code are no part of a message", () => {
  test.each<[what: string, text: string, rest: string]>([
    ["a function and a condition", "/src/a/b.cc:1 void ns::f(int, T<A>) x == (1) was false. Because.", "Because."],
    ["a member that is const", "/src/a.h:12 virtual ns::Status ns::C::Run(ns::Ctx*) const Too wide.", "Too wide."],
    ["an unnamed namespace", "/src/a.cc:5 ns::Status ns::(anonymous namespace)::f(int) Bad axis.", "Bad axis."],
    ["a place in the middle", "Status Message: /src/a.cc:5 int ns::f(int) Bad (axis).", "Status Message: Bad (axis)."],
    ["two places", "/src/a.cc:5 int f() /src/b.cc:6 int g() Bad.", "Bad."],
    ["Microsoft's compiler", "D:\\a\\s\\b.cc:5 ns::C::f Bad (axis).", "Bad (axis)."],
    [
      "an error code behind it",
      "/src/p.cc:9 ns::P& ns::L::Get() [ONNXRuntimeError] : 1 : FAIL : No.",
      "[ONNXRuntimeError] : 1 : FAIL : No.",
    ],
    ["line ends", "a\n b\n", "a b"],
    [
      "none",
      "/models/llama/model.safetensors: too short (12 bytes)",
      "/models/llama/model.safetensors: too short (12 bytes)",
    ],
  ])("%s", (_what, text, rest) => {
    expect(withoutSourceCode(text)).toBe(rest);
  });
});

describe.skipIf(process.platform !== "linux")("the system's loader says why a library cannot be loaded", () => {
  test("when it is not there", () => {
    expect(loadFailure("/nowhere/libnone.so")).toMatch(/^\/nowhere\/libnone\.so: cannot open shared object file/);
  });

  test("nothing when it can be", () => {
    expect(loadFailure("libm.so.6")).toBeUndefined();
  });
});
