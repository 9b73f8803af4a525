// Builds what the page's writer puts together: `npm ci && node build.mjs`. The same packages give the same bytes.

import { build } from "esbuild";
import { gunzipSync, gzipSync } from "fflate";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const home = dirname(fileURLToPath(import.meta.url));
const decoders = process.argv[2] === "--decoders"; // for the parity test, in the folder named behind it
const out = resolve(home, decoders ? process.argv[3] : (process.argv[2] ?? "built"));
const modules = join(home, "node_modules");
mkdirSync(out, { recursive: true });

/** What ends up in the page, and where its licence is: in the package, or here where the package lacks it. */
const PARTS = [
  { name: "onnxruntime-web", licence: "MIT", text: join(home, "licences/onnxruntime.txt") },
  { name: "onnxruntime-common", licence: "MIT", text: join(home, "licences/onnxruntime.txt") },
  {
    name: "@cornerstonejs/codec-libjpeg-turbo-8bit",
    licence: "ISC AND IJG AND BSD-3-Clause",
    text: join(home, "licences/libjpeg-turbo.txt"),
  },
  { name: "fflate", licence: "MIT", text: join(modules, "fflate/LICENSE") },
  { name: "dicom-parser", licence: "MIT", text: join(modules, "dicom-parser/LICENSE") },
];

function licences() {
  const texts = PARTS.map(({ name, licence, text }) => {
    const content = readFileSync(text, "utf8").replaceAll("\r\n", "\n").trim();
    return `${name} ${versionOf(name)} (${licence})\n\n${content}\n`;
  });
  // what ONNX Runtime itself is made of, from its release; the list covers more than its WebAssembly build
  const notices = gunzipSync(readFileSync(join(home, "licences/onnxruntime-third-party.txt.gz")));
  texts.push(`ONNX Runtime: third-party notices\n\n${new TextDecoder().decode(notices).replaceAll("\r\n", "\n")}`);
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

const versionOf = (name) => JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8")).version;

/** The page's parts as a CycloneDX list. */
function bom() {
  const components = PARTS.map(({ name, licence }) => ({
    type: "library",
    name,
    version: versionOf(name),
    purl: `pkg:npm/${name.replace("@", "%40")}@${versionOf(name)}`,
    licenses: [licence.includes(" ") ? { expression: licence } : { license: { id: licence } }],
  }));
  return `${JSON.stringify({ bomFormat: "CycloneDX", specVersion: "1.6", version: 1, components }, null, 1)}\n`;
}

const common = {
  absWorkingDir: home,
  bundle: true,
  format: "iife",
  target: ["chrome109", "firefox115", "safari16.4"],
  minify: true,
  charset: "ascii",
  legalComments: "none",
  write: false,
  // what could reach for a network is taken out of the packages: the page has all it needs
  define: Object.fromEntries(
    ["fetch", "XMLHttpRequest", "WebSocket", "EventSource", "importScripts", "RTCPeerConnection"].map((name) => [name, "undefined"]),
  ),
  // two packages ask for these where they run in node, which the page never does
  alias: { zlib: join(home, "src/nothing.ts"), fs: join(home, "src/nothing.ts"), path: join(home, "src/nothing.ts") },
};

/** One entry as one script; nothing in it may end the block of HTML it stands in. */
async function script(entry, options = {}) {
  const result = await build({ ...common, entryPoints: [join("src", entry)], ...options });
  return result.outputFiles[0].text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
}

const zipped = (bytes) => gzipSync(bytes, { level: 9, mtime: 0 });
const fromPackage = (path) => zipped(readFileSync(join(modules, path)));

if (decoders) {
  const alias = { zlib: common.alias.zlib };
  writeFileSync(join(out, "decoders.cjs"), await script("decoders.ts", { format: "cjs", platform: "node", alias }));
} else {
  writeFileSync(join(out, "page.js"), await script("page.ts"));
  writeFileSync(join(out, "worker.js"), await script("worker.ts"));
  writeFileSync(join(out, "licences.txt.gz"), zipped(new TextEncoder().encode(licences())));
  writeFileSync(join(out, "bom.json"), bom());
  writeFileSync(join(out, "ort.wasm.gz"), fromPackage("onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"));
  writeFileSync(
    join(out, "jpeg.wasm.gz"),
    fromPackage("@cornerstonejs/codec-libjpeg-turbo-8bit/dist/libjpegturbowasm_decode.wasm"),
  );
}
