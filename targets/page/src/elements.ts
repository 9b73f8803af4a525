// The elements of a DICOM file that are read, and their values.

import type { DataSet } from "dicom-parser";
import { Damaged } from "./picture";

export const TAG = {
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
  shape: "x20500020",
  pixels: "x7fe00010",
};

/** What group 0028 says about the pixels. */
export interface Description {
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
export type Stored = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array;

/** A text value without padding; undefined where there is none. */
export function text(data: DataSet, tag: string): string | undefined {
  return data.string(tag)?.replace(/\0/g, "").trim();
}

export function number(data: DataSet, tag: string): number {
  const value = data.uint16(tag);
  if (value === undefined) throw new Damaged(`it lacks the element (${tag.slice(1, 5)},${tag.slice(5)})`);
  return value;
}

/** A number that may be written as text; null where the element is missing. */
export function decimal(data: DataSet, tag: string): number | null {
  if (!data.elements[tag]) return null;
  const value = text(data, tag)?.split("\\")[0].trim();
  if (!value || Number.isNaN(Number(value))) throw new Damaged(`its element (${tag.slice(1, 5)},${tag.slice(5)}) holds no number`);
  return Number(value);
}
