const CHUNK = 3 * 2 ** 13; // bytes at a time: a multiple of 3, and few enough for one call's arguments

/** Bytes as base64. */
export function toBase64(bytes: Uint8Array | Uint8ClampedArray): string {
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK) pieces.push(btoa(String.fromCharCode(...bytes.subarray(at, at + CHUNK))));
  return pieces.join("");
}

/** The bytes of a base64 text; `undefined` where it is none. */
export function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
