import { badWeights } from "../errors.ts";
import { described } from "../options.ts";

/** A part of a Jinja template: a literal text, an expression's value, a choice, a loop, or something else. */
type Node = string | { out: string } | { chain: { when: string; body: Node[] }[] } | { each: string; body: Node[] } | { other: string };

interface Tag {
  kind: "text" | "out" | "block";
  source: string;
}

/** Cuts a template into texts and tags as transformers has Jinja do it: with trim_blocks and lstrip_blocks. */
function tagsOf(template: string): Tag[] {
  const tags: Tag[] = [];
  const cut = template.replace(/\n$/, "").split(/(\{\{[\s\S]*?\}\}|\{%[\s\S]*?%\}|\{#[\s\S]*?#\})/);
  const isBlock = (tag: string | undefined) => tag !== undefined && /^\{[%#]/.test(tag);
  for (const [i, source] of cut.entries()) {
    if (i % 2 === 1) {
      if (source.startsWith("{#")) continue;
      tags.push({
        kind: source.startsWith("{%") ? "block" : "out",
        source: source
          .slice(2, -2)
          .replace(/^[-+]|[-+]$/g, "")
          .trim(),
      });
      continue;
    }
    const [before, after] = [cut[i - 1], cut[i + 1]];
    let text = source;
    // A block that begins a line takes the spaces before it, and the end of its own line.
    if (isBlock(after) && !/^\{.\+/.test(after!))
      text = text.replace(/(^|\n)[ \t]*$/, (all, start: string) => (start || i === 0 ? start : all));
    if (isBlock(before) && !/\+.\}$/.test(before!)) text = text.replace(/^\r?\n/, "");
    if (before && /-.\}$/.test(before)) text = text.trimStart();
    if (after && /^\{.-/.test(after)) text = text.trimEnd();
    if (text) tags.push({ kind: "text", source: text });
  }
  return tags;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r" };
const unquoted = (literal: string): string =>
  literal
    .slice(1, -1)
    .replace(/\\(u[0-9a-fA-F]{4}|[\s\S])/g, (_, e: string) =>
      e.length > 1 ? String.fromCharCode(Number.parseInt(e.slice(1), 16)) : (ESCAPES[e] ?? e),
    );

/** An expression's words, spelled in one way: strings as JSON, `a.b` as `a["b"]`, loop variables by their depth. */
function wordsOf(expression: string, names: ReadonlyMap<string, string>): string[] {
  const words = expression.match(/'(?:\\[\s\S]|[^'\\])*'|"(?:\\[\s\S]|[^"\\])*"|\w+|[!=<>]=|\S/g) ?? [];
  const spelled: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "." && /^[A-Za-z_]\w*$/.test(words[i + 1] ?? "")) spelled.push("[", JSON.stringify(words[++i]), "]");
    else if (/^['"]/.test(word)) spelled.push(JSON.stringify(unquoted(word)));
    else spelled.push(names.get(word) ?? word);
  }
  return spelled;
}

/** Whether a word stands between parentheses or brackets. */
function splitAt(words: readonly string[], separators: readonly string[]): string[][] {
  const parts: string[][] = [[]];
  let depth = 0;
  for (const word of words) {
    if (/^[([{]$/.test(word)) depth++;
    if (/^[)\]}]$/.test(word)) depth--;
    if (depth === 0 && separators.includes(word)) parts.push([]);
    else parts.at(-1)!.push(word);
  }
  return parts;
}

const unwrapped = (words: string[]): string[] =>
  words[0] === "(" && words.at(-1) === ")" && splitAt(words.slice(1, -1), [")"]).length === 1 ? unwrapped(words.slice(1, -1)) : words;

/** A condition; ways to ask whether a part is a picture that all say yes of `type: "image"` alone count as one. */
function conditionOf(words: string[]): string {
  const alternatives = splitAt(unwrapped(words), ["or"]).map((each) => unwrapped(each).join(" "));
  const typed = alternatives.find((each) => /^\S+ \[ "type" \] == "(image|video)"$/.test(each));
  const [, kind] = typed?.match(/"(image|video)"$/) ?? [];
  const same = (each: string) =>
    each === typed || each.startsWith(`"${kind}" in `) || each.endsWith(`== "${kind}_url"`) || each.startsWith(`"${kind}_url" in `);
  return typed && alternatives.every(same) ? typed : alternatives.join(" or ");
}

/** A choice in one order: a part's types do not exclude one another's branches, and "not a string" is a string's other branch. */
function ordered(chain: { when: string; body: Node[] }[]): Node {
  const [first, second] = chain;
  if (chain.length === 2 && second!.when === "" && / is not string$/.test(first!.when)) {
    return {
      chain: [
        { when: first!.when.replace(" is not ", " is "), body: second!.body },
        { when: "", body: first!.body },
      ],
    };
  }
  const subject = /^(\S+ \[ "type" \] ==) "\w+"$/.exec(first!.when)?.[1];
  const types = chain.map(({ when, body }) => ({ when: when === "" && subject ? `${subject} "text"` : when, body }));
  if (subject === undefined || !types.every(({ when }) => when.startsWith(subject))) return { chain };
  return { chain: types.sort((a, b) => (a.when < b.when ? -1 : 1)) };
}

/** Reads nodes up to a block that ends or goes on with what is open. */
function parse(tags: Tag[], names: ReadonlyMap<string, string>): Node[] {
  const nodes: Node[] = [];
  const literal = (text: string) => {
    if (typeof nodes.at(-1) === "string") nodes[nodes.length - 1] += text;
    else if (text) nodes.push(text);
  };
  for (let tag = tags[0]; tag; tag = tags[0]) {
    const [word = ""] = /^\w+/.exec(tag.source) ?? [];
    if (tag.kind === "block" && /^(end\w+|elif|else)$/.test(word)) return nodes;
    tags.shift();
    if (tag.kind === "text") literal(tag.source);
    else if (tag.kind === "out") {
      for (const part of splitAt(unwrapped(wordsOf(tag.source, names)), ["+", "~"])) {
        if (part.length === 1 && part[0]!.startsWith('"')) literal(JSON.parse(part[0]!) as string);
        else nodes.push({ out: part.join(" ") });
      }
    } else if (word === "for") {
      const [, variable = "", list = ""] = /^for\s+(\w+)\s+in\s+([\s\S]+)$/.exec(tag.source) ?? [];
      const body = parse(tags, new Map([...names, [variable, `$${names.size}`]]));
      if (!/^endfor\b/.test(tags.shift()?.source ?? "")) nodes.push({ other: "for" });
      nodes.push({ each: wordsOf(list, names).join(" "), body });
    } else if (word === "if") {
      const chain = [{ when: conditionOf(wordsOf(tag.source.slice(2), names)), body: parse(tags, names) }];
      for (let next = tags.shift()?.source; next !== undefined && !/^endif\b/.test(next); next = tags.shift()?.source) {
        const more = /^elif\b/.test(next) ? conditionOf(wordsOf(next.slice(4), names)) : next === "else" ? "" : next;
        chain.push({ when: more, body: parse(tags, names) });
      }
      nodes.push(ordered(chain));
    } else nodes.push({ other: tag.source });
  }
  return nodes;
}

/** What transformers' convert_internvl_weights_to_hf.py writes. */
const KNOWN = [
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}{% if message['content'] is string %}{{ message['content'] }}",
  "{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}",
  "{% elif content['type'] == 'video' %}{{ '<video>\\n' }}{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}",
  "{% endif %}{{'<|im_end|>\\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\\n' }}{% endif %}",
].join("");

/** A text as Jinja's literal; braces might end the tag around it. */
const jinjaText = (text: string): string => {
  const escaped = text.replace(/[\\']/g, "\\$&").replaceAll("\n", "\\n");
  return `'${escaped.replaceAll("{", "\\u007b").replaceAll("}", "\\u007d")}'`;
};

/** The family's chat template, with a default system message or without one. */
export function chatTemplate(system: string | undefined): string {
  if (system === undefined) return KNOWN;
  const turn = jinjaText(`<|im_start|>system\n${system}<|im_end|>\n`);
  return `{% if messages[0]['role'] != 'system' %}{{ ${turn} }}{% endif %}${KNOWN}`;
}

/** Characters of a template; those that are known have 500. */
const LONGEST = 20_000;

/** What stands where no message is the system's: the condition, before the messages or in front of the first. */
const NO_SYSTEM = /^(loop \[ "first" \] and )?(messages \[ 0 \]|\$0) \[ "role" \] != "system"$/;
const DEFAULT_SYSTEM = /^<\|im_start\|>system\n([\s\S]*)<\|im_end\|>\n$/;

/** Takes the default system message out of a template. */
function takeSystem(nodes: Node[]): string | undefined {
  const [first] = nodes;
  if (typeof first !== "object") return undefined;
  if ("each" in first) return takeSystem(first.body);
  if (!("chain" in first) || first.chain.length !== 1) return undefined;
  const [{ when, body }] = first.chain as [{ when: string; body: Node[] }];
  const inLoop = /^loop /.test(when) || /^\$0/.test(when);
  const text = body.length === 1 && typeof body[0] === "string" ? DEFAULT_SYSTEM.exec(body[0])?.[1] : undefined;
  if (text === undefined || !NO_SYSTEM.test(when) || (inLoop && !/^loop /.test(when))) return undefined;
  nodes.shift();
  return text;
}

/**
 * Reads a chat template of transformers. It is not run: it is compared with the one that the family's models have, spelled as it may be, and
 * what it says where there is no system message is taken from it.
 *
 * @param file how messages call it
 * @returns the default system message, if it has one
 * @throws EngineError bad-weights for a template that renders otherwise
 */
export function readChatTemplate(file: string, template: string): { system: string | undefined } {
  const nodes = parse(template.length > LONGEST ? [] : tagsOf(template), new Map());
  const system = takeSystem(nodes);
  const [has, needs] = [nodes, parse(tagsOf(KNOWN), new Map())].map((each) => JSON.stringify(each)) as [string, string];
  if (has === needs) return { system };
  let at = 0;
  while (has[at] === needs[at]) at++;
  const part = described(has.slice(Math.max(0, at - 20), at + 60));
  throw badWeights(
    `${file} renders otherwise than the templates that are known: from ${part} on`,
    "templates are compared, not run: take the chat_template.jinja of an InternVL3 or InternVL3_5 model whose name ends in -hf or -HF",
  );
}
