// What a worker does for the page: tasks are generators of reports, which return their answer.
import { Mixture, pinwheel } from "./mixture.js";
import { MLP } from "./mlp.js";
import { compare, errorsByTime, OBJECTIVES, train } from "./objectives.js";
import { Random } from "./random.js";
import { readSafetensors } from "./safetensors.js";
import { branches, guidedSample, guide } from "./sampling.js";
import { UNet } from "./unet.js";

const SLICE = 40; // ms of work between two looks at the messages
export const networks = new Map(); // by name: those that were loaded, and trained students

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

  /** The same, and at the end every state on the way: {path: [{t, xt, x0}, ...]}. */
  *trace({ name, y, seed, settings }) {
    const [network, random] = [networks.get(name), new Random(seed)];
    const path = [];
    for (const { t, xt, x0 } of guidedSample(network, y, random.normals(network.size * y.length),
      settings, random)) {
      path.push({ t, xt, x0 });
      yield { done: path.length / settings.steps };
    }
    return { path, done: 1 };
  },

  /** A student of an exact mixture, kept under a name: {untrained, errors: by timestep, gap: as
   * compare() has it, done}, every tenth step, the gap less often. */
  *train({ objective, importance, steps, seed, means, name = "student" }) {
    const [random, teacher] = [new Random(seed), new Mixture(pinwheel(means))];
    const [start, noisy] = [MLP.start(random), teacher.batch(1000, new Random(0))];
    const settings = { objective: OBJECTIVES[objective], importance, steps, size: 128 };
    const state = { untrained: errorsByTime(start, teacher), gap: compare(start, teacher, noisy) };
    for (const { step, model } of train(start, teacher, settings, random)) {
      if (step % 10 && step < steps) continue;
      networks.set(name, model);
      state.errors = errorsByTime(model, teacher);
      if (step % 50 === 0 || step === steps) state.gap = compare(model, teacher, noisy);
      state.done = step / steps;
      yield state;
    }
    return state;
  },

  /** The guided field of the mixture, or of a student by name: its prediction for class `label` at
   * points (B, 2) and t, and where points of the mixture's labels end: {eps, ends, y}. */
  *flow({ name, means, w, t, label, points }) {
    const [random, teacher] = [new Random(0), new Mixture(pinwheel(means))];
    const model = name ? networks.get(name) : teacher;
    const y = Array.from({ length: 200 }, () => teacher.draw(random).y);
    const eps = guide(branches(model, points, t, new Array(points.length / 2).fill(label)), w);
    const settings = { schedule: "constant", w, steps: 25, spacing: "leading", clamp: "none" };
    const state = { eps, y };
    for (const { index, xNext } of guidedSample(model, y, random.normals(400), settings, random)) {
      Object.assign(state, { ends: xNext, done: (index + 1) / 25 });
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
