// What was found, in the columns of the device's program (toolkit/runtime/results.py).

export type Decision = "normal" | "pneumonia" | "refer";

/** One picture's line, in the order of the columns. */
export interface Row {
  probability: number | null;
  decision: Decision | null;
  error: string;
  warnings: string;
  threshold: number;
  time_ms: number;
  screened_at: string;
  notice: string;
  file: string;
  sha256: string;
  artifact: string;
}

const COLUMNS = [
  "probability", "decision", "error", "warnings", "threshold", "time_ms", "screened_at", "notice", "file", "sha256",
  "artifact",
] as const;

/** The text with what does not print escaped, so that no file name can forge a line. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (character) => {
    const code = character.codePointAt(0)!;
    const known = { 9: "\\t", 10: "\\n", 13: "\\r" }[code];
    const digits = code.toString(16);
    return known ?? (code < 256 ? `\\x${digits.padStart(2, "0")}` : code < 65536 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`);
  });
}

/** A number as Python prints a float. */
export function decimal(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e16) return `${value}.0`;
  if (Math.abs(value) >= 1e-4) return String(value);
  const [digits, exponent] = value.toExponential().split("e");
  return `${digits}e-${exponent.slice(1).padStart(2, "0")}`;
}

/** A cell of a CSV file. A text that a spreadsheet would take for a formula gets an apostrophe in front. */
function cell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return decimal(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const line = (values: (string | number | null)[]): string => `${values.map(cell).join(",")}\n`;

/** A picture's name outside this computer: its number. */
const number = (index: number): string => String(index + 1).padStart(4, "0");

/** The results to send on: numbers in place of file names, which may be patients' names. */
export function toCsv(rows: Row[], withNames = false): string {
  const head = line([...COLUMNS]);
  return head + rows.map((row, i) => line(COLUMNS.map((name) => (name === "file" && !withNames ? number(i) : row[name])))).join("");
}

/** The same as JSON lines. */
export function toJsonLines(rows: Row[], withNames = false): string {
  const text = (row: Row, i: number, name: (typeof COLUMNS)[number]): string => {
    if (name === "file" && !withNames) return `"${number(i)}"`;
    const value = row[name];
    if (typeof value === "number") return decimal(value);
    return JSON.stringify(value).replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  };
  return rows.map((row, i) => `{${COLUMNS.map((name) => `"${name}": ${text(row, i, name)}`).join(", ")}}\n`).join("");
}

/** Which number is which file: for this computer alone. */
export function toList(rows: Row[]): string {
  return line(["number", "file", "sha256"]) + rows.map((row, i) => line([number(i), row.file, row.sha256])).join("");
}
