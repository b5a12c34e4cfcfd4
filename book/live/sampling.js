// Guidance, eps_w = eps_uncond + w (eps_cond - eps_uncond), and DDIM, as dashlib/sampling.py.
import { mean } from "./layers.js";
import { ALPHA_BAR, scaleAt, T } from "./schedule.js";

/** Both predictions for images x, (B, size), at one t with labels y: one pass over 2B images. */
export function branches(model, x, t, y) {
  const nulls = y.map(() => model.nullLabel);
  const times = new Array(2 * y.length).fill(t);
  const both = model.predict(Float32Array.of(...x, ...x), times, [...y, ...nulls]);
  return { cond: both.subarray(0, x.length), uncond: both.subarray(x.length) };
}

/** eps_uncond + w (eps_cond - eps_uncond). */
export function guide({ cond, uncond }, w) {
  return uncond.map((value, i) => value + w * (cond[i] - value));
}

/** The Euclidean norm of the gap eps_cond - eps_uncond of every image, averaged over images. */
export function gapNorm({ cond, uncond }, images) {
  const squares = new Float64Array(images);
  cond.forEach((value, i) => {
    squares[Math.floor((i * images) / cond.length)] += (value - uncond[i]) ** 2;
  });
  return mean(squares.map(Math.sqrt));
}

/** Python's rounding: halves go to the even neighbour. */
function roundHalfEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/** The timesteps visited, descending: from `start` to 0, or multiples of T // steps ("leading"). */
export function timesteps(steps, spacing = "linspace", start = T - 1) {
  if (!(steps >= 1 && steps <= T && (spacing !== "leading" || T % steps === 0)))
    throw new Error(`steps=${steps}: from 1 to ${T}, and for leading a divisor of ${T}`);
  if (spacing === "leading") {
    return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * Math.floor(T / steps));
  }
  if (steps === 1) return [start];
  const step = start / (steps - 1); // counted from the nearer end, as torch.linspace does
  return Array.from({ length: steps }, (_, i) =>
    roundHalfEven(i < Math.floor(steps / 2) ? start - step * i : step * (steps - 1 - i)));
}

/** x_s from image and noise at t, where alpha_bar is `now` at t and `after` at s. */
function moved(x0, eps, now, after, eta, random) {
  const variance = eta ** 2 * ((1 - after) / (1 - now)) * (1 - now / after);
  const [signal, noise] = [Math.sqrt(after), Math.sqrt(Math.max(1 - after - variance, 0))];
  const sigma = Math.sqrt(variance);
  return x0.map((value, i) =>
    signal * value + noise * eps[i] + (sigma > 0 ? sigma * random.normal() : 0));
}

/** Yield every iterate {index, t, xt, x0, eps, xNext} of a DDIM run from the noise xT; settings are
 * steps, spacing ("linspace" or "leading"), start, eta in [0, 1] and clamp, for x0 beyond [-1, 1]:
 * "none" leaves it, "clamp" cuts it, "recompute" also makes eps agree. */
export function* ddim(predict, xT, settings, random) {
  const { steps = 50, eta = 0, spacing, clamp = "recompute", start } = settings;
  const sequence = timesteps(steps, spacing, start);
  let xt = xT;
  for (const [index, t] of sequence.entries()) {
    const [now, after] = [ALPHA_BAR[t], index + 1 < steps ? ALPHA_BAR[sequence[index + 1]] : 1];
    const [signal, noise] = [Math.sqrt(now), Math.sqrt(1 - now)];
    let eps = predict(xt, t);
    let x0 = xt.map((value, i) => (value - noise * eps[i]) / signal);
    if (clamp !== "none") x0 = x0.map((value) => Math.min(Math.max(value, -1), 1));
    if (clamp === "recompute") eps = xt.map((value, i) => (value - signal * x0[i]) / noise);
    const xNext = moved(x0, eps, now, after, eta, random);
    yield { index, t, xt, x0, eps, xNext };
    xt = xNext;
  }
}

/** Yield the iterates of a guided run, each with `gap`, the norm of the gap at its step. */
export function* guidedSample(model, y, xT, settings, random) {
  let gap = 0;
  const predict = (x, t) => {
    const both = branches(model, x, t, y);
    gap = gapNorm(both, y.length);
    return guide(both, scaleAt(settings, t));
  };
  for (const iterate of ddim(predict, xT, settings, random)) yield { ...iterate, gap };
}
