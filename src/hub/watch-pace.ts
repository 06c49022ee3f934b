// A clock over an answer of the network: it rings when too few bytes come in too long a time, so that a server that
// stalls, or sends byte by byte, is an error. Time that we take ourselves, to write to the disk, does not count.

export interface PaceClock {
  /** Raised when the clock rings. */
  readonly signal: AbortSignal;
  /** Starts or goes on to wait for the network. */
  wait(): void;
  /** Stops waiting: so many bytes have come. */
  arrived(bytes: number): void;
  /** Ends the watch. */
  stop(): void;
}

/** Rings when fewer than `bytes` bytes arrive within `ms` milliseconds of waiting; each time they do, it starts anew. */
export function watchPace(ms: number, bytes: number): PaceClock {
  const bell = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let since = 0;
  let left = ms;
  let received = 0;
  return {
    signal: bell.signal,
    wait() {
      since = performance.now();
      timer = setTimeout(() => bell.abort(), left);
    },
    arrived(more) {
      clearTimeout(timer);
      left = Math.max(0, left - (performance.now() - since));
      received += more;
      if (received < bytes) return;
      received = 0;
      left = ms;
    },
    stop() {
      clearTimeout(timer);
    },
  };
}
