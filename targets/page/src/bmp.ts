// BMP files, as Pillow reads them.

import { Damaged, requireSize, type Picture } from "./picture";

const UNREADABLE = "its header cannot be read";
const HEADERS = [12, 40, 52, 56, 64, 108, 124];

interface Header {
  width: number;
  height: number;
  bits: number;
  compression: number;
  colours: number;
  /** Whether the first row in the file is the top one. */
  downwards: boolean;
  /** Bytes of a palette's entry. */
  entry: number;
  /** Where the palette, or without one the pixels, would begin. */
  end: number;
  offset: number;
  /** Red, green, blue and alpha, where the file names them. */
  masks: number[];
}

/** @throws Damaged */
export function readBmp(content: Uint8Array): Picture {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const header = readHeader(view);
  if (header.bits > 8) return coloured(content, header);
  const palette = content.subarray(header.end, header.end + header.entry * header.colours);
  return paletted(content, header, palette);
}

function readHeader(view: DataView): Header {
  if (view.byteLength < 18) throw new Damaged(UNREADABLE);
  const size = view.getUint32(14, true);
  if (view.byteLength < 14 + size) throw new Damaged("Truncated File Read");
  if (!HEADERS.includes(size)) throw new Damaged(`Unsupported BMP header type (${size})`);
  const old = size === 12;
  const downwards = !old && view.getUint8(25) === 255;
  const height = old ? view.getUint16(20, true) : view.getUint32(22, true);
  const header: Header = {
    width: old ? view.getUint16(18, true) : view.getUint32(18, true),
    height: downwards ? 2 ** 32 - height : height,
    bits: view.getUint16(old ? 24 : 28, true),
    compression: old ? 0 : view.getUint32(30, true),
    colours: (old ? 0 : view.getUint32(46, true)) || 0,
    downwards,
    entry: old ? 3 : 4,
    end: 14 + size,
    offset: view.getUint32(10, true),
    masks: [],
  };
  if (![1, 4, 8, 16, 24, 32].includes(header.bits)) throw new Damaged(`Unsupported BMP pixel depth (${header.bits})`);
  header.colours ||= 1 << header.bits;
  if (header.offset === header.end && header.bits <= 8) header.offset += header.entry * header.colours;
  if (header.compression === 3) readMasks(view, header, size);
  if (header.compression > 3) throw new Damaged(`Unsupported BMP compression (${header.compression})`);
  if (!header.width || !header.height) throw new Damaged(UNREADABLE);
  if (header.bits <= 8 && header.colours > 65536) throw new Damaged(`Unsupported BMP Palette size (${header.colours})`);
  header.offset ||= header.end + (header.bits <= 8 ? header.entry * header.colours : 0);
  return header;
}

function readMasks(view: DataView, header: Header, size: number): void {
  if (view.byteLength < 66) throw new Damaged(UNREADABLE);
  header.masks = [54, 58, 62].map((at) => view.getUint32(at, true));
  header.masks.push(size >= 56 ? view.getUint32(66, true) : 0);
  if (size === 40) header.end += 12;
}

/** The bytes of row `y`, counted from the top; a cut-off file is refused. */
function rowsOf(content: Uint8Array, header: Header): (y: number) => number {
  const stride = ((header.width * header.bits + 31) >> 3) & ~3;
  const used = (header.width * header.bits + 7) >> 3;
  // the padding of the last row may be missing
  if (header.offset + stride * (header.height - 1) + used > content.length) throw new Damaged("image file is truncated");
  return (y) => header.offset + stride * (header.downwards ? y : header.height - 1 - y);
}

function paletted(content: Uint8Array, header: Header, palette: Uint8Array): Picture {
  const { width, height, bits, colours, entry } = header;
  const last = colours === 2 ? 255 : 1;
  let gray = true;
  for (let i = 0; i < colours; i++)
    for (let c = 0; c < 3; c++) gray &&= palette[i * entry + c] === ((i * last) & 255) && i * last < 256;
  requireSize(width, height, gray);
  const indices = header.compression ? runs(content, header) : packed(content, header);
  if (gray) {
    const data = colours <= 2 ? indices.map((index) => (index ? 255 : 0)) : indices;
    if (colours > 2 && bits < 8) throw new Damaged("unrecognized raw mode");
    return { width, height, channels: 1, data };
  }
  const data = new Uint8Array(indices.length * 3);
  for (let i = 0; i < indices.length; i++)
    for (let c = 0; c < 3; c++) data[i * 3 + c] = palette[indices[i] * entry + 2 - c] ?? 0;
  return { width, height, channels: 3, data };
}

function packed(content: Uint8Array, header: Header): Uint8Array {
  const { width, height, bits } = header;
  const start = rowsOf(content, header);
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = start(y);
    for (let x = 0; x < width; x++)
      out[y * width + x] = (content[row + ((x * bits) >> 3)] >> (8 - bits - ((x * bits) & 7))) & ((1 << bits) - 1);
  }
  return out;
}

/** Run lengths, as Pillow's own decoder takes them. */
function runs(content: Uint8Array, header: Header): Uint8Array {
  const { width, height } = header;
  const four = header.compression === 2;
  const size = width * height;
  const data = new Uint8Array(size);
  let [at, to, x] = [header.offset, 0, 0];
  const put = (value: number): void => {
    if (to < size) data[to] = value;
    to++;
  };
  while (to < size && at + 1 < content.length) {
    const count = content[at];
    const value = content[at + 1];
    at += 2;
    if (count) {
      const fits = x + count > width ? Math.max(0, width - x) : count;
      for (let i = 0; i < fits; i++) put(four ? (i % 2 ? value & 15 : value >> 4) : value);
      x += fits;
    } else if (value === 0) {
      while (to % width) put(0);
      x = 0;
    } else if (value === 1) break;
    else if (value === 2) {
      if (at + 1 >= content.length) break;
      to += Math.min(size - to, content[at] + content[at + 1] * width);
      at += 2;
      x = to % width;
    } else {
      const wanted = Math.min(size - to, value);
      const bytes = four ? (wanted + 1) >> 1 : wanted;
      const there = Math.min(bytes, content.length - at);
      for (let i = 0; i < there * (four ? 2 : 1) && i < wanted; i++) {
        const byte = content[at + (four ? i >> 1 : i)];
        put(four ? (i % 2 ? byte & 15 : byte >> 4) : byte);
      }
      at += there;
      if (there < bytes || to >= size) break;
      x += value;
      at += at % 2;
    }
  }
  if (to < size) throw new Damaged("image file is truncated");
  if (header.downwards) return data;
  const out = new Uint8Array(size);
  for (let y = 0; y < height; y++) out.set(data.subarray(y * width, (y + 1) * width), (height - 1 - y) * width);
  return out;
}

/** Where red, green and blue lie in a pixel: shifts, and the bits of each. */
function layout(header: Header): { shifts: number[]; widths: number[] } {
  const { bits, masks } = header;
  if (!header.masks.length || (bits === 32 && masks.every((mask) => mask === 0)))
    return bits === 16 ? { shifts: [10, 5, 0], widths: [5, 5, 5] } : { shifts: [16, 8, 0], widths: [8, 8, 8] };
  const known = {
    32: ["ff0000,ff00,ff", "ff000000,ff0000,ff00", "ff000000,ff00,ff", "ff,ff00,ff0000"],
    24: ["ff0000,ff00,ff"],
    16: ["f800,7e0,1f", "7c00,3e0,1f"],
  }[bits];
  const three = masks.slice(0, 3);
  if (!known?.includes(three.map((mask) => mask.toString(16)).join(","))) throw new Damaged("Unsupported BMP bitfields layout");
  const shifts = three.map((mask) => 31 - Math.clz32(mask & -mask));
  return { shifts, widths: three.map((mask, i) => Math.clz32(0) - Math.clz32(mask >>> shifts[i])) };
}

function coloured(content: Uint8Array, header: Header): Picture {
  const { width, height, bits } = header;
  requireSize(width, height, false);
  if (header.compression === 1 || header.compression === 2) throw new Damaged("unrecognized run lengths");
  if (header.masks[3]) throw new Damaged("Unsupported BMP bitfields layout with transparency");
  const { shifts, widths } = layout(header);
  const start = rowsOf(content, header);
  const bytes = bits >> 3;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const row = start(y);
    for (let x = 0; x < width; x++) {
      let value = 0;
      for (let i = 0; i < bytes; i++) value += content[row + x * bytes + i] * 2 ** (8 * i);
      for (let c = 0; c < 3; c++) {
        const most = (1 << widths[c]) - 1;
        data[(y * width + x) * 3 + c] = Math.trunc((((value >>> shifts[c]) & most) * 255) / most);
      }
    }
  }
  return { width, height, channels: 3, data };
}
