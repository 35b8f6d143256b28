/** Adding up the file's sums for a window of time and some threads. */

import type { Model } from "./model";

/** Slots from `from` on and before `to`, and for each thread whether it is chosen. */
export interface Selection {
  from: number;
  to: number;
  threads: Uint8Array;
}

export const MEASURES = ["left", "live", "peak", "allocated", "temporary"] as const;
export type Measure = (typeof MEASURES)[number];
export type Unit = "bytes" | "count";

/** What each stack has, and where the highest moment is. */
export interface Sums {
  values: Record<Measure, Record<Unit, Float64Array>>;
  totals: Record<Measure, Record<Unit, number>>;
  peakNs: number;
  /** Whether the peak is that of the chosen threads to a slot only. */
  isPeakRough: boolean;
}

/** Return all sums of a selection, by stack. */
export function sumUp(model: Model, selection: Selection): Sums {
  const { from, to, threads } = selection;
  const column = model.columns;
  const n = model.stacks.length;
  const values = emptyValues(n);
  const peak = highestMoment(model, selection);
  const { stack: stacks, thread: rowThreads, slot: slots } = model.rows;
  // Looked up once: there are hundreds of thousands of rows, and a drag adds them up with every frame.
  const { row_change_bytes: changeBytes, row_change_count: changeCount } = column;
  const { row_rise_bytes: riseBytes, row_rise_count: riseCount } = column;
  const { row_allocated_bytes: allocatedBytes, row_allocated_count: allocatedCount } = column;
  const { row_left_bytes: leftBytes, row_left_count: leftCount } = column;
  const { row_temporary_bytes: temporaryBytes, row_temporary_count: temporaryCount } = column;
  const { left, live, allocated, temporary, peak: high } = values;
  const [liveBytes, liveCount, highBytes, highCount] = [live.bytes, live.count, high.bytes, high.count];
  for (let row = 0; row < stacks.length; row += 1) {
    const slot = slots[row];
    if (slot >= to || !threads[rowThreads[row]]) continue;
    const stack = stacks[row];
    liveBytes[stack] += changeBytes[row];
    liveCount[stack] += changeCount[row];
    if (slot < peak.slot) {
      highBytes[stack] += changeBytes[row];
      highCount[stack] += changeCount[row];
    } else if (slot === peak.slot) {
      highBytes[stack] += riseBytes[row];
      highCount[stack] += riseCount[row];
    }
    if (slot < from) continue;
    allocated.bytes[stack] += allocatedBytes[row];
    allocated.count[stack] += allocatedCount[row];
    left.bytes[stack] += leftBytes[row];
    left.count[stack] += leftCount[row];
    temporary.bytes[stack] += temporaryBytes[row];
    temporary.count[stack] += temporaryCount[row];
  }
  return { values, totals: totalsOf(values), peakNs: peak.ns, isPeakRough: !isEverything(threads) };
}

/** Return whether all threads are chosen. */
export function isEverything(threads: Uint8Array): boolean {
  return threads.every((chosen) => chosen === 1);
}

/** Return the live bytes of the chosen threads at the end of each slot. */
export function liveBySlot(model: Model, threads: Uint8Array): Float64Array {
  return bySlot(model, threads, "row_change_bytes").ends;
}

function highestMoment(model: Model, { from, to, threads }: Selection): { slot: number; ns: number } {
  const { curve_highest_bytes, curve_highest_ns } = model.columns;
  const isWhole = isEverything(threads);
  const rough = isWhole ? null : bySlot(model, threads, "row_rise_bytes");
  let best = { slot: from, ns: from * model.header.width_ns, bytes: -1 };
  for (let slot = from; slot < to; slot += 1) {
    const bytes = rough === null ? curve_highest_bytes[slot] : rough.highest[slot];
    if (bytes > best.bytes) best = { slot, ns: curve_highest_ns[slot], bytes };
  }
  // Memory may only shrink in the window: then most is live where it begins.
  const before = from === 0 ? 0 : isWhole ? curveAt(model, from) : liveBySlot(model, threads)[from - 1];
  return before > best.bytes ? { slot: from - 0.5, ns: from * model.header.width_ns } : best;
}

/** Return what is live where a slot begins. */
function curveAt(model: Model, slot: number): number {
  const { curve_live_bytes } = model.columns;
  return curve_live_bytes[(slot * model.header.width_ns) / model.header.point_ns - 1];
}

function bySlot(
  model: Model,
  threads: Uint8Array,
  rises: string,
): { ends: Float64Array; highest: Float64Array } {
  const { thread: row_thread, slot: row_slot } = model.rows;
  const { row_change_bytes } = model.columns;
  const ends = new Float64Array(model.header.slot_count);
  const highest = new Float64Array(model.header.slot_count);
  const rise = model.columns[rises];
  for (let row = 0; row < row_slot.length; row += 1) {
    if (!threads[row_thread[row]]) continue;
    ends[row_slot[row]] += row_change_bytes[row];
    highest[row_slot[row]] += rise[row];
  }
  let level = 0;
  for (let slot = 0; slot < ends.length; slot += 1) {
    highest[slot] += level;
    level += ends[slot];
    ends[slot] = level;
  }
  return { ends, highest };
}

function emptyValues(n: number): Sums["values"] {
  const pair = () => ({ bytes: new Float64Array(n), count: new Float64Array(n) });
  return { left: pair(), live: pair(), peak: pair(), allocated: pair(), temporary: pair() };
}

function totalsOf(values: Sums["values"]): Sums["totals"] {
  const sum = (column: Float64Array) => {
    let total = 0;
    for (let at = 0; at < column.length; at += 1) total += column[at];
    return total;
  };
  const entries = MEASURES.map((measure) => [
    measure,
    { bytes: sum(values[measure].bytes), count: sum(values[measure].count) },
  ]);
  return Object.fromEntries(entries) as Sums["totals"];
}

/** One bar of a histogram: n digits, of sizes binary ones and of lifetimes decimal ones, and its amounts. */
export interface Bar {
  digits: number;
  allocatedCount: number;
  allocatedBytes: number;
  leftBytes: number;
}

/** Return the bars of `size` or `lifetime` for a selection, shortest first; -1 digits: no lifetime. */
export function histogram(model: Model, name: "size" | "lifetime", selection: Selection): Bar[] {
  const column = model.columns;
  const bars = new Map<number, Bar>();
  const digits = column[`${name}_digits`];
  const bytes = column[`${name}_allocated_bytes`];
  const left = column[`${name}_left_bytes`];
  for (let row = 0; row < digits.length; row += 1) {
    const slot = column[`${name}_slot`][row];
    if (slot < selection.from || slot >= selection.to) continue;
    if (!selection.threads[column[`${name}_thread`][row]]) continue;
    let bar = bars.get(digits[row]);
    if (bar === undefined) {
      bar = { digits: digits[row], allocatedCount: 0, allocatedBytes: 0, leftBytes: 0 };
      bars.set(digits[row], bar);
    }
    bar.allocatedCount += column[`${name}_allocated_count`][row];
    bar.allocatedBytes += bytes ? bytes[row] : 0;
    bar.leftBytes += left ? left[row] : 0;
  }
  return [...bars.values()].sort((one, other) => one.digits - other.digits);
}
