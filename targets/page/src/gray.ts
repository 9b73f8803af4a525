// Stored values to gray: modality LUT, VOI LUT or window, full scale, MONOCHROME1 (PS3.3 C.11.1, C.11.2).

import type { DataSet } from "dicom-parser";
import { fullScale } from "./depth";
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

interface Window {
  centre: number;
  width: number;
  kind: string;
}

/** The file's window; null where it names none. One of which a half is missing, or too narrow, is none. */
function windowOf(data: DataSet, notes: string[]): Window | null {
  const [centre, width] = [TAG.centre, TAG.width].map((tag) => (text(data, tag) ? decimal(data, tag) : null));
  if (centre === null && width === null) return null;
  const kind = (text(data, TAG.voiFunction) || "LINEAR").toUpperCase();
  if (centre === null || width === null || width <= 0 || (kind === "LINEAR" && width < 1)) {
    notes.push("its window cannot be used");
    return null;
  }
  return { centre, width, kind };
}

/** Values through a window, to the range between `low` and `high` (PS3.3 C.11.2.1.2 and C.11.2.1.3). */
function through({ centre, width, kind }: Window, low: number, high: number): (value: number) => number {
  const span = high - low;
  const middle = kind === "LINEAR" ? centre - 0.5 : centre;
  const wide = kind === "LINEAR" ? width - 1 : width;
  if (kind === "SIGMOID") return (value) => span / (1 + Math.exp((-4 * (value - middle)) / wide)) + low;
  if (kind !== "LINEAR" && kind !== "LINEAR_EXACT") throw new Damaged("its window has an unknown function");
  const [bottom, top] = [middle - wide / 2, middle + wide / 2];
  return (value) => (value <= bottom ? low : value > top ? high : ((value - middle) / wide + 0.5) * span + low);
}

/** @throws Damaged */
export function toGray(data: DataSet, stored: Stored, about: Description, notes: string[]): Uint8Array {
  const modality = tableOf(data, TAG.modalityTable, about);
  const voi = tableOf(data, TAG.voiTable, about);
  const [slope, intercept] = [decimal(data, TAG.slope), decimal(data, TAG.intercept)];
  const rescaled = slope !== null && intercept !== null;
  const linear = (value: number): number => (rescaled ? value * slope + intercept : value);
  const window = voi ? null : windowOf(data, notes);
  if (window && !about.photometric.startsWith("MONOCHROME")) throw new Damaged("a window over colours");

  let [black, white] = range(about.stored, about.signed);
  if (voi || (modality && window)) [black, white] = range((voi ?? modality)!.bits, false);
  else if (modality) [black, white] = fullScale(Float64Array.from(stored, (value) => lookedUp(modality, value)), modality.bits, false, notes);
  else {
    if (!window) [black, white] = fullScale(stored, about.stored, about.signed, notes);
    [black, white] = [linear(black), linear(white)];
    if (rescaled && !window && black > white) [black, white] = [white, black];
  }
  const [low, high] = modality ? range(modality.bits, false) : range(about.stored, about.signed);
  const windowed = window ? through(window, linear(low), linear(high)) : null;
  const inverted = about.photometric === "MONOCHROME1" || text(data, TAG.shape) === "INVERSE";
  return shaded(stored, about, (value) => {
    let shown = modality ? lookedUp(modality, value) : linear(value);
    shown = voi ? lookedUp(voi, shown) : windowed ? windowed(shown) : shown;
    const gray = rint(Math.min(1, Math.max(0, (shown - black) / (white - black))) * 255);
    return inverted ? 255 - gray : gray;
  });
}

/** Every value's shade; each of 16 bits or fewer is computed once. */
function shaded(stored: Stored, about: Description, shade: (value: number) => number): Uint8Array {
  if (about.allocated > 16) return Uint8Array.from(stored, shade);
  const known = new Int16Array(1 << 17).fill(-1);
  const out = new Uint8Array(stored.length);
  for (let i = 0; i < stored.length; i++) {
    const at = stored[i] + 32768;
    if (known[at] < 0) known[at] = shade(stored[i]);
    out[i] = known[at];
  }
  return out;
}
