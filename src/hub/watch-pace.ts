// A timeout on the pace of an answer: it fires when too few bytes arrive in some time, so that a server that stalls, or
// sends byte by byte, is an error. The time that we take to write to the disk does not count.

export interface PaceClock {
  /** Raised when the timeout fires. */
  readonly signal: AbortSignal;
  /** Starts or continues to wait for the network. */
  wait(): void;
  /** Stops waiting: so many bytes have arrived. */
  arrived(bytes: number): void;
  /** Ends the watch. */
  stop(): void;
}

/** Fires when fewer than `bytes` bytes arrive within `ms` milliseconds of waiting; it restarts each time they do. */
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
