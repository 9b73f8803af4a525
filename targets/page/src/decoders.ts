// The decoders alone, for node: reads a list of files and prints what each gives. The parity test runs it.

import { readFileSync } from "node:fs";
import { decode } from "./image";
import { prepareJpeg, repairJpeg } from "./jpeg";
import { ImageError } from "./picture";

async function main(): Promise<void> {
  const [wasm, list] = process.argv.slice(2);
  await prepareJpeg(readFileSync(wasm));
  for (const path of readFileSync(list, "utf8").split("\n").filter(Boolean)) {
    let answer: object;
    try {
      const { pixels, warnings } = decode(new Uint8Array(readFileSync(path)));
      answer = { pixels: Buffer.from(pixels).toString("base64"), warnings };
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      answer = { error: error.message };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
    await repairJpeg();
  }
}

void main();
