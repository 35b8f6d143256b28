/** Numbers as people read them; the same texts as gadgetops/units.py writes. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DURATION_UNITS: [string, number][] = [
  ["ns", 1e3],
  ["µs", 1e3],
  ["ms", 1e3],
  ["s", 60],
  ["min", 60],
];

/** Return bytes with a binary unit and three digits, exact below 1 KiB. */
export function formatBytes(bytes: number): string {
  if (Math.abs(bytes) < 1024) return `${Math.round(bytes)} B`;
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const size = Math.abs(value);
  return `${fixed(value, size < 9.995 ? 2 : size < 99.95 ? 1 : 0)} ${BYTE_UNITS[unit]}`;
}

/** As toFixed, but what lies exactly between two goes to the even one, as in Python. */
function fixed(value: number, digits: number): string {
  const scaled = value * 10 ** digits;
  const below = Math.floor(scaled);
  const isTie = scaled - below === 0.5;
  return (isTie ? (below + (below % 2 === 0 ? 0 : 1)) / 10 ** digits : value).toFixed(digits);
}

/** Return a whole number with thousands separated. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** Return nanoseconds in the largest unit that keeps them at 1 or more, with three digits. */
export function formatDuration(durationNs: number): string {
  let value = durationNs;
  for (const [unit, factor] of DURATION_UNITS) {
    if (Math.abs(value) < Math.min(factor, 999.5)) return `${Number(value.toPrecision(3))} ${unit}`;
    value /= factor;
  }
  return `${Number(value.toPrecision(3))} h`;
}

/** Return a part of a whole as per cent; of nothing it is 0. */
export function formatShare(part: number, whole: number): string {
  const percent = whole ? (100 * part) / whole : 0;
  if (percent > 0 && percent < 0.1) return "<0.1 %";
  if (percent > 99.9 && percent < 100) return ">99.9 %";
  return percent === 0 || percent === 100 ? `${percent} %` : `${fixed(percent, 1)} %`;
}

/** Return a count and its noun, in the plural unless there is one. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${Math.round(count) === 1 ? noun : `${noun}s`}`;
}

/** Return a name without characters that hide, reorder or end lines: names come from the traced program. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu, "\uFFFD");
}
