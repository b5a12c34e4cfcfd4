// The importance editor: omega(t) as sliders and a curve to drag, and what training under it does.
import { chart, control, controls, make, progressBar, showError } from "./controls.js";
import { OBJECTIVES } from "./objectives.js";
import { SNR, T } from "./schedule.js";

const BANDS = Array.from({ length: 11 }, (_, i) => `band${i}`); // at t = 0, 100, ..., 1000
const REACH = 3; // a band multiplies by 2^-3 to 2^3
export const WEIGHTS = {
  preset: "tirt", gamma: 5, lambda: 1, objective: "dash", steps: 300, seed: 1,
  ...Object.fromEntries(BANDS.map((name) => [name, 0])),
};

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

/** What each preset makes of its settings at t; `learned` are a stored run's parameters. */
const PRESETS = {
  uniform: { name: "uniform", at: () => 1 },
  min_snr: { name: "Min-SNR for ε", at: (t, { gamma }) => Math.min(gamma / SNR[t], 1) },
  tirt: {
    name: "TIRT, as published",
    at: (t, { gamma, lambda, learned }) =>
      Math.min(SNR[t], gamma) * sigmoid(lambda * learned.lambda[t]),
  },
  uncertainty: { name: "EDM2's uncertainty", at: (t, { learned }) => Math.exp(-learned.u[t]) },
};

/** The importance of every timestep, of mean 1, under a preset and what the bands make of it. */
export function importanceOf(settings) {
  const omega = Float64Array.from({ length: T }, (_, t) => {
    const [left, share] = [Math.floor(t / 100), (t % 100) / 100];
    const lift = settings[BANDS[left]] * (1 - share) + settings[BANDS[left + 1]] * share;
    return PRESETS[settings.preset].at(t, settings) * 2 ** lift;
  });
  const mean = omega.reduce((sum, value) => sum + value, 0) / T;
  return omega.map((value) => value / mean);
}

/** Means over 20 neighbours, at their middles: [[t, value], ...]. */
function smoothed(values) {
  return Array.from({ length: T / 20 }, (_, i) => {
    const part = values.slice(20 * i, 20 * (i + 1));
    return [20 * i + 10, part.reduce((sum, value) => sum + value, 0) / part.length];
  });
}

/** The share of the loss by timestep, as `importance` of mean 1, from errors in equal bins. */
function lossShare(importance, errors) {
  const loss = importance.map((weight, t) => weight * errors[Math.floor((t * errors.length) / T)]);
  const mean = loss.reduce((sum, value) => sum + value, 0) / T;
  return loss.map((value) => value / mean);
}

const percent = (values, from, to) =>
  `${((100 * values.slice(from, to).reduce((sum, v) => sum + v, 0)) / T).toFixed(1)} %`;
const meanOf = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function specsOf() {
  const named = (of) => Object.entries(of).map(([key, { name }]) => [key, name ?? key]);
  const is = (...presets) => (model) => presets.includes(model.get("preset"));
  return [
    { name: "preset", label: "start from", options: named(PRESETS) },
    { name: "gamma", label: "γ", min: 0.5, max: 20, step: 0.5, when: is("min_snr", "tirt") },
    { name: "lambda", label: "share of learned λ", min: 0, max: 2, step: 0.1, when: is("tirt") },
    { name: "objective", label: "student's loss", options: named(OBJECTIVES) },
    { name: "steps", label: "training steps", min: 20, max: 600, step: 20 },
    { name: "seed", label: "seed", min: 0, max: 99, step: 1 },
  ];
}

/** The explorer; `model` holds what WEIGHTS names and `learned`: {lambda, u}, (T) each. */
export function renderImportance({ model, el, engine }) {
  const [above, below] = [0, 1].map(() => make("div", { class: "dash-live-chart" }));
  const [shares, judged] = [0, 1].map(() => make("p", { class: "dash-live-note" }));
  const bands = make("div", { class: "dash-live-bands" }, ...BANDS.map((name, i) =>
    control(model, { name, label: `t ${100 * i}`, min: -REACH, max: REACH, step: 0.25,
      hint: "times two to the power of" })));
  const train = make("button", { type: "button" }, "train a student under these weights");
  const runs = { before: null, now: null, untrained: null };
  let job = null;
  const bar = progressBar(el, () => job?.cancel());
  const settingsOf = () =>
    Object.fromEntries([...Object.keys(WEIGHTS), "learned"].map((name) => [name, model.get(name)]));

  let pointed = () => [0, 0];
  const redraw = () => {
    const importance = importanceOf(settingsOf());
    const errors = runs.now ?? runs.untrained;
    const curves = [{ name: "weight", color: "#0072B2", points: smoothed(importance) }];
    if (errors) {
      curves.push({ name: "share of the student's loss", color: "#D55E00",
        points: smoothed(lossShare(importance, errors)) });
    }
    const top = Math.max(3, ...curves.flatMap(({ points }) => points.map(([, y]) => y)));
    shares.textContent = `Weight on t ≤ 300: ${percent(importance, 0, 301)}; t ≥ 500: `
      + `${percent(importance, 500)}; t ≥ 700: ${percent(importance, 700)}.`;
    pointed = chart(above, { curves, x: [0, T], y: [0, top], xlabel: "timestep t",
      ylabel: "mean 1", alt: shares.textContent });
    drawErrors();
  };

  const drawErrors = () => {
    const of = { untrained: "#8A8A8A", before: "#56B4E9", now: "#D55E00" };
    const names = { untrained: "untrained", before: "trained before", now: "trained now" };
    const curves = Object.entries(runs).filter(([, errors]) => errors).map(([key, errors]) => ({
      name: names[key], color: of[key],
      points: errors.map((error, i) => [((i + 0.5) * T) / errors.length, Math.log10(error)]),
    }));
    if (!curves.length) return;
    judged.textContent = `Mean squared error to the exact branches: ${Object.entries(runs)
      .filter(([, errors]) => errors)
      .map(([key, errors]) => `${names[key]} ${meanOf(errors).toFixed(4)}`).join("; ")}.`;
    const ends = curves.flatMap(({ points }) => points.map(([, y]) => y));
    chart(below, { curves, x: [0, T], y: [Math.min(...ends), Math.max(...ends)],
      xlabel: "timestep t", ylabel: "log₁₀ of the error", alt: judged.textContent });
  };

  const start = async () => {
    job?.cancel();
    const { objective, steps, seed, ...rest } = settingsOf();
    if (runs.now) runs.before = runs.now;
    const report = ({ untrained, errors, done }) => {
      Object.assign(runs, { untrained, now: errors });
      bar.show(done);
      redraw();
    };
    bar.show(0);
    const importance = importanceOf({ ...rest });
    job = engine.run("train", { objective, steps, seed, importance }, report);
    try {
      const end = await job.promise;
      if (end) report(end);
      bar.show(1);
    } catch (error) {
      showError(el, error);
    }
  };

  const drag = (event) => {
    if (!event.buttons) return;
    const [t, weight] = pointed(event);
    const band = BANDS[Math.min(Math.max(Math.round(t / 100), 0), 10)];
    const now = importanceOf(settingsOf())[Math.min(Math.max(Math.round(t), 0), T - 1)];
    const lift = model.get(band) + Math.log2(Math.max(weight, 0.01) / now);
    model.set(band, Math.min(Math.max(Math.round(4 * lift) / 4, -REACH), REACH));
    model.save_changes();
  };
  for (const event of ["pointerdown", "pointermove"]) above.addEventListener(event, drag);
  for (const name of Object.keys(WEIGHTS)) model.on(`change:${name}`, redraw);
  train.addEventListener("click", start);
  const all = [...specsOf(), ...BANDS.map((name) => ({ name, apart: true }))];
  el.append(controls(model, all, model.get("usual") ?? WEIGHTS), above, bands, shares, train,
    bar.element, judged, below);
  return { start: redraw };
}
