// Which files may be radiographs, before any of them is decoded: toolkit/runtime/image.py and search.py.

import { ascii, startsWith } from "./picture";

type Signatures = [string, number, string][];

const SIGNATURES: Signatures = [
  ["DICOM", 128, "DICM"], // first: what precedes it may be the header of a TIFF file (PS3.10, 7.1)
  ["PNG", 0, "\x89PNG\r\n\x1a\n"],
  ["JPEG", 0, "\xff\xd8\xff"],
  ["TIFF", 0, "II*\0"],
  ["TIFF", 0, "MM\0*"],
  ["BMP", 0, "BM"],
];

/** Pictures that people take for radiographs' files, and that are not read. */
const OTHERS: Signatures = [
  ["GIF", 0, "GIF8"],
  ["WebP", 8, "WEBP"],
  ["HEIC", 4, "ftyphei"],
  ["HEIC", 4, "ftyphev"],
  ["HEIF", 4, "ftypmif1"],
  ["HEIF", 4, "ftypmsf1"],
  ["AVIF", 4, "ftypavif"],
  ["JPEG 2000", 4, "jP  \r\n"],
  ["PDF", 0, "%PDF-"],
];

/** Value representations that the first elements of a DICOM file have. */
const VRS = ["AE", "CS", "DA", "LO", "OB", "SH", "TM", "UI", "UL", "US"];

const SUFFIXES = [
  ".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".dcm", ".dicom", ".dic", ".ima",
  // not read; each gets its line, so that nobody takes it for screened
  ".heic", ".heif", ".gif", ".webp", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".raw",
];

const signed = (content: Uint8Array, signatures: Signatures): string | null =>
  signatures.find(([, start, mark]) => startsWith(content, start, mark))?.[0] ?? null;

/** Tell the kinds apart by the first 132 bytes; null for anything else. */
export function kindOf(content: Uint8Array): string | null {
  return signed(content, SIGNATURES) ?? (beginsLikeADataSet(content) ? "DICOM" : null);
}

/** Name a picture that is not read, for example "HEIC"; null for anything else. */
export const otherKindOf = (content: Uint8Array): string | null => signed(content, OTHERS);

/** Group 0002 or 0008, an element below 0100, and a known VR or a 4-byte length below 256 (PS3.5, 7.1). */
function beginsLikeADataSet(content: Uint8Array): boolean {
  if (content.length <= 8) return false;
  const [a, b, c, d] = content;
  const known = VRS.includes(ascii(content, 4, 6));
  const short = !content[5] && !content[6] && !content[7];
  const little = (a === 2 || a === 8) && b === 0 && d === 0 && (known || short);
  return little || (a === 0 && (b === 2 || b === 8) && c === 0 && known);
}

/** A file and where it lay below what was chosen. */
export interface Found {
  path: string;
  file: File;
}

/**
 * Of a folder's files those with a picture's suffix, and those without any, or with one that is no word, whose
 * content is a picture's: a DICOM file on a clinic's disk often has none. Hidden ones are left out.
 */
export async function imagesAmong(files: Found[]): Promise<Found[]> {
  const kept: Found[] = [];
  for (const one of files.sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const parts = one.path.split("/");
    if (parts.some((part) => part.startsWith("."))) continue;
    const name = parts[parts.length - 1];
    const dot = name.lastIndexOf(".");
    const suffix = dot > 0 && dot < name.length - 1 ? name.slice(dot).toLowerCase() : "";
    const noWord = !/^\.\p{L}+$/u.test(suffix);
    if (SUFFIXES.includes(suffix) || (noWord && (await beginsLikeAnImage(one.file)))) kept.push(one);
  }
  return kept;
}

async function beginsLikeAnImage(file: File): Promise<boolean> {
  try {
    const head = new Uint8Array(await file.slice(0, 132).arrayBuffer());
    return (kindOf(head) ?? otherKindOf(head)) !== null;
  } catch {
    return false;
  }
}
