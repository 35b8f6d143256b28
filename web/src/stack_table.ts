/** The table of stacks: sorted by any column, searched by any name. */

import { button, copyButton, element, searchField } from "./dom";
import { formatBytes, formatCount, plural } from "./format";
import { stackOf } from "./front";
import type { Model } from "./model";
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

export class StackTable {
  readonly element: HTMLElement;
  private readonly body = element("tbody");
  private readonly note = element("p", { "aria-live": "polite", class: "quiet" });
  private readonly headings: HTMLElement[];
  private readonly more: HTMLButtonElement;
  private readonly texts: string[];
  private sums: Sums | null = null;
  private sorted = 0;
  private isAscending = false;
  private words = "";
  private shown = PAGE;

  constructor(
    private readonly model: Model,
    private readonly onShow: (stack: number) => void,
  ) {
    this.texts = model.stacks.map((_, stack) => model.stackText(stack).toLowerCase());
    this.headings = COLUMNS.map((column, number) =>
      element("th", { scope: "col", class: "figure" }, button(column.label, () => this.sortBy(number))),
    );
    this.more = button("Show more", () => {
      this.shown += 4 * PAGE;
      this.draw();
    });
    const head = element("tr", {}, element("th", { scope: "col" }, "Stack"), element("th", { scope: "col" }, "Verdict"), ...this.headings);
    const search = searchField("Search stacks", (text) => {
      this.words = text.toLowerCase();
      this.shown = PAGE;
      this.draw();
    });
    const caption = element("caption", { class: "hidden" }, "Stacks and what they allocated in the chosen window");
    const table = element("table", {}, caption, element("thead", {}, head), this.body);
    this.element = element(
      "section",
      { "aria-labelledby": "stacks" },
      element("h2", { id: "stacks" }, "Stacks"),
      element("div", { class: "controls" }, search),
      this.note,
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of stacks" }, table),
      this.more,
    );
  }

  show(sums: Sums): void {
    this.sums = sums;
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
    for (let stack = 0; stack < this.texts.length; stack += 1) {
      const isThere = COLUMNS.some(({ measure, unit }) => values[measure][unit][stack] !== 0);
      if (isThere && this.texts[stack].includes(this.words)) found.push(stack);
    }
    found.sort((one, other) => sign * (key[one] - key[other]) || one - other);
    this.body.replaceChildren(...found.slice(0, this.shown).map((stack) => this.row(stack)));
    this.headings.forEach((heading, number) => {
      if (number === this.sorted) heading.setAttribute("aria-sort", this.isAscending ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    });
    this.note.textContent = plural(found.length, "stack");
    this.more.hidden = found.length <= this.shown;
  }

  private row(stack: number): HTMLElement {
    const { values } = this.sums as Sums;
    const cells = COLUMNS.map(({ measure, unit }) => {
      const value = values[measure][unit][stack];
      return element("td", { class: "figure" }, unit === "bytes" ? formatBytes(value) : formatCount(value));
    });
    const leak = this.model.leakOf[stack];
    const chip = leak ? element("span", { class: `chip ${leak.kind}` }, wordsOf(leak.kind)) : null;
    const details = element("details", {}, element("summary", {}, element("code", {}, this.title(stack))));
    details.addEventListener("toggle", () => {
      if (details.children.length > 1) return;
      const buttons = element("p", { class: "buttons" }, button("Show in the flame graph", () => this.onShow(stack)), copyButton("Copy the stack", () => this.model.stackText(stack)));
      details.append(stackOf(this.model, stack), buttons);
    });
    return element("tr", { "data-stack": String(stack) }, element("td", { class: "name" }, details), element("td", {}, chip), ...cells);
  }

  /** The innermost functions, as many as tell stacks apart at a glance. */
  private title(stack: number): string {
    const names = [...this.model.stacks[stack]].reverse().slice(0, 3).map((frame) => this.model.frames[frame].name);
    return names.join(" ← ") || this.model.stackName(stack);
  }
}
