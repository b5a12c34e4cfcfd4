// The forward process, x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps, and the scales w(t).

/** Signal levels of the cosine schedule, Float64Array (T), decreasing in (0, 1). */
export function cosineAlphaBar(T = 1000, s = 0.008) {
  const f = (i) => Math.cos((((i / T + s) / (1 + s)) * Math.PI) / 2) ** 2;
  let product = 1;
  return new Float64Array(T).map((_, t) =>
    (product *= 1 - Math.min(Math.max(1 - f(t + 1) / f(t), 1e-4), 0.9999)));
}

export const T = 1000;
export const ALPHA_BAR = cosineAlphaBar(T);

/** The signal-to-noise ratio alpha_bar / (1 - alpha_bar) of every timestep. */
export const SNR = ALPHA_BAR.map((level) => level / (1 - level));

/** What the guidance schedules are called, and w(t) of each from its settings. */
export const SCALES = {
  constant: ({ w }) => w,
  tag: ({ w_min, w_max, beta }, t) =>
    w_min + (w_max - w_min) / (1 + Math.exp(-beta * (0.5 - t / T))),
  linear: ({ w_min, w_max }, t) => w_max - ((w_max - w_min) * t) / T,
  interval: ({ w, low, high }, t) => (t >= low && t < high ? w : 1),
};

/** The guidance scale at t under settings whose `schedule` names one of SCALES. */
export function scaleAt(settings, t) {
  const scale = SCALES[settings.schedule];
  if (!scale) throw new Error(`no guidance schedule is called ${settings.schedule}`);
  return scale(settings, t);
}
