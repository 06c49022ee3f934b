// Data sets of the hub: which files hold a split, and how they come into the cache that huggingface_hub shares.

import { mkdtemp, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { scanCacheDir } from "@huggingface/hub";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { HubError, PromptDataError, UsageError } from "../../src/errors.js";
import { chooseDatasetFiles, type DatasetChoice } from "../../src/hub/dataset-files.js";
import { downloadDataset } from "../../src/hub/download-dataset.js";
import { readData } from "../../src/pipeline/read-data.js";
import { SHIPPED_PROMPTS } from "../../src/prompts/read-prompts.js";
import { GOLDEN_FOLDER } from "../helpers/golden-checkpoints.js";
import { type HubServer, type HubServerOptions, startHubServer } from "../helpers/hub-server.js";

const REPO = "acme/talk";
const ROW = (text: string) => `${JSON.stringify({ text })}\n`;

describe("the files of a split are", () => {
  test.each<[string, string[], DatasetChoice, string[]]>([
    [
      "those that are named for it, in order",
      ["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "data/test-00000-of-00001.parquet"],
      {},
      ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
    ],
    ["another, when it is asked for", ["train.jsonl", "test.jsonl"], { split: "test" }, ["test.jsonl"]],
    ["known by its other names", ["dev.jsonl", "train.jsonl"], { split: "validation" }, ["dev.jsonl"]],
    [
      "of any name",
      ["train.jsonl", "train_sft-0.jsonl", "test_sft-0.jsonl"],
      { split: "test_sft" },
      ["test_sft-0.jsonl"],
    ],
    ["in a folder of its name", ["train/a.txt", "train/b.txt", "test/a.txt"], {}, ["train/a.txt", "train/b.txt"]],
    ["all, where no name says what it is", ["b.json", "a.json"], {}, ["a.json", "b.json"]],
    ["of one kind, Parquet first", ["train.jsonl", "train.parquet"], {}, ["train.parquet"]],
    ["none that only describe", ["README.txt", "dataset_infos.json", "LICENSE.txt", "a.json"], {}, ["a.json"]],
    ["of the configuration", ["en/train.parquet", "de/train.parquet"], { config: "de" }, ["de/train.parquet"]],
    ["of the default configuration", ["default/train/0.parquet", "x/train/0.parquet"], {}, ["default/train/0.parquet"]],
    ["of the only configuration", ["raw-v1/train-0.parquet", "raw-v1/test-0.parquet"], {}, ["raw-v1/train-0.parquet"]],
  ])("%s", (_rule, names, choice, expected) => {
    const files = names.map((name) => ({ name }));
    expect(chooseDatasetFiles(REPO, files, choice).map(({ name }) => name)).toEqual(expected);
  });

  test.each<[string, string[], DatasetChoice, RegExp]>([
    ["no data that is read", ["data.csv", "script.py"], {}, /found data\.csv, script\.py\..*refs\/convert\/parquet/],
    ["no such split", ["train.jsonl", "test.jsonl"], { split: "dev" }, /the split "dev".*train\.jsonl.*--data-split/],
    ["several configurations", ["en/train.jsonl", "de/train.jsonl"], {}, /configurations de, en\. .*--data-config/],
    ["no such configuration", ["en/train.jsonl"], { config: "fr" }, /no configuration "fr"; it has en/],
  ])("none where there is %s: the error says what there is", (_what, names, choice, says) => {
    const choose = () =>
      chooseDatasetFiles(
        REPO,
        names.map((name) => ({ name })),
        choice,
      );
    expect(choose).toThrow(UsageError);
    expect(choose).toThrow(says);
  });
});

let home: string;
let server: HubServer;
let env: Record<string, string>;

async function serve(files: HubServerOptions["files"], more: Partial<HubServerOptions> = {}): Promise<void> {
  await server?.close();
  server = await startHubServer({ files, repo: REPO, isDataset: true, ...more });
  env = { HF_HOME: home, HF_ENDPOINT: server.endpoint };
}

const download = (more: Partial<Parameters<typeof downloadDataset>[0]> = {}) =>
  downloadDataset({ repo: REPO, env, ...more });
const repoFolder = () => join(home, "hub", "datasets--acme--talk");

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "hub-"));
  await serve({
    "README.md": "# talk",
    "data/train-0.jsonl": ROW("first"),
    "data/train-1.jsonl": ROW("second"),
    "data/test-0.jsonl": ROW("third"),
    "data/train.csv": "no",
  });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.close();
  await rm(home, { recursive: true });
});

describe("downloading", () => {
  test("brings the files of the split alone, into the layout of huggingface_hub", async () => {
    const { commit, files, isWhole } = await download();
    expect([commit, isWhole]).toEqual([server.commit, true]);
    const snapshot = join(repoFolder(), "snapshots", server.commit);
    expect(files.map((file) => relative(snapshot, file))).toEqual(["data/train-0.jsonl", "data/train-1.jsonl"]);
    expect(await readFile(files[0] ?? "", "utf8")).toBe(ROW("first"));
    expect(await readlink(files[0] ?? "")).toBe(`../../../blobs/${server.etag("data/train-0.jsonl")}`);
    expect(await readFile(join(repoFolder(), "refs/main"), "utf8")).toBe(server.commit);
    expect(server.downloads()).toEqual(["train-0.jsonl", "train-1.jsonl"]);
    const { repos } = await scanCacheDir(join(home, "hub"));
    expect(repos.map(({ id }) => id)).toEqual([{ name: REPO, type: "dataset" }]);
  });

  test("asks for nothing twice, and for nothing at all offline", async () => {
    await download();
    await download();
    expect(server.downloads()).toHaveLength(2);
    const asked = server.requests.length;
    const { commit, files } = await download({ env: { ...env, HF_HUB_OFFLINE: "1" } });
    expect([commit, files.map((file) => basename(file))]).toEqual([server.commit, ["train-0.jsonl", "train-1.jsonl"]]);
    expect(server.requests).toHaveLength(asked);
    await expect(download({ env: { ...env, HF_HUB_OFFLINE: "1" }, revision: "other" })).rejects.toThrow(
      /data set acme\/talk \(revision other\) is not in the cache/,
    );
  });

  test("ends at a number of bytes, but takes one file", async () => {
    const limits = { datasetBytes: 1 };
    expect(await download({ limits })).toMatchObject({ isWhole: false, files: [expect.stringContaining("train-0")] });
    await expect(download({ limits: { sideBytes: 1 } })).rejects.toThrow(/train-0\.jsonl has \d+ bytes; at most 1/);
  });

  test("holds content against its hash", async () => {
    server.faults.content = { "data/train-0.jsonl": ROW("other") };
    await expect(download()).rejects.toThrow(/train-0\.jsonl: expected content with the git hash/);
  });

  test("leaves names alone that would leave the cache", async () => {
    await serve({ "data/../../train.jsonl": ROW("x"), "a/train.jsonl": ROW("y") });
    expect((await download()).files.map((file) => relative(repoFolder(), file))).toEqual([
      `snapshots/${server.commit}/a/train.jsonl`,
    ]);
  });

  test.each<[string, Partial<Parameters<typeof downloadDataset>[0]>, typeof HubError | typeof UsageError, RegExp]>([
    [
      "a data set that is not there",
      { repo: "acme/nothing" },
      HubError,
      /the data set acme\/nothing .*no such repository/,
    ],
    [
      "a revision that is not there",
      { revision: "v9" },
      HubError,
      /datasets\/acme\/talk\/tree\/main; without --data-revision/,
    ],
    ["a name that is none", { repo: "a/b/c" }, UsageError, /expected the name of a data set/],
  ])("%s is an error", async (_what, options, kind, says) => {
    const error = await download(options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(kind);
    expect(error).toHaveProperty("message", expect.stringMatching(says));
  });
});

describe("what the user calls the prompts", () => {
  const read = (options: Partial<Parameters<typeof readData>[0]>) => readData({ shipped: SHIPPED_PROMPTS, ...options });
  const onHub = () => {
    for (const [key, value] of Object.entries(env)) vi.stubEnv(key, value);
  };

  test("is a data set of the hub by its name, and the record has its commit", async () => {
    onHub();
    expect(await read({ data: REPO, dataSplit: "test" })).toMatchObject({
      prompts: [{ text: "third" }],
      name: { data: REPO, dataCommit: server.commit, dataSplit: "test" },
      warnings: [],
    });
  });

  test("is Parquet of the hub, with a column that is named", async () => {
    const bytes = await readFile(join(GOLDEN_FOLDER, "parquet/snappy.parquet"));
    await serve({ "plain/train-00000-of-00001.parquet": bytes }, { revisions: ["main", "refs/convert/parquet"] });
    onHub();
    const { prompts, name } = await read({ data: REPO, dataColumn: "text", dataRevision: "refs/convert/parquet" });
    expect(prompts).toHaveLength(6);
    expect(name).toMatchObject({ dataCommit: server.commit, dataSplit: "train", dataColumn: "text" });
    await expect(read({ data: REPO, dataColumn: "body" })).rejects.toThrow(PromptDataError);
  });

  test("is a path before it is a name", async () => {
    const { name, prompts } = await read({ data: "test/hub" }).catch(() => ({ name: undefined, prompts: [] }));
    expect([name, prompts]).toEqual([undefined, []]); // a folder of this repository, without prompts
    await expect(read({ data: "test/hub" })).rejects.toThrow(/the folder has no/);
    expect((await read({ data: SHIPPED_PROMPTS })).name).toEqual({ data: "calibration" });
    expect((await read({})).name).toEqual({ data: "shipped" });
  });

  test.each([{ dataSplit: "test" }, { dataRevision: "v1" }, { dataConfig: "en" }])(
    "takes %o for a data set of the hub alone",
    async (option) => {
      await expect(read({ data: SHIPPED_PROMPTS, ...option })).rejects.toThrow(/goes with a data set on the hub/);
      await expect(read(option)).rejects.toThrow(/the shipped prompts are used/);
    },
  );
});
