// What a worker does for the page: tasks are generators of reports, which return their answer.
import { Mixture, pinwheel } from "./mixture.js";
import { MLP } from "./mlp.js";
import { errorsByTime, OBJECTIVES, train } from "./objectives.js";
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
    const xT = random.normals(network.size * y.length);
    for (const iterate of guidedSample(network, y, xT, settings, random)) {
      state.gaps.push([iterate.t, iterate.gap]);
      state.done = (iterate.index + 1) / settings.steps;
      state.x0 = iterate.x0;
      yield state;
    }
    return state;
  },

  /** A student of the exact mixture: {untrained, errors: by timestep, done}, every tenth step. */
  *train({ objective, importance, steps, seed }) {
    const [random, teacher] = [new Random(seed), new Mixture(pinwheel())];
    const start = MLP.start(random);
    const settings = { objective: OBJECTIVES[objective], importance, steps, size: 128 };
    const state = { untrained: errorsByTime(start, teacher) };
    for (const { step, model } of train(start, teacher, settings, random)) {
      if (step % 10 && step < steps) continue;
      state.errors = errorsByTime(model, teacher);
      state.done = step / steps;
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
}

/** Answer the messages {id, task, args} and {cancel: id} of a scope, a worker's or our own. */
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
