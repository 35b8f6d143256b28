/** Sizes and lifetimes as tables with bars: they print, and a screen reader reads them. */

import { element } from "./dom";
import { formatBytes, formatCount, formatDuration, formatShare } from "./format";
import type { Model } from "./model";
import { histogram, type Bar, type Selection } from "./sums";

export class Histograms {
  readonly element: HTMLElement;
  private readonly sizes = element("tbody");
  private readonly lifetimes = element("tbody");

  constructor(private readonly model: Model) {
    this.element = element(
      "section",
      { class: "pair", "aria-label": "Sizes and lifetimes" },
      table("Sizes", ["Size from", "Allocations", "", "Bytes", "Not released"], this.sizes),
      table("Lifetimes", ["Released within", "Allocations", "", "Share"], this.lifetimes),
    );
  }

  show(selection: Selection): void {
    const sizes = histogram(this.model, "size", selection);
    fill(this.sizes, sizes, (bar) => [sizeOf(bar.digits), [formatBytes(bar.allocatedBytes), formatBytes(bar.leftBytes)]]);
    const lifetimes = histogram(this.model, "lifetime", selection);
    const released = lifetimes.filter((bar) => bar.digits >= 0);
    const rest = lifetimes.filter((bar) => bar.digits < 0);
    const whole = lifetimes.reduce((sum, bar) => sum + bar.allocatedCount, 0);
    fill(this.lifetimes, [...released, ...rest], (bar) => [lifetimeOf(bar.digits), [formatShare(bar.allocatedCount, whole)]]);
  }
}

function table(title: string, headings: string[], body: HTMLElement): HTMLElement {
  const cells = headings.map((heading) =>
    heading ? element("th", { scope: "col", class: "figure" }, heading) : element("td", { "aria-hidden": "true" }),
  );
  const id = title.toLowerCase();
  return element(
    "div",
    {},
    element("h2", { id }, title),
    element("table", { class: "bars", "aria-labelledby": id }, element("thead", {}, element("tr", {}, ...cells)), body),
  );
}

function fill(body: HTMLElement, bars: Bar[], words: (bar: Bar) => [string, string[]]): void {
  const most = Math.max(1, ...bars.map((bar) => bar.allocatedCount));
  const rows = bars.map((bar) => {
    const [name, more] = words(bar);
    const length = element("meter", { min: "0", max: String(most), value: String(bar.allocatedCount), "aria-hidden": "true" });
    return element(
      "tr",
      {},
      element("th", { scope: "row", class: "figure" }, name),
      element("td", { class: "figure" }, formatCount(bar.allocatedCount)),
      element("td", { class: "bar" }, length),
      ...more.map((text) => element("td", { class: "figure" }, text)),
    );
  });
  body.replaceChildren(...rows);
}

function sizeOf(digits: number): string {
  return digits === 0 ? "0 B" : formatBytes(2 ** (digits - 1));
}

function lifetimeOf(digits: number): string {
  return digits < 0 ? "not released" : formatDuration(10 ** digits);
}
