// The page: takes files, shows answers, saves them. What computes is the worker.

import { bytesOf, download, element, made } from "./dom";
import { inflated } from "./inflate";
import { entriesOf } from "./intake";
import { imagesAmong, type Found } from "./kinds";
import type { About, Answer, Ask, Broken, Start, Started } from "./messages";
import { printable, toCsv, toJsonLines, toList, type Decision, type Row } from "./results";
import { LANGUAGES, TEXTS, text, type Key, type Language } from "./texts";
import { draw, thumbnail } from "./thumbnails";

type Verdict = Decision | "unreadable";

const SYMBOLS: Record<Verdict, string> = { normal: "○", pneumonia: "▲", refer: "?", unreadable: "✕" };
const VERDICTS: Verdict[] = ["normal", "pneumonia", "refer", "unreadable"];

/** How often new rows appear, in milliseconds: one by one would cost more than the answers. */
const BEAT = 250;

const about = JSON.parse(element("data-about").textContent ?? "{}") as About;
const rows: Row[] = [];
const shown: { row: Row; item: HTMLLIElement }[] = [];
const waiting: Found[] = [];
let language: Language = "en";
let worker: Worker | null = null;
let inWork: Found | null = null;
let asked = 0;
let fresh: Answer[] = [];
let freshRows: Row[] = [];
let unsaved = 0;
let stored = true;
let batch = { done: 0, all: 0 };
let beat: ReturnType<typeof setTimeout> | undefined;

// --- texts

const say = (key: Key, places: Record<string, number> = {}): string => text(language, key, places);

function write(node: Element, key: Key, places: Record<string, number> = {}): void {
  node.textContent = say(key, places);
}

function translate(): void {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) write(node, node.getAttribute("data-text") as Key);
  document.title = say("title");
  const english = element("english");
  english.hidden = !!LANGUAGES[language].reviewer;
  english.replaceChildren();
  if (!english.hidden)
    for (const line of [`${say("notReviewed")} / ${TEXTS.en.notReviewed}`, TEXTS.en.notice, TEXTS.en.noExclusion])
      english.append(made("p", line));
  shown.forEach(({ row, item }, i) => label(item, row, i));
  showTotals();
  showFacts();
  if (document.documentElement.dataset.state) showState();
}

/** A verdict's word; where the translation is not reviewed, with the English one behind it. */
function word(verdict: Verdict): string {
  return LANGUAGES[language].reviewer ? say(verdict) : `${say(verdict)} (${TEXTS.en[verdict]})`;
}

// --- start

let selftest = "";

function showState(): void {
  const state = document.documentElement.dataset.state;
  const status = element("status");
  status.classList.toggle("failed", state === "failed");
  if (state === "starting") status.textContent = say("starting");
  else if (state === "ready") status.textContent = `✓ ${say("passed")} (${selftest})`;
  else {
    const english = LANGUAGES[language].reviewer ? "" : ` / ${TEXTS.en.failed}`;
    status.textContent = `✕ ${say("failed")}${english} (${selftest})`;
  }
}

function setState(state: "starting" | "ready" | "failed", message: string): void {
  document.documentElement.dataset.state = state;
  selftest = message;
  element("work").hidden = state !== "ready";
  showState();
}

/** What the page cannot do without; a small module with one SIMD instruction stands for the runtime's. */
function browserIsRecent(): boolean {
  const simd = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);
  return (
    typeof WebAssembly === "object" && WebAssembly.validate(simd) && typeof DecompressionStream === "function" &&
    typeof Worker === "function" && !!globalThis.crypto?.subtle
  );
}

function start(): void {
  const select = element<HTMLSelectElement>("language");
  for (const [code, { name }] of Object.entries(LANGUAGES)) {
    const option = made("option", name);
    option.value = code;
    option.lang = code;
    select.append(option);
  }
  select.addEventListener("change", () => {
    language = select.value as Language;
    translate();
  });
  translate();
  if (!browserIsRecent()) {
    element("status").textContent = TEXTS.en.tooOld;
    return;
  }
  setState("starting", "");
  listen();
  const code = new Blob([element("data-worker").textContent ?? ""], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(code));
  worker.addEventListener("message", ({ data }: MessageEvent<Started | Answer | Broken>) => receive(data));
  worker.addEventListener("error", (event) => setState("failed", event.message || "the worker cannot start"));
  const [model, ort, jpeg] = [bytesOf("data-model"), bytesOf("data-ort"), bytesOf("data-jpeg")];
  const message: Start = { kind: "start", about, model, ort, jpeg };
  worker.postMessage(message, [model.buffer, ort.buffer, jpeg.buffer]);
}

function receive(message: Started | Answer | Broken): void {
  if (message.kind === "answer") take(message);
  else if (message.kind === "broken") {
    waiting.length = 0;
    inWork = null;
    flush();
    setState("failed", message.message);
    element("status").textContent = `✕ ${say("broken")} (${message.message})`;
    element("work").hidden = false; // what was answered before can still be saved
    element("drop").hidden = true;
  } else {
    setState(message.passed ? "ready" : "failed", message.message);
    if (message.passed) restore();
  }
}

// --- taking files in

function listen(): void {
  const [files, folder] = [element<HTMLInputElement>("files"), element<HTMLInputElement>("folder")];
  files.addEventListener("change", () => {
    add([...(files.files ?? [])].map((file) => ({ path: file.name, file })));
    files.value = "";
  });
  folder.addEventListener("change", () => {
    void addFolder([...(folder.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
    folder.value = "";
  });
  const drop = element("drop");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
    addEventListener(kind, (event) => {
      event.preventDefault(); // a file dropped beside the zone must not replace the page
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") void dropped((event as DragEvent).dataTransfer);
    });
  addEventListener("paste", (event) => {
    const pasted = [...((event as ClipboardEvent).clipboardData?.files ?? [])];
    add(pasted.map((file) => ({ path: file.name, file })));
  });
  addEventListener("beforeunload", (event) => {
    if (unsaved || inWork) event.preventDefault();
  });
  addEventListener("beforeprint", () => shown.forEach(({ item }) => draw(item.querySelector("canvas")!)));
  element("parts").addEventListener("toggle", () => void showLicences(), { once: true });
  element("cancel").addEventListener("click", cancel);
  element("print").addEventListener("click", () => print());
  element("clear").addEventListener("click", clear);
  element("save").addEventListener("click", () => save("csv", toCsv(rows)));
  element("save-json").addEventListener("click", () => save("jsonl", toJsonLines(rows)));
}

async function dropped(transfer: DataTransfer | null): Promise<void> {
  if (!transfer || document.documentElement.dataset.state !== "ready") return;
  for (const { folder, files } of await entriesOf(transfer)) {
    if (folder) await addFolder(files);
    else add(files);
  }
}

async function addFolder(files: Found[]): Promise<void> {
  const images = await imagesAmong(files);
  add(images);
  const left = files.length - images.length;
  element("said").textContent = left ? say("leftOut", { n: left }) : "";
}

function add(files: Found[]): void {
  if (document.documentElement.dataset.state !== "ready" || !files.length) return;
  element("said").textContent = "";
  delete document.documentElement.dataset.idle;
  if (!inWork && !waiting.length) batch = { done: 0, all: 0 };
  batch.all += files.length;
  waiting.push(...files);
  element("running").hidden = false;
  showProgress();
  if (!inWork) next();
}

function next(): void {
  inWork = waiting.shift() ?? null;
  if (!inWork) {
    flush();
    return;
  }
  const message: Ask = { kind: "ask", id: ++asked, file: inWork.file };
  worker?.postMessage(message);
}

function cancel(): void {
  const left = waiting.length;
  waiting.length = 0;
  batch.all -= left;
  element("said").textContent = say("cancelled", { n: left });
}

// --- answers

function take(answer: Answer): void {
  if (!inWork || answer.id !== asked) return;
  const { probability, decision, sha256, time_ms } = answer;
  freshRows.push({
    probability,
    decision,
    error: printable(answer.error),
    warnings: printable(answer.warnings),
    threshold: about.contract.threshold,
    time_ms,
    screened_at: `${new Date().toISOString().slice(0, 19)}+00:00`,
    notice: about.contract.notice,
    file: printable(inWork.path),
    sha256,
    artifact: about.artifact,
  });
  fresh.push(answer);
  batch.done++;
  beat ??= setTimeout(flush, BEAT);
  next();
}

/** Show and keep what came since the last time. */
function flush(): void {
  clearTimeout(beat);
  beat = undefined;
  freshRows.forEach((row, i) => {
    rows.push(row);
    appear(row, fresh[i].pixels);
    store(row);
  });
  unsaved += freshRows.length;
  freshRows = [];
  fresh = [];
  showProgress();
  showTotals();
  if (inWork) return;
  element("running").hidden = true;
  element("results").textContent = JSON.stringify(rows).replaceAll("<", "\\u003c");
  document.documentElement.dataset.done = String(rows.length);
  document.documentElement.dataset.idle = "1";
}

function appear(row: Row, pixels: Uint8Array | null): void {
  const item = document.createElement("li");
  const canvas = thumbnail(pixels);
  const side = document.createElement("div");
  item.append(canvas, side);
  label(item, row, shown.length);
  shown.push({ row, item });
  element("list").append(item);
}

const verdictOf = (row: Row): Verdict => row.decision ?? "unreadable";

/** The words of one row, in the language of the moment. */
function label(item: HTMLLIElement, row: Row, index: number): void {
  const [canvas, side] = item.children;
  if (canvas.hasAttribute("role")) canvas.setAttribute("aria-label", say("seen"));
  const verdict = verdictOf(row);
  side.replaceChildren(made("div", `${index + 1}. ${row.file}`, "name"));
  const answer = made("div", "", `answer ${verdict}`);
  const symbol = made("span", `${SYMBOLS[verdict]} `);
  symbol.setAttribute("aria-hidden", "true");
  answer.append(symbol, word(verdict));
  side.append(answer);
  if (row.probability !== null) side.append(made("div", `${say("probability")}: ${row.probability.toFixed(4)}`));
  const reasons = [row.error, row.warnings].filter(Boolean).join("; ");
  if (reasons) {
    const why = made("div", reasons, "why");
    why.lang = "en";
    side.append(why);
  }
}

function showProgress(): void {
  element("progress").textContent = say("progress", batch);
  element<HTMLProgressElement>("bar").value = batch.all ? batch.done / batch.all : 0;
}

function showTotals(): void {
  element("found").hidden = !rows.length;
  const counts = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])) as Record<Verdict, number>;
  for (const row of rows) counts[verdictOf(row)]++;
  element("totals").replaceChildren(
    ...VERDICTS.map((verdict) => {
      const group = document.createElement("div");
      group.append(made("dt", `${SYMBOLS[verdict]} ${word(verdict)}`, verdict), made("dd", String(counts[verdict])));
      return group;
    }),
  );
  element("unsaved").textContent = say(unsaved ? "unsaved" : "saved");
  element("kept").textContent = say(stored ? "kept" : "notKept");
}

function facts(list: HTMLElement, pairs: [string, string][]): void {
  list.replaceChildren(...pairs.flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
}

function showFacts(): void {
  const { contract } = about;
  facts(element("facts"), [
    [say("model"), `${contract.source_name}, ${contract.precision}; udacimed-edge ${contract.toolkit_version}`],
    [say("digest"), about.artifact],
    [say("threshold"), String(contract.threshold)],
    [say("thresholdOrigin"), contract.threshold_origin],
  ]);
  facts(element("figures"), about.figures.map(({ name, value, interval }) => [name, interval ? `${value} (${interval})` : value]));
  const { source_name, precision, threshold, toolkit_version } = contract;
  element("imprint").textContent =
    `udacimed-edge ${toolkit_version}: ${source_name} ${precision}, ${about.artifact.slice(0, 12)}, ${say("threshold").toLowerCase()} ${threshold.toFixed(4)}`;
  write(element("figures-title"), "figures");
  element("figures-title").hidden = !about.figures.length;
}

async function showLicences(): Promise<void> {
  element("licences").textContent = new TextDecoder().decode(await inflated(bytesOf("data-licences")));
}

// --- saving

/** Two files: the results with numbers, and the list that says which number is which file. */
function save(suffix: string, content: string): void {
  const when = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
  download(`results-${when}.${suffix}`, content);
  setTimeout(() => download(`names-KEEP-HERE-${when}.csv`, toList(rows)), 500);
  unsaved = 0;
  showTotals();
}

function clear(): void {
  if (inWork || (unsaved && !confirm(say("clearSure")))) return;
  rows.length = shown.length = 0;
  unsaved = 0;
  element("list").replaceChildren();
  element("results").textContent = "[]";
  delete document.documentElement.dataset.done;
  try {
    sessionStorage.clear();
  } catch {
    stored = false;
  }
  showTotals();
}

/** Keep a row for the case that the page is loaded again. */
function store(row: Row): void {
  if (!stored) return;
  try {
    sessionStorage.setItem(`${about.artifact} ${rows.length}`, JSON.stringify(row));
  } catch {
    stored = false;
  }
}

function restore(): void {
  try {
    for (let i = 1; ; i++) {
      const kept = sessionStorage.getItem(`${about.artifact} ${i}`);
      if (!kept) break;
      const row = JSON.parse(kept) as Row;
      rows.push(row);
      appear(row, null);
    }
  } catch {
    stored = false;
  }
  unsaved = rows.length;
  if (rows.length) flush();
}

start();
