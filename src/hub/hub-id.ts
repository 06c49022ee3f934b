// Which names a checkpoint and a revision on the hub may have. Knows only the hub's rules on characters, not whether
// such a repository exists.

/** The hub's own limit on `org/name`. */
const MAX_HUB_ID_LENGTH = 96;

/** Letters, digits, `-`, `_` and `.`; the hub allows neither `-` nor `.` at either end. */
const NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;

/** Characters that git forbids in the name of a branch or tag, and those that no system allows in a path. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const FORBIDDEN_IN_REVISION = /[\u0000-\u0020\u007f~^:?*[\\<>"|]|\.\.|\/\/|^[/.-]|\/\.|[/.]$|\.lock$/;

/** Whether `text` can name a model on the hub: `org/name`, by the hub's rules on characters. */
export function isHubId(text: string): boolean {
  if (text.length > MAX_HUB_ID_LENGTH || text.includes("--") || text.includes("..") || text.endsWith(".git")) {
    return false;
  }
  const parts = text.split("/");
  return parts.length === 2 && parts.every((part) => NAME.test(part));
}

/** The two parts of `org/name@revision`, as huggingface_hub writes it; undefined for other text. */
export function splitRevision(text: string): { readonly repo: string; readonly revision: string } | undefined {
  const at = text.indexOf("@");
  const [repo, revision] = [text.slice(0, at), text.slice(at + 1)];
  return at !== -1 && isHubId(repo) ? { repo, revision } : undefined;
}

/** Whether `text` can name a branch, a tag, a reference such as `refs/pr/1`, or a commit. */
export function isRevision(text: string): boolean {
  return text !== "" && text.length <= 250 && !FORBIDDEN_IN_REVISION.test(text);
}
