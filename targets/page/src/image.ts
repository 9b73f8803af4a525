// A radiograph file to the 64x64 gray pixels a model takes: toolkit/runtime/image.py once more, with the
// same pixels, warnings and sentences.

import { doubts } from "./appearance";
import { readBmp } from "./bmp";
import { fullScale } from "./depth";
import { readDicom } from "./dicom";
import { BadExif } from "./exif";
import { readJpeg, readJpegHeader } from "./jpeg";
import { kindOf, otherKindOf } from "./kinds";
import { Damaged, ImageError, MOST_BYTES, SIDE, rint, type Picture } from "./picture";
import { overBlack, readPng } from "./png";
import { BILINEAR, BOX, resize } from "./resample";

export interface Radiograph {
  /** 64x64, 0 black. */
  pixels: Uint8Array;
  warnings: string[];
}

/** Gray values among 64x64 pixels below which a picture is blank; all 5,856 real images have 52 or more. */
const FEWEST_VALUES = 16;

/** Mean distance between a pixel's strongest and weakest channel from which a picture counts as coloured. */
const COLOURED = 16;

/**
 * A file's bytes to the pixels a model takes.
 * @throws ImageError The file gives no radiograph; the message is one line without the file's name.
 */
export function decode(content: Uint8Array): Radiograph {
  if (content.length > MOST_BYTES) throw new ImageError(`it is larger than ${MOST_BYTES >> 20} MiB`);
  if (!content.length) throw new ImageError("it is empty");
  const kind = kindOf(content);
  const other = kind ? null : otherKindOf(content);
  if (other) throw new ImageError(`it is a ${other} file, which is not read: save it as PNG`);
  if (!kind) throw new ImageError("it is not a PNG, JPEG, TIFF, BMP or DICOM image");
  const notes: string[] = [];
  try {
    const pixels = cut(read(kind, content, notes), notes);
    requireValues(pixels);
    return { pixels, warnings: [...notes, ...doubts(pixels)] };
  } catch (error) {
    if (error instanceof ImageError) throw error;
    const reason = error instanceof Damaged ? error.message : "its content makes no sense";
    throw new ImageError(`it is a damaged ${kind} image: ${reason}`);
  }
}

function requireValues(pixels: Uint8Array): void {
  const values = new Set(pixels).size;
  if (values < FEWEST_VALUES)
    throw new ImageError(`it is blank: ${values} gray value${values > 1 ? "s" : ""} in all, where a radiograph has many`);
}

function read(kind: string, content: Uint8Array, notes: string[]): Picture {
  if (kind === "DICOM") return readDicom(content, notes);
  if (kind === "BMP") return readBmp(content);
  if (kind === "TIFF") throw new ImageError("it is a TIFF image, which this page cannot read: save it as PNG");
  if (kind === "JPEG") {
    const header = readJpegHeader(content);
    return upright(readJpeg(content, header), header.orientation, notes);
  }
  const png = readPng(content);
  const { width, height, channels } = png;
  if (png.wide) return upright({ width, height, channels: 1, data: toEightBits(png.wide, notes) }, png.orientation, notes, 0);
  if (channels === 1 || channels === 3) return upright({ width, height, channels, data: png.data }, png.orientation, notes);
  const plain = overBlack(png.data, channels);
  const picture = upright({ width, height, channels: 3, data: plain.data }, png.orientation, notes);
  if (plain.seen) notes.push("transparent parts taken as black");
  return picture;
}

/** The picture turned as the file says; where that cannot be read, as it is. */
function upright(picture: Picture, orientation: () => number | undefined, notes: string[], noteAt = notes.length): Picture {
  try {
    return turned(picture, orientation() ?? 1);
  } catch (error) {
    if (!(error instanceof BadExif)) throw error;
    notes.splice(noteAt, 0, "the rotation noted in the file cannot be read");
    return picture;
  }
}

/** By EXIF's orientations: 2 to 4 mirrored or upside down, 5 to 8 with rows and columns exchanged. */
function turned(picture: Picture, orientation: number): Picture {
  if (![2, 3, 4, 5, 6, 7, 8].includes(orientation)) return picture;
  const { width, height, channels, data } = picture;
  const swapped = orientation >= 5;
  const [wide, high] = swapped ? [height, width] : [width, height];
  const fromRight = [2, 3, 7, 8].includes(orientation);
  const fromBottom = [3, 4, 6, 7].includes(orientation);
  const out = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < high; y++)
    for (let x = 0; x < wide; x++) {
      const [column, row] = swapped ? [y, x] : [x, y];
      const at = ((fromBottom ? height - 1 - row : row) * width + (fromRight ? width - 1 - column : column)) * channels;
      for (let c = 0; c < channels; c++) out[to++] = data[at + c];
    }
  return { width: wide, height: high, channels, data: out };
}

/** Gray values of up to 16 bits as 8 bits: 0 stays black, full scale becomes 255, rounded half to even. */
export function toEightBits(values: Uint16Array, notes: string[]): Uint8Array {
  const [, white] = fullScale(values, 16, false, notes);
  const factor = 255 / white;
  const table = Uint8Array.from({ length: 1 << 16 }, (_, value) => rint(Math.min(value, white) * factor));
  return Uint8Array.from(values, (value) => table[value]);
}

function isColoured(picture: Picture): boolean {
  const small = resize(picture.data, picture.width, picture.height, 3, SIDE, BOX);
  let sum = 0;
  for (let i = 0; i < small.length; i += 3)
    sum += Math.max(small[i], small[i + 1], small[i + 2]) - Math.min(small[i], small[i + 1], small[i + 2]);
  return sum / (SIDE * SIDE) > COLOURED;
}

/** ITU-R 601 in fixed point, as Pillow computes it. */
function toGray(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length / 3);
  for (let i = 0, at = 0; i < out.length; i++, at += 3)
    out[i] = (data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 0x8000) >> 16;
  return out;
}

/** The centre square, gray. */
function cut(picture: Picture, notes: string[]): Uint8Array {
  if (picture.channels === 3 && isColoured(picture)) notes.push("the picture is in colour");
  const { width, height } = picture;
  const side = Math.min(width, height);
  if (side < SIDE) notes.push(`only ${width}x${height} pixels, enlarged`);
  const gray = picture.channels === 3 ? toGray(picture.data) : picture.data;
  const [left, top] = [(width - side) >> 1, (height - side) >> 1];
  const square = new Uint8Array(side * side);
  for (let y = 0; y < side; y++) {
    const start = (top + y) * width + left;
    square.set(gray.subarray(start, start + side), y * side);
  }
  return resize(square, side, side, 1, SIDE, BILINEAR);
}
