// Decodes and answers, beside the page, so that it never freezes. One file at a time.

import * as ort from "onnxruntime-web/wasm";
import { decode } from "./image";
import { inflated } from "./inflate";
import { prepareJpeg, repairJpeg } from "./jpeg";
import type { About, Answer, Ask, Broken, Start, Started } from "./messages";
import { ImageError, MOST_BYTES, SIDE } from "./picture";

let about: About;
let session: ort.InferenceSession;

addEventListener("message", ({ data }: MessageEvent<Start | Ask>) => {
  void (data.kind === "start" ? start(data) : ask(data));
});

const send = (message: Started | Answer | Broken): void => postMessage(message);

async function start(message: Start): Promise<void> {
  about = message.about;
  try {
    if ((await digest(message.model)) !== about.artifact) {
      send({ kind: "started", passed: false, message: "the model in this page is not the one that was judged" });
      return;
    }
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = (await inflated(message.ort)).buffer;
    ort.env.logLevel = "error";
    session = await ort.InferenceSession.create(message.model, { executionProviders: ["wasm"] });
    await prepareJpeg(await inflated(message.jpeg));
    send({ kind: "started", ...(await selftest()) });
  } catch (error) {
    send({ kind: "started", passed: false, message: `it cannot start: ${String(error)}` });
  }
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Probability of pneumonia, 0..1; NaN where a logit is not finite. */
async function predict(pixels: Uint8Array): Promise<number> {
  const input = new ort.Tensor("float32", Float32Array.from(pixels), [1, 1, SIDE, SIDE]);
  const results = await session.run({ [session.inputNames[0]]: input });
  const [normal, pneumonia] = results[session.outputNames[0]].data as Float32Array;
  if (!Number.isFinite(normal) || !Number.isFinite(pneumonia)) return NaN;
  return 1 / (1 + Math.exp(normal - pneumonia));
}

/** The one place where an answer becomes a decision; a guard's "refer" belongs here. */
function decide(probability: number): "normal" | "pneumonia" | "refer" {
  return about.contract.labels[probability >= about.contract.threshold ? 1 : 0];
}

async function selftest(): Promise<{ passed: boolean; message: string }> {
  const { images, probabilities, tolerance } = about.selftest;
  let [largest, changed] = [0, 0];
  for (const [i, image] of images.entries()) {
    const content = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
    const answer = await predict(decode(content).pixels);
    const difference = Math.abs(answer - probabilities[i]);
    largest = difference <= largest ? largest : difference; // a NaN stays
    changed += Number(decide(answer) !== decide(probabilities[i]));
  }
  const figures = `${images.length} images, largest difference ${Number(largest.toPrecision(2))} (allowed ${tolerance})`;
  return { passed: images.length > 0 && largest <= tolerance && changed === 0, message: `${figures}, ${changed} decisions changed` };
}

async function ask({ id, file }: Ask): Promise<void> {
  const begun = performance.now();
  const answer: Answer = {
    kind: "answer", id, sha256: "", probability: null, decision: null, time_ms: 0, warnings: "", error: "", pixels: null,
  };
  try {
    const content = await contentOf(file);
    answer.sha256 = await digest(content);
    const { pixels, warnings } = decode(content);
    answer.warnings = warnings.join("; ");
    const probability = await asked(pixels);
    answer.pixels = pixels;
    if (Number.isFinite(probability)) Object.assign(answer, { probability, decision: decide(probability) });
    else answer.error = "the model's answer is not a finite number";
  } catch (error) {
    if (!(error instanceof ImageError)) {
      send({ kind: "broken", message: String(error) });
      return;
    }
    answer.error = error.message;
    await repairJpeg();
  }
  answer.time_ms = Math.round((performance.now() - begun) * 100) / 100;
  send(answer);
}

async function asked(pixels: Uint8Array): Promise<number> {
  try {
    return await predict(pixels);
  } catch (error) {
    throw new Error(`the artifact cannot be used: it failed while computing: ${String(error)}`);
  }
}

/** @throws ImageError It cannot be read, is empty or too large. */
async function contentOf(file: File): Promise<Uint8Array<ArrayBuffer>> {
  if (file.size > MOST_BYTES) throw new ImageError(`it is larger than ${MOST_BYTES >> 20} MiB`);
  try {
    const content = new Uint8Array(await file.arrayBuffer());
    if (content.length) return content;
  } catch (error) {
    throw new ImageError(`it cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw new ImageError("it is empty");
}
