// A square of the plane: lines, arrows and dots in it, and points that a pointer or keys move.
import { make, ticks, written } from "./controls.js";

const [EDGE, REACH_OF_HANDLE, LARGEST] = [34, 24, 460]; // pixels

/** Lines [[x, y], ...] as the d of a path. */
const joined = (lines, place) => lines.map((line) =>
  line.map((at, i) => `${i ? "L" : "M"}${place(at)}`).join("")).join("");

/** An arrow from (x, y) by (dx, dy), as a shaft and a head. */
function arrow([x, y, dx, dy]) {
  const [tip, back] = [[x + dx, y + dy], [x + 0.7 * dx, y + 0.7 * dy]];
  const side = (turn) => [back[0] - turn * 0.15 * dy, back[1] + turn * 0.15 * dx];
  return [[[x, y], tip], [side(1), tip, side(-1)]];
}

/** What is shown of x and y in [-half, half]; handles are {label, color, moved([x, y])}. */
export class Plane {
  constructor(el, { handles, labels = ["", ""] }) {
    Object.assign(this, { el, handles, labels, half: 1 });
    this.svg = make("svg", { class: "dash-live-plane", role: "group" });
    [this.frame, this.drawn, this.points] = ["g", "svg", "g"].map((tag) => make(tag));
    this.svg.append(this.frame, this.drawn, this.points);
    el.replaceChildren(this.svg);
    this.dots = handles.map((handle) => this.dot(handle));
    this.svg.addEventListener("pointerdown", (event) => this.take(event));
    this.svg.addEventListener("touchstart", (event) => // after pointerdown; else the page scrolls
      this.held === undefined || event.preventDefault());
    this.svg.addEventListener("pointermove", (event) => {
      if (this.held !== undefined && event.buttons) this.handles[this.held].moved(this.at(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.svg.addEventListener(end, () => (this.held = undefined));
    }
  }

  /** A handle, which takes arrow keys, too. */
  dot(handle) {
    const dot = make("circle", { r: 9, tabindex: 0, role: "slider", fill: handle.color });
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    dot.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      handle.moved(dot.at.map((value, axis) => value + 0.05 * move[axis]));
    });
    this.points.append(dot);
    return dot;
  }

  /** Hold the handle that is nearest to the pointer, if one is near. */
  take(event) {
    const [x, y] = this.at(event);
    const apart = this.dots.map(({ at }) => Math.hypot(at[0] - x, at[1] - y) * this.unit);
    const nearest = apart.indexOf(Math.min(...apart));
    if (!(apart[nearest] < REACH_OF_HANDLE)) return;
    event.preventDefault();
    this.held = nearest;
    this.dots[nearest].focus();
    this.svg.setPointerCapture(event.pointerId);
  }

  at(event) {
    const box = this.svg.getBoundingClientRect();
    const [right, down] = [event.clientX - box.left, event.clientY - box.top];
    return [(right - EDGE) / this.unit - this.half, this.half - (down - 6) / this.unit];
  }

  place([x, y]) {
    const [right, down] = [EDGE + (x + this.half) * this.unit, 6 + (this.half - y) * this.unit];
    return `${right.toFixed(1)} ${down.toFixed(1)}`;
  }

  /** Draw layers {lines, arrows or dots, color, width}, the later ones above, and the handles. */
  show({ half, layers, at, alt }) {
    this.el.redraw = () => this.show({ half, layers, at, alt });
    const padding = 16; // of what holds it
    const side = Math.min(Math.max(this.el.clientWidth - padding, 200), LARGEST);
    Object.assign(this, { half, unit: (side - EDGE - 6) / (2 * half) });
    for (const name of ["width", "height"]) this.svg.setAttribute(name, side);
    this.svg.setAttribute("aria-label", alt);
    const inside = { x: EDGE, y: 6, width: side - EDGE - 6, height: side - EDGE - 6 };
    inside.viewBox = Object.values(inside).join(" "); // what lies outside is cut off
    for (const [name, value] of Object.entries(inside)) this.drawn.setAttribute(name, value);
    this.scale(side);
    const place = (point) => this.place(point);
    this.drawn.replaceChildren(...layers.map(({ lines, arrows, dots, color, width = 2 }) => {
      const all = lines ?? arrows?.flatMap(arrow) ?? dots.map((dot) => [dot, dot]);
      return make("path", { d: joined(all, place), stroke: color, "stroke-width": width,
        "stroke-linecap": "round" });
    }));
    this.dots.forEach((dot, i) => this.put(dot, this.handles[i].label, at[i]));
  }

  put(dot, label, [x, y]) {
    dot.at = [x, y];
    const [cx, cy] = this.place([x, y]).split(" ");
    const value = `${x.toFixed(2)}, ${y.toFixed(2)}`;
    const spoken = { "aria-label": label, "aria-valuetext": value, "aria-valuenow": x };
    for (const [name, text] of Object.entries({ cx, cy, ...spoken })) dot.setAttribute(name, text);
  }

  /** The frame: axes through 0; outside of it numbers, and among them the names of the axes. */
  scale(side) {
    const { half } = this;
    const low = { "baseline-shift": "-20%", "font-size": "75%" };
    const write = (text, x, y, anchor) =>
      make("text", { x, y, "text-anchor": anchor }, ...written(text, "tspan", low));
    const both = (value, [across, upward]) => {
      const [x, y] = this.place([value, value]).split(" ").map(Number);
      return [write(across, x, side - EDGE + 20, "middle"), write(upward, EDGE - 10, y + 4, "end")];
    };
    const cross = [[[-half, 0], [half, 0]], [[0, -half], [0, half]]];
    const axes = make("path", { class: "axes", d: joined(cross, (at) => this.place(at)) });
    const numbers = ticks([-half, half], 4).flatMap((value) => both(value, [value, value]));
    this.frame.replaceChildren(axes, ...numbers, ...both(0.75 * half, this.labels));
  }
}
