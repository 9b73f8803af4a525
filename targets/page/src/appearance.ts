// Whether a picture looks like the training set's chest radiographs. The figures, their bounds and where
// they come from: toolkit/runtime/appearance.py.

const AVERAGE = [
  107, 119, 140, 161, 162, 139, 117, 106, 127, 138, 138, 160, 161, 137, 140, 127, 128, 127, 123, 162, 167, 128, 133, 130,
  122, 113, 128, 172, 179, 147, 126, 128, 113, 107, 135, 179, 186, 164, 131, 122, 105, 109, 134, 178, 187, 168, 137, 114,
  124, 151, 168, 186, 189, 172, 151, 118, 154, 182, 189, 195, 193, 182, 172, 144,
];

const DARKEST = 77.2;
const BRIGHTEST = 200.4;
const FLATTEST = 10.4;
const BUSIEST = 0.317;
const LEAST_LIKE = 0.422;

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Mean step between neighbours, along the rows and along the columns, of 64x64 pixels. */
function detailOf(pixels: Uint8Array): number {
  let across = 0;
  let down = 0;
  for (let y = 0; y < 64; y++)
    for (let x = 0; x < 63; x++) {
      across += Math.abs(pixels[y * 64 + x + 1] - pixels[y * 64 + x]);
      down += Math.abs(pixels[(x + 1) * 64 + y] - pixels[x * 64 + y]);
    }
  return (down / (63 * 64) + across / (63 * 64)) / 2;
}

/** Correlation of the picture's 8x8 fields with the training set's mean, -1..1. */
function likenessOf(pixels: Uint8Array): number {
  const fields = new Float64Array(64);
  for (let i = 0; i < 4096; i++) fields[(i >> 9) * 8 + ((i & 63) >> 3)] += pixels[i] / 64;
  const [ours, theirs] = [mean(fields), mean(AVERAGE)];
  let both = 0;
  let mine = 0;
  let other = 0;
  for (let i = 0; i < 64; i++) {
    const [a, b] = [fields[i] - ours, AVERAGE[i] - theirs];
    both += a * b;
    mine += a * a;
    other += b * b;
  }
  const length = Math.sqrt(mine * other);
  return length ? both / length : 0;
}

/** One line when a picture does not look like a chest radiograph, with the reasons; else nothing. */
export function doubts(pixels: Uint8Array): string[] {
  const brightness = mean(pixels);
  let squares = 0;
  for (const pixel of pixels) squares += (pixel - brightness) ** 2;
  const contrast = Math.sqrt(squares / pixels.length);
  const reasons: string[] = [];
  if (brightness < DARKEST) reasons.push("too dark");
  if (brightness > BRIGHTEST) reasons.push("too bright");
  if (contrast < FLATTEST) reasons.push("hardly any contrast");
  if (contrast && detailOf(pixels) / contrast > BUSIEST) reasons.push("too much fine detail");
  if (likenessOf(pixels) < LEAST_LIKE) reasons.push("another layout than lungs beside a spine");
  return reasons.length ? [`does not look like a chest radiograph (${reasons.join(", ")})`] : [];
}
