// The little of node that decoders.ts needs.
declare module "node:fs" {
  export function readFileSync(path: string): Uint8Array<ArrayBuffer>;
  export function readFileSync(path: string, encoding: "utf8"): string;
}
declare const process: { argv: string[]; stdout: { write(text: string): void } };
declare const Buffer: { from(bytes: Uint8Array): { toString(encoding: "base64"): string } };
