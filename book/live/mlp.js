// The playground's network for points, its gradient by hand, and Adam.
import { add, linear, silu, sinusoidal } from "./layers.js";

const [CH, WIDTH, CLASSES] = [16, 64, 3];
const LINEAR = [
  ["temb.dense.0", CH, WIDTH], ["temb.dense.1", WIDTH, WIDTH], ["linear_in", 2, WIDTH],
  ...[0, 1].flatMap((i) => ["linear1", "linear2", "temb_proj"].map((name) =>
    [`blocks.${i}.${name}`, WIDTH, WIDTH])),
  ["linear_out", WIDTH, 2],
];

function transposed(x, columns) {
  const rows = x.length / columns;
  const out = new Float32Array(x.length);
  for (let row = 0, from = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) out[column * rows + row] = x[from++];
  }
  return out;
}

/** SiLU's derivative at x, times dy. */
function siluBackward(x, dy) {
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const s = 1 / (1 + Math.exp(-x[i]));
    out[i] = dy[i] * s * (1 + x[i] * (1 - s));
  }
  return out;
}

/** The network; `parameters` is a Map from PyTorch's names to Float32Array. */
export class MLP {
  constructor(parameters) {
    this.parameters = parameters;
    [this.size, this.nullLabel] = [2, CLASSES];
  }

  /** As PyTorch starts: uniform linear layers, and a class table of standard normal numbers. */
  static start(random) {
    const uniform = (count, bound) =>
      Float32Array.from({ length: count }, () => bound * (2 * random.uniform() - 1));
    const parameters = new Map([["class_embed.weight", random.normals((CLASSES + 1) * WIDTH)]]);
    for (const [name, inputs, outputs] of LINEAR) {
      parameters.set(`${name}.weight`, uniform(inputs * outputs, inputs ** -0.5));
      parameters.set(`${name}.bias`, uniform(outputs, inputs ** -0.5));
    }
    return new MLP(parameters);
  }

  copy() {
    return new MLP(new Map([...this.parameters].map(([name, values]) => [name, values.slice()])));
  }

  layer(name) {
    const [weight, bias] = [`${name}.weight`, `${name}.bias`].map((k) => this.parameters.get(k));
    return { inputs: weight.length / bias.length, outputs: bias.length, taps: 1, weight, bias };
  }

  predict(x, t, y) {
    return this.forward(x, t, y).out;
  }

  /** The prediction, and what `backward` needs. */
  forward(x, t, y) {
    const table = this.parameters.get("class_embed.weight");
    const tape = { x, y, sines: sinusoidal(t, CH), blocks: [] };
    tape.hidden = linear(this.layer("temb.dense.0"), tape.sines);
    const time = linear(this.layer("temb.dense.1"), silu(tape.hidden));
    tape.emb = time.map((v, i) => v + table[y[Math.floor(i / WIDTH)] * WIDTH + (i % WIDTH)]);
    const pushed = silu(tape.emb);
    let h = linear(this.layer("linear_in"), x);
    for (const i of [0, 1]) {
      const inner = add(linear(this.layer(`blocks.${i}.linear1`), h),
        linear(this.layer(`blocks.${i}.temb_proj`), pushed));
      tape.blocks.push({ h, inner });
      h = add(h, linear(this.layer(`blocks.${i}.linear2`), silu(inner)));
    }
    return { out: linear(this.layer("linear_out"), silu(h)), tape: { ...tape, last: h } };
  }

  /** The gradient of a loss by every parameter, from its gradient by the prediction. */
  backward(tape, dOut) {
    const gradients = new Map();
    const through = (name, x, dy) => this.throughLinear(gradients, name, x, dy);
    let dh = siluBackward(tape.last, through("linear_out", silu(tape.last), dOut));
    let dPushed = new Float32Array(tape.emb.length);
    const pushed = silu(tape.emb);
    for (const i of [1, 0]) {
      const { h, inner } = tape.blocks[i];
      const dInner = siluBackward(inner, through(`blocks.${i}.linear2`, silu(inner), dh));
      dPushed = add(dPushed, through(`blocks.${i}.temb_proj`, pushed, dInner));
      dh = add(dh, through(`blocks.${i}.linear1`, h, dInner));
    }
    through("linear_in", tape.x, dh);
    const dEmb = siluBackward(tape.emb, dPushed);
    const dTable = new Float32Array((CLASSES + 1) * WIDTH);
    dEmb.forEach((v, i) => (dTable[tape.y[Math.floor(i / WIDTH)] * WIDTH + (i % WIDTH)] += v));
    gradients.set("class_embed.weight", dTable);
    const dHidden = through("temb.dense.1", silu(tape.hidden), dEmb);
    through("temb.dense.0", tape.sines, siluBackward(tape.hidden, dHidden));
    return gradients;
  }

  /** Note the gradients of a linear layer; return the gradient by its input. */
  throughLinear(gradients, name, x, dy) {
    const { inputs, outputs, weight } = this.layer(name);
    const rows = dy.length / outputs;
    const product = (a, matrix, inner, outer) => linear({ inputs: inner, outputs: outer, taps: 1,
      weight: matrix, bias: new Float32Array(outer) }, a);
    const turned = transposed(dy, outputs);
    gradients.set(`${name}.weight`, product(turned, transposed(x, inputs), rows, inputs));
    gradients.set(`${name}.bias`, product(turned, new Float32Array(rows).fill(1), rows, 1));
    return product(dy, transposed(weight, inputs), outputs, inputs);
  }
}

/** AdamW with clipped gradients, as dashlib's Trainer sets it. */
export class Adam {
  constructor(parameters, { betas = [0.9, 0.999], decay = 0.01, clip = 1 } = {}) {
    Object.assign(this, { parameters, betas, decay, clip, steps: 0 });
    const zeros = () => new Map([...parameters].map(([k, v]) => [k, new Float64Array(v.length)]));
    [this.means, this.squares] = [zeros(), zeros()];
  }

  /** One step at a learning rate, in place. */
  step(gradients, rate) {
    this.steps++;
    let norm = 0;
    for (const gradient of gradients.values()) for (const g of gradient) norm += g * g;
    const shrink = Math.min(1, this.clip / (Math.sqrt(norm) + 1e-6));
    const [b1, b2] = this.betas;
    const [first, second] = [1 - b1 ** this.steps, 1 - b2 ** this.steps];
    for (const [name, values] of this.parameters) {
      const [gradient, m, v] = [gradients, this.means, this.squares].map((of) => of.get(name));
      for (let i = 0; i < values.length; i++) {
        const g = gradient[i] * shrink;
        m[i] = b1 * m[i] + (1 - b1) * g;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        const move = m[i] / first / (Math.sqrt(v[i] / second) + 1e-8);
        values[i] -= rate * (move + this.decay * values[i]);
      }
    }
  }
}
