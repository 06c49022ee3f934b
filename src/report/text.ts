// Numbers, sizes and times as people read them. Pure.

const SIZE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** 1536 → "1.5 KiB" */
export function formatBytes(bytes: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), SIZE_UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${SIZE_UNITS[power]}`;
}

/** 75 → "1 min 15 s" */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(Math.round(seconds), 0);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Five significant digits; very small and very large values in scientific notation. */
export function formatValue(value: number): string {
  const isPlain = value === 0 || (value >= 1e-4 && value < 1e6);
  return isPlain ? value.toPrecision(5) : value.toExponential(3);
}

/** A bar of `width` characters, filled in eighths. */
export function formatBar(fraction: number, width: number): string {
  const eighths = Math.round(Math.min(Math.max(fraction, 0), 1) * width * 8);
  const rest = eighths % 8;
  const bar = "█".repeat(Math.floor(eighths / 8)) + (rest === 0 ? "" : ["▏", "▎", "▍", "▌", "▋", "▊", "▉"][rest - 1]);
  return bar.padEnd(width);
}
