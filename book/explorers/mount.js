// Explorers in a page: `render({model, el})` as anywidget has it, and the mount of static pages.
import { guarded, make, showError } from "./controls.js";
import { Dial } from "./dial.js";
import { Engine } from "../live/engine.js";
import { Geometry } from "./geometry.js";
import { Importance } from "./importance.js";
import { Playground } from "./playground.js";
import { serve } from "../live/tasks.js";
import { Trajectory } from "./trajectory.js";

const EXPLORERS = { dial: Dial, geometry: Geometry, importance: Importance,
  playground: Playground, trajectory: Trajectory };
const WAITING = ["dial", "trajectory"]; // for weights, which are heavy

/** A model of a page without a kernel: what anywidget calls get, set, on, off, save_changes. */
export function plainModel(state) {
  const listeners = new Map();
  const told = (event) => listeners.get(event) ?? listeners.set(event, new Set()).get(event);
  return {
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      for (const event of [`change:${name}`, "change"]) told(event).forEach((call) => call());
    },
    on: (event, call) => told(event).add(call),
    off: (event, call) => told(event).delete(call),
    save_changes() {},
  };
}

/** What the address says of an explorer: `#dial.w=2&dial.label=7`, of the type of what is usual. */
function fromFragment(id, usual) {
  const found = {};
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    const name = key.slice(id.length + 1);
    if (!key.startsWith(`${id}.`) || !(name in usual)) continue;
    const value = typeof usual[name] === "number" ? Number(text) : text;
    if (!Number.isNaN(value)) found[name] = value;
  }
  return found;
}

/** Write what differs from the usual into the address, beside what other explorers wrote. */
function toFragment(id, model, usual) {
  const all = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  for (const [name, value] of Object.entries(usual)) {
    if (model.get(name) === value) all.delete(`${id}.${name}`);
    else all.set(`${id}.${name}`, model.get(name));
  }
  const address = `${location.pathname}${location.search}`;
  history.replaceState(null, "", String(all) ? `${address}#${all}` : address);
}

let engine = null;

/** Call `first` once an element has a width, as JupyterLab renders before it lays out; at another
 * width draw its charts and planes again. */
function atEveryWidth(el, first) {
  let width = 0;
  const redraw = () =>
    el.querySelectorAll(".dash-live-chart, .dash-live-half").forEach((part) => part.redraw?.());
  const look = () => {
    const [before, now] = [width, el.clientWidth];
    width = now;
    if (now && now !== before) (before ? redraw : first)();
  };
  look();
  new ResizeObserver(() => requestAnimationFrame(look)).observe(el);
}

/** Render the explorer that the model names; while the model is `idle` it only has its controls.
 * Its controls keep their keys, of which JupyterLab would take arrows for its headings. */
export function render({ model, el }) {
  const body = make("div", { class: "dash-live-body" });
  el.prepend(body);
  try {
    const Explorer = EXPLORERS[model.get("explorer")];
    const explorer = new Explorer({ model, el: body, engine: engine ?? new Engine({ model }) });
    body.querySelectorAll("input, select, button, [tabindex]").forEach((one) =>
      one.setAttribute("data-lm-suppress-shortcuts", ""));
    const update = guarded(body, () => explorer.update());
    model.on("change", update);
    atEveryWidth(body, () => model.get("idle") || update());
  } catch (error) {
    showError(body, error);
  }
}

/** Put an explorer over the picture in an element, which goes once somebody touches a control. */
function mount(el) {
  const given = JSON.parse(el.dataset.state);
  const { usual, explorer } = given;
  const asked = fromFragment(el.id, usual);
  const idle = WAITING.includes(explorer) && !Object.keys(asked).length;
  const model = plainModel({ ...given, ...asked, idle });
  const button = make("button", { type: "button", class: "dash-live-start" }, "draw now");
  button.addEventListener("click", () => model.set("idle", false));
  const begin = () => [el.querySelector("figure:not(.dash-live-body *)"), button]
    .forEach((part) => part?.remove());
  model.on("change", () => {
    begin();
    toFragment(el.id, model, usual);
  });
  el.prepend(button);
  if (!idle) begin();
  render({ model, el });
}

/** In a worker: serve. In a page: mount every explorer. `source` is the text of this script. */
export function start(source) {
  if (typeof document === "undefined") return void serve(globalThis);
  const { src } = document.currentScript;
  engine = new Engine({ source, base: new URL(".", src).href });
  const mountAll = () => document.querySelectorAll(".dash-live").forEach((el) =>
    guarded(el, mount)(el));
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", mountAll);
  else mountAll();
}
