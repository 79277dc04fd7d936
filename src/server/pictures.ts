import { platform } from "#platform";
import { toBase64 } from "../api/base64.ts";
import { EngineError } from "../errors.ts";
import { isPicture, sniff } from "../media/sniff.ts";
import { isRecord } from "../options.ts";
import type { Settings } from "./options.ts";

const LIMITS = { maxBytes: 32 * 2 ** 20, seconds: 10 };

/** The file that an allowed address names. @throws EngineError bad-input, network, limit-exceeded */
async function opened(address: string, param: string, { allowImagesFrom, mediaRoot }: Settings, maxBytes: number): Promise<Uint8Array> {
  const refuse = (why: string) => new EngineError("bad-input", `${param} ${why}`, { param });
  if (!URL.canParse(address)) throw refuse("is not a URL; give a data URL");
  const url = new URL(address);
  if (url.protocol === "file:" && mediaRoot !== undefined) {
    let path: string;
    try {
      path = decodeURIComponent(url.pathname);
    } catch {
      throw refuse("is a damaged URL");
    }
    if (url.host !== "" || path.includes("\0")) throw refuse("names no file below the media folder");
    return (await platform.media()).readBelow(mediaRoot, path, maxBytes);
  }
  if (!/^https?:$/.test(url.protocol)) throw refuse("has a scheme that is not opened here; give a data URL");
  if (!allowImagesFrom.includes(url.host)) throw refuse("is on a host that is not fetched from; give a data URL");
  if (url.username || url.password) throw refuse("has a user's name in it");
  return (await platform.media()).fetchPublic(url, { ...LIMITS, maxBytes });
}

/** A request whose pictures are all data URLs: those that are named elsewhere, where that is allowed, have been opened. */
export async function withPictures(body: unknown, settings: Settings): Promise<unknown> {
  if (!isRecord(body) || !Array.isArray(body.messages)) return body; // refused by whoever reads it
  let left = settings.maxImages;
  let bytesLeft = settings.maxBody; // as many as if they had come with the request
  const part = async (given: unknown, at: string): Promise<unknown> => {
    if (!isRecord(given) || given.type !== "image_url") return given;
    const image = typeof given.image_url === "string" ? { url: given.image_url } : given.image_url;
    if (!isRecord(image) || typeof image.url !== "string" || /^data:/i.test(image.url)) return given;
    const param = `${at}.image_url.url`;
    if (--left < 0)
      throw new EngineError("bad-input", `messages have more than ${settings.maxImages} pictures`, { param, hint: "leave some out" });
    const bytes = await opened(image.url, param, settings, Math.min(LIMITS.maxBytes, bytesLeft));
    bytesLeft -= bytes.length;
    const format = sniff(bytes);
    if (!isPicture(format))
      throw new EngineError("bad-image", `${param} is not a picture, such as a PNG or JPEG file`, {
        param,
        hint: "give the address of the file itself, not of a page with it",
      });
    return { ...given, image_url: { ...image, url: `data:image/${format};base64,${toBase64(bytes)}` } };
  };
  const messages: unknown[] = [];
  for (const [i, message] of body.messages.entries()) {
    if (!isRecord(message) || !Array.isArray(message.content)) messages.push(message);
    else {
      const content: unknown[] = [];
      for (const [j, each] of message.content.entries()) content.push(await part(each, `messages[${i}].content[${j}]`));
      messages.push({ ...message, content });
    }
  }
  return { ...body, messages };
}
