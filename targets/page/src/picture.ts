// A decoded picture, and the one error that a file can end in.

/** A file that gives no radiograph, and why, in one line. */
export class ImageError extends Error {}

/** A decoder's own complaint; becomes "it is a damaged KIND image: ..." */
export class Damaged extends Error {}

/** 8-bit pixels, row by row from the top; 1 channel (gray, 0 black) or 3 (red, green, blue). */
export interface Picture {
  width: number;
  height: number;
  channels: 1 | 3;
  data: Uint8Array;
}

/** 67 megapixels of gray, and half as many in colour or with transparency; a large digital radiograph has 22. */
export const MOST_PIXELS = 1 << 26;

export const MOST_BYTES = 1 << 28;

/** Width and height of what the model takes. */
export const SIDE = 64;

export function requireSize(width: number, height: number, gray: boolean): void {
  const most = gray ? MOST_PIXELS : MOST_PIXELS / 2;
  // Pillow refuses twice its own limit by itself, before the runtime can name the size
  if (width * height > 2 * 89478485) throw new ImageError(`it has more than ${MOST_PIXELS >> 20} million pixels`);
  if (width * height > most) throw new ImageError(`it has ${width}x${height} pixels, more than ${most >> 20} million`);
}

export function ascii(bytes: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...bytes.subarray(start, end));
}

/** Whether the bytes from `start` on are those of `text`, one byte a character. */
export function startsWith(bytes: Uint8Array, start: number, text: string): boolean {
  if (start + text.length > bytes.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Round to the nearest whole number, halves to the even one, as numpy.rint does. */
export function rint(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
