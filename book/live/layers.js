// What the networks are built of. Activations are Float32Array in the order (image, position,
// channel), so that a convolution, a linear layer and a matrix product are one loop.

/** Which input position each output position reads through each tap of a 3x3 kernel that moves by
 * `stride` over a grid enlarged `zoom` times; stride 1 is padded all around, 2 right and below. */
function planOf(grid, stride, zoom) {
  const [side, before] = [grid * zoom, stride === 1 ? 1 : 0];
  const outGrid = side / stride;
  const positions = Array.from({ length: outGrid * outGrid }, (_, position) => {
    const [taps, from] = [[], []];
    for (let tap = 0; tap < 9; tap++) {
      const y = Math.floor(position / outGrid) * stride + Math.floor(tap / 3) - before;
      const x = (position % outGrid) * stride + (tap % 3) - before;
      if (y < 0 || y >= side || x < 0 || x >= side) continue; // padding: zeros add nothing
      taps.push(tap);
      from.push(Math.floor(y / zoom) * grid + Math.floor(x / zoom));
    }
    return { taps: Int32Array.from(taps), from: Int32Array.from(from) };
  });
  return { inputs: grid * grid, positions };
}

const POINT = { inputs: 1, positions: [{ taps: Int32Array.of(0), from: Int32Array.of(0) }] };
const plans = new Map();

/** A layer from PyTorch's weight, (out, in) or (out, in, k, k), and bias: (out, tap, in). */
export function layerOf(shape, weight, bias) {
  const [outputs, inputs] = shape;
  const taps = weight.length / (outputs * inputs);
  const packed = weight.map((_, at) => {
    const [output, tap] = [Math.floor(at / inputs / taps), Math.floor(at / inputs) % taps];
    return weight[(output * inputs + (at % inputs)) * taps + tap];
  });
  return { inputs, outputs, taps, weight: packed, bias };
}

/** Apply a layer to `images` images under a plan, two at a time. */
function apply(plan, layer, x, images) {
  const count = plan.positions.length;
  const out = new Float32Array(images * count * layer.outputs);
  for (let p = 0; p < count; p++) {
    for (let image = 0; image < images; image += 2) {
      const other = Math.min(image + 1, images - 1); // alone: made twice
      const inputs = [image * plan.inputs, other * plan.inputs];
      applyAt(plan.positions[p], layer, x, inputs, out, [image * count + p, other * count + p]);
    }
  }
  return out;
}

/** All channels at one position of two images, whose positions begin at `inputs`, to `rows` of out.
 * Four channels of both are made at a time; at the end the last stands in for those beyond it. */
function applyAt({ taps, from }, { inputs: width, outputs, weight, bias, taps: all }, x,
  inputs, out, rows) {
  const last = outputs - 1;
  const stride = all * width;
  const one = rows[0] * outputs, two = rows[1] * outputs;
  for (let c = 0; c < outputs; c += 4) {
    const c1 = Math.min(c + 1, last), c2 = Math.min(c + 2, last), c3 = Math.min(c + 3, last);
    const w1 = (c1 - c) * stride, w2 = (c2 - c) * stride, w3 = (c3 - c) * stride;
    let a0 = bias[c], a1 = bias[c1], a2 = bias[c2], a3 = bias[c3];
    let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
    for (let k = 0; k < taps.length; k++) {
      let i = (inputs[0] + from[k]) * width, j = (inputs[1] + from[k]) * width;
      let w = c * stride + taps[k] * width;
      for (const end = w + width; w < end; w++, i++, j++) {
        const u = x[i], v = x[j];
        const f0 = weight[w], f1 = weight[w + w1], f2 = weight[w + w2], f3 = weight[w + w3];
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
    out[one + c] = a0, out[one + c1] = a1, out[one + c2] = a2, out[one + c3] = a3;
    out[two + c] = b0, out[two + c1] = b1, out[two + c2] = b2, out[two + c3] = b3;
  }
}

/** A linear layer, or a 1x1 convolution, of every row: (rows, in) -> (rows, out). */
export function linear(layer, x) {
  return apply(POINT, layer, x, x.length / layer.inputs);
}

/** A 3x3 convolution, padded; stride 2 halves the grid, zoom 2 doubles it before. */
export function conv3x3(layer, x, grid, { stride = 1, zoom = 1 } = {}) {
  const key = `${grid},${stride},${zoom}`;
  if (!plans.has(key)) plans.set(key, planOf(grid, stride, zoom));
  return apply(plans.get(key), layer, x, x.length / (grid * grid * layer.inputs));
}

/** x * sigmoid(x). */
export function silu(x) {
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) out[i] = x[i] / (1 + Math.exp(-x[i]));
  return out;
}

/** The mean of numbers. */
export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The sum of two arrays of one length. */
export function add(a, b) {
  const out = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i] + b[i];
  return out;
}

/** GroupNorm of every image, `positions` of all channels; eps as in the DDPM code, 1e-6. */
export function groupNorm({ weight, bias }, x, positions, groups) {
  const channels = weight.length;
  const width = channels / groups;
  const count = positions * width;
  const out = new Float32Array(x.length);
  for (let first = 0; first < x.length; first += positions * channels) {
    for (let from = 0; from < channels; from += width) {
      let [sum, squares] = [0, 0];
      for (let p = 0; p < positions; p++) {
        for (let i = first + p * channels + from, end = i + width; i < end; i++) {
          sum += x[i];
          squares += x[i] * x[i];
        }
      }
      const center = sum / count;
      const scale = 1 / Math.sqrt(squares / count - center * center + 1e-6);
      for (let p = 0; p < positions; p++) {
        const at = first + p * channels;
        for (let c = from; c < from + width; c++) {
          out[at + c] = (x[at + c] - center) * scale * weight[c] + bias[c];
        }
      }
    }
  }
  return out;
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
    const total = mean(shares) * positions;
    for (let other = 0; other < positions; other++) {
      const [from, to] = [(first + other) * channels, row * channels];
      for (let c = 0; c < channels; c++) out[to + c] += (shares[other] / total) * v[from + c];
    }
  }
  return out;
}

/** The channels of a, then those of b, in each of so many rows. */
export function concatenate(a, b, rows) {
  const [left, right] = [a.length / rows, b.length / rows];
  const out = new Float32Array(a.length + b.length);
  for (let row = 0; row < rows; row++) {
    out.set(a.subarray(row * left, (row + 1) * left), row * (left + right));
    out.set(b.subarray(row * right, (row + 1) * right), row * (left + right) + left);
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
