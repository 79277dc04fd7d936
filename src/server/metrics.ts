import type { Parts } from "../api/parts.ts";
import type { ChatResult } from "../api/reply.ts";

const SECONDS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640];

/** Counts of what was at most so much; the last is of all. */
class Histogram {
  readonly #counts = Array.from({ length: SECONDS.length + 1 }, () => 0);
  sum = 0;
  count = 0;

  add(value: number): void {
    const bucket = SECONDS.findIndex((most) => value <= most);
    this.#counts[bucket < 0 ? SECONDS.length : bucket]!++;
    this.sum += value;
    this.count++;
  }

  lines(name: string, label: string): string[] {
    let below = 0;
    const buckets = [...SECONDS, Number.POSITIVE_INFINITY].map((most, i) => {
      below += this.#counts[i]!;
      return `${name}_bucket{${label},le="${most === Number.POSITIVE_INFINITY ? "+Inf" : most}"} ${below}`;
    });
    return [...buckets, `${name}_sum{${label}} ${this.sum}`, `${name}_count{${label}} ${this.count}`];
  }
}

/** What Prometheus reads. The names are vLLM's: routers know them. */
export class Metrics {
  readonly #finished = new Map<string, number>();
  readonly #responses = new Map<string, number>();
  readonly #first = new Histogram();
  readonly #perToken = new Histogram();
  readonly #whole = new Histogram();
  #prompt = 0;
  #generated = 0;
  #cached = 0;

  /** Seconds that an answer has taken so far on average. */
  get meanSeconds(): number {
    return this.#whole.sum / Math.max(this.#whole.count, 1);
  }

  answered(firstMs: number, { usage, timings }: ChatResult, finish: string): void {
    this.#finished.set(finish, (this.#finished.get(finish) ?? 0) + 1);
    this.#prompt += usage.promptTokens;
    this.#cached += usage.cachedTokens;
    this.#generated += usage.completionTokens;
    this.#first.add(firstMs / 1000);
    if (usage.completionTokens > 1) this.#perToken.add(timings.decode / 1000 / (usage.completionTokens - 1));
    this.#whole.add((firstMs + timings.decode) / 1000);
  }

  responded(path: string, status: number): void {
    const key = `path="${path}",status="${status}"`;
    this.#responses.set(key, (this.#responses.get(key) ?? 0) + 1);
  }

  /** In Prometheus's text format 0.0.4. */
  text(parts: Parts | undefined, model: string): string {
    const label = `model_name="${model.replace(/[\\"\n]/g, (each) => (each === "\n" ? "\\n" : `\\${each}`))}"`;
    const { running, waiting, kvUsage } = parts?.scheduler.load ?? { running: 0, waiting: 0, kvUsage: 0 };
    const lines: string[] = [];
    const family = (name: string, type: string, help: string, values: string[]) =>
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...values);
    const one = (name: string, type: "gauge" | "counter", help: string, value: number) =>
      family(name, type, help, [`${name}{${label}} ${value}`]);
    one("vllm:num_requests_running", "gauge", "Answers that have a slot.", running);
    one("vllm:num_requests_waiting", "gauge", "Answers that wait for a slot.", waiting);
    one("vllm:kv_cache_usage_perc", "gauge", "Share of the KV cache's positions in use, 1 is all.", kvUsage);
    one("vllm:prompt_tokens_total", "counter", "Tokens of prompts.", this.#prompt);
    one("vllm:prompt_tokens_cached_total", "counter", "Tokens of prompts that were in a slot's cache.", this.#cached);
    one("vllm:generation_tokens_total", "counter", "New tokens.", this.#generated);
    const finished = [...this.#finished].map(([reason, n]) => `vllm:request_success_total{${label},finished_reason="${reason}"} ${n}`);
    family("vllm:request_success_total", "counter", "Answers by how they ended.", finished);
    const responses = [...this.#responses].map(([key, n]) => `internvl:http_responses_total{${key}} ${n}`);
    family("internvl:http_responses_total", "counter", "Responses by route and status.", responses);
    const histogram = (name: string, help: string, of: Histogram) => family(name, "histogram", help, of.lines(name, label));
    histogram("vllm:time_to_first_token_seconds", "From the request to its first token.", this.#first);
    histogram("vllm:time_per_output_token_seconds", "Between two tokens of an answer, on its average.", this.#perToken);
    histogram("vllm:e2e_request_latency_seconds", "From the request to its last token.", this.#whole);
    return `${lines.join("\n")}\n`;
  }
}
