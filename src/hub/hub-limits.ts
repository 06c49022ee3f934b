// Limits on the hub's answers in bytes, pages and time, each with its reason. Whatever answers at HF_ENDPOINT is not
// trusted with our memory or time. Tests use smaller limits.

export interface HubLimits {
  /** Bytes of one answer of the API, decompressed. */
  readonly answerBytes: number;
  /** Pages of a listing. */
  readonly listingPages: number;
  /** Files and folders of a listing, all pages together. */
  readonly listingEntries: number;
  /** Bytes of a listing, all pages together. */
  readonly listingBytes: number;
  /** Milliseconds for one whole answer of the API. */
  readonly answerMs: number;
  /** At least `paceBytes` of a file must arrive in each `paceMs`. */
  readonly paceMs: number;
  readonly paceBytes: number;
  /** Bytes of one small file beside the weights. */
  readonly sideFileBytes: number;
  /** Milliseconds before a broken download is resumed, times the number of the attempt. */
  readonly retryMs: number;
  /** Number of small files. */
  readonly sideFiles: number;
  /** Bytes of the small files together. */
  readonly sideBytes: number;
  /** Bytes of a data set's files: those that would exceed it are left out, but for the first. */
  readonly datasetBytes: number;
  /** Cached files up to this size are hashed in each run. */
  readonly checkedBytes: number;
}

export const HUB_LIMITS: HubLimits = {
  // A page of 1,000 entries has half a million bytes. JSON can take up to 40 times its size in memory.
  answerBytes: 8_000_000,
  // The hub advises at most 10,000 files in a folder. Pages have 1,000 entries.
  listingPages: 200,
  listingEntries: 100_000,
  listingBytes: 64_000_000,
  answerMs: 60_000,
  // 1 KB a second: less would take a day for a tokenizer and two months for a small shard.
  paceMs: 30_000,
  paceBytes: 32_000,
  // With four attempts, we give up on a server that always breaks after two seconds.
  retryMs: 300,
  // The largest tokenizer.json we know has 35 MB and the largest index of shards 60 MB.
  sideFileBytes: 200_000_000,
  // Real checkpoints have about ten, of at most 40 MB together. They are copied into every result.
  sideFiles: 1_000,
  sideBytes: 2_000_000_000,
  // Of what they hold 128 MiB are read; a run takes half a million tokens of it by default.
  datasetBytes: 128_000_000,
  // Takes a fraction of a second. Weights of 140 GB would take minutes in each run.
  checkedBytes: 64_000_000,
};
