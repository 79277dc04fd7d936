// What a file is, by how it begins.

/** How many bytes of a file's beginning are enough to tell what it is. */
export const ENOUGH = 256;

/** How a file begins, a character for each byte. */
export const beginning = (bytes: Uint8Array): string => new TextDecoder("latin1").decode(bytes.subarray(0, ENOUGH));

/** Whether a file begins as a web page does; any markup counts where the server says that it is one. */
export function isPage(bytes: Uint8Array, saidToBe = false): boolean {
  const start = beginning(bytes).replace(/^ï»¿/, ""); // a UTF-8 BOM
  if (start[8] === "{" && start[7] === "\0") return false; // a safetensors header, whose length may begin with any byte
  return (saidToBe ? /^\s*<[a-z!?/]/i : /^\s*<(!doctype\s*$|!doctype html|html[\s>]|html$)/i).test(start);
}

/** Of this the first 9 bytes are enough: no other file of a checkpoint begins so. */
export const isPointer = (bytes: Uint8Array): boolean => /^version (h$|https:\/\/git-lfs)/.test(beginning(bytes));

/** Whether something else lies in a file's place, told by its first bytes (9 are enough). */
export const isForeign = (bytes: Uint8Array): boolean => isPointer(bytes) || beginning(bytes).startsWith("GGUF") || isPage(bytes);
