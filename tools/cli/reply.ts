import type { ChatReply, ChatResult } from "../../src/index.ts";
import { clearStatus } from "./status.ts";

/** Writes an answer as it comes, and a line's end behind it, also where it breaks off. @throws EngineError */
export async function writeReply(reply: ChatReply, output: { write(text: string): unknown }): Promise<ChatResult> {
  let begun = false;
  try {
    for await (const piece of reply) {
      if (!begun) clearStatus();
      output.write(piece);
      begun = true;
    }
  } catch (error) {
    if (begun) output.write("\n"); // what is said of the error gets a line of its own
    throw error;
  }
  clearStatus();
  output.write("\n");
  return reply;
}

const seconds = (ms: number): string => (ms < 10_000 ? (ms / 1000).toFixed(2) : (ms / 1000).toFixed(0));

/** What an answer has cost, in one line. */
export function statsOf({ usage, timings }: Pick<ChatResult, "usage" | "timings">): string {
  const { promptTokens, cachedTokens, completionTokens } = usage;
  const cached = cachedTokens > 0 ? ` (${cachedTokens} cached)` : "";
  const first = seconds(timings.prepare + timings.firstToken);
  const steps = completionTokens - 1; // the first token is the prefill's
  const rate = steps > 0 && timings.decode > 0 ? `, ${((1000 * steps) / timings.decode).toFixed(1)} tokens/s` : "";
  return `prompt ${promptTokens} tokens${cached}, first token after ${first} s; answer ${completionTokens} tokens in ${seconds(timings.decode)} s${rate}`;
}
