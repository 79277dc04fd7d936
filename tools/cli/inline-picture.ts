import { readFile } from "node:fs/promises";
import { deflateSync } from "node:zlib";
import { toRgb } from "../../src/api/images.ts";

/** How a terminal takes pictures: by kitty's protocol (also Ghostty, Konsole) or by iTerm2's (also WezTerm, mintty, VS Code). */
export type Protocol = "kitty" | "iterm2";

const KITTY = /kitty|ghostty|konsole/i;
const ITERM2 = /iterm|wezterm|mintty|vscode/i;

/** What the terminal can, by what it says of itself. A multiplexer would print the data as text: none there, unless INTERNVL_INLINE says which. */
export function inlineProtocol(env: NodeJS.ProcessEnv, isTTY: boolean): Protocol | undefined {
  if (!isTTY) return undefined;
  const wish = env.INTERNVL_INLINE?.toLowerCase();
  if (wish) return wish === "kitty" || wish === "iterm2" ? wish : undefined;
  if (env.TMUX || env.STY || env.TERM === "dumb") return undefined;
  const names = [env.TERM, env.TERM_PROGRAM, env.LC_TERMINAL, env.KITTY_WINDOW_ID && "kitty", env.KONSOLE_VERSION && "konsole"].join(" ");
  return KITTY.test(names) ? "kitty" : ITERM2.test(names) ? "iterm2" : undefined;
}

const MOST_SIDE = 480; // pixels that are sent
const COLUMNS = 40; // of the terminal
const CHUNK = 4096; // letters of base64, kitty's limit
const MOST_FILE = 2 ** 23; // bytes that iTerm2 gets

/** RGB [height, width, 3], every n-th pixel where it is large. */
function thinned({ data, width, height }: { data: ArrayLike<number>; width: number; height: number }) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / MOST_SIDE));
  const [w, h] = [Math.ceil(width / step), Math.ceil(height / step)];
  const out = new Uint8Array(3 * w * h);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) for (let c = 0; c < 3; c++) out[3 * (y * w + x) + c] = data[3 * (y * step * width + x * step) + c]!;
  return { data: out, width: w, height: h };
}

/** What shows a picture in a terminal. `undefined` where it cannot be shown: nothing depends on it. */
export async function inlinePicture(image: string | Uint8Array, protocol: Protocol): Promise<string | undefined> {
  try {
    if (protocol === "iterm2") {
      const bytes = typeof image !== "string" ? image : /^\w{2,}:/.test(image) ? undefined : await readFile(image);
      if (!bytes || bytes.length > MOST_FILE) return undefined;
      const head = `File=inline=1;size=${bytes.length};width=${COLUMNS};preserveAspectRatio=1`;
      return `\u001b]1337;${head}:${Buffer.from(bytes).toString("base64")}\u0007\n`;
    }
    const { data, width, height } = thinned(await toRgb(image, { name: "the picture", signal: new AbortController().signal }));
    const text = deflateSync(data).toString("base64");
    const columns = Math.min(COLUMNS, Math.ceil(width / 8));
    let out = "";
    for (let at = 0; at < text.length; at += CHUNK) {
      const head = at === 0 ? `a=T,f=24,o=z,s=${width},v=${height},c=${columns},q=2,` : "";
      out += `\u001b_G${head}m=${at + CHUNK < text.length ? 1 : 0};${text.slice(at, at + CHUNK)}\u001b\\`;
    }
    return `${out}\n`;
  } catch {
    return undefined;
  }
}
