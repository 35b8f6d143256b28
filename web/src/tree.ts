/** The tree of a flame graph: built once for a way to look at stacks, then filled with values often. */

import type { Model } from "./model";

export interface Shape {
  /** From the allocating function to its callers. */
  isInverse: boolean;
  hidesLibraries: boolean;
  mergesRecursion: boolean;
}

/** Nodes in preorder: a parent comes before its callees; node 0 is the root. */
export interface Tree {
  parent: Int32Array;
  depth: Int32Array;
  /** Place of each node; -1 for the root, -2 - s for the reason why stack s is empty. */
  place: Int32Array;
  /** The node where each stack ends; -1 for stacks that are left out. */
  endOf: Int32Array;
  height: number;
}

/** Return the tree of the stacks, callees with the greatest *weights* (by stack) first. */
export function buildTree(model: Model, shape: Shape, weights: Float64Array): Tree {
  const parent = [-1];
  const place = [-1];
  const known = new Map<number, number>();
  const nPlaces = model.places.length + model.stacks.length + 2;
  const endOf = new Int32Array(model.stacks.length);
  const callee = (node: number, at: number): number => {
    const key = node * nPlaces + (at < 0 ? model.places.length - at : at);
    let found = known.get(key);
    if (found === undefined) {
      found = parent.length;
      parent.push(node);
      place.push(at);
      known.set(key, found);
    }
    return found;
  };
  for (let stack = 0; stack < model.stacks.length; stack += 1) {
    const path = pathOf(model, stack, shape);
    endOf[stack] = path.reduce(callee, 0);
  }
  return inPreorder(parent, place, endOf, weights);
}

function pathOf(model: Model, stack: number, shape: Shape): number[] {
  const places = Array.from(model.stacks[stack], (frame) => model.frames[frame].place);
  if (!places.length) return [-2 - stack];
  let shown = shape.hidesLibraries ? places.filter((place) => !model.places[place].isLibrary) : places;
  if (!shown.length) shown = places.slice(-1);
  if (shape.mergesRecursion) shown = withoutRecursion(shown);
  return shape.isInverse ? shown.reverse() : shown;
}

/** Return a path in which a function that calls itself, through whatever others, is there once. */
function withoutRecursion(path: number[]): number[] {
  const merged: number[] = [];
  for (const place of path) {
    const before = merged.indexOf(place);
    if (before >= 0) merged.length = before + 1;
    else merged.push(place);
  }
  return merged;
}

function inPreorder(parent: number[], place: number[], endOf: Int32Array, weights: Float64Array): Tree {
  const n = parent.length;
  const weight = new Float64Array(n);
  endOf.forEach((node, stack) => (weight[node] += weights[stack]));
  // A callee has a higher number than its caller here, too.
  for (let node = n - 1; node > 0; node -= 1) weight[parent[node]] += weight[node];
  const callees: number[][] = Array.from({ length: n }, () => []);
  for (let node = 1; node < n; node += 1) callees[parent[node]].push(node);
  const tree: Tree = {
    parent: new Int32Array(n),
    depth: new Int32Array(n),
    place: new Int32Array(n),
    endOf: new Int32Array(endOf.length),
    height: 1,
  };
  const number = new Int32Array(n);
  const waiting = [0];
  for (let next = 0; waiting.length; next += 1) {
    const node = waiting.pop() as number;
    number[node] = next;
    tree.place[next] = place[node];
    tree.parent[next] = node ? number[parent[node]] : -1;
    tree.depth[next] = node ? tree.depth[tree.parent[next]] + 1 : 0;
    tree.height = Math.max(tree.height, tree.depth[next] + 1);
    waiting.push(...callees[node].sort((one, other) => weight[one] - weight[other]));
  }
  endOf.forEach((node, stack) => (tree.endOf[stack] = number[node]));
  return tree;
}

/** Return what each node has, with all that it called. */
export function fill(tree: Tree, values: Float64Array): Float64Array {
  const filled = new Float64Array(tree.parent.length);
  for (let stack = 0; stack < tree.endOf.length; stack += 1) filled[tree.endOf[stack]] += values[stack];
  for (let node = filled.length - 1; node > 0; node -= 1) filled[tree.parent[node]] += filled[node];
  return filled;
}

/** Return where each node begins, in the unit of its value. */
export function place(tree: Tree, values: Float64Array): Float64Array {
  const start = new Float64Array(values.length);
  const next = new Float64Array(values.length);
  for (let node = 1; node < values.length; node += 1) {
    const caller = tree.parent[node];
    start[node] = next[caller];
    next[caller] += Math.max(0, values[node]);
    next[node] = start[node];
  }
  return start;
}

/** Return the nodes from the root to *node*. */
export function ancestors(tree: Tree, node: number): number[] {
  const path = [];
  for (let each = node; each >= 0; each = tree.parent[each]) path.push(each);
  return path.reverse();
}
