// The rotation a camera noted, as Pillow reads it: from EXIF data, else from XMP.

import { startsWith } from "./picture";

/** EXIF data that raises an error in Pillow, so that the runtime says the rotation cannot be read. */
export class BadExif extends Error {}

const ORIENTATION = 0x0112;

/** Bytes of a value by TIFF's field types; 0 for a type that does not exist. */
const WIDTHS = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];

/**
 * The orientation in EXIF data, with or without its "Exif" mark; undefined where it names none.
 * @throws BadExif The data begins with no TIFF header.
 */
export function exifOrientation(data: Uint8Array): number | undefined {
  let start = 0;
  for (let mark = 0; mark < 2 && startsWith(data, start, "Exif\0\0"); mark++) start += 6;
  const bytes = data.subarray(start);
  if (!bytes.length) return undefined;
  const mark = String.fromCharCode(...bytes.subarray(0, 4));
  if (!["MM\0*", "II*\0", "MM*\0", "II\0*"].includes(mark) || bytes.length < 8) throw new BadExif("no TIFF header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = mark.startsWith("II");
  const directory = view.getUint32(4, little);
  if (directory + 2 > bytes.length) return undefined;
  let found: number | undefined;
  for (let i = 0, count = view.getUint16(directory, little); i < count; i++) {
    const entry = directory + 2 + 12 * i;
    if (entry + 12 > bytes.length) break;
    if (view.getUint16(entry, little) === ORIENTATION) found = valueOf(view, entry, little) ?? found;
  }
  return found;
}

/** One whole number, when the entry holds exactly one; NaN for another value; undefined for a broken entry. */
function valueOf(view: DataView, entry: number, little: boolean): number | undefined {
  const type = view.getUint16(entry + 2, little);
  const count = view.getUint32(entry + 4, little);
  const width = WIDTHS[type] ?? 0;
  if (!width) return undefined;
  const size = width * count;
  if (size > 4 && view.getUint32(entry + 8, little) + size > view.byteLength) return undefined;
  if (count !== 1) return NaN;
  if (type === 3) return view.getUint16(entry + 8, little);
  if (type === 4) return view.getUint32(entry + 8, little);
  if (type === 8) return view.getInt16(entry + 8, little);
  if (type === 9) return view.getInt32(entry + 8, little);
  return NaN;
}

/** The orientation in XMP text; undefined where it names none. */
export function xmpOrientation(text: string): number | undefined {
  const match = /tiff:Orientation(?:="|>)([0-9])/.exec(text);
  return match ? Number(match[1]) : undefined;
}
