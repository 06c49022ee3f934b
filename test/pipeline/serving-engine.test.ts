// The engine that is named for a checkpoint, on layouts that engines were observed with (scale-layouts.ts), and with the
// formats that this program writes.

import { join } from "node:path";
import { expect, test } from "vitest";
import { cacheSites } from "../../src/architectures/cache-sites.js";
import { describeModel } from "../../src/architectures/registry.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { type ScalesAsRead, scalesAsRead } from "../../src/checkpoint/read-scales.js";
import { servingEngine } from "../../src/pipeline/serving-engine.js";
import { buildLayout, LAYOUTS, type LayoutName } from "../checkpoint/scale-layouts.js";
import { temporaryFolder } from "../helpers/safetensors-files.js";

const folder = temporaryFolder();

async function verified(layout: LayoutName): Promise<{ readonly path: string; readonly scales: ScalesAsRead }> {
  const path = buildLayout(LAYOUTS[layout], join(folder(), "checkpoint"));
  const checkpoint = await openCheckpoint(path);
  const scales = await scalesAsRead(checkpoint, cacheSites(describeModel(checkpoint.config, checkpoint.tensors)));
  if (scales === undefined) throw new Error(`${layout} has no scales`);
  return { path, scales };
}

test.each<[layout: LayoutName, rule: string]>([
  ["kv [] and dtype, no block", "tgi"],
  // vLLM has no parameter for any of them, and what TGI documents would use kv_scale alone.
  ["kv, k and v [] and dtype, no block", "tgi"],
  ["k and v [1], block", "vllm"],
  ["k and v BF16, block", "vllm"],
  ["k and v, fp8", "vllm"],
])("scales as in %j are served by %s", async (layout, rule) => {
  const { path, scales } = await verified(layout);
  expect((await servingEngine(path, scales))?.rule).toBe(rule);
});

test("an engine that would use other scales than those that were verified is not named", async () => {
  const { path, scales } = await verified("k and v [1], block");
  const halved = scales.layers.map((layer) => ({ ...layer, vScale: layer.vScale / 2 }));
  expect(await servingEngine(path, { ...scales, layers: halved })).toBeUndefined();
});

test("an engine that keeps scales in bfloat16 uses them all the same", async () => {
  const { path, scales } = await verified("k and v [1], block");
  const rounded = scales.layers.map((layer) => ({ ...layer, kScale: layer.kScale * (1 + 2 ** -9) }));
  expect((await servingEngine(path, { ...scales, layers: rounded }))?.rule).toBe("vllm");
});
