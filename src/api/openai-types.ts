// The forms of OpenAI's chat completions, as far as this library has them. Names are theirs.

/** A text of a message. */
export interface ChatTextPart {
  type: "text";
  text: string;
}

/** A picture as a `data:image/…;base64,` URL. `detail: "low"` stands for one tile. */
export interface ChatImagePart {
  type: "image_url";
  image_url: { url: string; detail?: "auto" | "low" | "high" | undefined };
}

/** The frames of a video, one tile each: `data:video/jpeg;base64,` and the frames' files in base64, with commas between (as vLLM takes them). */
export interface ChatVideoPart {
  type: "video_url";
  video_url: { url: string };
}

/** A part of a user's message. */
export type ChatPart = ChatTextPart | ChatImagePart | ChatVideoPart;

/** A call of a tool, as the model asks for it. */
export interface ChatToolCall {
  id: string;
  type: "function";
  /** `arguments` is JSON. */
  function: { name: string; arguments: string };
}

/** A message of a request, by who says it. */
export type ChatMessage =
  | { role: "system" | "developer"; content: string | readonly ChatTextPart[]; name?: string | undefined }
  | { role: "user"; content: string | readonly ChatPart[]; name?: string | undefined }
  | {
      role: "assistant";
      content?: string | readonly ChatTextPart[] | null | undefined;
      tool_calls?: readonly ChatToolCall[] | undefined;
      name?: string | undefined;
    }
  | { role: "tool"; content: string | readonly ChatTextPart[]; tool_call_id: string };

/** A function that the model may call; `parameters` is a JSON Schema. */
export interface ChatTool {
  type: "function";
  /** `strict`: what it is called with is by `parameters` also where `tool_choice` is auto. */
  function: { name: string; description?: string | undefined; parameters?: object | undefined; strict?: boolean | null | undefined };
}

/** What an answer has to be: a text, any JSON object, or JSON by a schema. */
export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | {
      type: "json_schema";
      json_schema: { name: string; description?: string | undefined; schema?: object | undefined; strict?: boolean | null | undefined };
    };

/** A request. What is `null` is as if it were absent. */
export interface ChatCompletionRequest {
  messages: readonly ChatMessage[];
  /** Comes back in the answer; the server checks it. */
  model?: string | null | undefined;
  /** Most new tokens; as many as the context has room for by default. */
  max_completion_tokens?: number | null | undefined;
  max_tokens?: number | null | undefined;
  /** 0 … 2; 1 by default, as OpenAI has it (`chat` has 0). */
  temperature?: number | null | undefined;
  top_p?: number | null | undefined;
  /** 0 or -1: off. */
  top_k?: number | null | undefined;
  min_p?: number | null | undefined;
  repetition_penalty?: number | null | undefined;
  /** -2 … 2, both of them. */
  presence_penalty?: number | null | undefined;
  frequency_penalty?: number | null | undefined;
  /** By token id, -100 … 100. */
  logit_bias?: Readonly<Record<string, number>> | null | undefined;
  seed?: number | null | undefined;
  stop?: string | readonly string[] | null | undefined;
  /** Answers, 1 … 128; the i-th, from 0 on, has the seed `seed + i`. */
  n?: number | null | undefined;
  logprobs?: boolean | null | undefined;
  /** 0 … 20, with `logprobs`. */
  top_logprobs?: number | null | undefined;
  stream?: boolean | null | undefined;
  stream_options?: { include_usage?: boolean | undefined; include_obfuscation?: boolean | undefined } | null | undefined;
  /** Enforced; a schema that cannot be is refused. */
  response_format?: ResponseFormat | null | undefined;
  tools?: readonly ChatTool[] | null | undefined;
  tool_choice?: "auto" | "none" | "required" | { type: "function"; function: { name: string } } | null | undefined;
  /** Whether calls that are forced may be several; true by default. */
  parallel_tool_calls?: boolean | null | undefined;
  user?: string | null | undefined;
}

/** What goes along with a request: how to end it, and what its pictures may be. */
export interface CompletionOptions {
  signal?: AbortSignal | undefined;
  /** Pictures with more pixels are refused before they are decoded. */
  maxPixels?: number | undefined;
  /** Pictures of one request; 64 by default. */
  maxImages?: number | undefined;
}

/** A token and the logarithm of its probability, by the model's own distribution: temperature, penalties and the like do not count. */
export interface Logprob {
  token: string;
  logprob: number;
  bytes: number[];
}

/** A token of an answer, and the most probable ones in its place. */
export interface TokenLogprob extends Logprob {
  top_logprobs: Logprob[];
}

/** How many tokens prompt and answers have. */
export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** Of the prompt: what an earlier answer had left in the KV cache. */
  prompt_tokens_details: { cached_tokens: number };
}

/** As llama-server has them; milliseconds. */
export interface CompletionTimings {
  cache_n: number;
  prompt_n: number;
  prompt_ms: number;
  prompt_per_token_ms: number;
  prompt_per_second: number;
  predicted_n: number;
  predicted_ms: number;
  predicted_per_token_ms: number;
  predicted_per_second: number;
}

/** Why an answer ended: by itself or at a `stop`, at its limit, or with calls of tools. */
export type FinishReason = "stop" | "length" | "tool_calls";

/** A whole answer. */
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: {
    index: number;
    message: { role: "assistant"; content: string | null; refusal: null; tool_calls?: ChatToolCall[] };
    logprobs: { content: TokenLogprob[]; refusal: null } | null;
    finish_reason: FinishReason;
  }[];
  usage: CompletionUsage;
  timings: CompletionTimings;
}

/** A piece of a call: the first one of each has its id, its type and the function's name; arguments come bit by bit. */
export interface ChatToolCallDelta {
  index: number;
  id?: string;
  type?: "function";
  function: { name?: string; arguments: string };
}

/** What a chunk adds to an answer. */
export interface ChatDelta {
  role?: "assistant";
  content?: string | null;
  tool_calls?: ChatToolCallDelta[];
}

/** A piece of an answer that is streamed. */
export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: {
    index: number;
    delta: ChatDelta;
    logprobs: { content: TokenLogprob[]; refusal: null } | null;
    finish_reason: FinishReason | null;
  }[];
  /** With `include_usage`: null but in the last chunk, which has no choices. */
  usage?: CompletionUsage | null;
  /** In the last chunk. */
  timings?: CompletionTimings;
}

/** Answers a request; its `stream` says how. */
export interface Complete {
  (
    request: ChatCompletionRequest & { stream: true },
    options?: CompletionOptions,
  ): Promise<AsyncGenerator<ChatCompletionChunk, void, void>>;
  (request: ChatCompletionRequest & { stream?: false | null | undefined }, options?: CompletionOptions): Promise<ChatCompletion>;
  (request: ChatCompletionRequest, options?: CompletionOptions): Promise<ChatCompletion | AsyncGenerator<ChatCompletionChunk, void, void>>;
}
