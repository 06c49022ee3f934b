// Paths as words of a shell's command line, for commands that people paste. Pure.

import { PATH_LIMIT, shown } from "./shown-text.js";

/** In quotes where a shell would read more than a name; characters that cannot be shown as bash and zsh write them. */
export function shellWord(path: string): string {
  if (shown(path, PATH_LIMIT) !== path) return `$'${shown(path.replaceAll(/[\\']/g, "\\$&"), PATH_LIMIT)}'`;
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
