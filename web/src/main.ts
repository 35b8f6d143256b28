/** The page of `gadgetops report`: everything it shows comes from the file it stands in. */

import { HeapChart } from "./chart";
import { button, chooser, copyButton, element, labelled } from "./dom";
import { FlameView } from "./flame_view";
import { formatBytes, formatDuration, printable } from "./format";
import { frontOf, leaksOf } from "./front";
import { Histograms } from "./histograms";
import { Model, type Header } from "./model";
import { StackTable } from "./stack_table";
import { isEverything, liveBySlot, sumUp, type Selection } from "./sums";
import { unpack } from "./unpack";

class Page {
  private readonly selection: Selection;
  private readonly chosen: Map<number, string> = new Map();
  private readonly chart: HeapChart;
  private readonly flames: FlameView;
  private readonly table: StackTable;
  private readonly histograms: Histograms;
  private readonly windowText = element("p", { class: "window", "aria-live": "polite" });
  private readonly sliders: HTMLInputElement[];
  private isQueued = false;

  constructor(
    private readonly model: Model,
    host: HTMLElement,
  ) {
    const { slot_count, threads } = model.header;
    this.selection = { from: 0, to: slot_count, threads: new Uint8Array(threads.length).fill(1) };
    this.flames = new FlameView(model);
    const showStack = (stack: number) => this.flames.showStack(stack);
    this.table = new StackTable(model, showStack);
    this.histograms = new Histograms(model);
    this.sliders = this.makeSliders();
    const chartHost = element("div", { class: "chart", role: "img", "aria-label": "Live memory over time. The sliders below choose a window." });
    const whole = sumUp(model, this.selection);
    host.replaceChildren(
      frontOf(model, whole),
      this.timeSection(chartHost),
      leaksOf(model, showStack),
      this.flames.element,
      this.table.element,
      this.histograms.element,
    );
    this.chart = new HeapChart(model, chartHost, (from, to) => this.setWindow(from, to));
    this.update();
  }

  private timeSection(chartHost: HTMLElement): HTMLElement {
    return element(
      "section",
      { "aria-labelledby": "time", class: "time" },
      element("h2", { id: "time" }, "Heap over time"),
      element("p", { class: "quiet hint" }, "Drag over the chart to choose a window, or click a moment: all that follows shows that window."),
      chartHost,
      element("div", { class: "controls" }, ...this.sliders.map((slider, number) => labelled(number ? "Window's end" : "Window's beginning", slider, "slider")), button("Whole recording", () => this.setWindow(0, this.model.header.slot_count))),
      this.filters(),
      this.windowText,
    );
  }

  private makeSliders(): HTMLInputElement[] {
    const most = this.model.header.slot_count;
    return [0, 1].map((number) => {
      const slider = element("input", { type: "range", min: "0", max: String(most), step: "1" });
      slider.value = number ? String(most) : "0";
      slider.addEventListener("input", () => {
        const value = Number(slider.value);
        const { from, to } = this.selection;
        if (number) this.setWindow(Math.min(from, Math.max(0, value - 1)), Math.max(1, value));
        else this.setWindow(Math.min(value, most - 1), Math.max(to, value + 1));
      });
      return slider;
    });
  }

  /** What there is only one of cannot be chosen. */
  private filters(): HTMLElement {
    const { facets, threads } = this.model.header;
    const fields = facets.map((facet, number) => {
      const names = [...new Set(threads.map((names) => names[number]))];
      if (names.length < 2) return null;
      const options = names.sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
      const label = facet.startsWith("label:") ? facet.slice(6) : facet;
      return chooser(`Only ${printable(label)}`, [["", "all"], ...options.map((name): [string, string] => [name, printable(name)])], (name) => {
        if (name) this.chosen.set(number, name);
        else this.chosen.delete(number);
        this.chooseThreads();
      });
    });
    return element("div", { class: "controls filters" }, ...fields);
  }

  private chooseThreads(): void {
    this.model.header.threads.forEach((names, thread) => {
      this.selection.threads[thread] = [...this.chosen].every(([facet, name]) => names[facet] === name) ? 1 : 0;
    });
    this.update();
  }

  private setWindow(from: number, to: number): void {
    this.selection.from = from;
    this.selection.to = to;
    this.update();
  }

  /** Show the selection with the next frame. */
  private update(): void {
    if (this.isQueued) return;
    this.isQueued = true;
    requestAnimationFrame(() => {
      this.isQueued = false;
      this.updateNow();
    });
  }

  private updateNow(): void {
    const { from, to, threads } = this.selection;
    const sums = sumUp(this.model, this.selection);
    this.flames.show(sums);
    this.table.show(sums);
    this.histograms.show(this.selection);
    this.chart.show(from, to, isEverything(threads) ? null : liveBySlot(this.model, threads));
    this.sliders[0].value = String(from);
    this.sliders[1].value = String(to);
    this.describeWindow(sums.totals);
  }

  private describeWindow(totals: ReturnType<typeof sumUp>["totals"]): void {
    const { from, to } = this.selection;
    const { width_ns, slot_count, duration_ns, recordings } = this.model.header;
    const isWhole = from === 0 && to === slot_count;
    const span = isWhole ? "The whole recording" : `From ${formatDuration(from * width_ns)} to ${formatDuration(Math.min(to * width_ns, duration_ns))}`;
    // What a process left is gone when it is.
    const ended = to === slot_count && !totals.live.bytes && totals.left.bytes ? " (the process had ended)" : "";
    const words = `${span}: ${formatBytes(totals.allocated.bytes)} allocated, ${formatBytes(totals.left.bytes)} of it never released; ${formatBytes(totals.live.bytes)} live at the end${ended}, ${formatBytes(totals.peak.bytes)} at most. `;
    const since = from > 0 ? ` --since ${from * width_ns}ns` : "";
    const until = to < slot_count ? ` --until ${to * width_ns}ns` : "";
    const path = recordings.length === 1 ? recordings[0].path : "RECORDING";
    const command = `gadgetops leaks ${quoted(path)}${since}${until}`;
    this.windowText.replaceChildren(words, element("code", {}, printable(command)), " ", copyButton("Copy the command", () => command));
  }
}

function quoted(path: string): string {
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

async function start(): Promise<void> {
  const host = document.getElementById("report") as HTMLElement;
  const contents = document.getElementById("contents") as HTMLElement;
  const page = new Page(Model.from(await unpack<Header>(contents.textContent ?? "")), host);
  contents.remove();
  document.documentElement.dataset.ready = "yes";
  void page;
}

void start();
