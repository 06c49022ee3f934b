// How much the tests try: `npm test` what stands for the rest, `npm run test:all` everything. What is left out is always more
// of the same: another golden of settings that others have, another moment, more random cases. What is left
// out whole is the installation of the packed program, and runs of the benchmark.

export const TRIES_ALL = process.env.TEST_ALL === "1";

/** All of them, or those that stand for them. */
export function someOf<Of>(all: readonly Of[], stands: (one: Of, at: number) => boolean): readonly Of[] {
  return TRIES_ALL ? all : all.filter(stands);
}

/** How often something random is tried. */
export function tries({ few, all }: { readonly few: number; readonly all: number }): number {
  return TRIES_ALL ? all : few;
}
