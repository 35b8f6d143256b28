/** The kinds of verdict on a stack: their words, their colours, and which is worse. */

import type { Model } from "./model";
import type { Tree } from "./tree";

interface Kind {
  kind: string;
  words: string;
  colour: string;
}

/** The worst first. */
export const KINDS: Kind[] = [
  { kind: "growing", words: "grows", colour: "#ff8a80" },
  { kind: "levelling", words: "grows ever more slowly", colour: "#ffbf66" },
  { kind: "unclear", words: "unclear", colour: "#d7c6f5" },
  { kind: "plateau", words: "does not grow", colour: "#9cc9ff" },
  { kind: "startup", words: "from the start", colour: "#a9dfbf" },
  { kind: "recent", words: "in use at the end", colour: "#c9d6e2" },
];
export const RELEASED = { words: "released", colour: "#e4e7eb" };

/** Return the words of a kind; of one that this page does not know its name. */
export function wordsOf(kind: string): string {
  return KINDS.find((each) => each.kind === kind)?.words ?? kind;
}

/** Return for each node the number of its worst verdict in `KINDS`; -1 where all was released. */
export function worstVerdicts(model: Model, tree: Tree, values: Float64Array): Int8Array {
  const worst = new Int8Array(tree.parent.length).fill(-1);
  const isWorse = (one: number, other: number) => one >= 0 && (other < 0 || one < other);
  tree.endOf.forEach((node, stack) => {
    const leak = model.leakOf[stack];
    if (!leak || values[stack] <= 0) return;
    const number = KINDS.findIndex((each) => each.kind === leak.kind);
    if (isWorse(number, worst[node])) worst[node] = number;
  });
  for (let node = worst.length - 1; node > 0; node -= 1) {
    if (isWorse(worst[node], worst[tree.parent[node]])) worst[tree.parent[node]] = worst[node];
  }
  return worst;
}
