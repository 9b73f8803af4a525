// Pillow's resampling of 8-bit pixels (its Resample.c): two passes in fixed point, 22 bits of fraction.
// Every model was trained and validated on images cut like this; another filter would be another input.

const PRECISION = 22;

interface Filter {
  support: number;
  weight(x: number): number;
}

export const BILINEAR: Filter = { support: 1, weight: (x) => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) };
export const BOX: Filter = { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };

interface Coefficients {
  first: Int32Array;
  count: Int32Array;
  size: number;
  values: Int32Array;
}

function coefficients(from: number, to: number, filter: Filter): Coefficients {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const size = Math.ceil(support) * 2 + 1;
  const inverse = 1 / stretch;
  const result = {
    first: new Int32Array(to),
    count: new Int32Array(to),
    size,
    values: new Int32Array(to * size),
  };
  const weights = new Float64Array(size);
  for (let at = 0; at < to; at++) {
    const centre = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(from, Math.trunc(centre + support + 0.5)) - first;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      weights[i] = filter.weight((i + first - centre + 0.5) * inverse);
      sum += weights[i];
    }
    for (let i = 0; i < count; i++) {
      const weight = sum !== 0 ? weights[i] / sum : weights[i];
      result.values[at * size + i] = Math.trunc((weight < 0 ? -0.5 : 0.5) + weight * (1 << PRECISION));
    }
    result.first[at] = first;
    result.count[at] = count;
  }
  return result;
}

function clip(sum: number): number {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

function horizontally(source: Uint8Array, width: number, height: number, channels: number, to: number, filter: Filter): Uint8Array {
  const { first, count, size, values } = coefficients(width, to, filter);
  const out = new Uint8Array(to * height * channels);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < to; x++)
      for (let channel = 0; channel < channels; channel++) {
        let sum = 1 << (PRECISION - 1);
        let at = (y * width + first[x]) * channels + channel;
        for (let i = 0; i < count[x]; i++, at += channels) sum = (sum + source[at] * values[x * size + i]) | 0;
        out[(y * to + x) * channels + channel] = clip(sum);
      }
  return out;
}

function vertically(source: Uint8Array, width: number, height: number, channels: number, to: number, filter: Filter): Uint8Array {
  const { first, count, size, values } = coefficients(height, to, filter);
  const row = width * channels;
  const out = new Uint8Array(row * to);
  for (let y = 0; y < to; y++)
    for (let x = 0; x < row; x++) {
      let sum = 1 << (PRECISION - 1);
      let at = first[y] * row + x;
      for (let i = 0; i < count[y]; i++, at += row) sum = (sum + source[at] * values[y * size + i]) | 0;
      out[y * row + x] = clip(sum);
    }
  return out;
}

/** Resize to `side` times `side` pixels; a picture of that size stays as it is. */
export function resize(source: Uint8Array, width: number, height: number, channels: number, side: number, filter: Filter): Uint8Array {
  const wide = width === side ? source : horizontally(source, width, height, channels, side, filter);
  return height === side ? wide : vertically(wide, side, height, channels, side, filter);
}
