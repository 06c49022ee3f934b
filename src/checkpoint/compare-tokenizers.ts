// Compares the vocabularies of two checkpoints: tokens with their ids, and merges. What else tokenizer.json says (how
// texts are cut, who wrote it) may differ between saves of one model. Knows no tokenizer library.

import { join } from "node:path";
import type { Difference } from "./compare-weights.js";
import { isObject, parseJsonObject, showJson } from "./json-text.js";
import type { Checkpoint } from "./open-checkpoint.js";
import { withPlainFile } from "./plain-file.js";
import { readTextFile } from "./text-files.js";

/** Files with a vocabulary; the first that both checkpoints have is compared. */
const VOCABULARIES = ["tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"] as const;

/** Larger than any tokenizer. */
const MAX_BYTES = 64_000_000;

/**
 * The first difference between the tokenizers of two checkpoints; undefined where they are of one vocabulary.
 * @returns "not compared" when they have no file of the same name
 * @throws CheckpointError when a file cannot be read
 */
export async function compareTokenizers(
  one: Checkpoint,
  other: Checkpoint,
): Promise<Difference | "not compared" | undefined> {
  const file = VOCABULARIES.find((name) => one.files.has(name) && other.files.has(name));
  if (file === undefined) return "not compared";
  const [ours, theirs] = [join(one.folder, file), join(other.folder, file)];
  if (file === "tokenizer.json") return compareVocabularies(await readVocabulary(ours), await readVocabulary(theirs));
  const [a, b] = await Promise.all([readBytes(ours), readBytes(theirs)]);
  if (a.equals(b)) return undefined;
  return { what: "tokenizer", expected: `the same bytes (${a.length})`, found: `others (${b.length})`, file };
}

function readBytes(path: string): Promise<Buffer> {
  return withPlainFile(path, ({ read, stats }) => read(0, Math.min(stats.size, MAX_BYTES)));
}

interface Vocabulary {
  readonly ids: ReadonlyMap<string, number>;
  readonly merges: readonly string[];
}

async function readVocabulary(path: string): Promise<Vocabulary> {
  const { model, added_tokens: added } = parseJsonObject(path, await readTextFile(path));
  const { vocab, merges } = isObject(model) ? model : {};
  return {
    ids: new Map([...idsOf(vocab), ...(Array.isArray(added) ? added.flatMap(idOfAdded) : [])]),
    // A pair is a text with a blank in older files, and a list in newer ones.
    merges: Array.isArray(merges) ? merges.map((pair) => (Array.isArray(pair) ? pair.join(" ") : String(pair))) : [],
  };
}

/** An object of ids by token; Unigram has a list of tokens with their scores. */
function idsOf(vocabulary: unknown): (readonly [string, number])[] {
  if (Array.isArray(vocabulary))
    return vocabulary.map((entry, id) => [String(Array.isArray(entry) ? entry[0] : entry), id]);
  if (!isObject(vocabulary)) return [];
  return Object.entries(vocabulary).map(([token, id]) => [token, Number(id)]);
}

function idOfAdded(token: unknown): (readonly [string, number])[] {
  return isObject(token) ? [[String(token.content), Number(token.id)]] : [];
}

function compareVocabularies(ours: Vocabulary, theirs: Vocabulary): Difference | undefined {
  const file = "tokenizer.json";
  const differing = [...ours.ids].find(([token, id]) => theirs.ids.get(token) !== id);
  if (differing !== undefined) {
    const [token, id] = differing;
    const found = theirs.ids.get(token);
    return {
      what: `token ${showJson(token)}`,
      expected: `id ${id}`,
      found: found === undefined ? "none" : `${found}`,
      file,
    };
  }
  if (ours.ids.size !== theirs.ids.size) {
    return { what: "tokens", expected: String(ours.ids.size), found: String(theirs.ids.size), file };
  }
  const place = ours.merges.findIndex((pair, index) => pair !== theirs.merges[index]);
  if (place === -1 && ours.merges.length === theirs.merges.length) return undefined;
  const [expected, found] =
    place === -1 ? [ours.merges.length, theirs.merges.length] : [ours.merges[place], theirs.merges[place]];
  return {
    what: place === -1 ? "merges" : `merge ${place}`,
    expected: showJson(expected),
    found: showJson(found ?? null),
    file,
  };
}
