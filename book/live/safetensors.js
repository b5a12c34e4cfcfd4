// Weights on disk: the safetensors format, in half or single precision.
//
// A file is the length of a header (8 bytes), the header (JSON: dtype, shape and data_offsets of
// every tensor), and the data, little-endian.

/** The bytes that base64 text stands for. */
export function decodeBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** The number that 16 bits stand for: a sign, 5 bits of exponent, 10 of mantissa. */
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

const READERS = {
  F16: { bytes: 2, read: (view, at) => halfToNumber(view.getUint16(at, true)) },
  F32: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
};

/** The header of a file; throws for what is not one. */
function headerOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length >= 8 ? Number(view.getBigUint64(0, true)) : Infinity;
  if (8 + length > bytes.length) throw new Error("the weights are not a whole safetensors file");
  return { length, header: JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) };
}

/** All tensors of a file by name, `{shape, data: Float32Array}`; throws for a damaged file. */
export function readSafetensors(bytes) {
  const { length, header } = headerOf(bytes);
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    const reader = READERS[dtype];
    const count = shape.reduce((product, side) => product * side, 1);
    if (!reader) throw new Error(`${name} is stored as ${dtype}: only F16 and F32 are read`);
    if (end - begin !== count * reader.bytes || 8 + length + end > bytes.length) {
      throw new Error(`${name} is cut off: load the weights again`);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset + 8 + length + begin, end - begin);
    const data = new Float32Array(count).map((_, i) => reader.read(view, i * reader.bytes));
    tensors.set(name, { shape, data });
  }
  return tensors;
}
