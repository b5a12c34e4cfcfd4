// Parts of an explorer: real inputs bound to a model, a chart, a progress bar, errors in the page.

const SVG = ["svg", "g", "path", "text", "tspan", "line", "circle"];

/** An element with attributes and children. */
export function make(tag, attributes = {}, ...children) {
  const space = SVG.includes(tag) ? "2000/svg" : "1999/xhtml";
  const element = document.createElementNS(`http://www.w3.org/${space}`, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Text of our own as nodes; a letter after a low line stands lower: "e_c". */
export function written(text, tag = "sub", style = {}) {
  return String(text).split(/_(\w)/).map((part, i) => (i % 2 ? make(tag, style, part) : part));
}

/** A canvas for pictures, named until they are drawn and named for what they are. */
export const easel = () => make("canvas", { role: "img", "aria-label": "not drawn yet" });

/** Say in the page what went wrong. */
export function showError(el, error) {
  el.querySelector(".dash-live-error")?.remove();
  const text = `This explorer has stopped: ${error.message ?? error}`;
  el.prepend(make("p", { class: "dash-live-error", role: "alert" }, text));
  console.warn(error);
}

/** Call, and say in the page what goes wrong: one opened from a disk tells no listener of it. */
export function guarded(el, call) {
  return async (...given) => {
    el.querySelector(".dash-live-error")?.remove();
    try {
      await call(...given);
    } catch (error) {
      showError(el, error);
    }
  };
}

/** A labelled input bound to the model: {name, label, range [min, max, step] or options}. */
export function control(model, { name, label, aria = label, options, range = [] }) {
  const number = !options;
  const [min, max, step] = range;
  const input = number
    ? make("input", { type: "range", min, max, step, "aria-label": aria })
    : make("select", {}, ...Object.entries(options).map(([value, text]) =>
      make("option", { value }, text)));
  const shown = make("output", {}, "");
  const read = () => {
    input.value = model.get(name);
    if (number) shown.textContent = Number(model.get(name)).toLocaleString("en");
  };
  input.addEventListener("input", () => {
    model.set(name, number ? Number(input.value) : input.value);
    model.save_changes();
  });
  model.on(`change:${name}`, read);
  read();
  return make("label", { "data-name": name }, make("span", {}, ...written(label)), input,
    number ? shown : "");
}

/** What a model says of some names, of all its settings without them, as an object. */
export function valuesOf(model, names = Object.keys(model.get("usual"))) {
  return Object.fromEntries(names.map((name) => [name, model.get(name)]));
}

/** Controls, each there while `when`, [name, values], holds, and a button that resets. */
export function controls(model, specs) {
  const reset = make("button", { type: "button" }, "reset");
  const inputs = specs.map((spec) => [spec, control(model, spec)]);
  const arrange = () => {
    for (const [{ when }, element] of inputs) {
      element.hidden = Boolean(when) && !when[1].includes(model.get(when[0]));
    }
  };
  model.on("change", arrange);
  reset.addEventListener("click", () => {
    for (const [name, value] of Object.entries(model.get("usual"))) model.set(name, value);
    model.save_changes();
  });
  arrange();
  return make("div", { class: "dash-live-controls" }, ...inputs.map(([, e]) => e), reset);
}

/** A bar with a button that cancels: `show(0.4)`, `show(1)` ends; `el` is busy meanwhile. */
export function progressBar(el, cancel) {
  const bar = make("progress", { max: 1, value: 0, "aria-label": "progress" });
  const button = make("button", { type: "button", disabled: "" }, "cancel");
  button.addEventListener("click", cancel);
  const show = (done) => {
    bar.value = done;
    button.disabled = done >= 1;
    el.setAttribute("aria-busy", String(done < 1));
  };
  return { element: make("div", { class: "dash-live-progress" }, bar, button), show };
}

const [LEFT, RIGHT, TOP, BOTTOM] = [52, 24, 10, 40]; // pixels around a chart

/** Round numbers, about `count` of them, that divide a range. */
export function ticks([low, high], count) {
  const rough = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 2.5, 5, 10].find((factor) => factor * unit >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 },
    (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Draw curves {name, color, points: [[x, y], ...]} and a legend into an element, whose `redraw()`
 * draws them again; its `pointed(event)` is the [x, y] below the pointer. */
export function chart(el, given) {
  const { curves, x, y, xlabel, ylabel, alt, height = 230 } = given;
  el.redraw = () => chart(el, given);
  const width = Math.max(el.parentElement.clientWidth, 260);
  const run = (width - LEFT - RIGHT) / (x[1] - x[0]);
  const across = (value) => LEFT + (value - x[0]) * run;
  const rise = (height - TOP - BOTTOM) / (y[1] - y[0]); // pixels for one
  const upward = (value) => height - BOTTOM - (value - y[0]) * rise;
  const svg = make("svg", { width, height, role: "img", "aria-label": alt });
  const write = (text, at, anchor = "middle") =>
    svg.append(make("text", { ...at, "text-anchor": anchor }, text));
  for (const value of ticks(x, width / 90)) write(value, { x: across(value), y: height - 22 });
  for (const value of ticks(y, 4)) {
    const at = upward(value);
    svg.append(make("line", { x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
    write(value, { x: LEFT - 6, y: at + 4 }, "end");
  }
  write(xlabel, { x: (LEFT + width - RIGHT) / 2, y: height - 4 });
  for (const { color, points } of curves) {
    const d = points.map(([a, b], i) =>
      `${i ? "L" : "M"}${across(a).toFixed(1)} ${upward(Math.min(b, y[1])).toFixed(1)}`).join("");
    svg.append(make("path", { d, stroke: color }));
  }
  const keys = curves.map(({ name, color }) =>
    make("span", {}, make("i", { style: `background: ${color}` }), name));
  const title = make("b", {}, ...written(ylabel));
  const legend = make("div", { class: "dash-live-legend" }, title, ...keys);
  el.replaceChildren(legend, svg);
  el.pointed = (event) => {
    const box = svg.getBoundingClientRect();
    const [right, up] = [event.clientX - box.left - LEFT, box.bottom - event.clientY - BOTTOM];
    return [x[0] + right / run, y[0] + up / rise];
  };
}
