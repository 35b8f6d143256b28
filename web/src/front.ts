/** What stands first: the verdict, the figures, what grows, what is missing. */

import { copyButton, button, element } from "./dom";
import { formatBytes, formatCount, formatDuration, formatShare, plural, printable } from "./format";
import { fileName, frameText, type Leak, type Model } from "./model";
import type { Sums } from "./sums";
import { wordsOf } from "./verdicts";

const SHOWN = 5;
const CALLERS = 2;
const LEVELS: Record<string, string> = { leak: "Leak", perhaps: "Perhaps", none: "No leak", unknown: "Unclear" };

/** Return the head of the page; *whole* are the sums of all of the recording. */
export function frontOf(model: Model, whole: Sums): HTMLElement {
  const { header } = model;
  return element(
    "header",
    { class: `front ${header.verdict.level}` },
    element("p", { class: "badge" }, LEVELS[header.verdict.level] ?? header.verdict.level),
    element("h1", {}, printable(header.verdict.sentence)),
    whereOf(model),
    sureOf(model),
    figures(model, whole),
    element("p", { class: "what" }, describe(model)),
  );
}

/** Where it grows, beside the verdict. */
function whereOf(model: Model): HTMLElement | null {
  const growing = sorted(model.header.leaks).filter((leak) => !leak.owner && (leak.kind === "growing" || leak.kind === "levelling"));
  if (!growing.length) return null;
  const items = growing.slice(0, SHOWN).map((leak) =>
    element("li", {}, element("code", {}, placeOf(model, leak)), callersOf(model, leak), `: ${formatBytes(leak.bytes)} in ${plural(leak.count, "allocation")}`),
  );
  if (growing.length > SHOWN) items.push(element("li", {}, `and ${plural(growing.length - SHOWN, "more place")}, below`));
  return element("ol", { class: "where", "aria-label": "Where it grows" }, ...items);
}

/** Return leaks with what grows first, else in the order of the answer. */
function sorted(leaks: Leak[]): Leak[] {
  const rank = (leak: Leak) => ["growing", "levelling"].indexOf(leak.kind) + 1 || 3;
  return [...leaks].sort((one, other) => rank(one) - rank(other));
}

function describe(model: Model): string {
  const { recordings, tool } = model.header;
  const events = recordings.reduce((sum, each) => sum + each.event_count, 0);
  const names = recordings.map((each) => each.command ?? each.name).slice(0, 4).map(printable).join(" · ");
  const more = recordings.length > 4 ? ` and ${recordings.length - 4} more` : "";
  const labels = recordings.length === 1 ? Object.entries(recordings[0].labels).map(([key, value]) => `, ${key}=${value}`).join("") : "";
  return printable(`${names}${more}${labels}; ${plural(events, "event")} in ${formatDuration(model.header.duration_ns)}; ${tool}`);
}

function sureOf(model: Model): HTMLElement {
  const { certainty, bounds } = model.header;
  const words: Record<string, string> = {
    certain: "How sure: the figures are certain, nothing is missing from the recording.",
    possible: "How sure: something is missing from the recording.",
    inconclusive: "How sure: nothing was recorded.",
  };
  const reasons = certainty.reasons.map((reason) => element("li", {}, printable(reason)));
  for (const note of certainty.notes ?? []) reasons.push(element("li", {}, printable(note)));
  const least = bounds?.at_least_bytes;
  if (certainty.certainty === "possible" && least != null) {
    reasons.push(element("li", {}, `at least ${formatBytes(least)} were not released`));
  }
  return element(
    "div",
    { class: "sure" },
    element("p", {}, words[certainty.certainty] ?? certainty.certainty),
    reasons.length ? element("ul", {}, ...reasons) : null,
  );
}

function figures(model: Model, { totals, peakNs }: Sums): HTMLElement {
  const { left, allocated, temporary, peak } = totals;
  const lost = model.header.certainty.lost;
  const shown: [string, string, string][] = [
    ["Not released", formatBytes(left.bytes), plural(left.count, "allocation")],
    ["Peak", formatBytes(peak.bytes), `after ${formatDuration(peakNs)}`],
    ["Allocated", formatBytes(allocated.bytes), plural(allocated.count, "allocation")],
    ["Temporary", formatShare(temporary.count, allocated.count), plural(temporary.count, "allocation")],
    ["Lost", lost === null ? "unknown" : formatCount(lost), lost === 1 ? "event" : "events"],
  ];
  return element(
    "dl",
    { class: "figures" },
    ...shown.map(([name, value, more]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, element("strong", {}, value), ` ${more}`)),
    ),
  );
}

/** Return the list of what was not released; *onShow* looks a stack up in the flame graph. */
export function leaksOf(model: Model, onShow: (stack: number) => void): HTMLElement {
  const { leaks, leak_count } = model.header;
  const many = model.header.recordings.length > 1;
  const items = sorted(leaks).map((leak) => leakItem(model, leak, many, onShow));
  const first = element("ol", { class: "leaks" }, ...items.slice(0, SHOWN));
  const section = element("section", { "aria-labelledby": "grows" }, element("h2", { id: "grows" }, "What was not released"), first);
  if (!items.length) first.replaceWith(element("p", {}, "Everything was released."));
  if (items.length > SHOWN) {
    const rest = element("ol", { class: "leaks", start: String(SHOWN + 1) }, ...items.slice(SHOWN));
    const hidden = leak_count - leaks.length;
    const note = hidden > 0 ? element("p", {}, `${plural(hidden, "smaller one")} more: gadgetops leaks shows them.`) : null;
    section.append(element("details", {}, element("summary", {}, `${plural(items.length - SHOWN, "more place")}`), rest, note));
  }
  return section;
}

function leakItem(model: Model, leak: Leak, many: boolean, onShow: (stack: number) => void): HTMLElement {
  const summary = element(
    "summary",
    {},
    element("span", { class: `chip ${leak.kind}` }, wordsOf(leak.kind)),
    element("strong", {}, formatBytes(leak.bytes)),
    element("span", {}, ` in ${plural(leak.count, "allocation")} `),
    element("code", {}, placeOf(model, leak)),
    callersOf(model, leak),
    many ? element("span", { class: "quiet" }, printable(leak.recording)) : null,
    leak.owner ? element("span", { class: "quiet" }, printable(leak.owner)) : null,
    element("span", { class: "reason" }, printable(leak.reason)),
  );
  const buttons = element(
    "p",
    { class: "buttons" },
    button("Show in the flame graph", () => onShow(leak.stack)),
    copyButton("Copy the stack", () => model.stackText(leak.stack)),
  );
  return element("li", {}, element("details", {}, summary, stackOf(model, leak.stack), buttons));
}

/** Return a stack as a list, leaf first, with source lines where the file has them. */
export function stackOf(model: Model, stack: number): HTMLElement {
  const frames = [...model.stacks[stack]].reverse().map((number) => model.frames[number]);
  if (!frames.length) return element("p", {}, model.stackText(stack));
  const items = frames.map((frame) => {
    const around = frame.file && frame.line ? model.header.sources?.[`${frame.file}:${frame.line}`] : undefined;
    const first = Math.max(1, frame.line - 2);
    const source = around
      ? element("pre", { class: "source" }, around.map((line, at) => `${first + at === frame.line ? ">" : " "} ${String(first + at).padStart(5)}  ${printable(line.replaceAll("\t", "    "))}`).join("\n"))
      : null;
    return element("li", {}, element("code", {}, frameText(frame)), source);
  });
  return element("ol", { class: "stack" }, ...items);
}

/** Who called it: a name like `grow` says little alone. */
function callersOf(model: Model, leak: Leak): HTMLElement | null {
  const frames = [...model.stacks[leak.stack]].reverse().slice(leak.place + 1, leak.place + 1 + CALLERS);
  const names = frames.map((frame) => model.frames[frame].name);
  return names.length ? element("span", { class: "quiet callers" }, names.map((name) => ` ← ${name}`).join("")) : null;
}

function placeOf(model: Model, leak: Leak): string {
  const frames = model.stacks[leak.stack];
  if (!frames.length) return model.stackName(leak.stack);
  const frame = model.frames[frames[frames.length - 1 - leak.place]];
  return frameText({ ...frame, file: frame.file && fileName(frame.file), module: frame.module && fileName(frame.module) });
}
