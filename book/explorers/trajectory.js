// The trajectory: two models draw from the same noise; scrub the step, and see where they part.
import { chart, controls, easel, make, progressBar, valuesOf, written } from "./controls.js";
import { CLAMPS, paint, PICTURES } from "./dial.js";
import { T } from "../live/schedule.js";

function trajectorySpecs(networks) {
  const names = Object.entries(networks).map(([key, { name }]) => [key, name]);
  const options = Object.fromEntries(names);
  return [
    { name: "step", label: "step", range: [1, 100, 1] },
    { name: "w", label: "guidance w", range: [0, 8, 0.05] },
    { name: "label", label: "class", range: [0, 9, 1] },
    { name: "seed", label: "noise (seed)", range: [0, 99, 1] },
    { name: "steps", label: "steps", range: [5, 100, 5] },
    { name: "first", label: "model", options },
    { name: "second", label: "beside it", options },
    { name: "clamp", label: "clamp", options: CLAMPS },
  ];
}

/** The root mean square distance of two arrays of one length. */
function apart(a, b) {
  const squares = a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);
  return Math.sqrt(squares / a.length);
}

/** Of one model: its state x_t, and the image that it predicts from it. */
function way(title) {
  const [state, image] = [easel(), easel()];
  const name = make("b", {});
  const caption = make("figcaption", {}, name, " ", ...written(title));
  return { state, image, name, element: make("figure", {}, state, image, caption) };
}

/** The explorer; the model holds its settings, and networks {key: {name, color, file}}. */
export class Trajectory {
  constructor({ model, el, engine }) {
    Object.assign(this, { model, el, engine, run: null, drawn: "", paths: null });
    this.bar = progressBar(el, () => this.cancel());
    this.ways = [0, 1].map(() => way("x_t, and below it the image predicted from it"));
    const pictures = make("div", { class: "dash-live-pictures" },
      ...this.ways.map(({ element }) => element));
    [this.note, this.chart] = [make("p", { class: "dash-live-note" }),
      make("div", { class: "dash-live-chart" })];
    el.append(controls(model, trajectorySpecs(model.get("networks"))), this.bar.element, pictures,
      this.note, this.chart);
  }

  cancel() {
    this.run?.job?.cancel();
    this.run = null;
    if (!this.paths) this.drawn = "";
    this.bar.show(1);
  }

  /** Show the step of the model; sample anew if anything else has changed. */
  async update() {
    const { step, ...settings } = valuesOf(this.model);
    const asked = JSON.stringify(settings);
    if (asked === this.drawn) return this.paths && this.show(step);
    this.cancel();
    [this.drawn, this.paths] = [asked, null];
    const own = (this.run = {});
    this.bar.show(0);
    try {
      await this.sample(own, settings);
    } finally {
      if (this.run === own) this.cancel();
    }
  }

  /** Both runs, from the same noise. */
  async sample(own, { first, second, label, seed, ...settings }) {
    const networks = this.model.get("networks");
    const paths = [];
    for (const key of [first, second]) {
      const { file } = networks[key];
      await this.engine.load(file);
      if (this.run !== own) return;
      const args = { name: file, y: new Array(PICTURES).fill(label), seed,
        settings: { ...settings, schedule: "constant" } };
      const report = ({ done }) => this.run === own
        && this.bar.show(Math.min((paths.length + done) / 2, 0.99));
      own.job = this.engine.run("trace", args, report);
      paths.push(await own.job.promise);
    }
    if (this.run !== own || paths.includes(undefined)) return;
    this.paths = paths;
    this.show(this.model.get("step"));
  }

  /** Both models at a step, the last one if it has fewer; and how far apart they are at each. */
  show(step) {
    const networks = this.model.get("networks");
    const shown = ["first", "second"].map((name) => networks[this.model.get(name)]);
    const [one, two] = this.paths.map(({ path }) => path);
    const i = Math.min(step, one.length) - 1;
    const { t } = one[i];
    this.ways.forEach(({ state, image, name }, k) => {
      const { path, channels = 1 } = this.paths[k];
      paint(state, path[i].xt, channels);
      paint(image, path[i].x0, channels);
      name.textContent = shown[k].name;
      name.style.color = shown[k].color;
      state.setAttribute("aria-label", `${shown[k].name}: state at t = ${t}`);
      image.setAttribute("aria-label", `${shown[k].name}: image predicted at t = ${t}`);
    });
    const distances = ["xt", "x0"].map((key) => one.map((at, k) => apart(at[key], two[k][key])));
    const [states, images] = distances.map((of) => of[i].toFixed(3));
    this.note.textContent = `Step ${i + 1}, t = ${t}: states ${states} apart, `
      + `predicted images ${images} (root mean square).`;
    this.drawDistances(one.map((at) => at.t), distances, t);
  }

  drawDistances(times, [states, images], t) {
    const top = Math.max(0.1, ...states, ...images);
    const points = (of) => of.map((value, k) => [times[k], value]);
    const curves = [
      { name: "states", color: "#0072B2", points: points(states) },
      { name: "predicted images", color: "#D55E00", points: points(images) },
      { name: "this step", color: "#8A8A8A", points: [[t, 0], [t, top]] },
    ];
    chart(this.chart, { curves, x: [0, T], y: [0, top], ylabel: "", alt: this.note.textContent,
      xlabel: "timestep t (sampling runs leftwards)" });
  }
}
