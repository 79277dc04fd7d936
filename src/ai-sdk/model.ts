import type {
  LanguageModelV3,
  LanguageModelV3Content,
  LanguageModelV3FinishReason,
  LanguageModelV3StreamPart,
  LanguageModelV3ToolCall,
  LanguageModelV3Usage,
} from "@ai-sdk/provider";
import type { ChatCompletionChunk, ChatToolCall, Complete, CompletionUsage, FinishReason } from "../api/openai-types.ts";
import { abortedBy } from "../errors.ts";
import { requestOf } from "./prompt.ts";

const finishOf = (raw: FinishReason): LanguageModelV3FinishReason => ({ unified: raw === "tool_calls" ? "tool-calls" : raw, raw });

const usageOf = ({
  prompt_tokens: total,
  completion_tokens: out,
  prompt_tokens_details: { cached_tokens: cached },
}: CompletionUsage): LanguageModelV3Usage => ({
  inputTokens: { total, noCache: total - cached, cacheRead: cached, cacheWrite: undefined },
  outputTokens: { total: out, text: out, reasoning: undefined },
});

const callOf = ({ id, function: { name, arguments: input } }: ChatToolCall): LanguageModelV3ToolCall => ({
  type: "tool-call",
  toolCallId: id,
  toolName: name,
  input,
});

/** Chunks as the AI SDK's parts: one text, and calls, whose arguments come bit by bit and then as a whole. */
async function* partsOf(chunks: AsyncIterable<ChatCompletionChunk>): AsyncGenerator<LanguageModelV3StreamPart, void, void> {
  let text = false;
  const calls: ChatToolCall[] = [];
  let finish: FinishReason = "stop";
  for await (const { id, created, model, choices, usage } of chunks) {
    const [choice] = choices;
    if (choice?.delta.role) yield { type: "response-metadata", id, modelId: model, timestamp: new Date(created * 1000) };
    if (choice?.delta.content) {
      if (!text) yield { type: "text-start", id: "0" };
      text = true;
      yield { type: "text-delta", id: "0", delta: choice.delta.content };
    }
    for (const { index, id, function: said } of choice?.delta.tool_calls ?? []) {
      if (id) {
        calls[index] = { id, type: "function", function: { name: said.name!, arguments: "" } };
        yield { type: "tool-input-start", id, toolName: said.name! };
      }
      const call = calls[index]!;
      call.function.arguments += said.arguments;
      if (said.arguments) yield { type: "tool-input-delta", id: call.id, delta: said.arguments };
    }
    finish = choice?.finish_reason ?? finish;
    if (!usage) continue;
    if (text) yield { type: "text-end", id: "0" };
    for (const call of calls) {
      yield { type: "tool-input-end", id: call.id };
      yield callOf(call);
    }
    yield { type: "finish", finishReason: finishOf(finish), usage: usageOf(usage) };
  }
}

/** A loaded model, here or in a worker. */
export interface Completing {
  complete: Complete;
}

/**
 * A loaded model as the AI SDK takes it, in a page as in Node. Decoding is greedy where no temperature is given.
 *
 * @example
 * ```ts
 * const { textStream } = streamText({ model: internvl(vlm), prompt: "Hello!" });
 * for await (const piece of textStream) process.stdout.write(piece);
 * ```
 */
export function internvl(vlm: Completing, modelId = "internvl"): LanguageModelV3 {
  return {
    specificationVersion: "v3",
    provider: "internvl-webgpu",
    modelId,
    supportedUrls: {}, // the AI SDK itself fetches what is elsewhere
    async doGenerate({ abortSignal: signal, ...options }) {
      const { request, warnings } = requestOf(options);
      const { id, created, choices, usage } = await vlm.complete({ ...request, model: modelId, stream: false }, { signal });
      const { message, finish_reason: finish } = choices[0]!;
      const content: LanguageModelV3Content[] = [
        ...(message.content ? [{ type: "text" as const, text: message.content }] : []),
        ...(message.tool_calls ?? []).map(callOf),
      ];
      const response = { id, modelId, timestamp: new Date(created * 1000) };
      return { content, finishReason: finishOf(finish), usage: usageOf(usage), warnings, request: { body: request }, response };
    },
    async doStream({ abortSignal, ...options }) {
      const { request, warnings } = requestOf(options);
      const { abort, leave } = abortedBy(abortSignal);
      const streaming = { ...request, model: modelId, stream: true as const, stream_options: { include_usage: true } };
      const parts = partsOf(await vlm.complete(streaming, { signal: abort.signal }));
      const stream = new ReadableStream<LanguageModelV3StreamPart>({
        start: (controller) => controller.enqueue({ type: "stream-start", warnings }),
        async pull(controller) {
          try {
            const { done, value } = await parts.next();
            if (!done) return controller.enqueue(value);
          } catch (error) {
            controller.enqueue({ type: "error", error });
          }
          leave();
          controller.close();
        },
        cancel: () => abort.abort(),
      });
      return { stream, request: { body: request } };
    },
  };
}
