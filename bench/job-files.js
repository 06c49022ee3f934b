// The files that the programs work on: a random checkpoint that is in the page cache, and prompts as text and as ids.

import { access, open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BenchError } from "./bench-error.js";
import { SHAPES } from "./checkpoint-shapes.js";
import { makeRandomCheckpoint } from "./random-checkpoint.js";
import { lengthsOf } from "./rows.js";
import { randomTokenIds, textOf, writeWordTokenizer } from "./word-prompts.js";

/**
 * Makes the checkpoint, or takes the one that is there if it is the same; then reads it, so that every run finds its
 * files in the page cache.
 * @param {string} folder
 * @param {{ shape: string, layers?: number, experts?: number }} settings a key of SHAPES; layers and experts of a layer if not
 * all of its
 */
export async function prepareCheckpoint(folder, { shape, layers, experts }) {
  const wanted = Object.entries(SHAPES).find(([name]) => name === shape)?.[1];
  if (wanted === undefined) throw new BenchError(`No shape is called ${shape}`);
  const config = { ...withExperts(shape, wanted, experts), num_hidden_layers: layers ?? wanted.num_hidden_layers };
  const index = join(folder, "model.safetensors.index.json"); // written last
  if (await exists(join(folder, "config.json"))) {
    const found = await readFile(join(folder, "config.json"), "utf8");
    if (JSON.stringify(JSON.parse(found)) !== JSON.stringify(config) || !(await exists(index)))
      throw new BenchError(
        `${folder} holds another checkpoint, or an unfinished one: remove it, or name another folder`,
      );
  } else {
    process.stderr.write(`Making a random checkpoint (${shape}, ${config.num_hidden_layers} layers) in ${folder}\n`);
    await makeRandomCheckpoint(folder, config);
  }
  await writeWordTokenizer(folder, config.vocab_size);
  process.stderr.write("Reading the checkpoint once: all runs find it in the page cache\n");
  await readIntoPageCache(folder);
  return config;
}

/**
 * The shape with fewer experts.
 * @param {string} name @param {import("./checkpoint-shapes.js").Shape} shape @param {number | undefined} experts
 */
function withExperts(name, shape, experts) {
  if (experts === undefined) return shape;
  const key = shape.num_local_experts === undefined ? "num_experts" : "num_local_experts";
  const [perToken, all = 0] = [shape.num_experts_per_tok ?? 1, shape[key]];
  if (experts >= perToken && experts <= all) return { ...shape, [key]: experts };
  throw new BenchError(
    all === 0
      ? `${name} has no experts`
      : `${name} has ${all} experts, ${perToken} for a token: found --experts ${experts}`,
  );
}

/** @param {string} folder */
async function readIntoPageCache(folder) {
  const buffer = Buffer.allocUnsafe(2 ** 24);
  for (const name of (await readdir(folder)).filter((file) => file.endsWith(".safetensors"))) {
    const file = await open(join(folder, name));
    while ((await file.read(buffer, 0, buffer.length)).bytesRead > 0);
    await file.close();
  }
}

/** @param {string} folder @param {import("./rows.js").Row} row @param {number} vocabularySize */
export async function writePrompts(folder, row, vocabularySize) {
  const ids = randomTokenIds(lengthsOf(row), vocabularySize);
  const promptsFile = join(folder, "prompts.txt");
  const tokensFile = join(folder, "tokens.json");
  await writeFile(promptsFile, `${ids.map(textOf).join("\n")}\n`);
  await writeFile(tokensFile, JSON.stringify(ids));
  return { promptsFile, tokensFile };
}

/** @param {string} path */
function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  );
}
