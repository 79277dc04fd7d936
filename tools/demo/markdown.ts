import { Lexer, type Token, type Tokens } from "marked";
import { make } from "./dom.ts";

// `marked` reads the Markdown, and nodes are made of its tokens here, one kind after the other: no text of a model's is ever read as HTML, so
// that there is nothing to sanitise. Pictures are not shown either, which would tell their server that somebody read this.

/** An answer's Markdown as nodes. */
export function markdown(text: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  fragment.append(...nodes(new Lexer({ gfm: true, breaks: true }).lex(text)));
  return fragment;
}

const nodes = (tokens: readonly Token[]): (Node | string)[] => tokens.map((token) => node(token as Known));

type Known =
  | Tokens.Blockquote
  | Tokens.Br
  | Tokens.Checkbox
  | Tokens.Code
  | Tokens.Codespan
  | Tokens.Def
  | Tokens.Del
  | Tokens.Em
  | Tokens.Escape
  | Tokens.Heading
  | Tokens.Hr
  | Tokens.HTML
  | Tokens.Image
  | Tokens.Link
  | Tokens.List
  | Tokens.Paragraph
  | Tokens.Space
  | Tokens.Strong
  | Tokens.Table
  | Tokens.Text;

function node(token: Known): Node | string {
  switch (token.type) {
    case "heading": // below the page's own
      return make(`h${Math.min(6, token.depth + 2)}` as "h3", {}, ...nodes(token.tokens));
    case "paragraph":
      return make("p", {}, ...nodes(token.tokens));
    case "blockquote":
      return make("blockquote", {}, ...nodes(token.tokens));
    case "list":
      return list(token);
    case "table":
      return table(token);
    case "code":
      return make("pre", {}, make("code", {}, token.text));
    case "hr":
      return make("hr");
    case "strong":
      return make("strong", {}, ...nodes(token.tokens));
    case "em":
      return make("em", {}, ...nodes(token.tokens));
    case "del":
      return make("del", {}, ...nodes(token.tokens));
    case "codespan":
      return make("code", {}, token.text);
    case "br":
      return make("br");
    case "link":
      return link(token);
    case "checkbox":
      return token.checked ? "☑ " : "☐ ";
    case "text":
      return token.tokens ? group(nodes(token.tokens)) : unescaped(token.text);
    case "escape":
      return unescaped(token.text);
    case "space":
    case "def":
      return "";
    case "html":
    case "image":
      return token.raw; // as it was written
    default:
      token satisfies never;
      return (token as Token).raw;
  }
}

function group(children: (Node | string)[]): DocumentFragment {
  const fragment = document.createDocumentFragment();
  fragment.append(...children);
  return fragment;
}

function list({ ordered, start, items }: Tokens.List): HTMLElement {
  const children = items.map(({ tokens }) => make("li", {}, ...nodes(tokens)));
  return ordered ? make("ol", { start: start || 1 }, ...children) : make("ul", {}, ...children);
}

function table({ header, rows, align }: Tokens.Table): HTMLElement {
  const row = (tag: "th" | "td", cells: readonly Tokens.TableCell[]) =>
    make("tr", {}, ...cells.map(({ tokens }, i) => make(tag, { className: align[i] ?? "" }, ...nodes(tokens))));
  const whole = make("table", {}, make("thead", {}, row("th", header)), make("tbody", {}, ...rows.map((cells) => row("td", cells))));
  return make("div", { className: "wide", tabIndex: 0, role: "group", ariaLabel: "Table" }, whole); // it may be wider than the page
}

/** A link to another page or an address for mail; any other stays text. It learns nothing of this page. */
function link({ href, tokens, raw }: Tokens.Link): Node | string {
  const url = URL.parse(href);
  if (!url || !/^(https?|mailto):$/.test(url.protocol)) return raw;
  return make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...nodes(tokens));
}

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", nbsp: "\u00a0" };
const unescaped = (text: string): string => text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (_, name: string) => ENTITIES[name]!);
