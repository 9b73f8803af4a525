// How many bits a file really uses: toolkit/runtime/depth.py once more.

const DEPTHS = [8, 10, 12, 14, 16];

/** One pixel in so many may lie beyond full scale: letters and marks burnt in at the container's white. */
const BEYOND = 100;

function countOf(values: ArrayLike<number>, low: number, high: number): number {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (values[i] < low || values[i] > high) count++;
  return count;
}

/**
 * The stored values that stand for black and white where a file states no window: full scale of the smallest
 * depth that holds 99 in 100 of the pixels, never more than the file's own `bits`.
 */
export function fullScale(values: ArrayLike<number>, bits: number, signed: boolean, notes: string[]): [number, number] {
  const floor = signed ? -(2 ** (bits - 1)) : 0;
  if (signed && bits > 8 && BEYOND * countOf(values, 0, Infinity) <= values.length)
    return fullScale(values, bits - 1, false, notes);
  if (bits > 8)
    for (const depth of DEPTHS.filter((one) => one < bits)) {
      const low = signed ? -(2 ** (depth - 1)) : 0;
      const high = low + 2 ** depth - 1;
      const beyond = countOf(values, low, high);
      if (BEYOND * beyond > values.length) continue;
      const cut = beyond ? `, ${beyond} beyond them cut off` : "";
      notes.push(`${bits}-bit pixels taken as ${depth}-bit, which hold 99 % of them${cut}`);
      return [low, high];
    }
  return [floor, floor + 2 ** bits - 1];
}
