// Tells by a folder's path whether it lies in a hub's cache: `models--org--name/snapshots/<commit>`. Looks at names alone.

import { basename, dirname } from "node:path";

/** A place in the cache of a model. */
export interface CachedModel {
  /** `org/name`, or the name alone of the hub's oldest models. */
  readonly repo: string;
  /** `models--org--name`, as a path. */
  readonly repoFolder: string;
}

const PREFIX = "models--";

/** The model whose snapshot a folder is; undefined when it is none. @param folder an absolute path, links resolved */
export function modelOfSnapshot(folder: string): CachedModel | undefined {
  const snapshots = dirname(folder);
  return basename(snapshots) === "snapshots" ? modelOfRepoFolder(dirname(snapshots)) : undefined;
}

/** The model whose folder in the cache this is; undefined when it is none. @param folder an absolute path, links resolved */
export function modelOfRepoFolder(folder: string): CachedModel | undefined {
  const name = basename(folder);
  if (!name.startsWith(PREFIX) || name.length === PREFIX.length) return undefined;
  return { repo: name.slice(PREFIX.length).split("--").join("/"), repoFolder: folder };
}
