// DICOM files: toolkit/runtime/dicom.py once more. Modality LUT, then VOI LUT or window, then full scale to
// 0..255, then MONOCHROME1 inverted (PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2). No value about the patient is read.

import { parseDicom, type DataSet, type Element } from "dicom-parser";
import { inflateSync } from "fflate";
import { TAG, number, text, type Description, type Stored } from "./elements";
import { toGray } from "./gray";
import { decodeJpeg, readJpegHeader, withoutColourTransform } from "./jpeg";
import { Damaged, ImageError, MOST_PIXELS, ascii, startsWith, type Picture } from "./picture";
import { SYNTAX_NAMES } from "./syntaxes";

const NO_PIXELS = "it is a DICOM file without pixels, or cut off before them";

const RADIOGRAPHY = ["CR", "DX", "RG", "RF"];

const PHOTOMETRIC = [
  "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420",
  "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB", "HSV", "ARGB", "CMYK",
];

const BIG_ENDIAN = "1.2.840.10008.1.2.2";
const IMPLICIT = "1.2.840.10008.1.2";
const EXPLICIT = "1.2.840.10008.1.2.1";
const DEFLATED = "1.2.840.10008.1.2.1.99";
const NATIVE = [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN];
const JPEG_BASELINE = "1.2.840.10008.1.2.4.50";
const RLE = "1.2.840.10008.1.2.5";

/**
 * @throws ImageError No pixels, several pictures, too large, colours with a palette, or a compression that
 *   cannot be undone here.
 * @throws Damaged
 */
export function readDicom(content: Uint8Array, notes: string[]): Picture {
  const { data, syntax } = parse(content);
  requireOnePicture(data);
  const modality = text(data, TAG.modality);
  if (modality && !RADIOGRAPHY.includes(modality))
    notes.push(`its modality is ${quoted(modality.slice(0, 16))}, not radiography`);
  const about = describe(data, syntax);
  const stored = correctUnusedBits(storedPixels(data, about), about);
  const [width, height] = [about.columns, about.rows];
  if (about.samples === 1) return { width, height, channels: 1, data: toGray(data, stored, about, notes) };
  if (!(stored instanceof Uint8Array)) throw new ImageError("its colours have more than 8 bits: export it as PNG");
  return { width, height, channels: 3, data: stored };
}

/** What stands in front of the elements: always explicit and little-endian (PS3.10, 7.1). */
function metaOf(content: Uint8Array): { syntax: string; syntaxAt: number; end: number } {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const found = { syntax: "", syntaxAt: 0, end: startsWith(content, 128, "DICM") ? 132 : 0 };
  while (found.end + 12 <= content.length && view.getUint16(found.end, true) === 2) {
    const long = ["OB", "OW", "UN", "SQ", "UT"].includes(ascii(content, found.end + 4, found.end + 6));
    const length = long ? view.getUint32(found.end + 8, true) : view.getUint16(found.end + 6, true);
    const start = found.end + (long ? 12 : 8);
    if (view.getUint16(found.end + 2, true) === 16) {
      found.syntax = ascii(content, start, start + length).replace(/[\0 ]+$/, "");
      found.syntaxAt = start;
    }
    found.end = start + length;
  }
  return found;
}

/** The syntax in which an element was written, told by its first six bytes, as pydicom does it. */
function syntaxAt(content: Uint8Array, at: number): string {
  if (!/^[A-Z]{2}$/.test(ascii(content, at + 4, at + 6))) return IMPLICIT;
  return content[at + 1] >= 4 ? BIG_ENDIAN : EXPLICIT;
}

function parse(content: Uint8Array): { data: DataSet; syntax: string } {
  const meta = metaOf(content);
  const syntax = meta.syntax || syntaxAt(content, meta.end);
  // the parser's own way of inflating stumbles over some beginnings
  const elements = meta.syntax === DEFLATED ? inflateSync(content.subarray(meta.end)) : content.slice(meta.end);
  try {
    return { data: parseDicom(elements, { TransferSyntaxUID: syntax === DEFLATED ? EXPLICIT : syntax }), syntax };
  } catch (error) {
    const data = (error as { dataSet?: DataSet } | null)?.dataSet; // what stands before the damage
    if (!data) throw new ImageError(NO_PIXELS);
    if (!NATIVE.includes(syntax)) delete data.elements[TAG.pixels]; // begun, and cut off
    return { data, syntax };
  }
}

/** As Python quotes a short text. */
function quoted(value: string): string {
  const mark = value.includes("'") && !value.includes('"') ? '"' : "'";
  return mark + value.replace(/\\/g, "\\\\").replaceAll(mark, `\\${mark}`) + mark;
}

function requireOnePicture(data: DataSet): void {
  if (!data.elements[TAG.pixels]) throw new ImageError(NO_PIXELS);
  if (Number(text(data, TAG.frames) || 1) > 1)
    throw new ImageError("it holds several pictures: save the radiograph alone");
  const [rows, columns] = [number(data, TAG.rows), number(data, TAG.columns)];
  const most = (data.uint16(TAG.samples) ?? 1) === 1 ? MOST_PIXELS : MOST_PIXELS / 2;
  if (rows * columns > most) throw new ImageError(`it has ${columns}x${rows} pixels, more than ${most >> 20} million`);
  if (text(data, TAG.photometric) === "PALETTE COLOR")
    throw new ImageError("its colours come from a palette, which no radiograph has: export it as PNG");
}

function describe(data: DataSet, syntax: string): Description {
  const samples = number(data, TAG.samples);
  const about = {
    syntax,
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
  const name = SYNTAX_NAMES[about.syntax];
  if (!name) throw new Damaged("what it says about its pixels makes no sense");
  if (about.syntax !== RLE && about.syntax !== JPEG_BASELINE)
    throw new ImageError(`its compression (${name}) is not read: export it as PNG`);
  try {
    const frame = joinedFragments(data, element);
    return about.syntax === RLE ? fromRle(frame, about) : fromJpeg(frame, about);
  } catch (error) {
    if (error instanceof Damaged && error.message.startsWith("its pixels")) throw error;
    throw new ImageError(`it is a damaged DICOM image: its stream (${name}) is broken`);
  }
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
