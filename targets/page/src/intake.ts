// Files that were dropped, folders with all below them.

import type { Found } from "./kinds";

/** What was dropped, one list for each file or folder. */
export async function entriesOf(transfer: DataTransfer): Promise<{ folder: boolean; files: Found[] }[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => !!entry);
  if (!entries.length) return [{ folder: false, files: [...transfer.files].map((file) => ({ path: file.name, file })) }];
  return Promise.all(entries.map(async (entry) => ({ folder: entry.isDirectory, files: await filesOf(entry) })));
}

async function filesOf(entry: FileSystemEntry): Promise<Found[]> {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    const file = await new Promise<File | null>((done) => (entry as FileSystemFileEntry).file(done, () => done(null)));
    return file ? [{ path, file }] : [];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Found[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((done) => reader.readEntries(done, () => done([])));
    if (!some.length) return found;
    for (const one of some) found.push(...(await filesOf(one)));
  }
}
