// A mixture of Gaussians in the plane whose noise predictions are exact, as dashbook/playground.py.
import { mean } from "./layers.js";
import { ALPHA_BAR, T } from "./schedule.js";

/** The means of the book's mixture: three curved arms, one a class, in the order (class, step). */
export const ARMS = [0, 1, 2].flatMap((arm) => [0, 1, 2].map((step) => {
  const [angle, radius] = [(2 * Math.PI * arm) / 3 + 0.6 * step, 0.1 + 0.25 * step];
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}));

/** A mixture of three classes of three components, at the book's means or others. */
export function pinwheel(means = ARMS) {
  const components = means.map((center, i) =>
    ({ y: Math.floor(i / 3), mean: center, std: 0.12 + 0.01 * (i % 3) }));
  return { components, priors: [0.5, 0.3, 0.2] };
}

/** The teacher that cannot err: a model like the networks, `predict(x, t, y)` of points (B, 2). */
export class Mixture {
  constructor({ components, priors }) {
    [this.components, this.priors] = [components, priors];
    this.nullLabel = priors.length;
    this.size = 2;
    this.shares = priors.map((prior, k) => prior / components.filter(({ y }) => y === k).length);
  }

  /** The exact noise, -sqrt(1 - alpha_bar) times the score of p_t(x | y), or of p_t(x). */
  predict(x, t, y) {
    const out = new x.constructor(x.length);
    t.forEach((time, i) => {
      const eps = this.noiseAt(x[2 * i], x[2 * i + 1], ALPHA_BAR[time], y[i]);
      [out[2 * i], out[2 * i + 1]] = eps;
    });
    return out;
  }

  noiseAt(x, y, level, label) {
    const signal = Math.sqrt(level);
    const own = this.components.filter((part) => label === this.nullLabel || part.y === label);
    const offsets = own.map(({ mean: [mx, my] }) => [x - signal * mx, y - signal * my]);
    const variances = own.map(({ std }) => level * std ** 2 + 1 - level);
    const logs = own.map(({ y: k }, m) => Math.log(this.shares[k] / variances[m])
      - (offsets[m][0] ** 2 + offsets[m][1] ** 2) / (2 * variances[m]));
    const top = Math.max(...logs);
    const r = logs.map((log) => Math.exp(log - top)); // the components' probabilities, unscaled
    const along = (axis) => mean(r.map((share, m) => (share * offsets[m][axis]) / variances[m]));
    return [0, 1].map((axis) => (Math.sqrt(1 - level) * along(axis)) / mean(r));
  }

  /** A label drawn with the priors, and a clean point of its class. */
  draw(random) {
    let [rest, y] = [random.uniform(), 0];
    while (y < this.priors.length - 1 && rest >= this.priors[y]) rest -= this.priors[y++];
    const own = this.components.filter((component) => component.y === y);
    const { mean: center, std } = own[random.below(own.length)];
    return { y, point: center.map((value) => value + std * random.normal()) };
  }

  /** Noisy points at drawn timesteps: {xt (B, 2), t, y, eps (B, 2)}. */
  batch(count, random, timestep = () => random.below(T)) {
    const eps = random.normals(2 * count);
    const drawn = Array.from({ length: count }, () => this.draw(random));
    const t = drawn.map((_, i) => timestep(i));
    const xt = eps.map((noise, i) => {
      const level = ALPHA_BAR[t[i >> 1]];
      return Math.sqrt(level) * drawn[i >> 1].point[i & 1] + Math.sqrt(1 - level) * noise;
    });
    return { xt, t, y: drawn.map(({ y }) => y), eps };
  }
}
