import { late } from "../errors.ts";
import { readJpegFrame } from "./jpeg-frame.ts";
import { sniff } from "./sniff.ts";

/** The format and declared size of a PNG or JPEG, from its header alone: nothing is decoded or allocated. */
export async function readDimensions(bytes: Uint8Array): Promise<{ format: "png" | "jpeg"; width: number; height: number }> {
  const format = sniff(bytes);
  switch (format) {
    case "png": {
      const { readPngHeader } = await late("the decoder of PNGs", import("./png-header.ts"));
      const { width, height } = readPngHeader(bytes);
      return { format, width, height };
    }
    case "jpeg": {
      const { width, height } = readJpegFrame(bytes);
      return { format, width, height };
    }
    default:
      throw (await late("what tells why a picture cannot be read", import("./unsupported.ts"))).unsupported(format, bytes);
  }
}
