import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { badImage, MOST_BYTES } from "../media/image.ts";
import { sniff } from "../media/sniff.ts";
import { quoted } from "../options.ts";
import { fetchLimited, otherScheme } from "../platform/fetch.ts";

/** What PNG, JPEG, GIF, WebP and other files begin with, in base64. */
const BASE64_FILE = /^(iVBORw0KGgo|\/9j\/|R0lGOD|UklGR|Qk[0-2]|PHN2Zy|JVBERi)/;

/** Base64, with or without line breaks, that is too long for a path, or begins as a picture's file does. */
function isBase64(text: string): boolean {
  if (text.length < 40 || (text.length < 260 && !BASE64_FILE.test(text))) return false;
  return /^[A-Za-z0-9+/_\s-]+=*\s*$/.test(text);
}

/** Whether a text names a resource that is fetched, and not a local file. `C:` is a drive. */
export const isUrl = (text: string): boolean => /^\s*(https?|data|blob):/i.test(text);

const noAddress = (address: string, scheme: string, what: string): EngineError =>
  new EngineError("bad-input", `${what} is ${quoted(address)}: addresses with ${quoted(scheme)} cannot be read here`, {
    hint: "give a path, an http(s), data, blob or file address, or the bytes",
  });

/** What a Blob's address gives. The Blob is there as long as nobody takes the address back, and in its own page or thread. */
async function bytesOfBlobUrl(address: string, what: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  try {
    return await fetchLimited(address, { what, maxBytes: MOST_BYTES, signal });
  } catch (cause) {
    if ((cause as EngineError).code !== "network") throw cause;
    const hint = "give the Blob itself, or call URL.revokeObjectURL when the answer is there";
    throw new EngineError("bad-input", `${what} is ${quoted(address)}: there is no Blob with this address, or no longer`, { hint, cause });
  }
}

/**
 * The bytes of a picture that a text names: a path, or an address (`http`, `https`, `data`, `blob`, `file`).
 *
 * @param what how messages call the picture: `image 2`
 * @throws EngineError bad-input, bad-image, limit-exceeded, network, aborted
 */
export async function bytesAt(given: string, what: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const address = isUrl(given) ? given.trim() : given; // as addresses are read everywhere; a path may begin with a space
  if (/^data:/i.test(address)) return bytesOfDataUrl(address, what);
  if (/^blob:/i.test(address)) return bytesOfBlobUrl(address, what, signal);
  if (isUrl(address)) return fetchLimited(address, { what, maxBytes: MOST_BYTES, signal });
  if (/^file:/i.test(address)) return platform.readFile(platform.pathOfUrl(address), MOST_BYTES);
  if (isBase64(address)) {
    const problem = `${what} is a text of ${address.length} characters that looks like base64, needs a path or an address`;
    throw new EngineError("bad-input", problem, { hint: 'put "data:image/png;base64," in front of it (or image/jpeg), or give its bytes' });
  }
  const scheme = otherScheme(address);
  if (scheme !== undefined) throw noAddress(address, scheme, what);
  if (address === "")
    throw new EngineError("bad-input", `${what} is an empty text, needs a path or an address`, { hint: "give the file's path" });
  if (address.includes("\0"))
    throw new EngineError("bad-input", `${what} is a path with a zero character in it`, { hint: "give the file's path" });
  return platform.readFile(address, MOST_BYTES);
}

/** What a URL object names, as a text. `new URL("C:/pic.png")` takes the drive for a scheme: that is undone. @throws EngineError bad-input */
export function addressOf({ href, protocol, pathname }: URL, what: string): string {
  if (/^[a-z]:$/i.test(protocol)) return protocol + decodeURIComponent(pathname);
  if (isUrl(protocol) || protocol === "file:") return href;
  throw noAddress(href, protocol.slice(0, -1), what);
}

/** Reads a data URL itself: fetch would do it too, but pages may forbid that. The content's type is not trusted. */
function bytesOfDataUrl(url: string, what: string): Uint8Array {
  const comma = url.indexOf(",");
  const type = /^data:([^;,]*)/i.exec(url.slice(0, 1000))?.[1];
  const isBase64 = /;\s*base64\s*$/i.test(url.slice(Math.max(0, comma - 100), comma)); // whatever parameters stand before
  const hint = "Write data:image/png;base64, and then the file in base64.";
  const broken = (why: string, cause?: unknown) => badImage(`${what} is a data URL of ${url.length} characters ${why}`, hint, cause);
  if (comma < 0) throw broken("without a comma, behind which its data are");
  let bytes: Uint8Array;
  try {
    const text = percentDecoded(url.slice(comma + 1));
    if (isBase64) {
      const packed = atob(latin1(text).replace(/-/g, "+").replace(/_/g, "/"));
      bytes = Uint8Array.from({ length: packed.length }, (_, i) => packed.charCodeAt(i));
    } else bytes = text;
  } catch (cause) {
    throw broken("whose base64 is damaged or cut off", cause);
  }
  if (bytes.length === 0) throw broken("without data");
  if (type && !/^(image|video)\/|octet-stream/i.test(type) && sniff(bytes) === "unknown")
    throw broken(`that holds ${quoted(type)}, no picture`);
  return bytes;
}

/** The bytes that a percent-encoded text stands for; other characters stand for themselves, in UTF-8. */
function percentDecoded(text: string): Uint8Array {
  const encoded = new TextEncoder().encode(text);
  if (!text.includes("%")) return encoded;
  const bytes = new Uint8Array(encoded.length);
  let length = 0;
  for (let i = 0; i < encoded.length; i++) {
    const hex = encoded[i] === 0x25 ? String.fromCharCode(...encoded.subarray(i + 1, i + 3)) : "";
    const coded = /^[0-9a-f]{2}$/i.test(hex);
    bytes[length++] = coded ? Number.parseInt(hex, 16) : encoded[i]!;
    if (coded) i += 2;
  }
  return bytes.subarray(0, length);
}

const latin1 = (bytes: Uint8Array): string => new TextDecoder("latin1").decode(bytes);
