/** What the file carries, as the views use it. */

import { printable } from "./format";
import type { Columns, Unpacked } from "./unpack";

export interface Leak {
  bytes: number;
  count: number;
  oldest_ns: number;
  youngest_ns: number;
  kind: string;
  /** How many frames from the innermost one the function is that it is named by. */
  place: number;
  /** What it is, if it is no block of the heap. */
  owner: string | null;
  reason: string;
  recording: string;
  stack: number;
}

export interface RecordingFacts {
  name: string;
  path: string;
  command: string | null;
  event_count: number;
  host: string | null;
  image: string | null;
  labels: Record<string, string>;
}

export interface Bounds {
  at_least_bytes: number | null;
  at_most_bytes: number | null;
}

export interface Comparison {
  name: string;
  /** By measure: stack, earlier amount (scaled), later amount. */
  measures: Record<string, [number, number, number][]>;
  certainty: { before: string; after: string };
  per: string;
  scale: number | null;
}

export interface Header {
  version: number;
  tool: string;
  title: string;
  recordings: RecordingFacts[];
  verdict: { level: string; sentence: string };
  certainty: { certainty: string; reasons: string[]; lost: number | null; failed_stacks: number; notes?: string[] };
  bounds: Bounds | null;
  leaks: Leak[];
  leak_count: number;
  duration_ns: number;
  width_ns: number;
  slot_count: number;
  point_ns: number;
  facets: string[];
  threads: string[][];
  compared: Comparison | null;
  strings: string[];
  empty_stacks: Record<string, string>;
  sources: Record<string, string[]> | null;
}

/** One function of a stack. */
export interface Frame {
  name: string;
  file: string | null;
  line: number;
  module: string | null;
  /** The same for all frames of one function of one module, whatever their lines. */
  place: number;
}

/** A function of a module: what one box of a flame graph is. */
export interface Place {
  name: string;
  module: string | null;
  isLibrary: boolean;
}

const LIBRARY = /\.so(\.|$)|^\[|\.dylib$/;

export class Model {
  readonly frames: Frame[] = [];
  readonly places: Place[] = [];
  /** Frames of each stack, root first. */
  readonly stacks: Int32Array[] = [];
  /** The verdict on each stack that was not released; null for the others. */
  readonly leakOf: (Leak | null)[];
  /** Stack, thread and slot of each row: small whole numbers, which are quick to index by. */
  readonly rows: Record<"stack" | "thread" | "slot", Int32Array>;

  constructor(
    readonly header: Header,
    readonly columns: Columns,
  ) {
    const { row_stack, row_thread, row_slot } = columns;
    this.rows = { stack: Int32Array.from(row_stack), thread: Int32Array.from(row_thread), slot: Int32Array.from(row_slot) };
    this.readFrames();
    this.readStacks();
    this.leakOf = this.stacks.map(() => null);
    for (const leak of header.leaks) this.leakOf[leak.stack] ??= leak;
  }

  static from(unpacked: Unpacked<Header>): Model {
    return new Model(unpacked.header, unpacked.columns);
  }

  /** The frames of a stack as lines to copy, leaf first. */
  stackText(stack: number): string {
    const frames = this.stacks[stack];
    if (!frames.length) return `<${this.emptyReason(stack)}>`;
    return [...frames].reverse().map((frame) => frameText(this.frames[frame])).join("\n");
  }

  /** Why a stack has no frames. */
  emptyReason(stack: number): string {
    return printable(this.header.empty_stacks[String(stack)] ?? "unknown");
  }

  /** The function that a stack is named by: the innermost one. */
  stackName(stack: number): string {
    const frames = this.stacks[stack];
    return frames.length ? this.frames[frames[frames.length - 1]].name : `<${this.emptyReason(stack)}>`;
  }

  private readFrames(): void {
    const { frame_name, frame_file, frame_line, frame_module } = this.columns;
    const strings = ["", ...this.header.strings.map(printable)];
    const known = new Map<number, number>();
    for (let index = 0; index < frame_name.length; index += 1) {
      const name = strings[frame_name[index]];
      const module = frame_module[index] ? strings[frame_module[index]] : null;
      const key = frame_name[index] * strings.length + frame_module[index];
      let place = known.get(key);
      if (place === undefined) {
        place = this.places.length;
        known.set(key, place);
        this.places.push({ name, module, isLibrary: module !== null && LIBRARY.test(fileName(module)) });
      }
      const file = frame_file[index] ? strings[frame_file[index]] : null;
      this.frames.push({ name, file, line: frame_line[index], module, place });
    }
  }

  private readStacks(): void {
    const { stack_length, stack_frame } = this.columns;
    let start = 0;
    for (const length of stack_length) {
      this.stacks.push(Int32Array.from(stack_frame.subarray(start, start + length)));
      start += length;
    }
  }
}

/** Return `function file:line`, or as much of it as is known. */
export function frameText(frame: Frame): string {
  const place = frame.file === null ? frame.module : frame.line ? `${frame.file}:${frame.line}` : frame.file;
  return place === null || place === frame.name ? frame.name : `${frame.name} ${place}`;
}

export function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
