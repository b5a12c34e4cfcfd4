// The objectives in the student's branch errors e_c and e_u, as dashlib/losses.py, and training.
import { mean } from "./layers.js";
import { Adam } from "./mlp.js";
import { Random } from "./random.js";
import { T } from "./schedule.js";

// A term asks that the student's a cond + b uncond ("drawn": one branch, by a coin that falls on
// null with probability `drop`) be as a target says.
const term = (of, target = "teacher", factor = 1) => ({ of, target, factor });
export const OBJECTIVES = {
  scratch: { drop: 0.1, terms: [term("drawn", "eps")] },
  cond_only: { terms: [term([1, 0])] },
  cond_only_dropout: { drop: 0.1, terms: [term("drawn", "cond")] },
  composite: { terms: [term([4, -3])] },
  gap_match: { terms: [term([1, -1])] },
  dash: { terms: [term([1, 0]), term([0, 1]), term([1, 0], "eps", 0.1)] },
  dash_sampled: { drop: 0.5, terms: [term("drawn")] },
};

/** The composite at any scale, w cond + (1 - w) uncond. */
export const composite = (w) => ({ terms: [term([w, 1 - w])] });

/** The form [Q_cc, Q_cu, Q_uu] of an objective: e^T Q e is what it charges for errors e = (e_c, e_u)
 * of the branches. Where a target is not the teacher's own branch, it is the loss's curvature. */
export function formOf({ terms, drop = 0 }) {
  return terms.map(({ of, factor }) => {
    const [a, b] = of;
    return of === "drawn" ? [1 - drop, 0, drop] : [a * a, a * b, b * b].map((q) => factor * q);
  }).reduce((sum, form) => sum.map((q, i) => q + form[i]));
}

/** The form of the composite in the mean over scales w ~ U[low, high]. */
export function multiW(low, high) {
  const middle = (low + high) / 2;
  const square = middle ** 2 + (high - low) ** 2 / 12;
  return [square, middle - square, 1 - 2 * middle + square];
}

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

/** Train a student of an exact teacher under an importance of every timestep, of mean 1; yield
 * {step, loss, model}, the averaged network. Rate and average as dashlib's Trainer has them. */
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
    for (const [name, average] of shadow.parameters) {
      trained.parameters.get(name)
        .forEach((value, i) => (average[i] += move * (value - average[i])));
    }
    yield { step, loss, model: shadow };
  }
}

/** Mean squared errors of both branches, in bins of timesteps, always on the same points. */
export function errorsByTime(model, teacher, bins = 20, each = 32) {
  const width = T / bins;
  const middle = (i) => Math.floor((Math.floor(i / each) + 0.5) * width);
  const { xt, t, y } = teacher.batch(bins * each, new Random(0), middle);
  const errors = new Array(bins).fill(0);
  for (const labels of [y, y.map(() => model.nullLabel)]) {
    const [own, truth] = [model, teacher].map((of) => of.predict(xt, t, labels));
    own.forEach((value, i) => {
      errors[Math.floor(i / 2 / each)] += (value - truth[i]) ** 2 / (4 * each);
    });
  }
  return errors;
}

/** How a student compares with a teacher on noisy points {xt, t, y}, as dashlib.metrics has it: rho,
 * cos, and mean squared errors of the gap and of both branches. */
export function compare(model, teacher, { xt, t, y }) {
  const nulls = y.map(() => model.nullLabel);
  const [s_c, t_c, s_u, t_u] = [y, nulls].flatMap((labels) =>
    [model, teacher].map((of) => of.predict(xt, t, labels)));
  const [own, true_] = [s_c.map((v, i) => v - s_u[i]), t_c.map((v, i) => v - t_u[i])];
  const square = (a, b) => mean(a.map((v, i) => (v - b[i]) ** 2));
  const lengths = [own, true_].map((gap) => t.map((_, i) => Math.hypot(gap[2 * i], gap[2 * i + 1])));
  const cosines = t.map((_, i) => {
    const product = own[2 * i] * true_[2 * i] + own[2 * i + 1] * true_[2 * i + 1];
    return product / Math.max(lengths[0][i] * lengths[1][i], 1e-300);
  });
  return { rho: mean(lengths[0]) / mean(lengths[1]), cos: mean(cosines), gap_mse: square(own, true_),
    cond_mse: square(s_c, t_c), uncond_mse: square(s_u, t_u) };
}
