// What a worker does for the page: tasks are generators of reports, which return their answer.
import { Mixture, pinwheel } from "./mixture.js";
import { MLP } from "./mlp.js";
import { OBJECTIVES, train } from "./objectives.js";
import { Random } from "./random.js";
import { readSafetensors } from "./safetensors.js";
import { guidedSample } from "./sampling.js";
import { UNet } from "./unet.js";

const SLICE = 40; // ms of work between two looks at the messages
const networks = new Map();

export const TASKS = {
  /** Keep a network under a name, from the bytes of a safetensors file. */
  *load({ name, config, bytes }) {
    if (!networks.has(name)) networks.set(name, new UNet(config, readSafetensors(bytes)));
    return networks.get(name).size;
  },

  /** Guided pictures of a network that was loaded: {x0, t, gaps: [[t, norm], ...], done}. */
  *sample({ name, y, seed, settings }) {
    const network = networks.get(name);
    const random = new Random(seed);
    const state = { gaps: [], done: 0 };
    for (const iterate of guidedSample(network, y, random.normals(network.size * y.length),
      settings, random)) {
      state.gaps.push([iterate.t, iterate.gap]);
      state.done = (iterate.index + 1) / settings.steps;
      state.x0 = iterate.x0;
      yield state;
    }
    return state;
  },
};

/** Run a task to its end; report about every SLICE ms. Resolves to undefined once `stopped()`. */
async function pump(task, report, stopped) {
  for (let since = performance.now(); !stopped();) {
    const { value, done } = task.next();
    if (done) return value;
    if (performance.now() - since < SLICE) continue;
    report(value);
    await new Promise((resume) => setTimeout(resume));
    since = performance.now();
  }
  return undefined;
}

/** Answer messages {id, task, args} and {cancel: id} that come to a scope, a worker's or our own. */
export function serve(scope) {
  const cancelled = new Set();
  scope.onmessage = async ({ data: { id, task, args, cancel } }) => {
    if (cancel !== undefined) return cancelled.add(cancel);
    const report = (value) => scope.postMessage({ id, value });
    try {
      const answer = await pump(TASKS[task](args), report, () => cancelled.has(id));
      scope.postMessage({ id, answer, cancelled: cancelled.delete(id) });
    } catch (error) {
      scope.postMessage({ id, error: error.message });
    }
  };
  scope.postMessage({ ready: true });
}
