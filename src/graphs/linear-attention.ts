// Linear attention: a recurrence over tokens with a state of fixed size, as one operator. Knows no block, and keeps no state
// for later tokens.

import { MICROSOFT_DOMAIN, NONE, type Value } from "../onnx/graph-builder.js";
import type { GraphContext } from "./blocks.js";

/** Float32 like the state, which adds up over all tokens. */
export interface LinearAttentionInputs {
  readonly query: Value; // [batch, tokens, key_heads × key_dim]
  readonly key: Value; // [batch, tokens, key_heads × key_dim]
  readonly value: Value; // [batch, tokens, value_heads × value_dim]
  /** The logarithm of the factor on the state. */
  readonly decay: Value; // [batch, tokens, value_heads]
  /** With it, the delta rule: the share by which what the state gives for a key becomes the value. */
  readonly beta?: Value; // [batch, tokens, value_heads]
}

/**
 * Per head of values, with a state S that begins with 0: S = exp(decay) · S, then S = S + k ⊗ v, or by the delta rule S + k ⊗
 * beta · (v − Sᵀk), then scale · Sᵀq. A head of queries and keys serves value_heads / key_heads consecutive heads of values.
 * A token sees no later one, so padding on the right changes nothing.
 * @returns [batch, tokens, value_heads × value_dim], float32
 */
export function linearAttention(
  { builder }: GraphContext,
  { query, key, value, decay, beta }: LinearAttentionInputs,
  { keyHeads, valueHeads, scale }: { readonly keyHeads: number; readonly valueHeads: number; readonly scale: number },
): Value {
  const inputs = [query, key, value, NONE, decay, ...(beta === undefined ? [] : [beta])];
  // The operator writes its last state, whether anybody reads it or not.
  const [output] = builder.ops("LinearAttention", inputs, 2, {
    domain: MICROSOFT_DOMAIN,
    attributes: {
      update_rule: beta === undefined ? "gated" : "gated_delta",
      q_num_heads: keyHeads,
      kv_num_heads: valueHeads,
      scale: { float: scale },
    },
  }) as [Value, Value];
  return output;
}
