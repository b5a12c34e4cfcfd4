// The objectives in the student's branch errors e_c and e_u, as dashlib/losses.py, and training.
import { Adam } from "./mlp.js";

// The terms of each objective: a factor, the student's a cond + b uncond ("drawn": the branch of a
// coin that falls on null with probability `drop`), and what it shall be.
export const OBJECTIVES = {
  scratch: { drop: 0.1, terms: [{ factor: 1, of: "drawn", target: "eps" }] },
  cond_only: { terms: [{ factor: 1, of: [1, 0], target: "teacher" }] },
  cond_only_dropout: { drop: 0.1, terms: [{ factor: 1, of: "drawn", target: "cond" }] },
  composite: { terms: [{ factor: 1, of: [4, -3], target: "teacher" }] },
  gap_match: { terms: [{ factor: 1, of: [1, -1], target: "teacher" }] },
  dash: { terms: [
    { factor: 1, of: [1, 0], target: "teacher" },
    { factor: 1, of: [0, 1], target: "teacher" },
    { factor: 0.1, of: [1, 0], target: "eps" },
  ] },
  dash_sampled: { drop: 0.5, terms: [{ factor: 1, of: "drawn", target: "teacher" }] },
};

/** Weighted mean loss of a batch, and its gradients by the student's `cond` and `uncond`. */
export function lossOf({ terms }, student, teacher, eps, { nulls, weights }) {
  const [cond, uncond] = [0, 1].map(() => new Float32Array(eps.length));
  let loss = 0;
  for (let i = 0; i < eps.length; i++) {
    const image = i >> 1;
    for (const { factor, of, target } of terms) {
      const [a, b] = of === "drawn" ? (nulls[image] ? [0, 1] : [1, 0]) : of;
      const own = a * teacher.cond[i] + b * teacher.uncond[i];
      const goal = { eps: eps[i], cond: teacher.cond[i], teacher: own }[target];
      const error = a * student.cond[i] + b * student.uncond[i] - goal;
      const scale = (factor * weights[image]) / eps.length; // the mean over images and over axes
      loss += scale * error ** 2;
      cond[i] += 2 * scale * error * a;
      uncond[i] += 2 * scale * error * b;
    }
  }
  return { loss, cond, uncond };
}

/** The gradient of the loss by the student's parameters on one batch: {loss, gradients}. */
export function gradientsOf(model, teacher, objective, batch, draws) {
  const count = batch.t.length;
  const twice = Float32Array.from([...batch.xt, ...batch.xt]);
  const t = [...batch.t, ...batch.t];
  const y = [...batch.y, ...batch.y.map(() => model.nullLabel)];
  const { out, tape } = model.forward(twice, t, y);
  const split = (both) => ({ cond: both.subarray(0, 2 * count), uncond: both.subarray(2 * count) });
  const truth = split(teacher.predict(twice, t, y));
  const { loss, cond, uncond } = lossOf(objective, split(out), truth, batch.eps, draws);
  return { loss, gradients: model.backward(tape, Float32Array.from([...cond, ...uncond])) };
}

/**
 * Train a student of an exact teacher; yield {step, loss, model}, the averaged network.
 *
 * `importance` weighs timesteps (mean 1). The rate falls as a cosine; the average of the weights
 * warms up as dashlib's EMA does.
 */
export function* train(model, teacher, settings, random) {
  const { objective, importance, steps = 600, size = 256, rate = 4e-3, ema = 0.99 } = settings;
  const [trained, shadow] = [model.copy(), model.copy()];
  const adam = new Adam(trained.parameters);
  const { drop = 0 } = objective;
  for (let step = 1; step <= steps; step++) {
    const batch = teacher.batch(size, random);
    const nulls = batch.t.map(() => random.uniform() < drop);
    const draws = { nulls, weights: batch.t.map((t) => importance[t]) };
    const { loss, gradients } = gradientsOf(trained, teacher, objective, batch, draws);
    adam.step(gradients, (rate * (1 + Math.cos((Math.PI * (step - 1)) / steps))) / 2);
    const move = 1 - Math.min(ema, (1 + step) / (10 + step));
    for (const [name, mean] of shadow.parameters) {
      trained.parameters.get(name).forEach((value, i) => (mean[i] += move * (value - mean[i])));
    }
    yield { step, loss, model: shadow };
  }
}
