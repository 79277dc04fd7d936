import { EngineError, type ErrorCode } from "../errors.ts";

/** An error of the server's own: a status, and OpenAI's code. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string | null;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, code: string | null = null, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** An error as OpenAI's API answers it. */
export interface Failure {
  status: number;
  headers: Record<string, string>;
  body: { error: { message: string; type: string; param: string | null; code: string | null } };
}

const STATUS: Partial<Record<ErrorCode, [status: number, code: string | null]>> = {
  "bad-input": [400, null],
  "bad-image": [400, "image_parse_error"],
  "limit-exceeded": [400, "limit_exceeded"],
  "context-overflow": [400, "context_length_exceeded"],
  network: [400, "invalid_image_url"],
  aborted: [499, "aborted"],
  disposed: [503, "unavailable"],
  "device-lost": [503, "device_lost"],
  "out-of-memory": [503, "out_of_memory"],
};

const typeOf = (status: number): string => {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
};

/** An error in OpenAI's form. What nobody has foreseen says nothing of the server's insides. */
export function failureOf(error: unknown): Failure {
  const form = (status: number, message: string, code: string | null, param: string | null = null, headers = {}): Failure => ({
    status,
    headers,
    body: { error: { message, type: typeOf(status), param, code } },
  });
  if (error instanceof Refusal) return form(error.status, error.message, error.code, null, error.headers);
  if (error instanceof EngineError) {
    const [status, code] = STATUS[error.code] ?? [500, null];
    const overflow = error.code === "context-overflow" || error.code === "bad-image";
    const hint = error.hint?.replace(/,? or (raise max\w+|give decoded pixels as \{[^}]*\}|take what there is with \w+: true)/g, ""); // no request has these
    const message = `${error.message}${hint ? ` (${hint})` : ""}`;
    return form(status, message, code, error.param ?? (overflow ? "messages" : null));
  }
  return form(500, "the server has failed in a way that was not foreseen", null);
}

/** A `Response` for an error. */
export function refuse(error: unknown): Response {
  const { status, headers, body } = failureOf(error);
  return Response.json(body, { status, headers });
}
