// Which files may be radiographs, before any of them is decoded.

import { startsWith } from "./picture";

const SIGNATURES: [string, number, string][] = [
  ["PNG", 0, "\x89PNG\r\n\x1a\n"],
  ["JPEG", 0, "\xff\xd8\xff"],
  ["TIFF", 0, "II*\0"],
  ["TIFF", 0, "MM\0*"],
  ["BMP", 0, "BM"],
  ["DICOM", 128, "DICM"],
];

const SUFFIXES = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom"];

/** Tell the kinds apart by the first 132 bytes; null for anything else. */
export function kindOf(content: Uint8Array): string | null {
  return SIGNATURES.find(([, start, mark]) => startsWith(content, start, mark))?.[0] ?? null;
}

/** A file and where it lay below what was chosen. */
export interface Found {
  path: string;
  file: File;
}

/**
 * Of a folder's files those with an image's suffix, and those without any whose content is an image's: a DICOM
 * file on a clinic's disk often has none. Hidden ones are left out.
 */
export async function imagesAmong(files: Found[]): Promise<Found[]> {
  const kept: Found[] = [];
  for (const one of files.sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const parts = one.path.split("/");
    if (parts.some((part) => part.startsWith("."))) continue;
    const dot = parts[parts.length - 1].lastIndexOf(".");
    const suffix = dot > 0 ? parts[parts.length - 1].slice(dot).toLowerCase() : "";
    if (SUFFIXES.includes(suffix) || (!suffix && (await beginsLikeAnImage(one.file)))) kept.push(one);
  }
  return kept;
}

async function beginsLikeAnImage(file: File): Promise<boolean> {
  try {
    return kindOf(new Uint8Array(await file.slice(0, 132).arrayBuffer())) !== null;
  } catch {
    return false;
  }
}
