/** Heap over time, with a window to choose on it. */

import uPlot from "uplot";

import { formatBytes, formatCount, formatDuration } from "./format";
import type { Model } from "./model";

/** RSS shares the heap's axis up to so many times its height. */
const MOST_TIMES = 4;

export class HeapChart {
  private plot: uPlot;
  private anchor: number | null = null;

  constructor(
    private readonly model: Model,
    private readonly host: HTMLElement,
    /** Called with the slots of a window that was chosen: from the first on and before the second. */
    private readonly onWindow: (from: number, to: number) => void,
  ) {
    this.plot = this.draw();
    new ResizeObserver(() => this.plot.setSize({ width: this.host.clientWidth, height: 260 })).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.plot.destroy();
      this.plot = this.draw();
    });
  }

  /** Show the window, and over it the live memory of chosen threads if there are any. */
  show(from: number, to: number, chosen: Float64Array | null): void {
    const { slot_count, width_ns } = this.model.header;
    const left = this.plot.valToPos((from * width_ns) / 1e9, "x");
    const right = this.plot.valToPos(Math.min(to * width_ns, this.lastNs()) / 1e9, "x");
    const isAll = from === 0 && to === slot_count;
    // Known without asking the browser, which would lay out what else has changed.
    const height = this.plot.bbox.height / (window.devicePixelRatio || 1);
    this.plot.setSelect({ left, width: isAll ? 0 : Math.max(1, right - left), top: 0, height: isAll ? 0 : height }, false);
    const curve = this.curve(chosen);
    if (chosen || this.plot.series[4]?.show) {
      this.plot.setData(curve, false);
      this.plot.setSeries(4, { show: chosen !== null });
    }
  }

  private lastNs(): number {
    return Math.max(1, this.model.header.duration_ns);
  }

  private curve(chosen: Float64Array | null): uPlot.AlignedData {
    const { curve_live_bytes, curve_live_most, curve_allocated_count, curve_resident_bytes } = this.model.columns;
    const { point_ns, width_ns } = this.model.header;
    const perSlot = width_ns / point_ns;
    const times = Array.from(curve_live_bytes, (_, point) => (Math.min((point + 1) * point_ns, this.lastNs())) / 1e9);
    const rates = smoothed(curve_allocated_count, 8).map((count) => count / (point_ns / 1e9));
    const some = Array.from(curve_live_bytes, (_, point) =>
      chosen === null ? null : (chosen[Math.min(Math.floor(point / perSlot), chosen.length - 1)] ?? null),
    );
    const curves = [times, Array.from(curve_live_most), Array.from(curve_live_bytes), rates, some];
    return (curve_resident_bytes.length ? [...curves, Array.from(curve_resident_bytes, (bytes) => (bytes < 0 ? null : bytes))] : curves) as uPlot.AlignedData;
  }

  /** Resident memory, where it was measured; on a scale of its own where it would press the heap's curve flat. */
  private residentSeries(stroke: string): uPlot.Series[] {
    const most = largest(this.model.columns.curve_resident_bytes);
    if (!most) return [];
    const isApart = most > MOST_TIMES * largest(this.model.columns.curve_live_most);
    const label = isApart ? `RSS, on a scale of its own up to ${formatBytes(most)}` : "RSS";
    return [{ label, scale: isApart ? "resident" : "bytes", stroke, width: 1.5, dash: [6, 4], value: bytesOf }];
  }

  private draw(): uPlot {
    const style = getComputedStyle(this.host);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const plot = new uPlot(
      {
        width: this.host.clientWidth || 600,
        height: 260,
        legend: { show: true, live: true },
        cursor: { drag: { x: false, y: false } },
        scales: { x: { time: false, range: [0, this.lastNs() / 1e9] }, bytes: { range: [0, null] as never }, resident: { range: (_, __, most) => [0, 1.1 * (most || 1)] }, rate: { range: (_, __, most) => [0, 3 * (most || 1)] } },
        axes: [
          { ...axis, values: (_, ticks) => ticks.map((tick) => formatDuration(tick * 1e9)), space: 90 },
          { ...axis, scale: "bytes", size: 76, values: (_, ticks) => ticks.map((tick) => formatBytes(tick)), incrs: byteSteps() },
          { ...axis, scale: "rate", side: 1, size: 76, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => `${shortCount(tick)}/s`) },
        ],
        series: [
          { label: "time", value: (_, value) => (value == null ? "–" : formatDuration(value * 1e9)) },
          { label: "most live", scale: "bytes", stroke: colour("--heap-high"), fill: colour("--heap-fill"), width: 1, value: bytesOf },
          { label: "live", scale: "bytes", stroke: colour("--heap"), width: 2, value: bytesOf },
          { label: "allocations a second", scale: "rate", stroke: colour("--rate"), fill: colour("--rate-fill"), width: 1, value: (_, value) => (value == null ? "–" : formatCount(value)) },
          { label: "live, chosen threads", scale: "bytes", stroke: colour("--chosen"), width: 2, show: false, value: bytesOf },
          ...this.residentSeries(colour("--resident")),
        ],
        hooks: { draw: [(drawn) => this.markPeak(drawn, colour("--quiet"))] },
      },
      this.curve(null),
      this.host,
    );
    this.listen(plot);
    return plot;
  }

  private markPeak(plot: uPlot, stroke: string): void {
    const { curve_highest_bytes, curve_highest_ns } = this.model.columns;
    let highest = 0;
    curve_highest_bytes.forEach((bytes, slot) => {
      if (bytes > curve_highest_bytes[highest]) highest = slot;
    });
    if (!curve_highest_bytes.length || !curve_highest_bytes[highest]) return;
    const x = plot.valToPos(curve_highest_ns[highest] / 1e9, "x", true);
    const y = plot.valToPos(curve_highest_bytes[highest], "bytes", true);
    const ratio = window.devicePixelRatio || 1;
    const painter = plot.ctx;
    painter.save();
    painter.fillStyle = stroke;
    painter.strokeStyle = stroke;
    painter.beginPath();
    painter.arc(x, y, 4 * ratio, 0, 2 * Math.PI);
    painter.fill();
    painter.font = `${12 * ratio}px system-ui, sans-serif`;
    const label = `peak ${formatBytes(curve_highest_bytes[highest])}`;
    const isRight = x > plot.bbox.left + plot.bbox.width * 0.7;
    painter.textAlign = isRight ? "right" : "left";
    painter.fillText(label, x + (isRight ? -9 : 9) * ratio, y + 18 * ratio);
    painter.restore();
  }

  /** A drag chooses a window; a click all that is before it. */
  private listen(plot: uPlot): void {
    const slotAt = (event: PointerEvent) => {
      const left = event.clientX - plot.over.getBoundingClientRect().left;
      const slot = (plot.posToVal(left, "x") * 1e9) / this.model.header.width_ns;
      return Math.min(Math.max(slot, 0), this.model.header.slot_count);
    };
    plot.over.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.anchor = slotAt(event);
      plot.over.setPointerCapture(event.pointerId);
    });
    plot.over.addEventListener("pointermove", (event) => {
      if (this.anchor === null) return;
      const at = slotAt(event);
      const [first, last] = [Math.floor(Math.min(at, this.anchor)), Math.ceil(Math.max(at, this.anchor))];
      if (last - first >= 2) this.onWindow(first, last);
    });
    plot.over.addEventListener("pointerup", (event) => {
      if (this.anchor === null) return;
      const [at, anchor] = [slotAt(event), this.anchor];
      this.anchor = null;
      if (Math.abs(at - anchor) < 0.5) this.onWindow(0, Math.max(1, Math.ceil(at)));
    });
  }
}

function largest(values: Float64Array): number {
  return values.reduce((most, value) => Math.max(most, value), 0);
}

function bytesOf(_: uPlot, value: number | null): string {
  return value == null ? "–" : formatBytes(value);
}

function shortCount(count: number): string {
  if (count >= 1e6) return `${Number((count / 1e6).toPrecision(3))}M`;
  return count >= 1e3 ? `${Number((count / 1e3).toPrecision(3))}k` : String(Number(count.toPrecision(3)));
}

/** Return means of so many neighbours: single points say more of the scheduler than of the program. */
function smoothed(values: Float64Array, width: number): number[] {
  return Array.from(values, (_, at) => {
    const first = at - (at % width);
    const some = values.subarray(first, first + width);
    return some.reduce((sum, value) => sum + value, 0) / some.length;
  });
}

/** Distances between ticks that are whole in binary units. */
function byteSteps(): number[] {
  const steps = [];
  for (let power = 0; power < 60; power += 1) steps.push(2 ** power);
  return steps;
}
