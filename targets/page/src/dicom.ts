// DICOM files: toolkit/runtime/dicom.py once more. Modality LUT, then VOI LUT or window, then full scale to
// 0..255, then MONOCHROME1 inverted (PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2). No value about the patient is read.

import { parseDicom, type DataSet, type Element } from "dicom-parser";
import { inflateSync } from "fflate";
import { decodeJpeg, readJpegHeader, withoutColourTransform } from "./jpeg";
import { Damaged, ImageError, MOST_PIXELS, rint, type Picture } from "./picture";
import { SYNTAX_NAMES } from "./syntaxes";

const TAG = {
  syntax: "x00020010",
  modality: "x00080060",
  samples: "x00280002",
  photometric: "x00280004",
  planar: "x00280006",
  frames: "x00280008",
  rows: "x00280010",
  columns: "x00280011",
  allocated: "x00280100",
  stored: "x00280101",
  signed: "x00280103",
  centre: "x00281050",
  width: "x00281051",
  voiFunction: "x00281056",
  intercept: "x00281052",
  slope: "x00281053",
  modalityTable: "x00283000",
  voiTable: "x00283010",
  descriptor: "x00283002",
  table: "x00283006",
  pixels: "x7fe00010",
};

const RADIOGRAPHY = ["CR", "DX", "RG", "RF"];

const PHOTOMETRIC = [
  "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420",
  "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB", "HSV", "ARGB", "CMYK",
];

const BIG_ENDIAN = "1.2.840.10008.1.2.2";
const NATIVE = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", BIG_ENDIAN];
const JPEG_BASELINE = "1.2.840.10008.1.2.4.50";
const JPEG_EXTENDED = "1.2.840.10008.1.2.4.51";
const RLE = "1.2.840.10008.1.2.5";

/** What group 0028 says about the pixels. */
interface Description {
  syntax: string;
  rows: number;
  columns: number;
  samples: number;
  planar: number;
  allocated: number;
  stored: number;
  signed: boolean;
  photometric: string;
}

/** Pixels as they are stored: whole numbers, sample by sample. */
type Stored = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array;

/**
 * @throws ImageError No pixels, several pictures, too large, colours with a palette, or a compression that
 *   cannot be undone here.
 * @throws Damaged
 */
export function readDicom(content: Uint8Array, notes: string[]): Picture {
  const data = parse(content);
  requireOnePicture(data);
  const modality = text(data, TAG.modality);
  if (modality && !RADIOGRAPHY.includes(modality))
    notes.push(`its modality is ${quoted(modality.slice(0, 16))}, not radiography`);
  const about = describe(data);
  const stored = correctUnusedBits(storedPixels(data, about), about);
  const [width, height] = [about.columns, about.rows];
  if (about.samples === 1) return { width, height, channels: 1, data: toGray(data, stored, about) };
  if (!(stored instanceof Uint8Array)) throw new ImageError("its colours have more than 8 bits: export it as PNG");
  return { width, height, channels: 3, data: stored };
}

function parse(content: Uint8Array): DataSet {
  const inflater = (bytes: Uint8Array, position: number): Uint8Array => {
    const body = inflateSync(bytes.subarray(position));
    const all = new Uint8Array(position + body.length);
    all.set(bytes.subarray(0, position));
    all.set(body, position);
    return all;
  };
  try {
    return parseDicom(content, { inflater });
  } catch (error) {
    const read = (error as { dataSet?: DataSet } | null)?.dataSet; // what stands before the damage
    if (read) return read;
    throw new Damaged("its elements cannot be read");
  }
}

/** A text value without padding; undefined where there is none. */
function text(data: DataSet, tag: string): string | undefined {
  return data.string(tag)?.replace(/\0/g, "").trim();
}

/** As Python quotes a short text. */
function quoted(value: string): string {
  const mark = value.includes("'") && !value.includes('"') ? '"' : "'";
  return mark + value.replace(/\\/g, "\\\\").replaceAll(mark, `\\${mark}`) + mark;
}

function requireOnePicture(data: DataSet): void {
  if (!data.elements[TAG.pixels]) throw new ImageError("it is a DICOM file without pixels");
  if (Number(text(data, TAG.frames) || 1) > 1)
    throw new ImageError("it holds several pictures: save the radiograph alone");
  const [rows, columns] = [number(data, TAG.rows), number(data, TAG.columns)];
  if (rows * columns > MOST_PIXELS)
    throw new ImageError(`it has ${columns}x${rows} pixels, more than ${MOST_PIXELS >> 20} million`);
  if (text(data, TAG.photometric) === "PALETTE COLOR")
    throw new ImageError("its colours come from a palette, which no radiograph has: export it as PNG");
}

function number(data: DataSet, tag: string): number {
  const value = data.uint16(tag);
  if (value === undefined) throw new Damaged(`it lacks the element (${tag.slice(1, 5)},${tag.slice(5)})`);
  return value;
}

function describe(data: DataSet): Description {
  const samples = number(data, TAG.samples);
  const about = {
    syntax: text(data, TAG.syntax) ?? "",
    rows: number(data, TAG.rows),
    columns: number(data, TAG.columns),
    samples,
    planar: samples === 3 ? number(data, TAG.planar) : 0,
    allocated: number(data, TAG.allocated),
    stored: number(data, TAG.stored),
    signed: number(data, TAG.signed) === 1,
    photometric: text(data, TAG.photometric) ?? "",
  };
  const sound =
    about.rows && about.columns && (samples === 1 || samples === 3) && [0, 1].includes(about.planar) &&
    [1, 8, 16, 32].includes(about.allocated) && about.stored >= 1 && about.stored <= about.allocated &&
    number(data, TAG.signed) <= 1 && PHOTOMETRIC.includes(about.photometric);
  if (!sound) throw new Damaged("what it says about its pixels makes no sense");
  return about;
}

function storedPixels(data: DataSet, about: Description): Stored {
  const element = data.elements[TAG.pixels];
  if (NATIVE.includes(about.syntax)) return native(data, element, about);
  try {
    const frame = joinedFragments(data, element);
    if (about.syntax === RLE) return fromRle(frame, about);
    const eight = about.syntax === JPEG_BASELINE || (about.syntax === JPEG_EXTENDED && about.stored === 8);
    if (eight) return fromJpeg(frame, about);
  } catch (error) {
    if (error instanceof Damaged && error.message.startsWith("its pixels")) throw error;
  }
  const name = SYNTAX_NAMES[about.syntax] ?? (about.syntax === RLE ? "RLE Lossless" : about.syntax);
  throw new ImageError(`its compression (${name}) cannot be undone here: export it as PNG`);
}

function joinedFragments(data: DataSet, element: Element): Uint8Array {
  const parts = (element.fragments ?? []).map(({ position, length }) =>
    (data.byteArray as Uint8Array).subarray(position, position + length),
  );
  if (parts.length === 1) return parts[0];
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

/** Bytes in the machine's order to numbers. */
function numbers(bytes: Uint8Array, about: Description): Stored {
  const buffer = bytes.slice().buffer;
  if (about.allocated === 8) return about.signed ? new Int8Array(buffer) : new Uint8Array(buffer);
  if (about.allocated === 16) return about.signed ? new Int16Array(buffer) : new Uint16Array(buffer);
  return about.signed ? new Int32Array(buffer) : new Uint32Array(buffer);
}

function native(data: DataSet, element: Element, about: Description): Stored {
  const pixels = about.rows * about.columns * about.samples;
  const halved = about.photometric === "YBR_FULL_422";
  const size = Math.ceil(((halved ? (pixels / 3) * 2 : pixels) * about.allocated) / 8);
  const bytes = (data.byteArray as Uint8Array).subarray(element.dataOffset, element.dataOffset + element.length);
  if (bytes.length < size) throw new Damaged("its pixels are cut off");
  if (bytes.length >= 2 * size && bytes.length > size + (size % 2)) {
    if (about.allocated === 16 && about.samples === 1)
      throw new ImageError("its colours have more than 8 bits: export it as PNG");
    throw new Damaged("it has more pixels than it says");
  }
  if (about.allocated === 1) return Uint8Array.from({ length: pixels }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1);
  const big = about.syntax === BIG_ENDIAN;
  const step = big ? (about.allocated === 8 && element.vr === "OW" ? 2 : about.allocated / 8) : 1;
  const swapped = step > 1 ? reversed(bytes, size, step) : bytes.subarray(0, size);
  const stored = numbers(swapped, about);
  return about.samples === 3 ? toRgb(halved ? expanded(stored) : interleaved(stored, about), about.photometric) : stored;
}

function reversed(bytes: Uint8Array, size: number, step: number): Uint8Array {
  const out = new Uint8Array(size);
  for (let i = 0; i < size; i++) out[i] = bytes[i - (i % step) + step - 1 - (i % step)];
  return out;
}

/** Y1 Y2 B R to Y1 B R Y2 B R (PS3.3 C.7.6.3.1.2). */
function expanded(stored: Stored): Stored {
  const out = stored.slice(0, 0).constructor as { new (length: number): Stored };
  const result = new out((stored.length >> 1) * 3);
  for (let i = 0, to = 0; i + 3 < stored.length; i += 4, to += 6) {
    result[to] = stored[i];
    result[to + 3] = stored[i + 1];
    result[to + 1] = result[to + 4] = stored[i + 2];
    result[to + 2] = result[to + 5] = stored[i + 3];
  }
  return result;
}

/** Plane after plane to pixel after pixel. */
function interleaved(stored: Stored, about: Description): Stored {
  if (about.planar === 0) return stored;
  const out = stored.slice();
  const size = stored.length / 3;
  for (let i = 0; i < size; i++) for (let c = 0; c < 3; c++) out[3 * i + c] = stored[c * size + i];
  return out;
}

/** YBR_FULL to RGB in single precision with fused additions, as pydicom's matrix product computes it here. */
function toRgb(stored: Stored, photometric: string): Stored {
  if (photometric !== "YBR_FULL" && photometric !== "YBR_FULL_422") return stored;
  if (!(stored instanceof Uint8Array)) throw new Damaged("its pixels have colours of more than 8 bits");
  const f = Math.fround;
  const [blueInGreen, blue] = [f((-0.114 * 1.772) / 0.587), f(1.772)];
  const [red, redInGreen] = [f(1.402), f((-0.299 * 1.402) / 0.587)];
  const out = new Uint8Array(stored.length);
  const put = (at: number, value: number): void => {
    const whole = Math.floor(f(value + 0.5));
    out[at] = whole < 0 ? 0 : whole > 255 ? 255 : whole;
  };
  for (let i = 0; i < stored.length; i += 3) {
    const [y, b, r] = [stored[i], stored[i + 1] - 128, stored[i + 2] - 128];
    put(i, f(y + red * r));
    put(i + 1, f(f(y + blueInGreen * b) + redInGreen * r));
    put(i + 2, f(y + blue * b));
  }
  return out;
}

function fromRle(frame: Uint8Array, about: Description): Stored {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const bytes = about.allocated / 8;
  const size = about.rows * about.columns;
  const segments = view.getUint32(0, true);
  if (segments !== about.samples * bytes || bytes < 1) throw new Damaged("other segments than expected");
  const out = new Uint8Array(size * segments);
  for (let segment = 0; segment < segments; segment++) {
    const start = view.getUint32(4 + 4 * segment, true);
    const end = segment + 1 < segments ? view.getUint32(8 + 4 * segment, true) : frame.length;
    const sample = Math.floor(segment / bytes);
    const byte = bytes - 1 - (segment % bytes); // the highest comes first
    unrun(frame.subarray(start, end), size, (i, value) => (out[(sample * size + i) * bytes + byte] = value));
  }
  return about.samples === 3 ? toRgb(interleaved(numbers(out, about), { ...about, planar: 1 }), about.photometric) : numbers(out, about);
}

function unrun(source: Uint8Array, size: number, put: (i: number, value: number) => void): void {
  let to = 0;
  for (let at = 0; at < source.length && to < size; ) {
    const head = source[at++];
    if (head > 128) {
      if (at >= source.length) break;
      for (let i = 257 - head; i && to < size; i--) put(to++, source[at]);
      at++;
    } else if (head < 128) {
      for (let i = head + 1; i && to < size && at < source.length; i--) put(to++, source[at++]);
    }
  }
  if (to < size) throw new Damaged("a segment is too short");
}

function fromJpeg(frame: Uint8Array, about: Description): Stored {
  const header = readJpegHeader(frame);
  const layers = about.samples;
  if (about.allocated !== 8 || header.layers !== layers || header.width !== about.columns || header.height !== about.rows)
    throw new Damaged("its pixels are others than it says");
  if (layers === 1) return numbers(decodeJpeg(frame).data, about);
  const letters = ["82,71,66", "114,103,98"].includes(header.componentIds.join());
  const { jfif, adobe } = header;
  if (letters && !adobe && !jfif) throw new Damaged("colours that Pillow does not convert");
  const photometric = letters ? "RGB" : jfif && !about.photometric.includes("YBR") ? "YBR_FULL_422" : about.photometric;
  const decoded = decodeJpeg(adobe ? frame : withoutColourTransform(frame)).data;
  return toRgb(interleaved(decoded, about), photometric); // pydicom believes the file's word on planes here too
}

function correctUnusedBits(stored: Stored, { allocated, stored: bits, signed }: Description): Stored {
  const shift = allocated - bits;
  if (!shift || allocated === 1) return stored;
  const rest = 32 - bits;
  for (let i = 0; i < stored.length; i++) stored[i] = signed ? (stored[i] << rest) >> rest : (stored[i] << rest) >>> rest;
  return stored;
}

/** A number that may be written as text; null where the element is missing. */
function decimal(data: DataSet, tag: string): number | null {
  if (!data.elements[tag]) return null;
  const value = text(data, tag)?.split("\\")[0].trim();
  if (!value || Number.isNaN(Number(value))) throw new Damaged(`its element (${tag.slice(1, 5)},${tag.slice(5)}) holds no number`);
  return Number(value);
}

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

function toGray(data: DataSet, stored: Stored, about: Description): Uint8Array {
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
