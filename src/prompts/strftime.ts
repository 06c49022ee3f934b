// Dates as Python's datetime.now().strftime() writes them in the C locale, which chat templates put into system prompts.
// Knows no time zone: neither does that datetime.

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  ...["January", "February", "March", "April", "May", "June"],
  ...["July", "August", "September", "October", "November", "December"],
];

/** What a directive gives: text, or a number that is padded to a width with a character. */
type Field = string | readonly [value: number, width: number, padding?: string];

const DIRECTIVES: Readonly<Record<string, (date: Date) => Field>> = {
  a: (date) => dayName(date).slice(0, 3),
  A: dayName,
  b: (date) => monthName(date).slice(0, 3),
  B: monthName,
  c: (date) => strftime(date, "%a %b %e %H:%M:%S %Y"),
  C: (date) => [Math.floor(date.getFullYear() / 100), 2],
  d: (date) => [date.getDate(), 2],
  D: (date) => strftime(date, "%m/%d/%y"),
  e: (date) => [date.getDate(), 2, " "],
  f: (date) => [1000 * date.getMilliseconds(), 6],
  F: (date) => strftime(date, "%Y-%m-%d"),
  g: (date) => [isoWeek(date).year % 100, 2],
  G: (date) => [isoWeek(date).year, 4],
  h: (date) => monthName(date).slice(0, 3),
  H: (date) => [date.getHours(), 2],
  I: (date) => [date.getHours() % 12 || 12, 2],
  j: (date) => [dayOfYear(date) + 1, 3],
  k: (date) => [date.getHours(), 2, " "],
  l: (date) => [date.getHours() % 12 || 12, 2, " "],
  m: (date) => [date.getMonth() + 1, 2],
  M: (date) => [date.getMinutes(), 2],
  n: () => "\n",
  p: (date) => (date.getHours() < 12 ? "AM" : "PM"),
  P: (date) => (date.getHours() < 12 ? "am" : "pm"),
  r: (date) => strftime(date, "%I:%M:%S %p"),
  R: (date) => strftime(date, "%H:%M"),
  s: (date) => String(Math.floor(date.getTime() / 1000)),
  S: (date) => [date.getSeconds(), 2],
  t: () => "\t",
  T: (date) => strftime(date, "%H:%M:%S"),
  u: (date) => [date.getDay() || 7, 1],
  U: (date) => [Math.floor((dayOfYear(date) + 7 - date.getDay()) / 7), 2],
  V: (date) => [isoWeek(date).week, 2],
  w: (date) => [date.getDay(), 1],
  W: (date) => [Math.floor((dayOfYear(date) + 7 - ((date.getDay() + 6) % 7)) / 7), 2],
  x: (date) => strftime(date, "%m/%d/%y"),
  X: (date) => strftime(date, "%H:%M:%S"),
  y: (date) => [date.getFullYear() % 100, 2],
  Y: (date) => String(date.getFullYear()),
  z: () => "",
  Z: () => "",
  "%": () => "%",
};

/** The text of a date. Flags are glibc's: `-` no padding, `_` spaces, `0` zeros, `^` capitals. What is no directive stays. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%([-_0^]?)([A-Za-z%])/g, (directive: string, flag: string, letter: string) => {
    const field = Object.hasOwn(DIRECTIVES, letter) ? DIRECTIVES[letter]?.(date) : undefined;
    if (field === undefined) return directive;
    if (typeof field === "string") return flag === "^" ? field.toUpperCase() : field;
    const [value, width, padding = "0"] = field;
    if (flag === "-") return String(value);
    return String(value).padStart(width, flag === "_" ? " " : flag === "0" ? "0" : padding);
  });
}

function dayName(date: Date): string {
  return DAYS[date.getDay()] ?? "";
}

function monthName(date: Date): string {
  return MONTHS[date.getMonth()] ?? "";
}

/** Counted from 0. */
function dayOfYear(date: Date): number {
  return daysSinceEpoch(date) - Math.floor(Date.UTC(date.getFullYear(), 0, 1) / 86_400_000);
}

function daysSinceEpoch(date: Date): number {
  return Math.floor(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000);
}

/** The week that has the Thursday of the date's week, and that Thursday's year. */
function isoWeek(date: Date): { readonly year: number; readonly week: number } {
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 4 - (date.getDay() || 7));
  return { year: thursday.getFullYear(), week: Math.floor(dayOfYear(thursday) / 7) + 1 };
}
