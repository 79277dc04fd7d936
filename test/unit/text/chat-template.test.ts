import { describe, expect, it } from "vitest";
import { EngineError } from "../../../src/errors.ts";
import { readChatTemplate } from "../../../src/text/chat-template.ts";
import { readText } from "./fixtures.ts";

const known = readText("test/fixtures/hf/chat_template.jinja");
const read = (template: string) => readChatTemplate("chat_template.jinja", template);

/** The same template over several lines, as people write it. */
const LINES = `{%- for m in messages -%}
    {{- "<|im_start|>" ~ m.role ~ "\\n" -}}
    {%- if m.content is string -%}
        {{- m.content -}}
    {%- else -%}
        {%- for part in m.content -%}
            {%- if part.type == "text" -%}
                {{- part.text -}}
            {%- elif part.type == "image" or part.type == "image_url" -%}
                {{- "<IMG_CONTEXT>\\n" -}}
            {%- elif part.type == "video" -%}
                {{- "<video>\\n" -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
`;
const BLOCKS = `{# InternVL #}
{% for message in messages %}
    {% if message['content'] is string %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
    {% endif %}
{% endfor %}`;
const SYSTEM = 'You are "InternVL", isn\'t that so?\n你好';
const literal = `'<|im_start|>system\\nYou are "InternVL", isn\\'t that so?\\n你好<|im_end|>\\n'`;
const FIRST = "{% for message in messages %}";

describe("a chat template", () => {
  const same: [string, string][] = [
    ["as transformers writes it", known],
    ["with a line's end", `${known}\n`],
    ["over several lines", LINES],
    ["with its own newlines", known.replaceAll("\\n", "\n")],
    ["in escapes", known.replace("IMG_CONTEXT", "\\u0049MG_CONTEXT")],
    ["with other names", known.replaceAll("content in", "item in").replaceAll("content['t", "item['t")],
    ["in other quotes", known.replaceAll("'", '"')],
    ["as texts", known.replace("{{'<|im_end|>\\n'}}", "<|im_end|>{{ '\\n' }}")],
    ["with comments", known.replace("{% else %}", "{# parts #}{% else %}")],
    [
      "with the branches of a string swapped",
      known
        .replace("is string %}{{ message['content'] }}{% else %}", "is not string %}")
        .replace("{% endfor %}{% endif %}{{'<|im_end", "{% endfor %}{% else %}{{ message['content'] }}{% endif %}{{'<|im_end"),
    ],
    ["with its last type as what is left", known.replace("{% elif content['type'] == 'text' %}", "{% else %}")],
    ["with parentheses", known.replace("{{'<|im_start|>' + message['role'] + '\\n'}}", "{{ ('<|im_start|>' + message['role'] + '\\n') }}")],
  ];
  it.each(same)("%s is the one that is known", (_, template) => {
    expect(read(template)).toEqual({ system: undefined });
  });

  const systems: [string, string][] = [
    ["before the messages", `{% if messages[0]['role'] != 'system' %}{{ ${literal} }}{% endif %}${known}`],
    ["before the messages, as text", `{% if messages[0].role != "system" %}<|im_start|>system\n${SYSTEM}<|im_end|>\n{% endif %}${known}`],
    [
      "in front of the first message",
      known.replace(FIRST, `${FIRST}{% if loop.first and messages[0]['role'] != 'system' %}{{ ${literal} }}{% endif %}`),
    ],
    [
      "in front of the first, by its name",
      known.replace(FIRST, `${FIRST}{% if loop.first and message.role != 'system' %}{{ ${literal} }}{% endif %}`),
    ],
  ];
  it.each(systems)("has a default system message %s", (_, template) => {
    expect(read(template)).toEqual({ system: SYSTEM });
  });

  const other: [string, string][] = [
    ["none", ""],
    ["one of texts alone", BLOCKS],
    ["a BOS of its own", `{{ bos_token }}${known}`],
    ["no newline behind a turn", known.replace("<|im_end|>\\n", "<|im_end|>")],
    ["no newline behind a picture", known.replace("<IMG_CONTEXT>\\n", "<IMG_CONTEXT>")],
    ["another token for a picture", known.replace("<IMG_CONTEXT>", "<image>")],
    ["trimmed answers", known.replace("{{ message['content'] }}", "{{ message['content'] | trim }}")],
    ["no videos", known.replace("{% elif content['type'] == 'video' %}{{ '<video>\\n' }}", "")],
    ["thinking switched off", `${known.replace("assistant\\n", "assistant\\n<think>\\n\\n</think>\\n\\n")}`],
    ["always an answer's beginning", known.replace("{% if add_generation_prompt %}", "").replace(/\{% endif %\}$/, "")],
    [
      "a default system message at every turn",
      known.replace(FIRST, `${FIRST}{% if message['role'] != 'system' %}{{ ${literal} }}{% endif %}`),
    ],
    ["a default system message always", `{{ ${literal} }}${known}`],
    [
      "a computed default",
      `{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n' + today + '<|im_end|>\\n' }}{% endif %}${known}`,
    ],
    ["a variable", `{% set x = 1 %}${known}`],
    ["a macro", `{% macro x() %}{% endmacro %}${known}`],
    ["tools", `{% if tools %}{{ tools }}{% endif %}${known}`],
    ["messages backwards", known.replace("in messages", "in messages[::-1]")],
    ["a block that has no end", known.replace("{% endfor %}", "")],
    ["a space behind the role", known.replace("message['role'] + '\\n'", "message['role'] + ' \\n'")],
    ["a space between tags", known.replace("{% endfor %}{% endif %}{{", "{% endfor %}{% endif %} {{")],
    ["blocks without ends", "{% if".repeat(50)],
  ];
  it.each(other)("with %s is refused", (_, template) => {
    let error: unknown;
    try {
      read(template);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(EngineError);
    const { code, message, hint } = error as EngineError;
    expect(code).toBe("bad-weights");
    expect(message).toMatch(/^chat_template\.jinja renders otherwise/);
    expect(message).not.toContain("\n");
    expect(hint).toMatch(/InternVL3/);
  });
});
