import type { LanguageModelV3CallOptions, LanguageModelV3FilePart, LanguageModelV3Prompt, SharedV3Warning } from "@ai-sdk/provider";
import { toBase64 } from "../api/base64.ts";
import type { ChatCompletionRequest, ChatMessage, ChatPart, ResponseFormat } from "../api/openai-types.ts";
import { EngineError } from "../errors.ts";

const unsupported = (what: string): EngineError =>
  new EngineError("bad-input", `${what} cannot be given to this model`, { hint: "give texts, and files whose type is image/…" });

function picture({ data, mediaType }: LanguageModelV3FilePart): ChatPart {
  if (!mediaType.startsWith("image/")) throw unsupported(`a file of type ${mediaType}`);
  if (data instanceof URL || /^[a-z]+:/i.test(String(data).slice(0, 10))) return { type: "image_url", image_url: { url: String(data) } };
  const type = mediaType === "image/*" ? "image/png" : mediaType; // whoever decodes it looks at the bytes
  const packed = typeof data === "string" ? data : toBase64(data as Uint8Array);
  return { type: "image_url", image_url: { url: `data:${type};base64,${packed}` } };
}

type ToolOutput = Extract<Extract<LanguageModelV3Prompt[number], { role: "tool" }>["content"][number], { type: "tool-result" }>["output"];

function outputText(output: ToolOutput): string {
  if (output.type === "text" || output.type === "error-text") return output.value;
  if (output.type === "json" || output.type === "error-json") return JSON.stringify(output.value);
  if (output.type === "execution-denied") return output.reason ?? "denied";
  return output.value.map((part) => (part.type === "text" ? part.text : JSON.stringify(part))).join("\n");
}

/** The AI SDK's messages in OpenAI's form. */
function messagesOf(prompt: LanguageModelV3Prompt): ChatMessage[] {
  return prompt.flatMap((message): ChatMessage[] => {
    switch (message.role) {
      case "system":
        return [{ role: "system", content: message.content }];
      case "user":
        return [
          {
            role: "user",
            content: message.content.map((part) => (part.type === "text" ? { type: "text", text: part.text } : picture(part))),
          },
        ];
      case "tool":
        return message.content.flatMap((part) =>
          part.type === "tool-result" ? [{ role: "tool" as const, tool_call_id: part.toolCallId, content: outputText(part.output) }] : [],
        );
      case "assistant": {
        const content = message.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("");
        const calls = message.content.flatMap((part) =>
          part.type === "tool-call"
            ? [{ id: part.toolCallId, type: "function" as const, function: { name: part.toolName, arguments: JSON.stringify(part.input) } }]
            : [],
        );
        return [{ role: "assistant", content, ...(calls.length > 0 ? { tool_calls: calls } : {}) }];
      }
      default:
        throw unsupported(`a message of role ${(message satisfies never as { role: string }).role}`);
    }
  });
}

function formatOf(format: LanguageModelV3CallOptions["responseFormat"]): ResponseFormat | undefined {
  if (format?.type !== "json") return undefined;
  const { schema, name = "answer", description } = format;
  return schema ? { type: "json_schema", json_schema: { name, description, schema } } : { type: "json_object" };
}

/** A call's options as a request, and what of them has no effect. @throws EngineError bad-input */
export function requestOf(options: LanguageModelV3CallOptions): { request: ChatCompletionRequest; warnings: SharedV3Warning[] } {
  const { prompt, maxOutputTokens, temperature, topP, topK, stopSequences, seed, responseFormat, tools, toolChoice } = options;
  const warnings: SharedV3Warning[] = [];
  const without = (feature: string, is: boolean) => is && warnings.push({ type: "unsupported", feature });
  const functions = tools?.flatMap((tool) =>
    tool.type === "function"
      ? [
          {
            type: "function" as const,
            function: { name: tool.name, description: tool.description, parameters: tool.inputSchema as object, strict: tool.strict },
          },
        ]
      : [],
  );
  without("provider-defined tools", functions?.length !== tools?.length);
  const choice = toolChoice?.type === "tool" ? { type: "function" as const, function: { name: toolChoice.toolName } } : toolChoice?.type;
  return {
    request: {
      messages: messagesOf(prompt),
      max_completion_tokens: maxOutputTokens,
      temperature: temperature ?? 0,
      top_p: topP,
      top_k: topK,
      stop: stopSequences?.length ? stopSequences : undefined,
      seed,
      presence_penalty: options.presencePenalty,
      frequency_penalty: options.frequencyPenalty,
      response_format: formatOf(responseFormat),
      tools: functions?.length ? functions : undefined,
      tool_choice: functions?.length ? choice : undefined,
    },
    warnings,
  };
}
