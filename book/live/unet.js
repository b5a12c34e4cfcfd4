// The noise-prediction network eps(x_t, t, y), as dashlib/unet.py and blocks.py define it.
import {
  add, attend, concatenate, conv3x3, groupNorm, layerOf, linear, silu, sinusoidal,
} from "./layers.js";
import { ALPHA_BAR } from "./schedule.js";

/** Move images (B, C, H, W) to positions of p x p patches, (B, grid, grid, C p p), or back. */
function patches(x, { image_channels: C, image_size: size, patch_size: p }, back) {
  const grid = size / p;
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const [row, column] = [Math.floor(i / size) % size, i % size];
    const [image, c] = [Math.floor(i / (C * size * size)), Math.floor(i / (size * size)) % C];
    const position = Math.floor(row / p) * grid + Math.floor(column / p);
    const channel = (c * p + (row % p)) * p + (column % p);
    const at = (image * grid * grid + position) * C * p * p + channel;
    if (back) out[i] = x[at];
    else out[at] = x[i];
  }
  return out;
}

/** A network from its configuration (`UNetConfig` as JSON) and its tensors. */
export class UNet {
  constructor(config, tensors) {
    if (config.w_conditioned) throw new Error("networks with w as an input are not run here");
    this.config = { prediction: "eps", ...config };
    this.nullLabel = config.num_classes;
    this.size = config.image_channels * config.image_size ** 2;
    this.layers = new Map();
    for (const [name, { shape, data }] of tensors) {
      if (!name.endsWith(".weight")) continue;
      const key = name.slice(0, -".weight".length);
      const bias = tensors.get(`${key}.bias`)?.data;
      this.layers.set(key, bias && shape.length > 1 ? layerOf(shape, data, bias)
        : { weight: data, bias });
    }
  }

  /** A layer by its path; throws if the weights belong to another architecture. */
  layer(path) {
    const found = this.layers.get(path);
    if (!found) throw new Error(`${path} is missing: these weights are of another network`);
    return found;
  }

  /** The noise in images x, (B, C, H, W), at timesteps t with labels y, both (B). */
  predict(x, t, y) {
    if (x.length !== t.length * this.size || y.length !== t.length) {
      throw new Error(`${x.length} numbers for ${t.length} timesteps and ${y.length} labels`);
    }
    const body = patches(this.body(patches(x, this.config, false), this.embed(t, y)),
      this.config, true);
    if (this.config.prediction === "eps") return body;
    return body.map((v, i) => { // eps from the velocity
      const level = ALPHA_BAR[t[Math.floor(i / this.size)]];
      return Math.sqrt(1 - level) * x[i] + Math.sqrt(level) * v;
    });
  }

  /** SiLU of the sum of the embeddings of t and y, (B, 4 ch), as every block uses it. */
  embed(t, y) {
    const width = 4 * this.config.ch;
    const hidden = silu(linear(this.layer("temb.dense.0"), sinusoidal(t, this.config.ch)));
    const table = this.layer("class_embed").weight;
    const time = linear(this.layer("temb.dense.1"), hidden);
    return silu(time.map((v, i) => v + table[y[Math.floor(i / width)] * width + (i % width)]));
  }

  norm(path, x, grid) {
    return groupNorm(this.layer(path), x, grid * grid, this.config.groups);
  }

  /** norm-SiLU-conv, add the embedding, norm-SiLU-conv, add the input. */
  block(path, x, grid, emb) {
    const conv1 = this.layer(`${path}.conv1`);
    const [channels, each] = [conv1.outputs, conv1.outputs * grid * grid];
    const pushed = linear(this.layer(`${path}.temb_proj`), emb);
    let h = conv3x3(conv1, silu(this.norm(`${path}.norm1`, x, grid)), grid);
    h = h.map((v, i) => v + pushed[Math.floor(i / each) * channels + (i % channels)]);
    h = conv3x3(this.layer(`${path}.conv2`), silu(this.norm(`${path}.norm2`, h, grid)), grid);
    const shortcut = this.layers.get(`${path}.nin_shortcut`);
    return add(h, shortcut ? linear(shortcut, x) : x);
  }

  attention(path, x, grid) {
    const tokens = this.norm(`${path}.norm`, x, grid);
    const [q, k, v] = ["q", "k", "v"].map((name) => linear(this.layer(`${path}.${name}`), tokens));
    const mixed = attend(q, k, v, grid * grid, this.layer(`${path}.q`).outputs);
    return add(x, linear(this.layer(`${path}.proj_out`), mixed));
  }

  /** The i-th residual block of a level, and its attention if the level has one. */
  step(level, i, x, grid, emb) {
    const h = this.block(`${level}.block.${i}`, x, grid, emb);
    const attends = this.config.attn_resolutions.includes(grid);
    return attends ? this.attention(`${level}.attn.${i}`, h, grid) : h;
  }

  body(x, emb) {
    const { blocks, image_size, patch_size } = this.config;
    let grid = image_size / patch_size;
    let h = conv3x3(this.layer("conv_in"), x, grid);
    const skips = [h];
    const keep = (value) => skips.push((h = value));
    const last = this.config.mults.length - 1;
    for (let level = 0; level <= last; level++) {
      for (let i = 0; i < blocks; i++) keep(this.step(`down.${level}`, i, h, grid, emb));
      if (level === last) break;
      keep(conv3x3(this.layer(`down.${level}.downsample.conv`), h, grid, { stride: 2 }));
      grid /= 2;
    }
    h = this.attention("mid.attn_1", this.block("mid.block_1", h, grid, emb), grid);
    h = this.block("mid.block_2", h, grid, emb);
    return this.up(h, skips, grid, emb);
  }

  up(x, skips, coarsest, emb) {
    let [h, grid] = [x, coarsest];
    for (let level = this.config.mults.length - 1; level >= 0; level--) {
      for (let i = 0; i <= this.config.blocks; i++) {
        const rows = emb.length / (4 * this.config.ch) * grid * grid;
        h = this.step(`up.${level}`, i, concatenate(h, skips.pop(), rows), grid, emb);
      }
      if (level === 0) break;
      h = conv3x3(this.layer(`up.${level}.upsample.conv`), h, grid, { zoom: 2 });
      grid *= 2;
    }
    return conv3x3(this.layer("conv_out"), silu(this.norm("norm_out", h, grid)), grid);
  }
}
