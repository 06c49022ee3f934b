"""Golden checkpoints with quantized weights, one for each form in which methods store them: quantized/<name>/.

python test/golden/make_quantized_golden.py [name or pattern ...]

A tiny model of a family is quantized here, plainly; what its numbers are is said by the code of others: transformers for
fp8 and mxfp4, PyTorch's product for fbgemm_fp8 (which transformers calls on XPU), compressed-tensors for its formats,
nvidia-modelopt for its own, AutoGPTQ and AutoAWQ (pip install --no-deps) for theirs. The model with these numbers then runs in
transformers, in fp32, and expected.json says what enters its caches and the loss of each prompt, as in checkpoints/.
Where transformers loads the quantized checkpoint by itself, it must find the same. Every scale must matter.
"""
import copy, fnmatch, importlib.metadata, importlib.util, json, random, re, shutil, sys, tempfile, zlib
from pathlib import Path

import compressed_tensors, modelopt, torch, transformers
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization.lifecycle.forward import dequantize
from compressed_tensors.quantization import QuantizationScheme
from modelopt.torch.quantization.qtensor import NVFP4QTensor
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.finegrained_fp8 import _dequantize_fp8_weight
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from family_golden import EAGER, MADE_WITH, randomize, run, save, write_expected, write_json
from families import FAMILIES, GATED_DELTA, golden, rope

FOLDER = Path(__file__).resolve().parent / "quantized"
E4M3 = torch.float8_e4m3fn
E2M1 = torch.tensor([0.0, 0.5, 1, 1.5, 2, 3, 4, 6])
KEPT = r"embed_tokens|lm_head|norm|router|\.gate\.weight"
MADE_WITH.update({"compressed-tensors": compressed_tensors.__version__, "nvidia-modelopt": modelopt.__version__,
                  **{name: importlib.metadata.version(name) for name in ("auto_gptq", "autoawq")}})
ROWS = {}


def quantized(name, family, config, form, block, numbers, *, loads=False, kept=KEPT, turned=False, beside=None, file=False):
    """A golden.

    form     quantizes one matrix, or a stack of them
    block    the quantization_config
    numbers  what the parts of a matrix stand for
    loads    transformers loads the checkpoint by itself
    kept     pattern of the tensors that stay as they are
    turned   stacks that are quantized outputs first, and inputs first in 16 bits
    beside   tensors that are stored beside each matrix, and mean nothing here
    file     the block is the quantization of hf_quant_config.json, and config.json has none
    """
    golden(family, **config)
    ROWS[name] = dict(golden=FAMILIES.pop(family), form=form, block=block, numbers=numbers, loads=loads, kept=kept,
                      turned=turned, beside=beside or {}, file=file)


# --- forms: a matrix -> stored tensors by suffix, and the function that gives their numbers ------------------------------

def blocks_of(w, per):
    """The largest |w| of each block, and that at each weight. per: outputs and inputs, 0 for all."""
    rows, columns = (size or whole for size, whole in zip(per, w.shape[-2:]))
    up = lambda s: s.repeat_interleave(rows, -2)[..., :w.shape[-2], :].repeat_interleave(columns, -1)[..., :w.shape[-1]]
    pad = torch.nn.functional.pad(w.abs(), (0, -w.shape[-1] % columns, 0, -w.shape[-2] % rows))
    tiles = pad.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
    return tiles.amax(dim=(-3, -1)), up


def fp8(suffix, per, dtype=torch.float32, shape=None):
    def form(w):
        largest, up = blocks_of(w, per)
        scale = (largest / 448).to(dtype)
        codes = (w / up(scale.float())).clamp(-448, 448).to(E4M3)
        return {"": codes, suffix: scale.reshape(shape(scale)) if shape else scale}
    return form


def e2m1_codes(w):
    nearest = (w.abs()[..., None] - E2M1).abs().argmin(-1)
    codes = (nearest + 8 * (w < 0)).to(torch.uint8)
    return codes[..., 0::2] | codes[..., 1::2] << 4


def nvfp4(codes, global_name, divides):
    def form(w):
        largest, up = blocks_of(w, (1, 16))
        factor = largest.max() / (448 * 6)
        scale = (largest / 6 / factor).to(E4M3)
        packed = e2m1_codes(w / up(scale.float() * factor))
        return {codes: packed, "_scale": scale, global_name: (1 / factor if divides else factor).reshape([1] if divides else [])}
    return form


def mxfp8(w):
    largest, up = blocks_of(w, (1, 32))
    exponent = torch.log2(largest).floor() - 8
    codes = (w / up(2 ** exponent)).clamp(-448, 448).to(E4M3)
    return {"": codes, "_scale": (exponent + 127).to(torch.uint8)}


def mxfp4(codes, scale, shape):
    def form(w):
        largest, up = blocks_of(w, (1, 32))
        exponent = torch.log2(largest).floor() - 2
        return {codes: e2m1_codes(w / up(2 ** exponent)).reshape(shape(w)), scale: (exponent + 127).to(torch.uint8)}
    return form


def integers(w, bits, group, zeros, dtype):
    """Unsigned integers [outputs, inputs], scales and zero points [outputs, groups]. group: inputs, 0 for all."""
    size = group or w.shape[-1]
    pad = torch.nn.functional.pad(w, (0, -w.shape[-1] % size)).unflatten(-1, (-1, size))
    top = 2 ** bits - 1
    if zeros:  # none is 0: GPTQ's first version stores them less by one
        low, high = pad.amin(-1).clamp(max=0), pad.amax(-1).clamp(min=0)
        scale = ((high - low) / (top - 1)).to(dtype)
        zero = (-low / scale.float()).round().clamp(1, top)
    else:
        scale = (pad.abs().amax(-1) / (top / 2)).to(dtype)
        zero = torch.full(scale.shape, (top + 1) / 2)
    up = lambda x: x.repeat_interleave(size, -1)[:, :w.shape[-1]]
    codes = ((w / up(scale.float())).round() + up(zero)).clamp(0, top)
    return codes.to(torch.int32), scale, zero.to(torch.int32)


def int8(group, zeros):
    def form(w):
        codes, scale, zero = integers(w, 8, group, zeros, torch.bfloat16)
        parts = {"": (codes - 128).to(torch.int8), "_scale": scale}
        return {**parts, "_zero_point": (zero - 128).to(torch.int8)} if zeros else parts
    return form


def packed(bits, group, zeros):
    def form(w):
        codes, scale, zero = integers(w, bits, group, zeros, torch.bfloat16)
        half = 2 ** (bits - 1)
        parts = {"_packed": pack_to_int32((codes - half).to(torch.int8), bits), "_scale": scale, "_shape": torch.tensor(w.shape)}
        return {**parts, "_zero_point": pack_to_int32((zero - half).to(torch.int8), bits, packed_dim=0)} if zeros else parts
    return form


def words(x, bits, order=None):
    """Along the last axis."""
    places = 32 // bits
    apart = x.unflatten(-1, (-1, places))[..., order or list(range(places))]
    return sum((apart[..., place].to(torch.int64) << bits * place for place in range(places))).to(torch.uint32).view(torch.int32).contiguous()


def gptq(bits, group, less_by_one, in_order=True):
    def form(w):
        inputs = w.shape[-1]
        index = torch.arange(inputs) // (group or inputs)
        if not in_order:
            index = index[torch.randperm(inputs, generator=torch.Generator().manual_seed(inputs))]
        order = torch.argsort(index, stable=True)
        codes, scale, zero = integers(w[:, order], bits, group, True, torch.float16)
        codes = codes[:, torch.argsort(order)]
        return {".qweight": words(codes, bits).T, ".qzeros": words(zero.T - less_by_one, bits), ".scales": scale.T,
                ".g_idx": index.to(torch.int32)}
    return form


def awq(group):
    def form(w):
        codes, scale, zero = integers(w, 4, group, True, torch.float16)
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        return {".qweight": words(codes.T, 4, order), ".qzeros": words(zero.T, 4, order), ".scales": scale.T}
    return form


# --- what the numbers are, by the code of others -------------------------------------------------------------------------

def by_transformers(block_size):
    def numbers(parts):
        scale = next(x for suffix, x in parts.items() if suffix)
        return _dequantize_fp8_weight(parts[""], scale.float(), block_size, torch.float32)
    return numbers


def by_scaled_product(parts):
    """The product with ones of a single input each, as FbgemmFp8Linear calls it."""
    inputs = parts[""].shape[1]
    ones = torch.eye(inputs).to(E4M3)
    scale = torch.ones(inputs, 1)
    return torch._scaled_mm(ones, parts[""].t(), scale_a=scale, scale_b=parts["_scale"].t(), out_dtype=torch.float32).t()


def by_compressed_tensors(block):
    scheme = QuantizationScheme(**block["config_groups"]["group_0"])
    compressor = BaseCompressor.get_value_from_registry(block["format"])

    def numbers(parts):
        state = {f"weight{suffix}": x for suffix, x in parts.items()}
        if state["weight_scale"].dtype in (torch.bfloat16, torch.float16):  # or the numbers would have 16 bits, too
            state["weight_scale"] = state["weight_scale"].float()
        return compressor.decompress(state, scheme)["weight"].float()
    return numbers


def by_compressed_tensors_nvfp4(block):
    """Its decompress() rounds to bfloat16, so here are the two steps of it."""
    arguments = QuantizationScheme(**block["config_groups"]["group_0"]).weights

    def numbers(parts):
        rows, columns = parts["_packed"].shape
        codes = unpack_fp4_from_uint8(parts["_packed"], rows, 2 * columns, dtype=torch.float32)
        return dequantize(x_q=codes, scale=parts["_scale"].float(), args=arguments, global_scale=parts["_global_scale"], dtype=torch.float32)
    return numbers


def by_modelopt_nvfp4(parts):
    shape = torch.Size([parts[""].shape[0], parts[""].shape[1] * 2])
    tensor = NVFP4QTensor(shape, torch.float32, parts[""])
    return tensor.dequantize(dtype=torch.float32, scale=parts["_scale"], double_scale=parts["_scale_2"], block_sizes={-1: 16})


def by_modelopt_fp8(parts):
    """As modelopt.torch.quantization.qtensor.FP8QTensor.dequantize: codes times scale."""
    from modelopt.torch.quantization.qtensor import FP8QTensor
    tensor = FP8QTensor(parts[""].shape, torch.float32, parts[""])
    scale = parts["_scale"]
    return tensor.dequantize(dtype=torch.float32, scale=scale if scale.dim() != 1 else scale[:, None])


def by_mxfp4(parts):
    return convert_moe_packed_tensors(parts["_blocks"], parts["_scales"], dtype=torch.float32)


def module_of(package, path):
    """A file of a package whose other files need what is not here."""
    [folder] = importlib.util.find_spec(package).submodule_search_locations
    spec = importlib.util.spec_from_file_location(f"{package}_{Path(path).stem}", Path(folder) / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_auto_gptq(bits, group, less_by_one):
    """Its layer, applied to ones of a single input each. It knows the first version of the format alone."""
    QuantLinear = module_of("auto_gptq", "nn_modules/qlinear/qlinear_cuda.py").QuantLinear

    def numbers(parts):
        outputs, inputs = parts[".scales"].shape[1], parts[".g_idx"].shape[0]
        layer = QuantLinear(bits, group or -1, inputs, outputs, False, weight_dtype=torch.float32)
        layer.qweight, layer.scales, layer.g_idx = parts[".qweight"], parts[".scales"].float(), parts[".g_idx"]
        layer.qzeros = parts[".qzeros"] if less_by_one else parts[".qzeros"] - sum(1 << bits * place for place in range(32 // bits))
        return layer(torch.eye(inputs)).T
    return numbers


def by_auto_awq(group):
    dequantize_gemm = module_of("awq", "utils/packing_utils.py").dequantize_gemm
    return lambda parts: dequantize_gemm(parts[".qweight"], parts[".qzeros"], parts[".scales"].float(), 4, group).T


# --- the rows ------------------------------------------------------------------------------------------------------------

SMALL = dict(num_hidden_layers=2, lengths=(3, 17, 30))
ODD = dict(**SMALL, hidden_size=40, num_attention_heads=4, num_key_value_heads=2, head_dim=16)
BLOCK = [24, 16]  # 40 and 24 are no multiples of both


def fp8_config(block_size, **keys):
    return {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": block_size, **keys}


quantized("fp8-block", "qwen3", ODD, fp8("_scale_inv", BLOCK), fp8_config(BLOCK), by_transformers(BLOCK))
quantized("fp8-block-experts", "qwen3_moe", dict(**SMALL, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24,
          decoder_sparse_step=1, mlp_only_layers=[]), fp8("_scale_inv", [8, 8]),
          fp8_config([8, 8], modules_to_not_convert=["lm_head", "model.layers.0.mlp.gate", "model.layers.1.mlp.gate"]),
          by_transformers([8, 8]), loads=True)
NOT_CONVERTED = ["lm_head", *(f"model.layers.{layer}.{part}" for layer in (0, 1) for part in (
    "linear_attn.conv1d", "linear_attn.in_proj_ba", "mlp.gate", "mlp.shared_expert_gate"))]
quantized("fp8-block-hybrid", "qwen3_next", dict(**SMALL, head_dim=16, layer_types=["linear_attention", "full_attention"],
          linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8, weights=GATED_DELTA,
          num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=16),
          fp8("_scale_inv", [8, 8]), fp8_config([8, 8], modules_to_not_convert=NOT_CONVERTED), by_transformers([8, 8]),
          kept=KEPT + r"|conv1d|in_proj_ba|shared_expert_gate", loads=True)
quantized("fp8-tensor-static", "ministral3", dict(**SMALL, head_dim=16, rope_parameters=rope(
          "yarn", 500.0, factor=4.0, original_max_position_embeddings=32, beta_fast=1.5, beta_slow=0.25, llama_4_scaling_beta=0.4)),
          fp8("_scale_inv", (0, 0), torch.bfloat16, lambda s: []),
          {"quant_method": "fp8", "activation_scheme": "static", "dequantize": False, "weight_block_size": None,
           "modules_to_not_convert": ["model.vision_tower", "lm_head"]},
          by_transformers(None), beside={"activation_scale": torch.tensor(0.5, dtype=torch.bfloat16)})


quantized("fbgemm-fp8", "llama", dict(**SMALL), fp8("_scale", (1, 0)),
          {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": [
              "lm_head", "model.layers.1.self_attn"]},
          by_scaled_product, kept=KEPT + r"|layers\.1\.self_attn", beside={"input_scale_ub": torch.tensor([1200.0])})


def compressed(weights, format="float-quantized", ignore=("lm_head",), activations=None, targets=("Linear",)):
    group = {"targets": list(targets), "weights": weights, "input_activations": activations}
    return {"quant_method": "compressed-tensors", "format": format, "quantization_status": "compressed",
            "config_groups": {"group_0": group}, "ignore": list(ignore), "kv_cache_scheme": None, "global_compression_ratio": None}


def float8(**keys):
    return {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": False, **keys}


DYNAMIC = float8(dynamic=True, strategy="token", symmetric=True)
CHANNEL = compressed(float8(strategy="channel"), activations=DYNAMIC)
quantized("compressed-tensors-channel", "phi3", dict(**SMALL), fp8("_scale", (1, 0), torch.bfloat16), CHANNEL,
          by_compressed_tensors(CHANNEL))
TENSOR = compressed(float8(strategy="tensor"), activations=float8(strategy="tensor"),
                    ignore=["lm_head", "re:.*layers\\.0\\.self_attn\\.v_proj$"])
quantized("compressed-tensors-tensor", "llama", dict(**SMALL), fp8("_scale", (0, 0), shape=lambda s: [1]), TENSOR,
          by_compressed_tensors(TENSOR), kept=KEPT + r"|layers\.0\.self_attn\.v_proj",
          beside={"input_scale": torch.tensor([0.5])})
BLOCKS = compressed(float8(strategy="block", block_structure=BLOCK), activations=DYNAMIC)
quantized("compressed-tensors-block", "qwen3", ODD, fp8("_scale", BLOCK, torch.bfloat16), BLOCKS,
          by_compressed_tensors(BLOCKS))
GROUPS = compressed(float8(strategy="group", group_size=8), activations=DYNAMIC)
quantized("compressed-tensors-group", "phi3", dict(**SMALL), fp8("_scale", (1, 8), torch.bfloat16), GROUPS,
          by_compressed_tensors(GROUPS))
MICRO8 = compressed(float8(strategy="group", group_size=32, scale_dtype="torch.uint8"), "mxfp8-quantized", activations=float8(
    strategy="group", group_size=32, dynamic=True, scale_dtype="torch.uint8"))
quantized("compressed-tensors-mxfp8", "qwen3", dict(**SMALL, hidden_size=32, intermediate_size=64, num_attention_heads=4,
          num_key_value_heads=2, head_dim=16), mxfp8, MICRO8, by_compressed_tensors(MICRO8))
PACKED = compressed({"num_bits": 4, "type": "float", "symmetric": True, "dynamic": False, "strategy": "tensor_group", "group_size": 16},
                    "nvfp4-pack-quantized", activations={"num_bits": 4, "type": "float", "symmetric": True, "dynamic": "local",
                                                         "strategy": "tensor_group", "group_size": 16})
quantized("compressed-tensors-nvfp4", "llama", dict(**SMALL, intermediate_size=48), nvfp4("_packed", "_global_scale", True), PACKED,
          by_compressed_tensors_nvfp4(PACKED), beside={"input_global_scale": torch.tensor([300.0])})
MICRO = compressed({"num_bits": 4, "type": "float", "symmetric": True, "dynamic": False, "strategy": "group", "group_size": 32},
                   "mxfp4-pack-quantized")
quantized("compressed-tensors-mxfp4", "llama", dict(**SMALL, intermediate_size=64),
          mxfp4("_packed", "_scale", lambda w: [w.shape[0], -1]), MICRO, by_compressed_tensors(MICRO))


def modelopt_config(algorithm, **keys):
    return {"quant_method": "modelopt", "quant_algo": algorithm, "ignore": ["lm_head"], "producer": {"name": "modelopt", "version": "0.47.0"}, **keys}


quantized("modelopt-fp8", "llama", dict(**SMALL), fp8("_scale", (0, 0), shape=lambda s: []),
          modelopt_config("FP8", kv_cache_scheme={"dynamic": False, "num_bits": 8, "type": "float"}),
          by_modelopt_fp8, beside={"input_scale": torch.tensor(0.5)})
quantized("modelopt-fp8-output", "llama", dict(**SMALL), fp8("_scale", (1, 0), shape=lambda s: [-1]),
          modelopt_config("FP8_PER_CHANNEL_PER_TOKEN"), by_modelopt_fp8)
quantized("modelopt-nvfp4", "qwen3_moe", dict(**SMALL, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
          decoder_sparse_step=1, mlp_only_layers=[]), nvfp4("", "_scale_2", False),
          modelopt_config("NVFP4", group_size=16, ignore=["lm_head", "model.layers.0.self_attn*", "model.layers.*.mlp.gate"]),
          by_modelopt_nvfp4, kept=KEPT + r"|layers\.0\.self_attn", beside={"input_scale": torch.tensor(0.5)})
# As older versions export: nothing in config.json.
quantized("modelopt-fp8-file", "phi3", dict(**SMALL), fp8("_scale", (0, 0), shape=lambda s: []),
          {"quant_algo": "FP8", "kv_cache_quant_algo": None, "exclude_modules": ["lm_head"]},
          by_modelopt_fp8, beside={"input_scale": torch.tensor(0.5)}, file=True)
quantized("modelopt-nvfp4-file", "llama", dict(**SMALL, intermediate_size=48), nvfp4("", "_scale_2", False),
          {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16, "exclude_modules": [
              "lm_head", "model.layers.1.mlp*", "model.layers.0.self_attn.v_proj"]},
          by_modelopt_nvfp4, kept=KEPT + r"|layers\.1\.mlp|layers\.0\.self_attn\.v_proj",
          beside={"input_scale": torch.tensor(0.5)}, file=True)
quantized("mxfp4", "gpt_oss", dict(num_hidden_layers=2, lengths=(3, 17, 30), hidden_size=64, intermediate_size=32, head_dim=16,
          num_local_experts=4, num_experts_per_tok=2, sliding_window=12, rope_parameters=rope(
              "yarn", 500.0, factor=4.0, original_max_position_embeddings=32, beta_fast=1.5, beta_slow=0.25, truncate=False)),
          mxfp4("_blocks", "_scales", lambda w: [*w.shape[:-1], -1, 16]),
          {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]},
          by_mxfp4, kept=r"^(?!.*experts\.(gate_up|down)_proj$)", turned=True, loads=True)
quantized("fp8-block-stacks", "granitemoe", dict(**SMALL, num_local_experts=4, num_experts_per_tok=2),
          fp8("_scale_inv", BLOCK), fp8_config(BLOCK, modules_to_not_convert=["router.layer"]), by_transformers(BLOCK),
          kept=KEPT + "|router")


WORDS = dict(**SMALL, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2)
EXPERTS = dict(**WORDS, head_dim=8, num_experts=2, num_experts_per_tok=2, moe_intermediate_size=16, decoder_sparse_step=1, mlp_only_layers=[])


def whole(bits, **keys):
    return {"num_bits": bits, "type": "int", "symmetric": True, "dynamic": False, "observer": "minmax", "observer_kwargs": {}, "actorder": None, **keys}


TOKENS = whole(8, dynamic=True, strategy="token")
INT8 = compressed(whole(8, strategy="channel"), "int-quantized", activations=TOKENS)
quantized("compressed-tensors-int8", "llama", WORDS, int8(0, False), INT8, by_compressed_tensors(INT8),
          beside={"weight_zero_point": torch.zeros(1, dtype=torch.int8)})
INT8_ZERO = compressed(whole(8, strategy="group", group_size=16, symmetric=False), "int-quantized", activations=TOKENS)
quantized("compressed-tensors-int8-zero", "phi3", WORDS, int8(16, True), INT8_ZERO, by_compressed_tensors(INT8_ZERO))
W4 = compressed(whole(4, strategy="group", group_size=16, actorder="weight"), "pack-quantized")
quantized("compressed-tensors-packed4", "phi3", WORDS, packed(4, 16, False), W4, by_compressed_tensors(W4))
W4_ZERO = compressed(whole(4, strategy="group", group_size=8, symmetric=False), "pack-quantized")
quantized("compressed-tensors-packed4-zero", "llama", WORDS, packed(4, 8, True), W4_ZERO, by_compressed_tensors(W4_ZERO))
W8 = compressed(whole(8, strategy="channel"), "pack-quantized")
quantized("compressed-tensors-packed8", "qwen2", WORDS, packed(8, 0, False), W8, by_compressed_tensors(W8))


WITH_HEAD = KEPT.replace("lm_head|", "")
W4_HEAD = compressed(whole(4, strategy="group", group_size=16), "pack-quantized", ignore=[])
quantized("compressed-tensors-packed4-head", "qwen2", WORDS, packed(4, 16, False), W4_HEAD, by_compressed_tensors(W4_HEAD), kept=WITH_HEAD)
INT8_HEAD = compressed(whole(8, strategy="channel"), "int-quantized", ignore=[], activations=TOKENS, targets=("Linear", "re:.*lm_head$"))
quantized("compressed-tensors-int8-head", "llama", WORDS, int8(0, False), INT8_HEAD, by_compressed_tensors(INT8_HEAD), kept=WITH_HEAD)


def gptq_config(bits, group, **keys):
    return {"quant_method": "gptq", "bits": bits, "group_size": group or -1, "desc_act": False, "sym": False, "lm_head": False,
            "true_sequential": True, "damp_percent": 0.01, "pack_dtype": "int32", "checkpoint_format": "gptq", **keys}


quantized("gptq-4", "phi3", WORDS, gptq(4, 16, 1), gptq_config(4, 16), by_auto_gptq(4, 16, 1),
          beside={"bias": torch.zeros(1, dtype=torch.float16)})
quantized("gptq-4-head", "llama", WORDS, gptq(4, 8, 1), gptq_config(4, 8, lm_head=True), by_auto_gptq(4, 8, 1), kept=WITH_HEAD)
quantized("gptq-4-order", "llama", WORDS, gptq(4, 8, 1, in_order=False), gptq_config(4, 8, desc_act=True), by_auto_gptq(4, 8, 1))
quantized("gptq-8", "qwen2", WORDS, gptq(8, 0, 0),
          gptq_config(8, 0, checkpoint_format="gptq_v2", dynamic={"-:.*\\.0\\.mlp\\..*": {}, ".*\\.1\\..*": {"bits": 8, "sym": False}}),
          by_auto_gptq(8, 0, 0), kept=KEPT + r"|layers\.0\.mlp")
quantized("awq", "qwen3_moe", EXPERTS, awq(16), {"quant_method": "awq", "bits": 4, "group_size": 16, "zero_point": True, "version": "gemm",
          "modules_to_not_convert": ["gate"]}, by_auto_awq(16))


# --- the files -----------------------------------------------------------------------------------------------------------

def make(name, row):
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    golden = row["golden"]
    seed = zlib.crc32(name.encode())
    torch.manual_seed(seed)
    config = AutoConfig.for_model(golden["model_type"], **copy.deepcopy(golden["config"]))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **EAGER)
    randomize(model, golden, torch.Generator().manual_seed(seed))
    with tempfile.TemporaryDirectory() as temporary:
        plain = Path(temporary) / "plain"
        save(model, plain, golden)
        tensors = load_file(plain / "model.safetensors")
        parts = {key: row["form"](x.float().mT.contiguous() if row["turned"] else x.float())
                 for key, x in tensors.items() if x.dim() > 1 and not re.search(row["kept"], key)}
        assert parts
        write(folder, tensors, parts, row, json.loads((plain / "config.json").read_text()))
        rng = random.Random(seed)
        prompts = [[rng.randrange(config.vocab_size) for _ in range(n)] for n in golden["lengths"]]

        def result(parts):
            numbers = {key: row["numbers"](of).contiguous() for key, of in parts.items()}
            save_file({**tensors, **numbers}, plain / "model.safetensors", metadata={"format": "pt"})
            return run(load(plain), prompts)

        expected = result(parts)
        for key, of in parts.items():
            for suffix in of:
                if re.search("scale|zero|g_idx", suffix) and (suffix != ".g_idx" or of[suffix].any()):
                    effect = result({**parts, key: {**of, suffix: other(of[suffix])}}).change(expected)
                    assert effect > 1e-3, f"{name}: {key}{suffix} changes nothing ({effect})"
        if row["loads"]:  # what is not quantized stays as wide as it is stored
            same = run(load(folder).float(), prompts).change(expected)
            assert same < 1e-6, f"{name}: transformers loads other values ({same})"
        write_expected(plain, name, golden, prompts, expected, model)
        text = (plain / "expected.json").read_text().replace('"make_golden.py"', '"make_quantized_golden.py"')
        (folder / "expected.json").write_text(text)
    print(f"{name}: loss {expected.loss}, {sum(f.stat().st_size for f in folder.iterdir())} bytes", flush=True)


def write(folder, tensors, parts, row, config):
    stored = {key: x for key, x in tensors.items() if key not in parts}
    for key, of in parts.items():
        name = lambda suffix: f"{key.removesuffix('.weight')}{suffix}" if suffix.startswith(".") else f"{key}{suffix}"
        stored.update({name(suffix): x.contiguous() for suffix, x in of.items()})
        stored.update({f"{key.removesuffix('weight')}{suffix}": x.clone() for suffix, x in row["beside"].items()})
    folder.mkdir(parents=True)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    if row["file"]:
        producer = {"name": "modelopt", "version": "0.23.0"}
        write_json(folder / "hf_quant_config.json", {"producer": producer, "quantization": row["block"]})
        write_json(folder / "config.json", config)
    else:
        write_json(folder / "config.json", {**config, "quantization_config": row["block"]})


def other(scale):
    """Every second one another, of the same dtype: a norm may hide what all have in common."""
    if scale.dtype == torch.int32 and scale.dim() == 1:  # blocks of inputs
        return scale.flip(0)
    if scale.dtype in (torch.int32, torch.int8):
        return scale ^ (0x44444444 if scale.dtype == torch.int32 else 64)
    changed = (scale.clone() if scale.dtype == torch.uint8 else scale.float()).contiguous()
    every_second = changed.view(-1)[::2]
    every_second += 1 if scale.dtype == torch.uint8 else 0.5 * every_second
    return changed.clamp(max=448).to(scale.dtype) if scale.dtype == E4M3 else changed.to(scale.dtype)


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **EAGER).eval()


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name, row in ROWS.items():
        if any(fnmatch.fnmatch(name, pattern) for pattern in sys.argv[1:] or "*"):
            make(name, row)
