// The importance editor: omega(t) as sliders and a curve to drag, and what training under it does.
import { chart, control, controls, guarded, make, progressBar, valuesOf } from "./controls.js";
import { mean } from "../live/layers.js";
import { SNR, T } from "../live/schedule.js";

const BANDS = Array.from({ length: 11 }, (_, i) => `band${i}`); // at t = 0, 100, ..., 1000
const REACH = 3; // a band multiplies by 2^-3 to 2^3

const RUNS = {
  untrained: { name: "untrained", color: "#8A8A8A" },
  before: { name: "trained before", color: "#4596E7" },
  now: { name: "trained now", color: "#D55E00" },
};

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

/** What each preset makes of its settings at t; `learned` are a stored run's parameters. */
const PRESETS = {
  uniform: () => 1,
  min_snr: (t, { gamma }) => Math.min(gamma / SNR[t], 1),
  tirt: (t, { gamma, lambda, learned }) =>
    Math.min(SNR[t], gamma) * sigmoid(lambda * learned.lambda[t]),
  uncertainty: (t, { learned }) => Math.exp(-learned.u[t]),
};
const NAMES = { uniform: "uniform", min_snr: "Min-SNR for ε", tirt: "TIRT, as published",
  uncertainty: "EDM2's uncertainty" };

/** The importance of every timestep, of mean 1, under a preset and what the bands make of it. */
export function importanceOf(settings) {
  const omega = Float64Array.from({ length: T }, (_, t) => {
    const [left, share] = [Math.floor(t / 100), (t % 100) / 100];
    const lift = settings[BANDS[left]] * (1 - share) + settings[BANDS[left + 1]] * share;
    return PRESETS[settings.preset](t, settings) * 2 ** lift;
  });
  return ofMeanOne(omega);
}

function ofMeanOne(values) {
  const by = mean(values);
  return values.map((value) => value / by);
}

const pairs = (values) => Array.from(values, (value, t) => [t, value]);

/** The share of the loss by timestep, as `importance` of mean 1, from errors in equal bins. */
export function lossShare(importance, errors) {
  return ofMeanOne(importance.map((weight, t) =>
    weight * errors[Math.floor((t * errors.length) / T)]));
}

/** The share of all weight that lies on timesteps from `from` to below `to`. */
function percent(importance, from, to = T) {
  return `${((100 * (to - from) * mean(importance.subarray(from, to))) / T).toFixed(1)} %`;
}

function importanceSpecs(objectives) {
  return [
    { name: "preset", label: "start from", options: NAMES },
    { name: "gamma", label: "γ", range: [1, 20, 0.5], when: ["preset", ["min_snr", "tirt"]] },
    { name: "lambda", label: "learned λ, times", range: [0, 2, 0.1], when: ["preset", ["tirt"]] },
    { name: "objective", label: "student's loss", options: objectives },
    { name: "steps", label: "training steps", range: [20, 600, 20] },
    { name: "seed", label: "seed", range: [0, 99, 1] },
  ];
}

/** The explorer; the model holds its settings, objectives {key: name} and learned curves. */
export class Importance {
  constructor({ model, el, engine }) {
    Object.assign(this, { model, engine, el, errors: {}, job: null });
    this.bar = progressBar(el, () => this.job?.cancel());
    [this.above, this.below] = [0, 1].map(() => make("div", { class: "dash-live-chart" }));
    [this.shares, this.judged] = [0, 1].map(() => make("p", { class: "dash-live-note" }));
    const bands = make("div", { class: "dash-live-bands" }, ...BANDS.map((name, i) =>
      control(model, { name, label: `${100 * i}`, range: [-REACH, REACH, 0.25],
        aria: `weight at t = ${100 * i}, times two to the power of` })));
    const train = make("button", { type: "button" }, "train a student under these weights");
    train.addEventListener("click", guarded(el, () => this.train()));
    const drag = guarded(el, (at) => this.drag(at));
    for (const event of ["pointerdown", "pointermove"]) {
      this.above.addEventListener(event, (at) => at.buttons && drag(at));
    }
    el.append(controls(model, importanceSpecs(model.get("objectives"))), this.above, bands,
      this.shares, train, this.bar.element, this.judged, this.below);
  }

  importance() {
    return importanceOf({ ...valuesOf(this.model), learned: this.model.get("learned") });
  }

  /** Draw the weights of the model, and the share of the loss where a student is known. */
  update() {
    const importance = this.importance();
    const curves = [{ name: "weight", color: "#0072B2", points: pairs(importance) }];
    if (this.errors.now) {
      curves.push({ name: "share of the student's loss", color: "#D55E00",
        points: pairs(lossShare(importance, this.errors.now)) });
    }
    const top = Math.max(3, ...curves.flatMap(({ points }) => points.map(([, y]) => y)));
    this.shares.textContent = `Weight on t ≤ 300: ${percent(importance, 0, 301)}; t ≥ 500: `
      + `${percent(importance, 500)}; t ≥ 700: ${percent(importance, 700)}.`;
    chart(this.above, { curves, x: [0, T], y: [0, top], xlabel: "timestep t",
      ylabel: "in units of the mean", alt: this.shares.textContent });
  }

  drawErrors() {
    const known = Object.keys(RUNS).filter((key) => this.errors[key]);
    this.judged.textContent = `Mean squared error to the exact branches: ${known.map((key) =>
      `${RUNS[key].name} ${mean(this.errors[key]).toFixed(4)}`).join("; ")}.`;
    const curves = known.map((key) => ({ ...RUNS[key], points: this.errors[key].map((error, i) =>
      [((i + 0.5) * T) / this.errors[key].length, Math.log10(error)]) }));
    const ends = curves.flatMap(({ points }) => points.map(([, y]) => y));
    chart(this.below, { curves, x: [0, T], y: [Math.min(...ends), Math.max(...ends)],
      xlabel: "timestep t", ylabel: "log₁₀ of the error", alt: this.judged.textContent });
  }

  /** Train a student; what the last one reached stays beside it. */
  async train() {
    this.job?.cancel();
    if (this.errors.now) this.errors.before = this.errors.now;
    const report = ({ untrained, errors, done }) => {
      Object.assign(this.errors, { untrained, now: errors });
      this.bar.show(done);
      this.update();
      this.drawErrors();
    };
    const args = valuesOf(this.model, ["objective", "steps", "seed"]);
    this.bar.show(0);
    this.job = this.engine.run("train", { ...args, importance: this.importance() }, report);
    try {
      const end = await this.job.promise;
      if (end) report(end);
    } finally {
      this.bar.show(1);
    }
  }

  /** Move the band below the pointer, so that the curve meets it. */
  drag(event) {
    this.above.setPointerCapture(event.pointerId);
    const [t, weight] = this.above.pointed(event);
    const band = BANDS[Math.min(Math.max(Math.round(t / 100), 0), 10)];
    const now = this.importance()[Math.min(Math.max(Math.round(t), 0), T - 1)];
    const lift = this.model.get(band) + Math.log2(Math.max(weight, 0.01) / now);
    this.model.set(band, Math.min(Math.max(Math.round(4 * lift) / 4, -REACH), REACH));
    this.model.save_changes();
  }
}
