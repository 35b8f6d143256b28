/** The flame graph on a canvas: drawing, zoom, pointer and keyboard. */

import { ancestors, fill, place, type Tree } from "./tree";

export const ROW = 20;
const LETTER = 6.6;
const NARROWEST = 0.6;

/** What a flame graph asks of its surroundings. */
export interface Source {
  name(node: number): string;
  /** Text that says all about a node. */
  describe(node: number, value: number, whole: number): string;
  colour(node: number): string;
  isFound(node: number): boolean;
}

export class FlameGraph {
  private tree: Tree | null = null;
  private values: Float64Array = new Float64Array(0);
  private starts: Float64Array = new Float64Array(0);
  private root = 0;
  private focused = 0;
  private hovered = -1;
  private isQueued = false;
  private readonly painter: CanvasRenderingContext2D;

  constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly source: Source,
    /** Called with the node that is looked at, and whether it was chosen rather than passed over. */
    private readonly onLook: (node: number, text: string, isChosen: boolean) => void,
  ) {
    this.painter = canvas.getContext("2d") as CanvasRenderingContext2D;
    canvas.addEventListener("pointermove", (event) => this.hover(this.nodeAt(event)));
    canvas.addEventListener("pointerleave", () => this.hover(-1));
    canvas.addEventListener("click", (event) => this.zoomTo(this.nodeAt(event)));
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement as HTMLElement);
  }

  /** Show another tree, whole. */
  setTree(tree: Tree): void {
    this.tree = tree;
    this.root = 0;
    this.focused = 0;
    this.hovered = -1;
  }

  /** Show other values, by stack, of the same tree. */
  setValues(byStack: Float64Array): void {
    if (!this.tree) return;
    this.values = fill(this.tree, byStack);
    this.starts = place(this.tree, this.values);
    this.draw();
  }

  get whole(): number {
    return this.values[0] ?? 0;
  }

  get zoomed(): number {
    return this.root;
  }

  /** Zoom to a node; to the root if there is none. */
  zoomTo(node: number): void {
    if (!this.tree) return;
    this.root = Math.max(0, node);
    this.focused = this.root;
    this.look(this.root, true);
    this.draw();
  }

  /** Draw with the next frame. */
  draw(): void {
    if (this.isQueued) return;
    this.isQueued = true;
    requestAnimationFrame(() => {
      this.isQueued = false;
      this.drawNow();
    });
  }

  /** Draw at once. */
  drawNow(): void {
    const tree = this.tree;
    if (!tree) return;
    const width = (this.canvas.parentElement as HTMLElement).clientWidth;
    const height = this.depth(width) * ROW + 2;
    this.resize(width, height);
    const painter = this.painter;
    painter.clearRect(0, 0, width, height);
    painter.font = "12px system-ui, sans-serif";
    painter.textBaseline = "middle";
    const path = new Set(ancestors(tree, this.root));
    for (let node = 0; node < this.values.length; node += 1) {
      const box = this.box(node, width, path);
      if (box) this.paint(node, box[0], box[1], tree.depth[node] * ROW, path.has(node) && node !== this.root);
    }
    this.outline(width, path);
  }

  /** Return left edge and width of a node on the canvas, null where it is not to be seen. */
  private box(node: number, width: number, path: Set<number>): [number, number] | null {
    if (path.has(node)) return [0, width];
    const scale = width / (this.values[this.root] || 1);
    const size = this.values[node] * scale;
    if (size < NARROWEST) return null;
    const left = (this.starts[node] - this.starts[this.root]) * scale;
    const tree = this.tree as Tree;
    if (left >= width || left + size <= 0 || tree.depth[node] <= tree.depth[this.root]) return null;
    return [left, size];
  }

  private depth(width: number): number {
    const tree = this.tree as Tree;
    const path = new Set<number>([this.root]);
    let deepest = tree.depth[this.root];
    for (let node = 0; node < this.values.length; node += 1) {
      if (tree.depth[node] > deepest && this.box(node, width, path)) deepest = tree.depth[node];
    }
    return Math.max(4, deepest + 1);
  }

  private resize(width: number, height: number): void {
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.height = `${height}px`;
    }
    this.painter.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  private paint(node: number, left: number, width: number, top: number, isFaded: boolean): void {
    const painter = this.painter;
    painter.globalAlpha = isFaded ? 0.55 : 1;
    painter.fillStyle = this.source.isFound(node) ? "#f0abfc" : this.source.colour(node);
    painter.fillRect(left, top, Math.max(NARROWEST, width - 0.5), ROW - 1);
    const letters = Math.floor((width - 8) / LETTER);
    if (letters > 2) {
      const name = this.source.name(node);
      painter.fillStyle = "#161b22";
      painter.fillText(name.length > letters ? `${name.slice(0, letters - 1)}…` : name, left + 4, top + ROW / 2);
    }
    painter.globalAlpha = 1;
  }

  private outline(width: number, path: Set<number>): void {
    const node = this.hovered >= 0 ? this.hovered : document.activeElement === this.canvas ? this.focused : -1;
    const box = node < 0 ? null : this.box(node, width, path);
    if (!box) return;
    this.painter.strokeStyle = getComputedStyle(this.canvas).color;
    this.painter.lineWidth = 2;
    this.painter.strokeRect(box[0] + 1, (this.tree as Tree).depth[node] * ROW + 1, Math.max(2, box[1] - 2), ROW - 3);
  }

  private nodeAt(event: MouseEvent): number {
    if (!this.tree) return -1;
    const bounds = this.canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - bounds.top) / ROW);
    const left = event.clientX - bounds.left;
    const path = ancestors(this.tree, this.root);
    if (row < path.length) return path[row];
    const known = new Set(path);
    for (let node = 0; node < this.values.length; node += 1) {
      if (this.tree.depth[node] !== row) continue;
      const box = this.box(node, bounds.width, known);
      if (box && left >= box[0] && left < box[0] + box[1]) return node;
    }
    return -1;
  }

  private hover(node: number): void {
    if (node === this.hovered) return;
    this.hovered = node;
    this.look(node < 0 ? this.focused : node, false);
    this.draw();
  }

  private look(node: number, isChosen: boolean): void {
    this.onLook(node, this.source.describe(node, this.values[node], this.values[0]), isChosen);
  }

  private press(event: KeyboardEvent): void {
    const next = this.neighbour(event.key);
    if (event.key === "Enter" || event.key === " ") this.zoomTo(this.focused);
    else if (event.key === "Escape") this.zoomTo(0);
    else if (next === null) return;
    else {
      this.focused = next;
      this.hovered = -1;
      this.look(next, true);
      this.draw();
    }
    event.preventDefault();
  }

  /** Return the node that an arrow key leads to, null for other keys. */
  private neighbour(key: string): number | null {
    const tree = this.tree;
    if (!tree) return null;
    const callees = (node: number) => {
      const found = [];
      for (let each = node + 1; each < this.values.length && tree.depth[each] > tree.depth[node]; each += 1) {
        if (tree.parent[each] === node && this.values[each] > 0) found.push(each);
      }
      return found;
    };
    if (key === "ArrowDown") return callees(this.focused)[0] ?? this.focused;
    if (key === "ArrowUp") return Math.max(0, tree.parent[this.focused]);
    if (key !== "ArrowLeft" && key !== "ArrowRight") return null;
    if (this.focused === 0) return 0;
    const row = callees(tree.parent[this.focused]);
    const at = row.indexOf(this.focused) + (key === "ArrowRight" ? 1 : -1);
    return row[Math.min(Math.max(at, 0), row.length - 1)] ?? this.focused;
  }
}
