// Random numbers that are the same in every browser, and in the tests' Python.
//
// Algorithm: splitmix32 of the seed fills the state of sfc32 (Doty-Humphrey), whose first 12
// outputs are dropped. A uniform number is (output + 1/2) / 2^32. A normal number takes two of
// them, by Box and Muller: sqrt(-2 log u1) cos(2 pi u2).

/** A function that draws 32 random bits at a time. */
function sfc32(seed) {
  let mixed = seed >>> 0;
  const [a, b, c] = [0, 0, 0].map(() => {
    mixed = (mixed + 0x9e3779b9) >>> 0;
    let z = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  });
  const state = Uint32Array.of(a, b, c, 1);
  const draw = () => {
    const result = (state[0] + state[1] + state[3]) >>> 0;
    state[3]++;
    state[0] = state[1] ^ (state[1] >>> 9);
    state[1] = state[2] + (state[2] << 3);
    state[2] = (state[2] << 21) | (state[2] >>> 11);
    state[2] += result;
    return result;
  };
  for (let i = 0; i < 12; i++) draw();
  return draw;
}

/** A generator of uniform numbers in (0, 1), whole numbers below n, and standard normal numbers. */
export class Random {
  constructor(seed) {
    this.draw = sfc32(seed);
  }

  uniform() {
    return (this.draw() + 0.5) / 2 ** 32;
  }

  below(n) {
    return Math.floor(this.uniform() * n);
  }

  normal() {
    const radius = Math.sqrt(-2 * Math.log(this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** So many normal numbers, as a Float32Array. */
  normals(count) {
    return Float32Array.from({ length: count }, () => this.normal());
  }
}
