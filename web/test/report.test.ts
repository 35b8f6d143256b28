/** Sums, trees, numbers as text, and reading columns, on a recording of a few stacks. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { formatBytes, formatCount, formatDuration, formatShare, plural, printable } from "../src/format";
import { frameText, Model, type Header } from "../src/model";
import { histogram, sumUp } from "../src/sums";
import { ancestors, buildTree, fill, place } from "../src/tree";
import { unpack } from "../src/unpack";
import { worstVerdicts } from "../src/verdicts";

const STRINGS = ["main", "a.c", "/bin/p", "work", "malloc_wrapper", "/lib/libc.so.6"];

/** Stacks main, main > work, main > work > work > wrapper, in four slots by two threads. */
function model(): Model {
  const rows = [
    // stack, thread, slot, allocated, left, change, rise
    [0, 0, 0, 10, 10, 10, 10],
    [1, 0, 1, 20, 0, 20, 20],
    [1, 1, 2, 0, 0, -20, 0],
    [2, 1, 2, 40, 5, 5, 40],
    [2, 1, 3, 8, 0, 0, 0],
  ];
  const column = (at: number) => Float64Array.from(rows, (row) => row[at]);
  const ones = (at: number) => Float64Array.from(rows, (row) => Math.sign(row[at]));
  const header = {
    strings: STRINGS,
    empty_stacks: {},
    leaks: [{ stack: 2, kind: "growing", bytes: 5, count: 1 }, { stack: 0, kind: "startup", bytes: 10, count: 1 }],
    slot_count: 4,
    width_ns: 100,
    point_ns: 100,
    threads: [["1/1"], ["1/2"]],
  } as unknown as Header;
  return new Model(header, {
    frame_name: Float64Array.of(1, 4, 5),
    frame_file: Float64Array.of(2, 2, 0),
    frame_line: Float64Array.of(7, 9, 0),
    frame_module: Float64Array.of(3, 3, 6),
    stack_length: Float64Array.of(1, 2, 4),
    stack_frame: Float64Array.of(0, 0, 1, 0, 1, 1, 2),
    row_stack: column(0),
    row_thread: column(1),
    row_slot: column(2),
    row_allocated_bytes: column(3),
    row_allocated_count: ones(3),
    row_left_bytes: column(4),
    row_left_count: ones(4),
    row_temporary_bytes: Float64Array.of(0, 0, 0, 0, 8),
    row_temporary_count: Float64Array.of(0, 0, 0, 0, 1),
    row_change_bytes: column(5),
    row_change_count: ones(5),
    row_rise_bytes: column(6),
    row_rise_count: ones(6),
    curve_live_bytes: Float64Array.of(10, 30, 15, 15),
    curve_highest_bytes: Float64Array.of(10, 30, 70, 23),
    curve_highest_ns: Float64Array.of(1, 110, 210, 310),
    size_thread: Float64Array.of(0, 1, 1),
    size_slot: Float64Array.of(0, 2, 3),
    size_digits: Float64Array.of(4, 4, 6),
    size_allocated_bytes: Float64Array.of(10, 9, 40),
    size_allocated_count: Float64Array.of(1, 1, 1),
    size_left_bytes: Float64Array.of(10, 0, 5),
    size_left_count: Float64Array.of(1, 0, 1),
  });
}

const ALL = { from: 0, to: 4, threads: Uint8Array.of(1, 1) };
const WAYS = { isInverse: false, hidesLibraries: false, mergesRecursion: false };

test("the whole recording", () => {
  const { totals, peakNs, isPeakRough } = sumUp(model(), ALL);
  assert.deepEqual(totals.allocated, { bytes: 78, count: 4 });
  assert.equal(totals.left.bytes, 15);
  assert.equal(totals.live.bytes, 15);
  assert.equal(totals.temporary.bytes, 8);
  assert.equal(totals.peak.bytes, 70);
  assert.equal(peakNs, 210);
  assert.equal(isPeakRough, false);
});

test("a window has what was allocated in it, and what was live at its end and its highest moment", () => {
  const { values, totals } = sumUp(model(), { ...ALL, from: 1, to: 2 });
  assert.deepEqual([...values.allocated.bytes], [0, 20, 0]);
  assert.deepEqual([...values.live.bytes], [10, 20, 0]);
  assert.equal(totals.peak.bytes, 30);
});

test("where memory only shrinks, most is live where the window begins", () => {
  const shrinking = model();
  shrinking.columns["curve_highest_bytes"][2] = 12;
  const { totals, peakNs } = sumUp(shrinking, { ...ALL, from: 2, to: 3 });
  assert.equal(totals.peak.bytes, 30);
  assert.equal(peakNs, 200);
});

test("threads that are not chosen do not count", () => {
  const { totals, isPeakRough } = sumUp(model(), { ...ALL, threads: Uint8Array.of(1, 0) });
  assert.equal(totals.allocated.bytes, 30);
  assert.equal(totals.peak.bytes, 30);
  assert.equal(isPeakRough, true);
});

test("a histogram adds up slots and threads", () => {
  const bars = histogram(model(), "size", { ...ALL, to: 3 });
  assert.deepEqual(bars, [{ digits: 4, allocatedCount: 2, allocatedBytes: 19, leftBytes: 10 }]);
});

test("a node has what it and its callees have, and begins where its caller does", () => {
  const shown = model();
  const values = Float64Array.of(1, 2, 4);
  const tree = buildTree(shown, WAYS, values);
  const filled = fill(tree, values);
  assert.equal(filled[0], 7);
  assert.equal(filled[tree.endOf[0]], 7);
  assert.equal(filled[tree.endOf[1]], 6);
  assert.equal(filled[tree.endOf[2]], 4);
  assert.equal(place(tree, filled)[tree.endOf[2]], 0);
  assert.equal(ancestors(tree, tree.endOf[2]).length, 5);
});

test("recursion is merged, libraries are hidden, callers come last", () => {
  const shown = model();
  const values = Float64Array.of(1, 2, 4);
  const names = (ways: Partial<typeof WAYS>) => {
    const tree = buildTree(shown, { ...WAYS, ...ways }, values);
    return ancestors(tree, tree.endOf[2]).slice(1).map((node) => shown.places[tree.place[node]].name);
  };
  assert.deepEqual(names({ mergesRecursion: true }), ["main", "work", "malloc_wrapper"]);
  assert.deepEqual(names({ hidesLibraries: true }), ["main", "work", "work"]);
  assert.deepEqual(names({ isInverse: true, mergesRecursion: true }), ["malloc_wrapper", "work", "main"]);
});

test("the worst verdict below a node is the node's", () => {
  const shown = model();
  const values = Float64Array.of(10, 0, 5);
  const tree = buildTree(shown, WAYS, values);
  const worst = worstVerdicts(shown, tree, values);
  assert.equal(worst[0], 0);
  assert.equal(worst[tree.endOf[2]], 0);
  assert.equal(worstVerdicts(shown, tree, Float64Array.of(10, 0, 0))[0], 4);
});

test("a stack as text is leaf first", () => {
  assert.equal(model().stackText(1), "work a.c:9\nmain a.c:7");
  assert.equal(frameText({ name: "f", file: null, line: 0, module: "/lib/l.so", place: 0 }), "f /lib/l.so");
});

test("columns of more than 32 bits are read, with signs and differences", async () => {
  const header = JSON.stringify({ columns: [["a", "plain", 2], ["b", "signed", 2], ["c", "difference", 2]] });
  const text = new TextEncoder().encode(header);
  // 2^35 + 5 and 3; -1 and 1; 1 and 1 - 2.
  const numbers = [0x85, 0x80, 0x80, 0x80, 0x80, 0x01, 3, 1, 2, 2, 3];
  const bytes = new Uint8Array(4 + text.length + numbers.length);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 4);
  bytes.set(numbers, 4 + text.length);
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  const base64 = Buffer.from(await new Response(packed).arrayBuffer()).toString("base64");
  const { columns } = await unpack<object>(base64);
  assert.deepEqual([...columns["a"]], [2 ** 35 + 5, 3]);
  assert.deepEqual([...columns["b"]], [-1, 1]);
  assert.deepEqual([...columns["c"]], [1, -1]);
});

test("numbers are written as the command line writes them", () => {
  assert.deepEqual([1023, 1024, 31.25 * 1024, 1048575, 5.5 * 2 ** 30].map(formatBytes), ["1023 B", "1.00 KiB", "31.2 KiB", "1.00 MiB", "5.50 GiB"]);
  assert.deepEqual([999, 1000, 1.5e9, 59.96e9, 7.2e12].map(formatDuration), ["999 ns", "1 µs", "1.5 s", "60 s", "2 h"]);
  assert.deepEqual([formatShare(1, 4), formatShare(1, 1e6), formatShare(0, 0), formatShare(1, 1)], ["25.0 %", "<0.1 %", "0 %", "100 %"]);
  assert.equal(formatCount(1234567), "1,234,567");
  assert.equal(plural(1, "event"), "1 event");
});

test("characters that hide, reorder or end lines are replaced", () => {
  assert.equal(printable("a\u001b[0m\u202eb\u2066c\u2028d\u0085e\u200f\ue000"), "a\ufffd[0m\ufffdb\ufffdc\ufffdd\ufffde\ufffd\ufffd");
  assert.equal(printable("größe 名前 <script>"), "größe 名前 <script>");
});
