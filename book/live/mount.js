// Explorers in a page: `render({model, el})` as anywidget has it, and the mount of static pages.
import { make, showError } from "./controls.js";
import { DEFAULTS, renderDial } from "./dial.js";
import { Engine } from "./engine.js";
import { decodeBase64 } from "./safetensors.js";
import { serve } from "./tasks.js";

const EXPLORERS = { dial: { render: renderDial, defaults: DEFAULTS } };

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

/** What the address says of an explorer: `#dial.w=2&dial.label=7`, of the type of its defaults. */
function fromFragment(id, defaults) {
  const found = {};
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    const name = key.slice(id.length + 1);
    if (!key.startsWith(`${id}.`) || !(name in defaults)) continue;
    const value = typeof defaults[name] === "number" ? Number(text) : text;
    if (!Number.isNaN(value)) found[name] = value;
  }
  return found;
}

/** Write what differs from the defaults into the address, beside what other explorers wrote. */
function toFragment(id, model, defaults) {
  const all = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  for (const [name, usual] of Object.entries(defaults)) {
    if (model.get(name) === usual) all.delete(`${id}.${name}`);
    else all.set(`${id}.${name}`, model.get(name));
  }
  history.replaceState(null, "", `${location.pathname}${location.search}#${all}`);
}

/** Weights by file: a script beside this one hands them over, which works from a disk, too. */
class Weights {
  constructor(base) {
    [this.base, this.asked] = [base, new Map()];
  }

  load(engine, file) {
    if (!this.asked.has(file)) this.asked.set(file, this.fetch(engine, file));
    return this.asked.get(file);
  }

  async fetch(engine, file) {
    const script = make("script", { src: `${this.base}weights/${file}.js` });
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${script.src} is not there: build the book again`));
      document.head.append(script);
    });
    const { config, base64 } = globalThis.dashWeights[file];
    const bytes = decodeBase64(base64);
    delete globalThis.dashWeights[file];
    await engine.run("load", { name: file, config, bytes }).promise;
  }
}

let engine = null;
let weights = null;

/** Render the explorer that the model's `explorer` names into an element. */
export function render({ model, el }) {
  try {
    return EXPLORERS[model.get("explorer")].render({ model, el, engine, weights });
  } catch (error) {
    showError(el, error);
    return { start() {} };
  }
}

/** Put an explorer over the picture in an element, which goes once somebody touches a control. */
function mount(el) {
  const { live, state } = el.dataset;
  const given = JSON.parse(state);
  const usual = Object.fromEntries(Object.entries(EXPLORERS[live].defaults)
    .map(([name, value]) => [name, given[name] ?? value]));
  const asked = fromFragment(el.id, usual);
  const model = plainModel({ ...given, ...usual, explorer: live, usual, ...asked });
  const picture = el.querySelector("figure");
  const body = make("div", { class: "dash-live-body" });
  const button = make("button", { type: "button", class: "dash-live-start" }, "draw now");
  el.prepend(body, button);
  const { start } = render({ model, el: body });
  const begin = () => [picture, button].forEach((part) => part?.remove());
  model.on("change", () => {
    begin();
    toFragment(el.id, model, usual);
  });
  button.addEventListener("click", () => {
    begin();
    start();
  });
  if (Object.keys(asked).length) button.click();
}

/** In a worker: serve. In a page: mount every explorer. `source` is the text of this script. */
export function start(source) {
  if (typeof document === "undefined") return serve(globalThis);
  [engine, weights] = [new Engine(source), new Weights(new URL(".", document.currentScript.src).href)];
  const mountAll = () => document.querySelectorAll(".dash-live").forEach(mount);
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", mountAll);
  else mountAll();
  return undefined;
}
