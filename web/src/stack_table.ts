/** The table of stacks: sorted by any column, searched by any name. */

import { button, copyButton, element, searchField } from "./dom";
import { formatBytes, formatCount, plural } from "./format";
import { stackOf } from "./front";
import { frameText, type Frame, type Model } from "./model";
import type { Measure, Sums, Unit } from "./sums";
import { wordsOf } from "./verdicts";

const PAGE = 50;
const COLUMNS: { label: string; measure: Measure; unit: Unit }[] = [
  { label: "Not released", measure: "left", unit: "bytes" },
  { label: "in", measure: "left", unit: "count" },
  { label: "Live at the end", measure: "live", unit: "bytes" },
  { label: "At the peak", measure: "peak", unit: "bytes" },
  { label: "Allocated", measure: "allocated", unit: "bytes" },
  { label: "Calls", measure: "allocated", unit: "count" },
  { label: "Temporary", measure: "temporary", unit: "count" },
];

/** The row of one stack, made once: a drag changes figures only. */
interface Row {
  line: HTMLElement;
  cells: HTMLElement[];
}

export class StackTable {
  readonly element: HTMLElement;
  private readonly body = element("tbody");
  private readonly note = element("p", { "aria-live": "polite", class: "quiet" });
  private readonly headings: HTMLElement[];
  private readonly more: HTMLButtonElement;
  private readonly rows = new Map<number, Row>();
  private drawn: number[] = [];
  private sums: Sums | null = null;
  private sorted = 0;
  private isAscending = false;
  /** Whether a frame has the words that are looked for; null while there are none. */
  private found: Uint8Array | null = null;
  private shown = PAGE;

  constructor(
    private readonly model: Model,
    private readonly onShow: (stack: number) => void,
  ) {
    this.headings = COLUMNS.map((column, number) =>
      element("th", { scope: "col", class: "figure" }, button(column.label, () => this.sortBy(number))),
    );
    this.more = button("Show more", () => {
      this.shown += 4 * PAGE;
      this.draw();
    });
    const head = element("tr", {}, element("th", { scope: "col", class: "name" }, "Stack"), element("th", { scope: "col", class: "verdict" }, "Verdict"), ...this.headings);
    const caption = element("caption", { class: "hidden" }, "Stacks and what they allocated in the chosen window");
    const table = element("table", { class: "stacks" }, caption, element("thead", {}, head), this.body);
    this.element = element(
      "section",
      { "aria-labelledby": "stacks" },
      element("h2", { id: "stacks" }, "Stacks"),
      element("div", { class: "controls" }, searchField("Search stacks", (text) => this.search(text))),
      this.note,
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of stacks" }, table),
      this.more,
    );
  }

  show(sums: Sums): void {
    this.sums = sums;
    this.draw();
  }

  private search(text: string): void {
    const words = text.toLowerCase();
    const has = (frame: Frame) => (frameText(frame).toLowerCase().includes(words) ? 1 : 0);
    this.found = words ? Uint8Array.from(this.model.frames, has) : null;
    this.shown = PAGE;
    this.draw();
  }

  private sortBy(number: number): void {
    this.isAscending = this.sorted === number && !this.isAscending;
    this.sorted = number;
    this.draw();
  }

  private draw(): void {
    if (!this.sums) return;
    const { values } = this.sums;
    const key = values[COLUMNS[this.sorted].measure][COLUMNS[this.sorted].unit];
    const sign = this.isAscending ? 1 : -1;
    const found = [];
    for (let stack = 0; stack < this.model.stacks.length; stack += 1) {
      if (this.isThere(stack) && this.isFound(stack)) found.push(stack);
    }
    found.sort((one, other) => sign * (key[one] - key[other]) || one - other);
    const drawn = found.slice(0, this.shown);
    const lines = drawn.map((stack) => this.line(stack));
    if (drawn.length !== this.drawn.length || drawn.some((stack, at) => stack !== this.drawn[at])) this.body.replaceChildren(...lines);
    this.drawn = drawn;
    this.headings.forEach((heading, number) => {
      if (number === this.sorted) heading.setAttribute("aria-sort", this.isAscending ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    });
    setText(this.note, plural(found.length, "stack"));
    this.more.hidden = found.length <= this.shown;
  }

  private isThere(stack: number): boolean {
    const { allocated, live, peak } = (this.sums as Sums).values;
    return allocated.count[stack] !== 0 || live.count[stack] !== 0 || peak.count[stack] !== 0;
  }

  private isFound(stack: number): boolean {
    const { found } = this;
    return found === null || this.model.stacks[stack].some((frame) => found[frame] === 1);
  }

  private line(stack: number): HTMLElement {
    const row = this.rows.get(stack) ?? this.newRow(stack);
    const { values } = this.sums as Sums;
    COLUMNS.forEach(({ measure, unit }, number) => {
      const value = values[measure][unit][stack];
      setText(row.cells[number], unit === "bytes" ? formatBytes(value) : formatCount(value));
    });
    return row.line;
  }

  private newRow(stack: number): Row {
    const cells = COLUMNS.map(() => element("td", { class: "figure" }));
    const leak = this.model.leakOf[stack];
    const chip = leak ? element("span", { class: `chip ${leak.kind}` }, wordsOf(leak.kind)) : null;
    const details = element("details", {}, element("summary", {}, element("code", {}, this.title(stack))));
    details.addEventListener("toggle", () => {
      if (details.children.length > 1) return;
      const buttons = element("p", { class: "buttons" }, button("Show in the flame graph", () => this.onShow(stack)), copyButton("Copy the stack", () => this.model.stackText(stack)));
      details.append(stackOf(this.model, stack), buttons);
    });
    const line = element("tr", { "data-stack": String(stack) }, element("td", { class: "name" }, details), element("td", {}, chip), ...cells);
    const row = { line, cells };
    this.rows.set(stack, row);
    return row;
  }

  /** The innermost functions, as many as tell stacks apart at a glance. */
  private title(stack: number): string {
    const names = [...this.model.stacks[stack]].reverse().slice(0, 3).map((frame) => this.model.frames[frame].name);
    return names.join(" ← ") || this.model.stackName(stack);
  }
}

function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
