// The guidance dial: a teacher and up to three students, the same noise, and w as you turn it.
import { chart, controls, easel, make, progressBar, valuesOf } from "./controls.js";
import { mean } from "../live/layers.js";
import { T } from "../live/schedule.js";

const FEW = 10; // steps of the pictures that follow a moving dial
export const PICTURES = 4;

export const CLAMPS = { recompute: "recompute", clamp: "clamp", none: "none" };
const SCHEDULES = { constant: "constant", tag: "TAG", interval: "interval" };

function dialSpecs({ teacher, ...others }) {
  const names = Object.entries(others).map(([key, { name }]) => [key, name]);
  const options = { none: "none", ...Object.fromEntries(names) };
  const chosen = ["first", "second", "third"].map((name) =>
    ({ name, label: `${name} student`, options }));
  const range = [0, 8, 0.05];
  const [tag, span] = [["tag"], ["interval"]].map((values) => ["schedule", values]);
  return [
    { name: "w", label: "guidance w", range, when: ["schedule", ["constant", "interval"]] },
    { name: "w_min", label: "w, at high noise", range, when: tag },
    { name: "w_max", label: "w, at low noise", range, when: tag },
    { name: "beta", label: "steepness β", range: [0, 20, 0.5], when: tag },
    { name: "low", label: "guided from t", range: [0, T, 10], when: span },
    { name: "high", label: "guided up to t", range: [0, T, 10], when: span },
    { name: "label", label: "class", range: [0, 9, 1] },
    { name: "seed", label: "noise (seed)", range: [0, 99, 1] },
    { name: "steps", label: "steps", range: [5, 100, 5] },
    { name: "schedule", label: "schedule", options: SCHEDULES },
    { name: "clamp", label: "clamp", options: CLAMPS },
    ...chosen,
  ];
}

/** Paint pictures (B, channels, size, size) beside each other; in grey ones 1 is black, as ink. */
export function paint(canvas, x, channels) {
  const size = Math.sqrt(x.length / PICTURES / channels);
  [canvas.width, canvas.height] = [size * PICTURES, size];
  const image = new ImageData(canvas.width, size);
  const sign = channels === 1 ? -1 : 1;
  for (let at = 0; at < image.data.length; at++) {
    const [column, row] = [Math.floor(at / 4) % canvas.width, Math.floor(at / 4 / canvas.width)];
    const plane = Math.floor(column / size) * channels + Math.min(at % 4, channels - 1);
    const value = sign * x[(plane * size + row) * size + (column % size)];
    const level = Math.round(127.5 * (1 + Math.min(Math.max(value, -1), 1)));
    image.data[at] = at % 4 === 3 ? 255 : level;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** What is shown of one network: its pictures, and the mean norm of its gap. */
function panel(network) {
  const [canvas, norm] = [easel(), make("output", {}, "…")];
  const name = make("b", { style: `color: ${network.color}` }, network.name);
  const caption = make("figcaption", {}, name, " mean gap ", norm);
  return { canvas, norm, network, gaps: [], element: make("figure", {}, canvas, caption) };
}

function show(one, { x0, gaps, channels = 1 }, label) {
  paint(one.canvas, x0, channels);
  one.gaps = gaps;
  one.norm.textContent = mean(gaps.map(([, gap]) => gap)).toFixed(3);
  const alt = `${PICTURES} pictures of digit ${label} by ${one.network.name}`;
  one.canvas.setAttribute("aria-label", alt);
}

/** The explorer; the model holds its settings, and networks {key: {name, color, file}}. */
export class Dial {
  constructor({ model, el, engine }) {
    Object.assign(this, { model, el, engine, run: null, panels: [] });
    const networks = model.get("networks");
    this.all = new Map(Object.entries(networks).map(([key, network]) => [key, panel(network)]));
    this.bar = progressBar(el, () => this.cancel());
    [this.grid, this.chart] = ["pictures", "chart"].map((name) =>
      make("div", { class: `dash-live-${name}` }));
    const specs = dialSpecs(networks);
    el.append(controls(model, specs), this.bar.element, this.grid, this.chart);
  }

  cancel() {
    this.run?.job?.cancel();
    this.run = null;
    this.bar.show(1);
  }

  /** Draw what the model asks for; a later call waits for quick pictures, and ends full ones. */
  async update() {
    if (this.run?.quick) return void (this.run.stale = true);
    this.cancel();
    const settings = valuesOf(this.model);
    const own = (this.run = { settings, quick: true });
    const keys = ["teacher", settings.first, settings.second, settings.third];
    this.panels = [...new Set(keys)].filter((key) => this.all.has(key)).map((k) => this.all.get(k));
    this.grid.replaceChildren(...this.panels.map(({ element }) => element));
    this.bar.show(0);
    try {
      for (const { network } of this.panels) await this.engine.load(network.file);
      await this.drawAll(own);
    } finally {
      if (this.run === own) this.cancel();
    }
  }

  /** All panels with few steps, then with all of them. */
  async drawAll(own) {
    const { steps, label, seed } = own.settings;
    for (const some of steps > FEW ? [FEW, steps] : [steps]) {
      for (const [i, one] of this.panels.entries()) {
        if (this.run !== own) return;
        const args = { name: one.network.file, y: new Array(PICTURES).fill(label), seed,
          settings: { ...own.settings, steps: some } };
        const report = (state) => {
          if (this.run !== own) return;
          this.bar.show(Math.min((i + state.done) / this.panels.length, 0.99));
          show(one, state, label);
          this.drawGaps();
        };
        own.job = this.engine.run("sample", args, report);
        const end = await own.job.promise;
        if (end) report(end);
      }
      own.quick = false;
      if (own.stale && this.run === own) return this.update();
    }
  }

  drawGaps() {
    const curves = this.panels.map(({ network, gaps }) => ({ ...network, points: gaps }));
    const top = Math.max(0.5, ...curves.flatMap(({ points }) => points.map(([, gap]) => gap)));
    const alt = this.panels.map((one) =>
      `${one.network.name}: mean norm of the gap ${one.norm.textContent}`).join("; ");
    chart(this.chart, { curves, x: [0, T], y: [0, top], alt,
      xlabel: "timestep t (sampling runs leftwards)", ylabel: "|ε_c − ε_u| at each step" });
  }
}
