/** The flame graph with its controls. */

import { button, chooser, copyButton, element, searchField, tick } from "./dom";
import { FlameGraph } from "./flame";
import { formatBytes, formatCount, formatShare } from "./format";
import { fileName, type Model } from "./model";
import type { Measure, Sums, Unit } from "./sums";
import { ancestors, buildTree, type Shape, type Tree } from "./tree";
import { KINDS, RELEASED, worstVerdicts } from "./verdicts";

type Shown = Measure | "change";
type Colouring = "module" | "verdict" | "change";

const NAMES: [Shown, string][] = [
  ["left", "Not released"],
  ["live", "Live at the window's end"],
  ["peak", "Live at the peak"],
  ["allocated", "Allocated"],
  ["temporary", "Temporary"],
];
const COMPARED: [string, string][] = [
  ["live", "Not released"],
  ["bytes", "Allocated"],
  ["calls", "Calls"],
  ["peak", "Live at the peak"],
  ["temporary", "Temporary"],
];

export class FlameView {
  readonly element: HTMLElement;
  private readonly graph: FlameGraph;
  private readonly detail = element("p", { class: "detail", "aria-live": "polite" });
  private readonly legend = element("ul", { class: "legend", "aria-label": "Colours" });
  private readonly chosenPath = element("pre", { class: "path", tabindex: "0", "aria-label": "Path to the chosen function" });
  private readonly warning = element("p", { class: "quiet" });
  private readonly unitField: HTMLElement;
  private readonly comparedField: HTMLElement;
  private readonly shape: Shape = { isInverse: false, hidesLibraries: false, mergesRecursion: false };
  private shown: Shown = "left";
  private unit: Unit = "bytes";
  private compared = "live";
  private colouring: Colouring = "module";
  private words = "";
  private tree: Tree | null = null;
  private sums: Sums | null = null;
  private worst: Int8Array = new Int8Array(0);
  private changes: Float64Array = new Float64Array(0);
  private earlier: Float64Array = new Float64Array(0);
  private found: Uint8Array = new Uint8Array(0);
  private readonly colours: string[];

  constructor(private readonly model: Model) {
    this.colours = model.places.map(({ module }) => moduleColour(module));
    const canvas = element("canvas", {
      tabindex: "0",
      role: "application",
      "aria-roledescription": "flame graph",
      "aria-label": "Flame graph. Arrow keys walk along callers and callees, Enter zooms, Escape shows all. The table of stacks has the same figures.",
    });
    const names = model.header.compared ? [...NAMES, ["change", `Change since ${model.header.compared.name}`] as [Shown, string]] : NAMES;
    this.unitField = chooser("by", [["bytes", "bytes"], ["count", "calls"]], (unit) => this.set({ unit: unit as Unit }));
    this.comparedField = chooser("of", COMPARED, (compared) => this.set({ compared }));
    this.comparedField.hidden = true;
    const colourings: [string, string][] = [["module", "module"], ["verdict", "verdict"]];
    this.element = element(
      "section",
      { "aria-labelledby": "flames" },
      element("h2", { id: "flames" }, "Flame graph"),
      element(
        "div",
        { class: "controls" },
        chooser("Show", names, (shown) => this.set({ shown: shown as Shown })),
        this.unitField,
        this.comparedField,
        chooser("Colour by", colourings, (colouring) => this.set({ colouring: colouring as Colouring })),
        searchField("Search functions", (words) => this.search(words)),
        tick("Callers of the innermost function", (isInverse) => this.reshape({ isInverse })),
        tick("Hide libraries", (hidesLibraries) => this.reshape({ hidesLibraries })),
        tick("Merge recursion", (mergesRecursion) => this.reshape({ mergesRecursion })),
        button("Zoom out", () => this.graph.zoomTo(0)),
      ),
      this.warning,
      this.detail,
      element("div", { class: "flames" }, canvas),
      this.legend,
      element("div", { class: "chosen" }, this.chosenPath, copyButton("Copy the path", () => this.chosenPath.textContent ?? "")),
    );
    this.graph = new FlameGraph(canvas, this, (node, text, isChosen) => this.look(node, text, isChosen));
    this.drawLegend();
  }

  /** Show the sums of another window. */
  show(sums: Sums): void {
    this.sums = sums;
    if (this.tree) this.refill();
    else this.set({ shown: sums.totals.left.bytes ? "left" : "allocated" });
  }

  /** Zoom to where a stack ends, as it was not released. */
  showStack(stack: number): void {
    if (!this.tree) return;
    const values = this.values();
    if (!values[stack]) this.set({ shown: "left" });
    this.graph.zoomTo(this.tree.endOf[stack]);
    this.element.scrollIntoView({ block: "start" });
    this.graph.canvas.focus({ preventScroll: true });
  }

  name(node: number): string {
    const place = (this.tree as Tree).place[node];
    if (place === -1) return "all";
    return place < 0 ? `<${this.model.emptyReason(-2 - place)}>` : this.model.places[place].name;
  }

  describe(node: number, value: number, whole: number): string {
    const place = (this.tree as Tree).place[node];
    const module = place < 0 ? null : this.model.places[place].module;
    const name = module === null ? this.name(node) : `${this.name(node)} (${fileName(module)})`;
    if (this.shown === "change") {
      const later = this.earlier[node] + this.changes[node];
      return `${name}: ${this.amount(this.earlier[node])} before, ${this.amount(later)} now`;
    }
    return `${name}: ${this.amount(value)}, ${formatShare(value, whole)}`;
  }

  colour(node: number): string {
    if (this.shown === "change") return changeColour(this.changes[node], this.graph.whole);
    if (this.colouring === "verdict") return (KINDS[this.worst[node]] ?? RELEASED).colour;
    const place = (this.tree as Tree).place[node];
    return place < 0 ? "#d0d7de" : this.colours[place];
  }

  isFound(node: number): boolean {
    const place = (this.tree as Tree).place[node];
    return place >= 0 && this.found[place] === 1;
  }

  private amount(value: number): string {
    return this.isCounted() ? `${formatCount(value)} calls` : formatBytes(value);
  }

  private isCounted(): boolean {
    if (this.shown === "change") return this.compared === "calls" || this.compared === "temporary";
    return this.unit === "count";
  }

  private set(change: { shown?: Shown; unit?: Unit; compared?: string; colouring?: Colouring }): void {
    Object.assign(this, change);
    this.unitField.hidden = this.shown === "change";
    this.comparedField.hidden = this.shown !== "change";
    const list = this.element.querySelector("select") as HTMLSelectElement;
    list.value = this.shown;
    this.drawLegend();
    this.rebuild();
  }

  private reshape(change: Partial<Shape>): void {
    Object.assign(this.shape, change);
    this.rebuild();
  }

  private values(): Float64Array {
    if (this.shown !== "change") return (this.sums as Sums).values[this.shown][this.unit];
    const values = new Float64Array(this.model.stacks.length);
    for (const [stack, before, after] of this.comparison()) values[stack] += Math.max(before, after);
    return values;
  }

  private comparison(): [number, number, number][] {
    return this.model.header.compared?.measures[this.compared] ?? [];
  }

  private rebuild(): void {
    this.tree = buildTree(this.model, this.shape, this.values());
    this.graph.setTree(this.tree);
    this.refill();
    this.graph.zoomTo(0);
  }

  private refill(): void {
    const tree = this.tree as Tree;
    const values = this.values();
    if (this.shown === "change") this.fillChanges(tree);
    if (this.colouring === "verdict") this.worst = worstVerdicts(this.model, tree, values);
    const isRough = this.shown === "peak" && this.sums?.isPeakRough;
    this.warning.textContent = isRough ? "With a filter the peak is exact to a slot of time only." : "";
    this.graph.setValues(values);
  }

  private fillChanges(tree: Tree): void {
    this.changes = new Float64Array(tree.parent.length);
    this.earlier = new Float64Array(tree.parent.length);
    for (const [stack, before, after] of this.comparison()) {
      this.changes[tree.endOf[stack]] += after - before;
      this.earlier[tree.endOf[stack]] += before;
    }
    for (let node = this.changes.length - 1; node > 0; node -= 1) {
      this.changes[tree.parent[node]] += this.changes[node];
      this.earlier[tree.parent[node]] += this.earlier[node];
    }
  }

  private search(words: string): void {
    this.words = words.toLowerCase();
    this.found = Uint8Array.from(this.model.places, ({ name, module }) =>
      this.words && (name.toLowerCase().includes(this.words) || (module ?? "").toLowerCase().includes(this.words)) ? 1 : 0,
    );
    const n = this.found.reduce((sum, each) => sum + each, 0);
    this.detail.textContent = this.words ? `${formatCount(n)} functions found` : "";
    this.graph.draw();
  }

  private look(node: number, text: string, isChosen: boolean): void {
    this.detail.textContent = text;
    if (!isChosen || !this.tree) return;
    const path = ancestors(this.tree, node).filter((each) => each > 0);
    // The innermost first, as everywhere.
    if (!this.shape.isInverse) path.reverse();
    this.chosenPath.textContent = path.map((each) => this.name(each)).join("\n") || "all";
  }

  private drawLegend(): void {
    const item = (colour: string, words: string) => {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = colour;
      return element("li", {}, swatch, words);
    };
    if (this.shown === "change") {
      this.legend.replaceChildren(item(changeColour(1, 2), "more"), item(changeColour(0, 2), "the same"), item(changeColour(-1, 2), "less"));
    } else if (this.colouring === "verdict") {
      this.legend.replaceChildren(...[...KINDS, RELEASED].map(({ colour, words }) => item(colour, words)));
    } else {
      const modules = [...new Set(this.model.places.map(({ module }) => module))].slice(0, 10);
      this.legend.replaceChildren(...modules.map((module) => item(moduleColour(module), module === null ? "unknown" : fileName(module))));
    }
  }
}

/** Return the colour of a module, the same one in every report; dark text can be read on all of them. */
export function moduleColour(module: string | null): string {
  if (module === null) return "#d0d7de";
  let hash = 0;
  for (const character of fileName(module)) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  // Red is for what grows.
  return `hsl(${60 + (hash % 270)} 62% 74%)`;
}

function changeColour(change: number, whole: number): string {
  const share = whole ? Math.min(1, Math.abs(change) / whole) : 0;
  if (!share) return "#e4e7eb";
  const light = 88 - 26 * Math.sqrt(share);
  return change > 0 ? `hsl(8 88% ${light}%)` : `hsl(212 80% ${light}%)`;
}
