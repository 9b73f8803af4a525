// JPEG files through libjpeg-turbo, the library Pillow uses too.

import makeDecoder, { type JpegModule } from "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs";
import { BadExif, exifOrientation, xmpOrientation } from "./exif";
import { Damaged, ImageError, ascii, requireSize, startsWith, type Picture } from "./picture";

const UNREADABLE = "its header cannot be read";

let compiled: WebAssembly.Module;
let codec: JpegModule | null = null;

/** Give the decoder its WebAssembly code; once, before the first file. */
export async function prepareJpeg(wasm: BufferSource): Promise<void> {
  compiled = await WebAssembly.compile(wasm);
  codec = await instance();
}

async function instance(): Promise<JpegModule> {
  const made = await makeDecoder({
    instantiateWasm(imports, done) {
      const made = new WebAssembly.Instance(compiled, imports);
      done(made);
      return made.exports;
    },
  });
  return made;
}

/** Begin anew after a failure: the decoder throws C++ exceptions, and what it held then is lost. */
export async function repairJpeg(): Promise<void> {
  codec ??= await instance();
}

/** What stands before the pixels. */
export interface JpegHeader {
  width: number;
  height: number;
  /** Gray 1, colour 3, CMYK 4. */
  layers: number;
  /** Of the frame, for example 0xc0 for baseline. */
  frame: number;
  componentIds: number[];
  jfif: boolean;
  adobe: boolean;
  /** @throws BadExif */
  orientation(): number | undefined;
}

const FRAMES = [0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf, 0xde];
const ALONE = [0xc8, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9];

/** @throws Damaged */
export function readJpegHeader(content: Uint8Array): JpegHeader {
  const exif: Uint8Array[] = [];
  let [xmp, jfif, adobe, dpi] = ["", false, false, false];
  let found: { width: number; height: number; layers: number; frame: number; componentIds: number[] } | null = null;
  for (const { marker, body } of segments(content)) {
    if (FRAMES.includes(marker)) {
      if (body.length < 6) throw new Damaged(UNREADABLE);
      const [bits, h1, h0, w1, w0, layers] = body;
      if (bits !== 8 || ![1, 3, 4].includes(layers)) throw new Damaged(UNREADABLE);
      const ids = Array.from({ length: layers }, (_, i) => body[6 + 3 * i] ?? 0);
      found = { width: w1 * 256 + w0, height: h1 * 256 + h0, layers, frame: marker, componentIds: ids };
    } else if (marker === 0xe0 && startsWith(body, 0, "JFIF")) {
      jfif = true;
      dpi ||= body[7] === 1 || body[7] === 2;
    } else if (marker === 0xe1 && startsWith(body, 0, "Exif\0\0")) exif.push(exif.length ? body.subarray(6) : body);
    else if (marker === 0xe1 && startsWith(body, 0, "http://ns.adobe.com/xap/1.0/\0")) xmp = ascii29(body);
    else if (marker === 0xee && startsWith(body, 0, "Adobe")) adobe ||= body.length > 11;
  }
  if (!found || !found.width || !found.height) throw new Damaged(UNREADABLE);
  return { ...found, jfif, adobe, orientation: () => orientation(exif, xmp, dpi) };
}

const ascii29 = (body: Uint8Array): string => new TextDecoder("latin1").decode(body.subarray(29));

/** Each marker up to the start of the first scan. */
function* segments(content: Uint8Array): Generator<{ marker: number; body: Uint8Array }> {
  for (let at = 2; at < content.length; ) {
    if (content[at] !== 0xff) {
      at++;
      continue;
    }
    const marker = content[at + 1];
    if (marker === undefined) return;
    if (marker === 0xff) at++;
    else if (marker === 0 || ALONE.includes(marker) || marker >= 0xf0 && marker < 0xfe) at += 2;
    else if (marker < 0xc0) throw new Damaged(UNREADABLE);
    else {
      if (at + 4 > content.length) throw new Damaged(UNREADABLE);
      const end = at + 2 + content[at + 2] * 256 + content[at + 3];
      if (end > content.length) throw new Damaged("Truncated File Read");
      yield { marker, body: content.subarray(at + 4, end) };
      if (marker === 0xda) return;
      at = end;
    }
  }
  throw new Damaged("cannot load this image");
}

function orientation(exif: Uint8Array[], xmp: string, dpi: boolean): number | undefined {
  const all = new Uint8Array(exif.reduce((sum, part) => sum + part.length, 0));
  exif.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  if (exif.length) {
    try {
      const found = exifOrientation(all);
      if (found !== undefined) return found;
    } catch (error) {
      // without a resolution in the header Pillow has looked into the EXIF data before, and swallowed the error
      if (error instanceof BadExif && !dpi) return undefined;
      throw error;
    }
  }
  return xmp ? xmpOrientation(xmp) : undefined;
}

/**
 * @throws ImageError Too large, or CMYK.
 * @throws Damaged
 */
export function readJpeg(content: Uint8Array, header: JpegHeader): Picture {
  requireSize(header.width, header.height, header.layers === 1);
  if (header.layers === 4) throw new ImageError("its colours are CMYK, made for printing: save it as PNG");
  if (![0xc0, 0xc1, 0xc2].includes(header.frame))
    throw new ImageError("it is a kind of JPEG that this page cannot read: save it as PNG");
  return decodeJpeg(content);
}

/** @throws Damaged */
export function decodeJpeg(content: Uint8Array): Picture {
  if (!codec) throw new Error("the JPEG decoder is not ready");
  const decoder = new codec.JPEGDecoder();
  try {
    decoder.getEncodedBuffer(content.length).set(content);
    decoder.decode();
    const { width, height, componentCount } = decoder.getFrameInfo();
    const data = new Uint8Array(decoder.getDecodedBuffer()); // a copy: the decoder's memory is used again
    if (componentCount !== 1 && componentCount !== 3) throw new Damaged(UNREADABLE);
    return { width, height, channels: componentCount, data };
  } catch (error) {
    if (error instanceof Damaged) throw error;
    codec = null;
    throw new Damaged("its compressed pixels cannot be read");
  } finally {
    if (codec) decoder.delete();
  }
}

/** The same JPEG with a mark that says its colours are stored as they are: then nothing is converted. */
export function withoutColourTransform(content: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0xff, 0xd8, 0xff, 0xee, 0, 14, 65, 100, 111, 98, 101, 0, 100, 0, 0, 0, 0, 0)];
  let at = 2;
  while (content[at] === 0xff && content[at + 1] !== 0xda && at + 4 <= content.length) {
    const end = at + 2 + content[at + 2] * 256 + content[at + 3];
    const jfif = content[at + 1] === 0xe0 && ascii(content, at + 4, at + 8) === "JFIF";
    if (!jfif) parts.push(content.subarray(at, end));
    at = end;
  }
  parts.push(content.subarray(at));
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((to, part) => (all.set(part, to), to + part.length), 0);
  return all;
}
