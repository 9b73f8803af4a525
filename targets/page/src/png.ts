// PNG files, as Pillow reads them: all colour types and depths, interlaced or not. Colour profiles and
// gamma are passed over, there as here.

import { inflateSync, unzlibSync } from "fflate";
import { exifOrientation, xmpOrientation } from "./exif";
import { Damaged, ImageError, requireSize, startsWith, ascii } from "./picture";

/** What a PNG file holds before it is made plain. */
export interface Png {
  width: number;
  height: number;
  /** Gray of 16 bits, which keeps its depth; everything else is 8 bits. */
  wide: Uint16Array | null;
  /** 8-bit pixels with 1, 2 (gray and alpha), 3 or 4 (colour and alpha) channels. */
  data: Uint8Array;
  channels: 1 | 2 | 3 | 4;
  /** @throws BadExif */
  orientation(): number | undefined;
}

interface Header {
  width: number;
  height: number;
  depth: number;
  kind: number;
  interlaced: boolean;
}

const UNREADABLE = "its header cannot be read";

/** Channels by colour type, and the depths each may have. */
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS: Record<number, number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };

/** Adam7: first column and row of each pass, and the steps. */
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

const CRC = new Int32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}

function adler32(bytes: Uint8Array): number {
  let [a, b] = [1, 0];
  for (let at = 0; at < bytes.length; ) {
    for (const end = Math.min(at + 3800, bytes.length); at < end; at++) b += a += bytes[at];
    a %= 65521;
    b %= 65521;
  }
  return b * 65536 + a;
}

interface Chunks {
  header: Header;
  palette: Uint8Array | null;
  transparency: Uint8Array | null;
  exif: Uint8Array | null;
  /** EXIF data in a text chunk, as ImageMagick writes it. */
  rawExif: Uint8Array | null;
  xmp: string;
  stream: Uint8Array;
}

/**
 * @throws ImageError Several pictures, or too large.
 * @throws Damaged
 */
export function readPng(content: Uint8Array): Png {
  const chunks = readChunks(content);
  const { header } = chunks;
  const rows = inflate(chunks.stream, sizeOf(header));
  const samples = header.interlaced ? interlaced(rows, header) : straight(rows, header);
  const { width, height } = header;
  const exif = chunks.exif ?? chunks.rawExif;
  const orientation = (): number | undefined =>
    (exif ? exifOrientation(exif) : undefined) ?? (chunks.xmp ? xmpOrientation(chunks.xmp) : undefined);
  return { width, height, orientation, ...coloured(samples, chunks) };
}

function readHeader(content: Uint8Array, at: number, length: number): Header {
  if (length < 13) throw new Damaged("Truncated IHDR chunk");
  const view = new DataView(content.buffer, content.byteOffset + at);
  const header = {
    width: view.getUint32(0),
    height: view.getUint32(4),
    depth: content[at + 8],
    kind: content[at + 9],
    interlaced: content[at + 12] !== 0,
  };
  if (content[at + 11] || !DEPTHS[header.kind]?.includes(header.depth)) throw new Damaged(UNREADABLE);
  if (!header.width || !header.height) throw new Damaged(UNREADABLE);
  return header;
}

function readChunks(content: Uint8Array): Chunks {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const found: Omit<Chunks, "header"> = { palette: null, transparency: null, exif: null, rawExif: null, xmp: "", stream: new Uint8Array() };
  let header: Header | null = null;
  let frames = 0; // of an animation
  let firstIsFrame = false;
  const parts: Uint8Array[] = [];
  let ended = false; // by another chunk after the pixels
  for (let at = 8; ; ) {
    if (at + 8 > content.length) {
      if (!parts.length) throw new Damaged(UNREADABLE);
      break;
    }
    const length = view.getUint32(at);
    const name = ascii(content, at + 4, at + 8);
    if (!/^\w{4}$/.test(name)) {
      if (!parts.length) throw new Damaged(UNREADABLE);
      break;
    }
    const start = at + 8;
    const body = content.subarray(start, start + length);
    at = start + length + 4;
    if (name === "IDAT" || name === "DDAT") {
      if (!header) throw new Damaged(UNREADABLE);
      if (!ended) parts.push(body);
      continue;
    }
    ended = parts.length > 0;
    if (name === "IEND") {
      if (!header) throw new Damaged(UNREADABLE);
      break;
    }
    if (body.length < length) {
      if (ended) break;
      throw new Damaged("Truncated File Read");
    }
    // Pillow checks the sums of what stands before the pixels, and of nothing after it
    if (!ended && (at > content.length || crc32(content.subarray(at - length - 8, at - 4)) !== view.getUint32(at - 4)))
      throw new Damaged(UNREADABLE);
    if (name === "IHDR") header = readHeader(content, start, length);
    else if (name === "PLTE") found.palette = body;
    else if (name === "tRNS") found.transparency = body;
    else if (name === "eXIf") found.exif = body;
    else if (name === "iTXt") found.xmp = xmpIn(body) || found.xmp;
    else if (name === "zTXt" || name === "tEXt") found.rawExif = rawProfile(name, body) ?? found.rawExif;
    else if (name === "acTL" && length >= 8 && !ended) frames = view.getUint32(start);
    else if (name === "fcTL" && !ended) firstIsFrame = true;
  }
  if (!header) throw new Damaged(UNREADABLE);
  requireSize(header.width, header.height, header.kind === 0);
  if (frames > 0x80000000) frames = 0;
  if (frames > (firstIsFrame ? 1 : 0)) throw new ImageError("it holds several pictures: save the radiograph alone");
  if (!parts.length) throw new Damaged("cannot load this image");
  return { ...found, header, stream: joined(parts) };
}

function joined(parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function xmpIn(body: Uint8Array): string {
  if (!startsWith(body, 0, "XML:com.adobe.xmp\0")) return "";
  const language = body.indexOf(0, 20);
  const keyword = language < 0 ? -1 : body.indexOf(0, language + 1);
  if (keyword < 0) return "";
  let text = body.subarray(keyword + 1);
  try {
    if (body[18]) text = unzlibSync(text);
    return new TextDecoder("utf-8", { fatal: true }).decode(text);
  } catch {
    return "";
  }
}

/** Hexadecimal text after three line ends. */
function rawProfile(name: string, body: Uint8Array): Uint8Array | null {
  if (!startsWith(body, 0, "Raw profile type exif\0")) return null;
  try {
    const text = name === "zTXt" ? unzlibSync(body.subarray(23)) : body.subarray(22);
    const digits = new TextDecoder("latin1").decode(text).split("\n").slice(3).join("");
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  } catch {
    return null;
  }
}

const bitsOf = ({ depth, kind }: Header): number => depth * CHANNELS[kind];
const strideOf = (header: Header, width: number): number => (width * bitsOf(header) + 7) >> 3;

/** Columns or rows of a pass. */
const extent = (all: number, first: number, step: number): number => Math.ceil((all - first) / step);

function sizeOf(header: Header): number {
  if (!header.interlaced) return header.height * (1 + strideOf(header, header.width));
  return PASSES.reduce((sum, [x, y, dx, dy]) => {
    const wide = extent(header.width, x, dx);
    return sum + (wide > 0 ? Math.max(0, extent(header.height, y, dy)) * (1 + strideOf(header, wide)) : 0);
  }, 0);
}

/** The stream's bytes, `size` of them; what a whole stream leaves out is zero, as in Pillow. */
function inflate(stream: Uint8Array, size: number): Uint8Array {
  if (stream.length < 6) throw new Damaged("image file is truncated");
  if ((stream[0] & 15) !== 8 || (stream[0] * 256 + stream[1]) % 31 || stream[1] & 32)
    throw new Damaged("broken data stream when reading image file");
  let bytes: Uint8Array;
  try {
    bytes = inflateSync(stream.subarray(2), { out: new Uint8Array(size + 65536) });
  } catch (error) {
    const cut = error instanceof Error && error.message.includes("EOF");
    throw new Damaged(cut ? "image file is truncated" : "broken data stream when reading image file");
  }
  const end = new DataView(stream.buffer, stream.byteOffset + stream.length - 4).getUint32(0);
  if (adler32(bytes) !== end) throw new Damaged("broken data stream when reading image file");
  if (bytes.length >= size) return bytes.subarray(0, size);
  const padded = new Uint8Array(size);
  padded.set(bytes);
  return padded;
}

/** Undo the filters of `height` rows in place, each of a filter byte and `stride` bytes. */
function unfilter(rows: Uint8Array, stride: number, height: number, step: number): void {
  const zeros = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1);
    const filter = rows[start];
    const row = rows.subarray(start + 1, start + 1 + stride);
    const above = y ? rows.subarray(start - stride, start) : zeros;
    if (filter === 1) for (let i = step; i < stride; i++) row[i] += row[i - step];
    else if (filter === 2) for (let i = 0; i < stride; i++) row[i] += above[i];
    else if (filter === 3) for (let i = 0; i < stride; i++) row[i] += ((i < step ? 0 : row[i - step]) + above[i]) >> 1;
    else if (filter === 4) paeth(row, above, step);
    else if (filter) throw new Damaged("unrecognized data stream contents when reading image file");
  }
}

function paeth(row: Uint8Array, above: Uint8Array, step: number): void {
  for (let i = 0; i < row.length; i++) {
    const a = i < step ? 0 : row[i - step];
    const b = above[i];
    const c = i < step ? 0 : above[i - step];
    const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    row[i] += pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
  }
}

/** The samples of one row or pass, as they stand in the file: 16 bits where it has them. */
function unpack(rows: Uint8Array, header: Header, width: number, height: number, put: (x: number, y: number, at: number) => number, out: Uint16Array): void {
  const stride = strideOf(header, width);
  const { depth } = header;
  const channels = CHANNELS[header.kind];
  unfilter(rows, stride, height, Math.max(1, bitsOf(header) >> 3));
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1) + 1;
    for (let x = 0; x < width; x++) {
      const at = put(x, y, 0);
      for (let channel = 0; channel < channels; channel++) {
        const i = x * channels + channel;
        if (depth === 8) out[at + channel] = rows[start + i];
        else if (depth === 16) out[at + channel] = rows[start + 2 * i] * 256 + rows[start + 2 * i + 1];
        else out[at + channel] = (rows[start + ((i * depth) >> 3)] >> (8 - depth - ((i * depth) & 7))) & ((1 << depth) - 1);
      }
    }
  }
}

function straight(rows: Uint8Array, header: Header): Uint16Array {
  const channels = CHANNELS[header.kind];
  const out = new Uint16Array(header.width * header.height * channels);
  unpack(rows, header, header.width, header.height, (x, y) => (y * header.width + x) * channels, out);
  return out;
}

function interlaced(rows: Uint8Array, header: Header): Uint16Array {
  const channels = CHANNELS[header.kind];
  const out = new Uint16Array(header.width * header.height * channels);
  let start = 0;
  for (const [left, top, dx, dy] of PASSES) {
    const width = extent(header.width, left, dx);
    const height = extent(header.height, top, dy);
    if (width <= 0 || height <= 0) continue;
    const size = height * (1 + strideOf(header, width));
    const put = (x: number, y: number): number => ((top + y * dy) * header.width + left + x * dx) * channels;
    unpack(rows.subarray(start, start + size), header, width, height, put, out);
    start += size;
  }
  return out;
}

type Coloured = Pick<Png, "wide" | "data" | "channels">;

/** Samples to pixels: palette, transparency, and 8 bits everywhere but in 16-bit gray. */
function coloured(samples: Uint16Array, { header, palette, transparency }: Chunks): Coloured {
  const { kind, depth } = header;
  if (kind === 0 && depth === 16) return { wide: samples, data: new Uint8Array(), channels: 1 };
  if (kind === 3) return paletted(samples, palette ?? new Uint8Array(), transparency);
  const channels = CHANNELS[kind] as 1 | 2 | 3 | 4;
  const data = new Uint8Array(samples.length);
  const scale = depth < 8 ? 255 / ((1 << depth) - 1) : 1;
  for (let i = 0; i < samples.length; i++) data[i] = depth === 16 ? samples[i] >> 8 : samples[i] * scale;
  if (kind === 2 && transparency) return withClear(data, transparency);
  return { wide: null, data, channels };
}

function paletted(samples: Uint16Array, palette: Uint8Array, transparency: Uint8Array | null): Coloured {
  if (palette.length > 768) throw new Damaged("invalid palette size");
  const entries = Math.floor(palette.length / 3) * 3;
  const channels = transparency ? 4 : 3;
  const data = new Uint8Array(samples.length * channels);
  for (let i = 0; i < samples.length; i++) {
    const index = samples[i];
    for (let c = 0; c < 3; c++) data[i * channels + c] = 3 * index + c < entries ? palette[3 * index + c] : 0;
    if (transparency) data[i * 4 + 3] = index < transparency.length ? transparency[index] : 255;
  }
  return { wide: null, data, channels };
}

/** Colour in which one colour stands for nothing; of 16 bits Pillow compares the lower eight. */
function withClear(data: Uint8Array, transparency: Uint8Array): Coloured {
  if (transparency.length < 6) throw new Damaged("Truncated tRNS chunk");
  const [red, green, blue] = [transparency[1], transparency[3], transparency[5]];
  const out = new Uint8Array((data.length / 3) * 4);
  for (let i = 0, at = 0; i < data.length; i += 3, at += 4) {
    const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
    out.set([r, g, b, r === red && g === green && b === blue ? 0 : 255], at);
  }
  return { wide: null, data: out, channels: 4 };
}

/** Gray or colour with alpha, over black. Pillow's arithmetic (its AlphaComposite.c). */
export function overBlack(data: Uint8Array, channels: 2 | 4): { data: Uint8Array; seen: boolean } {
  const pixels = data.length / channels;
  const out = new Uint8Array(pixels * 3);
  let seen = false;
  for (let i = 0; i < pixels; i++) seen ||= data[i * channels + channels - 1] !== 255;
  for (let i = 0; i < pixels; i++) {
    const alpha = data[i * channels + channels - 1];
    for (let c = 0; c < 3; c++) {
      const value = data[i * channels + (channels === 2 ? 0 : c)];
      const sum = (value * alpha + 128) * 128;
      out[i * 3 + c] = seen ? ((sum >> 8) + sum) >> 15 : value;
    }
  }
  return { data: out, seen };
}

