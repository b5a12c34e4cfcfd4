// The guidance dial: a teacher and up to three students, the same noise, and w as you turn it.
import { chart, controls, make, progressBar, showError } from "./controls.js";
import { SCALES, T } from "./schedule.js";

const FEW = 10; // steps of the pictures that follow a moving dial
const PICTURES = 4;
export const DEFAULTS = {
  schedule: "constant", w: 4, w_min: 1, w_max: 4, beta: 5, low: 200, high: 800, label: 3, seed: 1,
  steps: 50, clamp: "recompute", first: "cond_only", second: "composite", third: "dash",
};

const within = (...names) => (model) => names.includes(model.get("schedule"));
const list = (values) => values.map((value) => [value, String(value)]);

function specsOf(networks) {
  const students = Object.entries(networks).filter(([key]) => key !== "teacher")
    .map(([key, { name }]) => [key, name]);
  const chosen = ["first", "second", "third"].map((name) =>
    ({ name, label: `${name} student`, options: [["none", "none"], ...students] }));
  const level = { min: 0, max: 8, step: 0.05 };
  return [
    { name: "w", label: "guidance w", ...level, when: within("constant", "interval") },
    { name: "w_min", label: "w, at high noise", ...level, when: within("tag") },
    { name: "w_max", label: "w, at low noise", ...level, when: within("tag") },
    { name: "beta", label: "steepness β", min: 0, max: 20, step: 0.5, when: within("tag") },
    { name: "low", label: "guided from t", min: 0, max: T, step: 10, when: within("interval") },
    { name: "high", label: "guided up to t", min: 0, max: T, step: 10, when: within("interval") },
    { name: "label", label: "digit", min: 0, max: 9, step: 1 },
    { name: "seed", label: "noise (seed)", min: 0, max: 99, step: 1 },
    { name: "steps", label: "steps", min: 5, max: 100, step: 5 },
    { name: "schedule", label: "schedule", options: list(Object.keys(SCALES)) },
    { name: "clamp", label: "clamp", options: list(["recompute", "clamp", "none"]) },
    ...chosen,
  ];
}

/** Paint grey pictures (B, 1, size, size) beside each other; 1 is black, as ink. */
function paint(canvas, x, count) {
  const size = Math.sqrt(x.length / count);
  [canvas.width, canvas.height] = [size * count, size];
  const image = new ImageData(canvas.width, size);
  x.forEach((value, i) => {
    const [picture, row, column] = [Math.floor(i / size / size), Math.floor(i / size) % size, i % size];
    const at = 4 * (row * canvas.width + picture * size + column);
    const grey = Math.round(127.5 * (1 - Math.min(Math.max(value, -1), 1)));
    image.data.set([grey, grey, grey, 255], at);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** What is shown of one network: its pictures, and the mean norm of its gap. */
function panel(network) {
  const canvas = make("canvas", { role: "img" });
  const norm = make("output", {}, "…");
  const caption = make("figcaption", {}, make("b", { style: `color: ${network.color}` }, network.name),
    " mean gap ", norm);
  return { canvas, norm, network, gaps: [], element: make("figure", {}, canvas, caption) };
}

function show(one, state, settings) {
  paint(one.canvas, state.x0, PICTURES);
  const mean = state.gaps.reduce((sum, [, gap]) => sum + gap, 0) / state.gaps.length;
  one.gaps = state.gaps;
  one.norm.textContent = mean.toFixed(3);
  one.canvas.setAttribute("aria-label",
    `${PICTURES} pictures of digit ${settings.label} by ${one.network.name}`);
}

/** Draw under `settings` with every panel: with few steps first, then with all. */
async function drawAll(engine, panels, settings, { refresh, job }) {
  const rounds = settings.steps > FEW ? [FEW, settings.steps] : [settings.steps];
  for (const [round, steps] of rounds.entries()) {
    for (const [i, one] of panels.entries()) {
      const args = { name: one.network.file, y: new Array(PICTURES).fill(settings.label),
        seed: settings.seed, settings: { ...settings, steps } };
      const report = (state) => refresh(one, state, (i + state.done) / panels.length, round);
      job.current = engine.run("sample", args, report);
      const state = await job.current.promise;
      if (job.cancelled || !state) return;
      report(state);
    }
  }
}

/** The explorer; `model` holds what DEFAULTS names, and `networks`, {key: {name, color, file}}. */
export function renderDial({ model, el, engine, weights }) {
  const networks = model.get("networks");
  const [grid, gaps] = ["pictures", "chart"].map((name) => make("div", { class: `dash-live-${name}` }));
  let job = { cancelled: true };
  const cancel = () => {
    job.cancelled = true;
    job.current?.cancel();
    bar.show(1);
  };
  const bar = progressBar(el, cancel);
  const known = new Map();
  const panelOf = (key) => known.get(key) ?? known.set(key, panel(networks[key])).get(key);

  const redraw = (panels) => {
    const curves = panels.map(({ network, gaps: points }) => ({ ...network, points }));
    const top = Math.max(0.5, ...curves.flatMap(({ points }) => points.map(([, gap]) => gap)));
    chart(gaps, { curves, x: [0, T], y: [0, top], xlabel: "timestep t (sampling runs leftwards)",
      ylabel: "|ε_c − ε_u| at each step", alt: panels.map((one) =>
        `${one.network.name}: mean norm of the gap ${one.norm.textContent}`).join("; ") });
  };

  const update = async () => {
    cancel();
    bar.show(0);
    const own = (job = { cancelled: false });
    const settings = Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, model.get(name)]));
    const keys = ["teacher", settings.first, settings.second, settings.third];
    const panels = [...new Set(keys.filter((key) => networks[key]))].map(panelOf);
    grid.replaceChildren(...panels.map(({ element }) => element));
    try {
      for (const { network } of panels) await weights.load(engine, network.file);
      const refresh = (one, state, done, round) => {
        if (own.cancelled) return;
        show(one, state, settings);
        bar.show(round ? done : done * 0.99);
        redraw(panels);
      };
      if (!own.cancelled) await drawAll(engine, panels, settings, { refresh, job: own });
      if (!own.cancelled) bar.show(1);
    } catch (error) {
      showError(el, error);
    }
  };
  for (const name of Object.keys(DEFAULTS)) model.on(`change:${name}`, update);
  el.append(controls(model, specsOf(networks), model.get("usual") ?? DEFAULTS), bar.element, grid, gaps);
  return { start: update };
}
