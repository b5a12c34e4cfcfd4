// The playground: a mixture with means to drag, a student trained on it, and where guidance leads.
import { controls, guarded, make, progressBar, valuesOf, written } from "./controls.js";
import { ARMS, Mixture, pinwheel } from "../live/mixture.js";
import { branches, guide } from "../live/sampling.js";
import { ALPHA_BAR, T } from "../live/schedule.js";
import { Plane } from "./plane.js";

const [ACROSS, RIM] = [12, 1.3]; // arrows in a row; points further out are drawn there
const [EXACT, SHADES] = ["#8A8A8A", ["#2A9D8F", "#8E44AD", "#A8871D"]];
const LABELS = { 0: "first (half of all)", 1: "second", 2: "third" };

function playgroundSpecs(objectives) {
  const names = Object.entries(objectives).map(([key, { name }]) => [key, name.split(",")[0]]);
  return [
    { name: "w", label: "guidance w", range: [0, 8, 0.1] },
    { name: "t", label: "timestep t", range: [0, T - 1, 1] },
    { name: "label", label: "arrows of class", options: LABELS },
    { name: "objective", label: "student's loss", options: Object.fromEntries(names) },
    { name: "steps", label: "training steps", range: [20, 600, 20] },
    { name: "seed", label: "seed", range: [0, 99, 1] },
  ];
}

/** Nine means from "x,y;x,y;...", the book's from an empty text. */
export function meansOf(text) {
  if (!text) return ARMS;
  const means = text.split(";").map((pair) => pair.split(",").map(Number));
  if (means.length === 9 && means.every((at) => at.length === 2 && at.every(Number.isFinite))) {
    return means;
  }
  throw new Error(`means ${text}: nine pairs x,y with ; between them`);
}

/** Points of a lattice in [-half, half]^2, as (B, 2). */
function lattice(half) {
  const at = (i) => half * ((2 * i + 1) / ACROSS - 1);
  return Float32Array.from({ length: 2 * ACROSS * ACROSS }, (_, i) =>
    at(i % 2 ? Math.floor(i / 2 / ACROSS) : (i >> 1) % ACROSS));
}

/** Where a noisy point may lie, roughly, and a circle of one standard deviation. */
const reachAt = (level) => 1.1 * Math.sqrt(level) + 2.4 * Math.sqrt(1 - level);
const circle = ([x, y], radius) => Array.from({ length: 41 }, (_, i) =>
  [x + radius * Math.cos((Math.PI * i) / 20), y + radius * Math.sin((Math.PI * i) / 20)]);

const pairsOf = (flat) => Array.from({ length: flat.length / 2 }, (_, i) =>
  [flat[2 * i], flat[2 * i + 1]]);
const inside = ([x, y]) => [x, y].map((value) => Math.min(Math.max(value, -RIM), RIM));

/** The mean distance of points (B, 2) to those at their places. */
function distance(a, b) {
  const apart = pairsOf(a).map(([x, y], i) => Math.hypot(x - b[2 * i], y - b[2 * i + 1]));
  return apart.reduce((sum, value) => sum + value, 0) / apart.length;
}

/** The explorer; the model holds its settings, and objectives {key: {name, color}}. */
export class Playground {
  constructor({ model, el, engine }) {
    Object.assign(this, { model, el, engine, job: null, student: null, running: null });
    this.bar = progressBar(el, () => this.job?.cancel());
    const [left, right] = [0, 1].map(() => make("div", { class: "dash-live-half" }));
    [this.gap, this.ends] = [0, 1].map(() => make("p", { class: "dash-live-note" }));
    const train = make("button", { type: "button" }, "train a student");
    train.addEventListener("click", guarded(el, () => this.train()));
    const halves = make("div", { class: "dash-live-halves" }, left, right);
    el.append(controls(model, playgroundSpecs(model.get("objectives"))), halves, train,
      this.bar.element, this.gap, this.ends);
    const handles = ARMS.map((_, i) => ({ label: `mean ${(i % 3) + 1} of class ${(i / 3 | 0) + 1}`,
      color: SHADES[i / 3 | 0], moved: guarded(el, (to) => this.move(i, to)) }));
    [this.left, this.right] = [new Plane(left, { handles }), new Plane(right, { handles: [] })];
    left.append(make("p", {}, "Drag a mean. Arrows: the flow at t, exact and the student's."));
    right.append(make("p", {}, "Where 200 points end: the student's over the exact field's (grey)."));
  }

  /** Move a mean, which makes another teacher: what was trained on the last one goes. */
  move(i, to) {
    const means = meansOf(this.model.get("means")).map((at, k) => (k === i ? inside(to) : at));
    this.student = null;
    this.model.set("means", means.map((at) => at.map((v) => v.toFixed(2)).join(",")).join(";"));
    this.model.save_changes();
  }

  settings() {
    const { means, label, ...rest } = valuesOf(this.model);
    return { ...rest, means: meansOf(means), label: Number(label) };
  }

  /** Draw the exact field at once; what has to be sampled follows. */
  async update() {
    const now = this.settings();
    if (this.trainedOn !== this.model.get("means")) this.student = null;
    this.drawField(now, {});
    if (this.running) this.running.stale = true;
    else await this.follow(now);
  }

  /** Sample by the mixture and by the student, once more if the settings have moved meanwhile. */
  async follow(now) {
    const own = (this.running = { stale: false });
    const { means, w, t, label } = now;
    const half = reachAt(ALPHA_BAR[t]);
    const args = { means, w, t, label, points: lattice(half) };
    try {
      const exact = await this.engine.run("flow", args).promise;
      const name = this.student?.name;
      const drawn = name && (await this.engine.run("flow", { ...args, name }).promise);
      if (!own.stale) this.drawEnds(now, exact, drawn);
    } finally {
      this.running = null;
    }
    if (own.stale) await this.follow(this.settings());
  }

  /** The left plane: means, their circles at t, and the arrows of the field, -eps_w. */
  drawField({ means, w, t, label }, { eps }) {
    const level = ALPHA_BAR[t];
    const half = reachAt(level);
    const points = lattice(half);
    const teacher = new Mixture(pinwheel(means));
    const of = new Array(points.length / 2).fill(label);
    const scale = half / ACROSS / 2;
    const arrows = (field) => pairsOf(field).map(([dx, dy], i) => {
      const shrink = scale / Math.max(1, Math.hypot(dx, dy) / 2);
      return [points[2 * i], points[2 * i + 1], -dx * shrink, -dy * shrink];
    });
    const layers = means.map(([x, y], i) => {
      const center = [x, y].map((value) => value * Math.sqrt(level));
      const variance = level * (0.12 + 0.01 * (i % 3)) ** 2 + 1 - level;
      return { lines: [circle(center, Math.sqrt(variance))], color: SHADES[i / 3 | 0], width: 1 };
    });
    const exact = guide(branches(teacher, points, t, of), w);
    layers.push({ arrows: arrows(exact), color: eps ? "#BBBBBB" : "#555555", width: eps ? 3 : 1.5 });
    if (eps) layers.push({ arrows: arrows(eps), color: this.student.color, width: 1.5 });
    const alt = `Arrows of the flow of class ${label + 1} at t = ${t}, w = ${w}`;
    this.left.show({ half, layers, at: means, alt });
  }

  /** The right plane: where 200 points end, of the exact field in grey under the student's. */
  drawEnds(now, exact, drawn) {
    const shown = drawn ?? exact;
    if (drawn) this.drawField(now, drawn);
    const under = drawn ? [{ dots: pairsOf(exact.ends), color: "#BBBBBB", width: 5 }] : [];
    const coloured = SHADES.map((color, k) => ({ color, width: 4,
      dots: pairsOf(shown.ends).filter((_, i) => shown.y[i] === k).map(inside) }));
    this.ends.textContent = drawn
      ? `Endpoint distance at w = ${now.w}: ${distance(drawn.ends, exact.ends).toFixed(3)}.`
      : `Right: 200 points of the exact field at w = ${now.w}.`;
    this.right.show({ half: RIM + 0.05, layers: [...under, ...coloured], at: [],
      alt: this.ends.textContent });
  }

  /** Train a student of what is set; its numbers are shown on the way, its field at the end. */
  async train() {
    this.job?.cancel();
    const { objective, steps, seed, means } = this.settings();
    const { name: title, color } = this.model.get("objectives")[objective];
    const report = ({ gap, done }) => {
      this.bar.show(Math.min(done, 0.99));
      this.gap.replaceChildren(...written(`${title.split(",")[0]}: ρ ${gap.rho.toFixed(3)}, `
        + `cos ${gap.cos.toFixed(3)}, e_c² ${gap.cond_mse.toFixed(4)}, `
        + `e_u² ${gap.uncond_mse.toFixed(4)}, on 1,000 noisy points.`));
    };
    this.bar.show(0);
    try {
      const args = { objective, steps, seed, means, name: "playground" };
      this.job = this.engine.run("train", { ...args, importance: new Array(T).fill(1) }, report);
      this.trainedOn = this.model.get("means");
      const end = await this.job.promise;
      if (end) {
        report(end);
        this.student = { name: args.name, color };
        await this.update();
      }
    } finally {
      this.bar.show(1);
    }
  }
}
