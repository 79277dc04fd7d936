import { EngineError } from "../errors.ts";
import { any, count, flag, number, readOptions, signal, wrong } from "../options.ts";
import { leaving } from "./aborting.ts";
import { checkBiases } from "./answer.ts";
import { bodyOf, newId } from "./openai.ts";
import { Answers, type Observe } from "./openai-answers.ts";
import { generationOf, readFields, SAMPLING, unsupported } from "./openai-fields.ts";
import type { CompletionTimings, CompletionUsage, FinishReason, TokenLogprob } from "./openai-types.ts";
import type { Parts } from "./parts.ts";
import { isList } from "./pictures.ts";
import { checkLength } from "./prompt.ts";

/** OpenAI's older form: a text that is gone on with, without a chat's template. Streamed chunks have the same form. */
export interface TextCompletion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: { index: number; text: string; logprobs: TextLogprobs | null; finish_reason: FinishReason | null }[];
  usage?: CompletionUsage | null;
  timings?: CompletionTimings;
}

interface TextLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  /** Where each token begins in the text. */
  text_offset: number[];
}

const MOST_PROMPTS = 128;
const DEFAULT_TOKENS = 16;

const FIELDS = {
  ...SAMPLING,
  prompt: any,
  logprobs: number("an integer from 0 to 5", (v) => Number.isInteger(v) && v >= 0 && v <= 5),
  echo: flag,
  best_of: count,
  suffix: (_: unknown, name: string) => {
    throw unsupported(name);
  },
};

/** A text's ids; a special token's name in it is text. @throws EngineError context-overflow where it is far too long */
async function idsOf(parts: Parts, text: string): Promise<number[]> {
  await checkLength([text], { tokenizer: parts.tokenizer, context: parts.model.maxContext });
  return parts.tokenizer.encodeParts([text]);
}

/** One prompt or several, each a text or ids. */
async function promptsOf(parts: Parts, value: unknown): Promise<number[][]> {
  const needs = `a text that is not empty, token ids, or a list of up to ${MOST_PROMPTS} of either`;
  const isIds = (each: unknown): each is number[] => Array.isArray(each) && each.length > 0 && typeof each[0] === "number";
  const list = typeof value === "string" || isIds(value) ? [value] : value;
  if (!isList(list) || list.length === 0 || list.length > MOST_PROMPTS) throw wrong("prompt", value, needs);
  const read = async (each: unknown): Promise<number[]> => {
    if (typeof each === "string" && each !== "") return idsOf(parts, each);
    if (!isIds(each)) throw wrong("prompt", each, needs);
    const bad = each.find((id) => !Number.isInteger(id) || id < 0 || id >= parts.config.language.vocabSize);
    if (bad !== undefined) throw wrong("prompt", bad, `token ids below ${parts.config.language.vocabSize}`);
    return each;
  };
  return Promise.all(Array.from(list, read));
}

/** Answers a request of OpenAI's completions, whole or as chunks. @throws EngineError as `complete` */
export async function completeText(
  parts: Parts,
  request: unknown,
  options: { signal: AbortSignal },
  observe?: Observe,
): Promise<TextCompletion | AsyncGenerator<TextCompletion, void, void>> {
  const read = readFields(bodyOf(request), FIELDS);
  const { signal: given } = readOptions("complete", options, { signal });
  const { n = 1, model = "internvl", echo = false, logprobs } = read;
  if (read.best_of !== undefined && read.best_of !== n) throw unsupported("best_of", "best_of other than n");
  if (echo && logprobs !== undefined) throw unsupported("echo", "echo together with logprobs");
  const prompts = await promptsOf(parts, read.prompt);
  if (prompts.length * n > MOST_PROMPTS)
    throw new EngineError("bad-input", `n asks for ${prompts.length * n} answers, at most ${MOST_PROMPTS} are given`, {
      param: "n",
      hint: "ask for fewer answers a prompt, or in several requests",
    });
  const generation = generationOf(read, Math.min(read.max_tokens ?? DEFAULT_TOKENS, parts.model.maxContext));
  checkBiases(parts, generation(0), "logit_bias");
  const asking = prompts.flatMap((inputIds) =>
    Array.from({ length: n }, (_, i) => ({ prompt: { inputIds, tiles: undefined, messages: [] }, generation: generation(i) })),
  );
  const head = { id: newId("cmpl"), object: "text_completion" as const, created: Math.floor(Date.now() / 1000), model };
  const answers = await Answers.start(parts, asking, given, { logprobs, raw: true, prepareMs: 0, observe });
  const echoed = (index: number) => (echo ? parts.tokenizer.decode(prompts[Math.floor(index / n)]!) : "");
  const offsets = asking.map(() => 0);
  const choice = (index: number, text: string, tokens: TokenLogprob[], finish: FinishReason | null) => ({
    index,
    text,
    logprobs: logprobs === undefined ? null : textLogprobs(tokens, offsets, index),
    finish_reason: finish,
  });

  async function* chunks(): AsyncGenerator<TextCompletion, void, void> {
    const usage = read.stream_options?.include_usage;
    const nothing = usage ? { usage: null } : {};
    if (echo) for (const index of asking.keys()) yield { ...head, choices: [choice(index, echoed(index), [], null)], ...nothing };
    for await (const { index, text, tokens, finish } of answers.news()) {
      yield { ...head, choices: [choice(index, text, tokens, finish ?? null)], ...nothing };
    }
    if (usage) yield { ...head, choices: [], ...answers.cost(prompts.length) };
  }
  if (read.stream) return leaving(chunks(), () => answers.abort());
  const whole = await answers.whole();
  const choices = whole.map(({ index, text, tokens, finish }) => choice(index, echoed(index) + text, tokens, finish!));
  return { ...head, choices, ...answers.cost(prompts.length) };
}

function textLogprobs(tokens: TokenLogprob[], offsets: number[], index: number): TextLogprobs {
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ top_logprobs }) => Object.fromEntries(top_logprobs.map(({ token, logprob }) => [token, logprob]))),
    text_offset: tokens.map(({ token }) => {
      const at = offsets[index]!;
      offsets[index] = at + token.length;
      return at;
    }),
  };
}
