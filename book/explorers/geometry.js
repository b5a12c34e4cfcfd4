// The loss geometry: drag the errors (e_c, e_u) of the branches, and see what each objective does.
import { chart, controls, make, valuesOf, written } from "./controls.js";
import { composite, formOf, multiW, OBJECTIVES } from "../live/objectives.js";
import { Plane } from "./plane.js";

const [HALF, WIDEST, STEPS] = [2, 8, 120]; // of the plane; the largest w; of a line
const CONTROLS = [
  { name: "e_c", label: "error e_c", range: [-HALF, HALF, 0.05] },
  { name: "e_u", label: "error e_u", range: [-HALF, HALF, 0.05] },
  { name: "w", label: "guidance w", range: [0, WIDEST, 0.05] },
];

/** The form [Q_cc, Q_cu, Q_uu] of an objective; the two that have a scale have it at w. */
export function formAt(name, w) {
  if (name === "multi_w") return multiW(Math.min(1, w), Math.max(1, w));
  return formOf(name === "composite" ? composite(w) : OBJECTIVES[name]);
}

/** e^T Q e, and its gradient 2 Q e. */
export function charge([cc, cu, uu], [e_c, e_u]) {
  const [by_c, by_u] = [cc * e_c + cu * e_u, cu * e_c + uu * e_u];
  return { value: by_c * e_c + by_u * e_u, gradient: [2 * by_c, 2 * by_u] };
}

/** The eigenvalues of a form, ascending, and the unit vector of the first. */
export function softest([cc, cu, uu]) {
  const [middle, half] = [(cc + uu) / 2, Math.hypot((cc - uu) / 2, cu)];
  const angle = Math.atan2(2 * cu, cc - uu) / 2 + Math.PI / 2;
  const low = middle - half < 1e-12 * (middle + half) ? 0 : middle - half;
  return { low, high: middle + half, axis: [Math.cos(angle), Math.sin(angle)] };
}

/** The errors that cost as much: an ellipse, or, along a null direction, two parallel lines. */
export function levelLines(form, level) {
  const { low, high, axis: [x, y] } = softest(form);
  const across = Math.sqrt(Math.max(level, 0) / high); // rounding may leave it below 0
  const point = (along, over) => [along * x - over * y, along * y + over * x];
  if (low === 0) {
    return [1, -1].map((sign) => [-3, 3].map((end) => point(end * HALF, sign * across)));
  }
  const turn = Array.from({ length: STEPS + 1 }, (_, i) => (2 * Math.PI * i) / STEPS);
  return [turn.map((angle) =>
    point(across * Math.sqrt(high / low) * Math.cos(angle), across * Math.sin(angle)))];
}

/** Where gradient descent goes from a point: a quarter of the gradient, at most 1 long. */
function descent([x, y], [g_c, g_u]) {
  const scale = -Math.min(0.25, 1 / (Math.hypot(g_c, g_u) || 1));
  return [x, y, scale * g_c, scale * g_u];
}

const guidedError = ({ e_c, e_u }, w) => Math.abs(w * e_c + (1 - w) * e_u);
const round = (value) => (Math.round(200 * value) / 200 || 0); // sliders step by 0.05

/** A table of the objectives: what they charge, and how they pull. */
function tableOf(rows) {
  const cells = (tag, texts) => make("tr", {}, ...texts.map((text) =>
    make(tag, {}, ...written(text))));
  const key = (color) => make("i", { style: `background: ${color}` });
  const lines = rows.map(({ name, color, value, gradient }) => {
    const numbers = [value, ...gradient.map((of) => -of || 0)].map((of) => of.toFixed(2));
    const line = cells("td", numbers);
    line.prepend(make("th", { scope: "row" }, key(color), name));
    return line;
  });
  const head = cells("th", ["objective", "loss", "pull on e_c", "pull on e_u"]);
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines));
}

/** The explorer; the model holds e_c, e_u, w, and objectives {key: {name, color}}. */
export class Geometry {
  constructor({ model, el }) {
    Object.assign(this, { model, el });
    const [square, table] = [0, 1].map(() => make("div", { class: "dash-live-half" }));
    this.chart = make("div", { class: "dash-live-chart" });
    this.note = make("p", { class: "dash-live-note" });
    const beside = make("div", { class: "dash-live-halves" }, square, table);
    el.append(controls(model, CONTROLS), beside, this.note, this.chart);
    const moved = (to) => {
      ["e_c", "e_u"].forEach((name, i) =>
        model.set(name, Math.min(Math.max(round(to[i]), -HALF), HALF)));
      model.save_changes();
    };
    const handles = [{ label: "branch errors e_c, e_u", color: "#222222", moved }];
    this.plane = new Plane(square, { handles, labels: ["e_c", "e_u"] });
    this.table = table;
  }

  /** Draw what the model asks for. */
  update() {
    const now = valuesOf(this.model);
    const point = [now.e_c, now.e_u];
    const rows = Object.entries(this.model.get("objectives")).map(([key, shown]) => {
      const form = formAt(key, now.w);
      const name = shown.name.split(",")[0]; // without the scale of the table's row
      return { ...shown, name, form, ...charge(form, point) };
    });
    const layers = rows.flatMap(({ color, form, value, gradient }) => [
      { color, lines: levelLines(form, value) },
      { color, width: 3, arrows: [descent(point, gradient)] },
    ]);
    this.table.replaceChildren(tableOf(rows));
    const alt = rows.map(({ name, value }) => `${name}: loss ${value.toFixed(2)}`).join("; ");
    this.plane.show({ half: HALF, layers, at: [point], alt });
    const told = `Guided error |w e_c + (1 − w) e_u| at w = ${now.w}: `
      + `${guidedError(now, now.w).toFixed(2)}.`;
    this.note.replaceChildren(...written(told));
    this.drawErrors(now);
  }

  /** The guided error at every scale, and the scale that is chosen. */
  drawErrors(now) {
    const points = Array.from({ length: STEPS + 1 }, (_, i) => {
      const w = (WIDEST * i) / STEPS;
      return [w, guidedError(now, w)];
    });
    const top = Math.max(1, ...points.map(([, error]) => error));
    const curves = [
      { name: "guided error of this point", color: "#0072B2", points },
      { name: "chosen w", color: "#8A8A8A", points: [[now.w, 0], [now.w, top]] },
    ];
    chart(this.chart, { curves, x: [0, WIDEST], y: [0, top], height: 170, xlabel: "guidance w",
      ylabel: "", alt: this.note.textContent });
  }
}
