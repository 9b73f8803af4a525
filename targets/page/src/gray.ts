// Stored values to gray: modality LUT, VOI LUT or window, full scale, MONOCHROME1 (PS3.3 C.11.1, C.11.2).

import type { DataSet } from "dicom-parser";
import { TAG, decimal, text, type Description, type Stored } from "./elements";
import { Damaged, rint } from "./picture";

interface Table {
  first: number;
  bits: number;
  entries: ArrayLike<number>;
}

/** A lookup table; null where the file has none. pydicom's own reading of 12-bit and 8-bit entries is not used. */
function tableOf(data: DataSet, tag: string, about: Description): Table | null {
  const item = data.elements[tag]?.items?.[0]?.dataSet;
  if (!item) return null;
  const [descriptor, content] = [item.elements[TAG.descriptor], item.elements[TAG.table]];
  if (!descriptor || !content) throw new Damaged("a lookup table is incomplete");
  const signed = descriptor.vr === "SS" || (!descriptor.vr && about.signed);
  const first = signed ? item.int16(TAG.descriptor, 1) : item.uint16(TAG.descriptor, 1);
  const bits = item.uint16(TAG.descriptor, 2);
  if (first === undefined || bits === undefined || content.length < 2) throw new Damaged("a lookup table is incomplete");
  const entries = Array.from({ length: content.length >> 1 }, (_, i) => item.uint16(TAG.table, i)!);
  return { first, bits, entries };
}

function lookedUp(table: Table, value: number): number {
  const index = rint(value) - table.first;
  return table.entries[index < 0 ? 0 : index >= table.entries.length ? table.entries.length - 1 : index];
}

/** The range of what the detector's values mean, black first. */
function range(bits: number, signed: boolean): [number, number] {
  return signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
}

/** A window over values (PS3.3 C.11.2.1.2 and C.11.2.1.3); null where the file names none. */
function windowOf(data: DataSet, about: Description, modality: Table | null, slope: number | null, intercept: number | null): ((value: number) => number) | null {
  let [centre, width] = [decimal(data, TAG.centre), decimal(data, TAG.width)];
  if (centre === null && width === null) return null;
  if (centre === null || width === null) throw new Damaged("its window is incomplete");
  if (!about.photometric.startsWith("MONOCHROME")) throw new Damaged("a window over colours");
  let [low, high] = modality ? range(modality.bits, false) : range(about.stored, about.signed);
  if (slope !== null && intercept !== null) [low, high] = [low * slope + intercept, high * slope + intercept];
  const span = high - low;
  const kind = (text(data, TAG.voiFunction) ?? "LINEAR").toUpperCase();
  if (kind === "LINEAR" ? width < 1 : width <= 0) throw new Damaged("its window is too narrow");
  const middle = kind === "LINEAR" ? centre - 0.5 : centre;
  const wide = kind === "LINEAR" ? width - 1 : width;
  if (kind === "SIGMOID") return (value) => span / (1 + Math.exp((-4 * (value - middle)) / wide)) + low;
  if (kind !== "LINEAR" && kind !== "LINEAR_EXACT") throw new Damaged("its window has an unknown function");
  const [bottom, top] = [middle - wide / 2, middle + wide / 2];
  return (value) => (value <= bottom ? low : value > top ? high : ((value - middle) / wide + 0.5) * span + low);
}

/** @throws Damaged */
export function toGray(data: DataSet, stored: Stored, about: Description): Uint8Array {
  const modality = tableOf(data, TAG.modalityTable, about);
  const voi = tableOf(data, TAG.voiTable, about);
  const [slope, intercept] = [decimal(data, TAG.slope), decimal(data, TAG.intercept)];
  const window = voi ? null : windowOf(data, about, modality, slope, intercept);
  const rescaled = slope !== null && intercept !== null;
  let [black, white] = range((voi ?? modality)?.bits ?? about.stored, voi || modality ? false : about.signed);
  if (!voi && !modality && rescaled) {
    [black, white] = [black * slope + intercept, white * slope + intercept];
    if (!window && black > white) [black, white] = [white, black];
  }
  const inverted = about.photometric === "MONOCHROME1";
  const shade = (value: number): number => {
    let shown = modality ? lookedUp(modality, value) : rescaled ? value * slope + intercept : value;
    shown = voi ? lookedUp(voi, shown) : window ? window(shown) : shown;
    const gray = rint(Math.min(1, Math.max(0, (shown - black) / (white - black))) * 255);
    return inverted ? 255 - gray : gray;
  };
  if (about.allocated > 16) return Uint8Array.from(stored, shade);
  const known = new Int16Array(1 << 17).fill(-1); // each value is looked up once
  const out = new Uint8Array(stored.length);
  for (let i = 0; i < stored.length; i++) {
    const at = stored[i] + 32768;
    if (known[at] < 0) known[at] = shade(stored[i]);
    out[i] = known[at];
  }
  return out;
}
