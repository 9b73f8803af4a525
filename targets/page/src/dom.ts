// Small helpers for the page's elements.

export const element = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;

/** The bytes of a data block, which is emptied: they are needed once. */
export function bytesOf(id: string): Uint8Array<ArrayBuffer> {
  const block = element(id);
  const binary = atob(block.textContent ?? "");
  block.textContent = "";
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export function made<K extends keyof HTMLElementTagNameMap>(name: K, content: string, kind = ""): HTMLElementTagNameMap[K] {
  const node = document.createElement(name);
  node.textContent = content;
  if (kind) node.className = kind;
  return node;
}

/** Let the browser save a text as a file. */
export function download(name: string, content: string): void {
  const link = document.createElement("a");
  const url = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
