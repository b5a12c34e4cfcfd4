// What the networks are built of. Activations are Float32Array in the order (image, position,
// channel), so that a convolution, a linear layer and a matrix product are one loop.

/** A plan: which input position each output position reads through each tap of a kernel. */
function planOf(grid, outGrid, stride, before) {
  const positions = Array.from({ length: outGrid * outGrid }, (_, position) => {
    const [row, column] = [Math.floor(position / outGrid), position % outGrid];
    const taps = [];
    const from = [];
    for (let tap = 0; tap < 9; tap++) {
      const y = row * stride + Math.floor(tap / 3) - before;
      const x = column * stride + (tap % 3) - before;
      if (y < 0 || y >= grid || x < 0 || x >= grid) continue; // padding: zeros add nothing
      taps.push(tap);
      from.push(y * grid + x);
    }
    return { taps: Int32Array.from(taps), from: Int32Array.from(from) };
  });
  return { inputs: grid * grid, positions };
}

const POINT = {
  inputs: 1,
  positions: [{ taps: Int32Array.of(0), from: Int32Array.of(0) }],
};
const plans = new Map();

/** The plan of a 3x3 convolution: padded all around, or of stride 2 and padded right and below. */
function plan3x3(grid, stride) {
  const key = `${grid},${stride}`;
  if (!plans.has(key)) plans.set(key, planOf(grid, grid / stride, stride, stride === 1 ? 1 : 0));
  return plans.get(key);
}

/** A layer from PyTorch's weight, (out, in) or (out, in, k, k), and bias: (out, tap, in). */
export function layerOf(shape, weight, bias) {
  const [outputs, inputs] = shape;
  const taps = weight.length / (outputs * inputs);
  const packed = new Float32Array(weight.length);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      for (let tap = 0; tap < taps; tap++) {
        packed[(o * taps + tap) * inputs + i] = weight[(o * inputs + i) * taps + tap];
      }
    }
  }
  return { inputs, outputs, taps, weight: packed, bias };
}

/**
 * Apply a layer to `images` images under a plan.
 *
 * The inner loop makes four channels of two images at a time, from rows that lie together in memory;
 * at the ends the last channel, or image, is made again instead of one that is not there.
 */
function apply(plan, layer, x, images) {
  const { inputs, outputs, weight, bias } = layer;
  const count = plan.positions.length;
  const stride = layer.taps * inputs;
  const out = new Float32Array(images * count * outputs);
  for (let p = 0; p < count; p++) {
    const { taps, from } = plan.positions[p];
    for (let image = 0; image < images; image += 2) {
      const other = Math.min(image + 1, images - 1);
      for (let c = 0; c < outputs; c += 4) {
        const c1 = Math.min(c + 1, outputs - 1);
        const c2 = Math.min(c + 2, outputs - 1);
        const c3 = Math.min(c + 3, outputs - 1);
        let [a0, a1, a2, a3] = [bias[c], bias[c1], bias[c2], bias[c3]];
        let [b0, b1, b2, b3] = [a0, a1, a2, a3];
        for (let k = 0; k < taps.length; k++) {
          const begin = taps[k] * inputs;
          let i = (image * plan.inputs + from[k]) * inputs;
          let j = (other * plan.inputs + from[k]) * inputs;
          const [w1, w2, w3] = [(c1 - c) * stride, (c2 - c) * stride, (c3 - c) * stride];
          let w = c * stride + begin;
          for (const end = w + inputs; w < end; w++, i++, j++) {
            const u = x[i];
            const v = x[j];
            const [f0, f1, f2, f3] = [weight[w], weight[w + w1], weight[w + w2], weight[w + w3]];
            a0 += u * f0;
            a1 += u * f1;
            a2 += u * f2;
            a3 += u * f3;
            b0 += v * f0;
            b1 += v * f1;
            b2 += v * f2;
            b3 += v * f3;
          }
        }
        const one = (image * count + p) * outputs;
        const two = (other * count + p) * outputs;
        [out[one + c], out[one + c1], out[one + c2], out[one + c3]] = [a0, a1, a2, a3];
        [out[two + c], out[two + c1], out[two + c2], out[two + c3]] = [b0, b1, b2, b3];
      }
    }
  }
  return out;
}

/** A linear layer, or a 1x1 convolution, of every row: (rows, in) -> (rows, out). */
export function linear(layer, x) {
  return apply(POINT, layer, x, x.length / layer.inputs);
}

/** A 3x3 convolution; of stride 2 it halves the grid. */
export function conv3x3(layer, x, grid, stride = 1) {
  return apply(plan3x3(grid, stride), layer, x, x.length / (grid * grid * layer.inputs));
}

/** x * sigmoid(x). */
export function silu(x) {
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) out[i] = x[i] / (1 + Math.exp(-x[i]));
  return out;
}

/** The sum of two arrays of one length. */
export function add(a, b) {
  const out = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i] + b[i];
  return out;
}

/** GroupNorm of every image, `positions` of `channels`; eps as in the DDPM code, 1e-6. */
export function groupNorm({ weight, bias }, x, positions, groups) {
  const channels = weight.length;
  const width = channels / groups;
  const out = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += positions * channels) {
    for (let group = 0; group < groups; group++) {
      normalise(x, out, start + group * width, positions, channels, width);
    }
  }
  for (let i = 0; i < out.length; i++) out[i] = out[i] * weight[i % channels] + bias[i % channels];
  return out;
}

/** Mean 0 and variance 1 over `width` neighbours at each of `positions`, from x to out. */
function normalise(x, out, first, positions, channels, width) {
  let sum = 0;
  let squares = 0;
  for (let p = 0; p < positions; p++) {
    for (let i = first + p * channels; i < first + p * channels + width; i++) sum += x[i];
  }
  const mean = sum / (positions * width);
  for (let p = 0; p < positions; p++) {
    for (let i = first + p * channels; i < first + p * channels + width; i++) {
      squares += (x[i] - mean) ** 2;
    }
  }
  const scale = 1 / Math.sqrt(squares / (positions * width) + 1e-6);
  for (let p = 0; p < positions; p++) {
    for (let i = first + p * channels; i < first + p * channels + width; i++) {
      out[i] = (x[i] - mean) * scale;
    }
  }
}

/** softmax(q k^T / sqrt(channels)) v within every image of `positions` tokens. */
export function attend(q, k, v, positions, channels) {
  const out = new Float32Array(q.length);
  const scores = new Float64Array(positions);
  for (let row = 0; row < q.length / channels; row++) {
    const first = row - (row % positions);
    for (let other = 0; other < positions; other++) {
      let product = 0;
      const [a, b] = [row * channels, (first + other) * channels];
      for (let c = 0; c < channels; c++) product += q[a + c] * k[b + c];
      scores[other] = product / Math.sqrt(channels);
    }
    const top = Math.max(...scores);
    const shares = scores.map((score) => Math.exp(score - top));
    const total = shares.reduce((sum, share) => sum + share, 0);
    for (let other = 0; other < positions; other++) {
      const [from, to] = [(first + other) * channels, row * channels];
      for (let c = 0; c < channels; c++) out[to + c] += (shares[other] / total) * v[from + c];
    }
  }
  return out;
}

/** Twice the grid, every position four times. */
export function nearest(x, grid, channels) {
  const side = 2 * grid;
  const out = new Float32Array(4 * x.length);
  for (let row = 0; row < out.length / channels; row++) {
    const [line, column] = [Math.floor(row / side), row % side]; // image after image
    const from = (line >> 1) * grid + (column >> 1);
    out.set(x.subarray(from * channels, (from + 1) * channels), row * channels);
  }
  return out;
}

/** The channels of a, then those of b, at every position. */
export function concatenate(a, channelsOfA, b, channelsOfB) {
  const channels = channelsOfA + channelsOfB;
  const rows = a.length / channelsOfA;
  const out = new Float32Array(rows * channels);
  for (let row = 0; row < rows; row++) {
    out.set(a.subarray(row * channelsOfA, (row + 1) * channelsOfA), row * channels);
    out.set(b.subarray(row * channelsOfB, (row + 1) * channelsOfB), row * channels + channelsOfA);
  }
  return out;
}

/** Sines and cosines of every t at width/2 frequencies from 1 down to 1e-4: (B, width). */
export function sinusoidal(t, width) {
  const half = width / 2;
  const out = new Float32Array(t.length * width);
  t.forEach((time, b) => {
    for (let i = 0; i < half; i++) {
      const angle = time * Math.exp((-Math.log(10000) * i) / (half - 1));
      out[b * width + i] = Math.sin(angle);
      out[b * width + half + i] = Math.cos(angle);
    }
  });
  return out;
}
